internal import MeshCore
internal import Signing

/// Where a fact stands among its author's.
struct FactPlace: Sendable, Hashable {
    let id: Digest
    let seq: Int
    let prev: Digest?
}

/// Whose facts still count, and which of them. A revocation keeps what was honest before, without asking a clock: it names the last
/// fact to keep, and that fact's chain is kept.
struct Revocations: Sendable {
    /// For each key that may say nothing more, the facts of its that still count.
    let kept: [Digest: Set<Digest>]
    /// Of these, those about whom somebody above them has decided; the others left on their own, by a revocation or to a successor.
    let decided: Set<Digest>
    /// Key → who took its place.
    let successors: [Digest: PublicKey]

    /// - Parameters:
    ///   - control: all admitted facts that grant, revoke and hand over.
    ///   - grants: over these.
    ///   - places: of all admitted facts of an author; asked of those who may say nothing more.
    init(_ control: some Collection<Fact>, _ grants: Grants, charter: Charter, places: (Digest) throws(MeshError) -> [FactPlace]) throws(MeshError) {
        var out: [Digest: Set<Digest>] = [:], decided: Set<Digest> = [], known: [Digest: AuthorPlaces] = [:]
        func own(_ key: Digest) throws(MeshError) -> AuthorPlaces {
            if let places = known[key] { return places }
            let found = AuthorPlaces(try places(key))
            known[key] = found
            return found
        }
        let current = Set(charter.roots.compactMap(\.subject))
        // Who was dropped from the charter is revoked by it.
        for (key, last) in charter.former {
            guard let id = key.subject else { continue }
            out[id] = try own(id).chain(endingAt: last)
            decided.insert(id)
        }
        // By the key itself or by someone above it; keys nearer to the roots are decided first, so that what a revoked key revoked is
        // weighed by what was kept of it.
        let revocations = Dictionary(grouping: control.filter { $0.kind == "revoke" }) { $0.subject }
        let order = revocations.keys.compactMap(\.self).map { ($0, grants.ancestors(of: $0)) }.sorted { ($0.1.count, $0.0) < ($1.1.count, $1.0) }
        for (key, above) in order where !current.contains(key) {
            for revocation in (revocations[key] ?? []) {
                guard let author = revocation.author.subject, author == key || (above.contains(author) && out[author]?.contains(revocation.id) ?? true) else { continue }
                let kept: Set<Digest>
                if author == key {
                    kept = try own(key).notAfter(FactPlace(revocation))
                } else {
                    kept = try own(key).chain(endingAt: revocation.body["keep"]?.string.flatMap { Digest(hex: $0) })
                    decided.insert(key)
                }
                out[key] = out[key].map { $0.intersection(kept) } ?? kept
            }
        }
        // A key that named a successor is done, with that fact. Of two the earlier counts: the later is beyond what is kept.
        var successors: [Digest: PublicKey] = [:]
        for fact in control.filter({ $0.successor != nil }).sorted(by: { ($0.seq, $0.id) < ($1.seq, $1.id) }) {
            guard let author = fact.author.subject, !grants.isRoot(author), let successor = fact.successor, out[author]?.contains(fact.id) ?? true else { continue }
            let kept = try own(author).notAfter(FactPlace(fact))
            out[author] = out[author].map { $0.intersection(kept) } ?? kept
            successors[author] = successors[author] ?? successor
        }
        kept = out
        self.decided = decided
        self.successors = successors
    }

    func counts(_ fact: Fact) -> Bool { fact.author.subject.map { counts(fact.id, by: $0) } ?? false }
    func counts(_ fact: Digest, by author: Digest) -> Bool { kept[author]?.contains(fact) ?? true }
}

extension FactPlace {
    init(_ fact: Fact) { self.init(id: fact.id, seq: fact.seq, prev: fact.prev) }
}

/// All of an author's facts, by place.
private struct AuthorPlaces {
    private let byID: [Digest: FactPlace]
    private let inOrder: [FactPlace]

    init(_ places: [FactPlace]) {
        byID = Dictionary(places.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        inOrder = places.sorted { ($0.seq, $0.id) < ($1.seq, $1.id) }
    }

    func chain(endingAt last: Digest?) -> Set<Digest> {
        var out: Set<Digest> = [], next = last
        while let id = next, let place = byID[id], out.insert(id).inserted { next = place.prev }
        return out
    }

    /// What a key keeps that leaves by itself: all it said at places before, the fact with which it leaves, and what was said on another
    /// branch of its facts, which proves two at one place. So a thief who lets the key leave early takes nothing from what its owner had
    /// said; and nothing that only claims to stand elsewhere stays.
    func notAfter(_ last: FactPlace) -> Set<Digest> {
        var out: Set<Digest> = [last.id], branch: Set<Digest> = []
        for place in inOrder where place.id != last.id {
            if place.seq < last.seq {
                out.insert(place.id)
            } else if place.seq == last.seq || (place.prev.map(branch.contains) ?? false && place.prev.flatMap { byID[$0] }?.seq == place.seq - 1) {
                branch.insert(place.id)
            }
        }
        return out.union(branch)
    }
}
