internal import MeshCore
internal import Signing

/// What a key may do in a mesh.
public enum Role: String, Sendable, CaseIterable {
    case member, publisher, builder, `operator`, grantor
}

extension PublicKey {
    /// The key id as a digest: what a fact about a key has as its subject.
    var subject: Digest? { id.digest }
}

/// Who was granted what, as a pure function of facts and charter. Every link of a chain must hold what it hands on:
/// the grantor role, the role itself, and for publishers a scope that covers the new one; four links at most.
struct Grants: Sendable {
    struct Grant: Sendable, Hashable {
        let role: Role
        let scope: [Glob]
        let depth: Int
        let issuer: Digest
        let fact: Digest
    }

    /// Those of now, and those who were roots once: what counts of a former root's facts counts as a root's.
    private let roots: Set<Digest>
    /// By key id.
    private(set) var byKey: [Digest: [Grant]] = [:]
    /// Beyond what everybody may sign, by key id.
    private var raised: [Digest: Int] = [:]

    init(_ facts: some Sequence<Fact>, charter: Charter) {
        roots = Set((charter.roots + charter.former.keys).compactMap(\.subject))
        let facts = Array(facts)
        var successors: [Digest: [Digest]] = [:]
        for fact in facts.sorted(by: { $0.id < $1.id }) {
            guard let old = fact.author.subject, !roots.contains(old), let new = fact.successor?.subject else { continue }
            successors[old, default: []].append(new)
        }
        // Breadth first from the roots, so that each grant is met at its least depth and each fact is weighed once a round.
        var open = facts.compactMap(Self.wish).sorted { $0.fact < $1.fact }
        for depth in 1...Limits.grantDepthMax {
            var left: [Wish] = []
            var found: [(Digest, Grant)] = []
            for wish in open {
                if mayGrant(wish.role, wish.scope, issuer: wish.issuer, depthMax: depth - 1) {
                    found.append((wish.subject, Grant(role: wish.role, scope: wish.scope, depth: depth, issuer: wish.issuer, fact: wish.fact)))
                } else {
                    left.append(wish)
                }
            }
            // A successor holds what its predecessor held, at the same depth.
            while let (subject, grant) = found.popLast() {
                guard byKey[subject]?.contains(grant) != true else { continue }
                byKey[subject, default: []].append(grant)
                for new in successors[subject] ?? [] { found.append((new, grant)) }
            }
            open = left
        }
        for fact in facts where fact.kind == "grant" {
            guard let subject = fact.subject, let issuer = fact.author.subject, roots.contains(issuer), let seqMax = fact.body["seqMax"]?.integer else { continue }
            raised[subject] = max(raised[subject] ?? 0, min(Int(clamping: seqMax), Limits.factSequenceRaisedMax))
        }
    }

    /// Up to which place a key's facts are taken: a root raises it for keys that have much to say.
    func seqMax(of key: Digest) -> Int {
        isRoot(key) ? Limits.factSequenceRaisedMax : max(Limits.factSequenceMax, raised[key] ?? 0)
    }

    /// Now, or once.
    func isRoot(_ key: Digest) -> Bool { roots.contains(key) }
    func isKnown(_ key: Digest) -> Bool { roots.contains(key) || byKey[key] != nil }

    func mayPublish(_ name: String, _ key: Digest) -> Bool {
        isRoot(key) || byKey[key]?.contains { $0.role == .publisher && $0.scope.contains { $0.matches(name) } } ?? false
    }

    func mayGrant(_ role: Role, _ scope: [Glob], issuer: Digest, depthMax: Int = Limits.grantDepthMax - 1) -> Bool {
        if isRoot(issuer) { return true }
        guard let held = byKey[issuer]?.filter({ $0.depth <= depthMax }), held.contains(where: { $0.role == .grantor }) else { return false }
        guard role == .publisher else { return held.contains { $0.role == role } }
        // Stars alone would hand on the whole name space; only a root does that.
        let names = held.filter { $0.role == .publisher }.flatMap(\.scope)
        return !scope.isEmpty && scope.allSatisfy { wanted in !wanted.matchesEverything && names.contains { $0.covers(wanted) } }
    }

    /// The grants by which a key may publish a name, from a root's down to its own; empty for a root, nil for who may not.
    func chain(to key: Digest, publishing name: String) -> [Digest]? {
        var out: [Digest] = [], next = key
        while !isRoot(next) {
            guard let held = byKey[next], let grant = held.filter({ $0.role == .publisher && $0.scope.contains { $0.matches(name) } }).min(by: { ($0.depth, $0.fact) < ($1.depth, $1.fact) })
            else { return nil }
            out.append(grant.fact)
            // Whoever granted it needed to be a grantor, too, by a grant no deeper.
            if !isRoot(grant.issuer), let right = byKey[grant.issuer]?.filter({ $0.role == .grantor && $0.depth < grant.depth }).min(by: { ($0.depth, $0.fact) < ($1.depth, $1.fact) }) { out.append(right.fact) }
            next = grant.issuer
        }
        return out.reversed()
    }

    /// How many grants lie between the roots and a key, at the least; a root has none.
    private func depth(of key: Digest) -> Int { isRoot(key) ? 0 : byKey[key]?.map(\.depth).min() ?? .max }

    /// Whoever stands above a key in some chain, the key itself not among them. An issuer is above only those that are farther
    /// from the roots than itself: a grant to somebody higher up puts nobody above them.
    func ancestors(of key: Digest) -> Set<Digest> {
        var out = roots, open = [key]
        while let next = open.popLast() {
            let own = depth(of: next)
            for grant in byKey[next] ?? [] where depth(of: grant.issuer) < own && out.insert(grant.issuer).inserted { open.append(grant.issuer) }
        }
        out.remove(key)
        return out
    }

    func roles(of key: Digest) -> [Role: [Glob]] {
        if isRoot(key) { return Dictionary(uniqueKeysWithValues: Role.allCases.map { ($0, $0 == .publisher ? [Glob("*")] : []) }) }
        var out: [Role: [Glob]] = [:]
        for grant in byKey[key] ?? [] {
            let merged = (out[grant.role] ?? []) + grant.scope
            out[grant.role] = Set(merged).sorted { $0.description < $1.description }
        }
        return out
    }

    private struct Wish {
        let subject: Digest
        let role: Role
        let scope: [Glob]
        let issuer: Digest
        let fact: Digest
    }

    /// nil for facts that are no well-formed grant: they are carried and read by no view.
    private static func wish(_ fact: Fact) -> Wish? {
        guard fact.kind == "grant", let subject = fact.subject, let issuer = fact.author.subject, let role = fact.body["role"]?.string.flatMap(Role.init(rawValue:)) else { return nil }
        let scope = (fact.body["scope"]?.array ?? []).compactMap(\.string)
        guard scope.count == fact.body["scope"]?.array?.count ?? 0, scope.count <= Limits.grantScopeMax, scope.allSatisfy({ (1...200).contains($0.utf8.count) }) else { return nil }
        guard role != .publisher || !scope.isEmpty else { return nil }
        return Wish(subject: subject, role: role, scope: scope.map(Glob.init), issuer: issuer, fact: fact.id)
    }
}
