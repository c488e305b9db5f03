internal import MeshCore
internal import Signing

/// What people see, as a pure function of the admitted facts and the charter.
struct CatalogView: Sendable {
    /// Over the facts that count, for keys that are not revoked.
    let grants: Grants
    let revocations: Revocations
    /// Who has signed two facts at one place, and nobody above them has decided about it.
    let equivocators: Set<Digest>
    let releases: [Catalog.Release]
    let withdrawals: [Catalog.Withdrawal]
    let channels: [Catalog.Channel]

    var revoked: Set<Digest> { Set(revocations.kept.keys) }

    init(_ set: AdmittedSet, charter: Charter) {
        let facts = set.admitted.values.sorted { $0.id < $1.id }
        let revocations = Revocations(set, charter: charter)
        let counted = facts.filter(revocations.counts)
        // Chains that went through a revoked key hold only as far as its kept facts do.
        let grants = Grants(counted, charter: charter)
        let byAuthor = Dictionary(grouping: facts) { $0.author }
        equivocators = Set(byAuthor.filter { Set($0.value.map(\.seq)).count < $0.value.count }.compactMap(\.key.subject)).subtracting(revocations.decided)
        self.grants = grants
        self.revocations = revocations
        let permissions = Permissions(grants: grants, everGranted: set.grants, equivocators: equivocators)
        withdrawals = facts.compactMap { Catalog.Withdrawal($0, counts: revocations.counts($0), permissions) }
        let withdrawn = Dictionary(grouping: withdrawals, by: \.capsule)
        releases = Self.contest(
            counted.compactMap { Catalog.Release($0, permissions) }.filter { release in !(withdrawn[release.capsule]?.contains { $0.name == release.name } ?? false) }
        ).sorted(by: Catalog.Release.precedes)
        channels = Catalog.Channel.all(counted, permissions, releases: releases, withdrawals: withdrawals)
    }

    func roles(of key: Digest) -> [Role: [Glob]] { revoked.contains(key) ? [:] : grants.roles(of: key) }

    /// The same name and version with two contents: neither is believed over the other.
    static func contest(_ releases: [Catalog.Release]) -> [Catalog.Release] {
        Dictionary(grouping: releases) { "\($0.name)@\($0.version)" }.values.flatMap { group in
            Set(group.map(\.capsule)).count > 1 ? group.map { $0.asContested } : group
        }
    }
}

/// What authors may say.
struct Permissions: Sendable {
    /// Over the facts that count.
    let grants: Grants
    /// Over all that were admitted.
    let everGranted: Grants
    let equivocators: Set<Digest>

    func mayPublish(_ name: CapsuleName, _ author: PublicKey) -> Bool { author.subject.map { grants.mayPublish(name.description, $0) } ?? false }
    func mayEverPublish(_ name: CapsuleName, _ author: PublicKey) -> Bool { author.subject.map { everGranted.mayPublish(name.description, $0) } ?? false }
    func isRoot(_ author: PublicKey) -> Bool { author.subject.map(grants.isRoot) ?? false }
    func isEquivocator(_ author: PublicKey) -> Bool { author.subject.map(equivocators.contains) ?? true }
}
