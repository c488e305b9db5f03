internal import MeshCore
internal import Signing

/// What people see, as a pure function of the admitted facts and the charter.
struct CatalogView: Sendable {
    /// Over the facts that count, for keys that are not revoked.
    let grants: Grants
    let releases: [Catalog.Release]
    let revoked: Set<Digest>

    init(_ set: AdmittedSet, charter: Charter) {
        let facts = set.admitted.values.sorted { $0.id < $1.id }
        let byAuthor = Dictionary(grouping: facts) { $0.author.id }
        let kept = Self.kept(set, byAuthor)
        revoked = Set(kept.keys)
        let counted = facts.filter { fact in fact.author.subject.map { kept[$0]?.contains(fact.id) ?? true } ?? false }
        // Chains that went through a revoked key hold only as far as its kept facts do.
        let grants = Grants(counted, charter: charter)
        self.grants = grants
        let equivocators = Set(byAuthor.filter { Set($0.value.map(\.seq)).count < $0.value.count }.keys)
        releases = Self.releases(counted, grants, equivocators)
    }

    func roles(of key: Digest) -> [Role: [Glob]] { revoked.contains(key) ? [:] : grants.roles(of: key) }

    /// For each revoked key, the facts of its that still count. A revocation is by the key itself or by someone above it;
    /// keys nearer to the roots are decided first, so that what a revoked key revoked is weighed by what was kept of it.
    private static func kept(_ set: AdmittedSet, _ byAuthor: [KeyID: [Fact]]) -> [Digest: Set<Digest>] {
        var out: [Digest: Set<Digest>] = [:]
        let revocations = Dictionary(grouping: set.admitted.values.filter { $0.kind == "revoke" }) { $0.subject }
        let order = revocations.keys.compactMap(\.self).sorted { a, b in
            let (x, y) = (set.grants.ancestors(of: a).count, set.grants.ancestors(of: b).count)
            return x != y ? x < y : a < b
        }
        for key in order where !set.grants.isRoot(key) {
            let above = set.grants.ancestors(of: key)
            for revocation in revocations[key] ?? [] {
                guard let author = revocation.author.subject, author == key || above.contains(author), out[author]?.contains(revocation.id) ?? true || author == key else { continue }
                let last = author == key ? revocation.prev : revocation.body["keep"]?.string.flatMap { Digest(hex: $0) }
                var chain = chain(endingAt: last, of: key, in: set)
                if author == key { chain.insert(revocation.id) }
                out[key] = out[key].map { $0.intersection(chain) } ?? chain
            }
        }
        return out
    }

    private static func chain(endingAt last: Digest?, of key: Digest, in set: AdmittedSet) -> Set<Digest> {
        var out: Set<Digest> = [], next = last
        while let id = next, let fact = set.admitted[id], fact.author.subject == key, out.insert(id).inserted { next = fact.prev }
        return out
    }

    private static func releases(_ facts: [Fact], _ grants: Grants, _ equivocators: Set<KeyID>) -> [Catalog.Release] {
        var out: [Catalog.Release] = []
        for fact in facts where fact.kind == "release" {
            guard let author = fact.author.subject, let capsule = fact.subject, let name = fact.body["name"]?.string.flatMap({ try? CapsuleName(parsing: $0) }),
                  let version = fact.body["version"]?.string.flatMap({ try? SemanticVersion(parsing: $0) }), grants.mayPublish(name.description, author) else { continue }
            out.append(Catalog.Release(capsule: capsule, name: name, version: version, notes: fact.body["notes"]?.string, publisher: fact.author, fact: fact.id, at: fact.at,
                                       contested: equivocators.contains(fact.author.id)))
        }
        let withdrawals = facts.filter { $0.kind == "withdraw" }
        out.removeAll { release in
            withdrawals.contains { $0.subject == release.capsule && ($0.author.subject.map { grants.mayPublish(release.name.description, $0) } ?? false) }
        }
        // The same name and version with two contents: neither is believed over the other.
        let groups = Dictionary(grouping: out) { "\($0.name)@\($0.version)" }
        return groups.values.flatMap { group in
            let isContested = Set(group.map(\.capsule)).count > 1
            return group.map { isContested ? $0.asContested : $0 }
        }.sorted(by: precedes)
    }

    /// By name, then precedence of the version; builds of one version by their text, and claims to one build by the fact.
    private static func precedes(_ a: Catalog.Release, _ b: Catalog.Release) -> Bool {
        if a.name != b.name { return a.name < b.name }
        if a.version < b.version { return true }
        if b.version < a.version { return false }
        let (x, y) = (a.version.description, b.version.description)
        return x != y ? x.utf8.lexicographicallyPrecedes(y.utf8) : a.fact < b.fact
    }
}

extension Catalog.Release {
    fileprivate var asContested: Catalog.Release {
        .init(capsule: capsule, name: name, version: version, notes: notes, publisher: publisher, fact: fact, at: at, contested: true)
    }
}
