internal import MeshCore
internal import Signing

/// Who may say what, as a pure function of the facts that grant, revoke and hand over, and the charter.
struct Authorities: Sendable {
    /// Over all that were admitted: what was ever granted.
    let everGranted: Grants
    /// Over the facts that count.
    let grants: Grants
    let revocations: Revocations
    /// Who has signed two facts at one place, and nobody above them has decided about it.
    let equivocators: Set<Digest>

    /// - Parameters:
    ///   - doubled: the authors of whom two facts at one place are admitted.
    ///   - places: of all admitted facts of an author.
    init(_ control: some Collection<Fact>, _ everGranted: Grants, charter: Charter, doubled: Set<Digest>, places: (Digest) throws(MeshError) -> [FactPlace]) throws(MeshError) {
        self.everGranted = everGranted
        let revocations = try Revocations(control, everGranted, charter: charter, places: places)
        // Chains that went through a revoked key hold only as far as its kept facts do.
        grants = Grants(control.filter(revocations.counts), charter: charter)
        self.revocations = revocations
        equivocators = doubled.subtracting(revocations.decided)
    }

    func roles(of key: Digest) -> [Role: [Glob]] { revocations.kept[key] != nil ? [:] : grants.roles(of: key) }
    func mayPublish(_ name: CapsuleName, _ author: PublicKey) -> Bool { author.subject.map { grants.mayPublish(name.description, $0) } ?? false }
    func mayEverPublish(_ name: CapsuleName, _ author: PublicKey) -> Bool { author.subject.map { everGranted.mayPublish(name.description, $0) } ?? false }
    func isRoot(_ author: PublicKey) -> Bool { author.subject.map(grants.isRoot) ?? false }
    func isEquivocator(_ author: PublicKey) -> Bool { author.subject.map(equivocators.contains) ?? true }
}

/// What is said of one name, as a pure function of the admitted facts that name it, and of who may say what.
struct NameView: Sendable, Hashable {
    /// By version.
    let releases: [Catalog.Release]
    let withdrawals: [Catalog.Withdrawal]
    let channels: [Catalog.Channel]

    /// - Parameter facts: all admitted ones that name it, in any order.
    init(_ facts: [Fact], _ authorities: Authorities) {
        let facts = facts.sorted { $0.id < $1.id }, counted = facts.filter(authorities.revocations.counts)
        withdrawals = facts.compactMap { Catalog.Withdrawal($0, counts: authorities.revocations.counts($0), authorities) }
        let withdrawn = Set(withdrawals.map(\.capsule))
        releases = Self.contest(counted.compactMap { Catalog.Release($0, authorities) }.filter { !withdrawn.contains($0.capsule) }).sorted(by: Catalog.Release.precedes)
        channels = Catalog.Channel.all(counted, authorities, releases: releases, withdrawals: withdrawals)
    }

    /// The same version with two contents: neither is believed over the other.
    private static func contest(_ releases: [Catalog.Release]) -> [Catalog.Release] {
        Dictionary(grouping: releases, by: \.version.description).values.flatMap { group in
            Set(group.map(\.capsule)).count > 1 ? group.map { $0.asContested } : group
        }
    }
}

/// What people see, worked out from nothing but the admitted facts and the charter. The catalog in use keeps the same up to date bit by
/// bit; this is for the few facts that come with a capsule, and for holding the other against.
struct CatalogView: Sendable {
    let authorities: Authorities
    let names: [CapsuleName: NameView]

    init(_ set: AdmittedSet, charter: Charter) {
        let byAuthor = Dictionary(grouping: set.admitted.values) { $0.author.subject }
        let doubled = Set(byAuthor.filter { Set($0.value.map(\.seq)).count < $0.value.count }.compactMap(\.key))
        // Nothing is read, so nothing is thrown.
        authorities = (try? Authorities(set.admitted.values.filter(\.isControl), set.grants, charter: charter, doubled: doubled) { key in (byAuthor[key] ?? []).map(FactPlace.init) })
            ?? Authorities(none: charter)
        let authorities = authorities
        names = Dictionary(grouping: set.admitted.values.filter { $0.name != nil }) { $0.name }.reduce(into: [:]) { out, group in
            if let name = group.key { out[name] = NameView(group.value, authorities) }
        }
    }

    var grants: Grants { authorities.grants }
    var revoked: Set<Digest> { Set(authorities.revocations.kept.keys) }
    var releases: [Catalog.Release] { names.values.flatMap(\.releases).sorted(by: Catalog.Release.precedes) }
    var channels: [Catalog.Channel] { names.values.flatMap(\.channels).sorted { ($0.name, $0.channel) < ($1.name, $1.channel) } }
    var withdrawals: [Catalog.Withdrawal] { names.values.flatMap(\.withdrawals).sorted { $0.fact < $1.fact } }
    func roles(of key: Digest) -> [Role: [Glob]] { authorities.roles(of: key) }
}

extension Authorities {
    /// Roots alone.
    init(none charter: Charter) {
        let grants = Grants([], charter: charter)
        (everGranted, self.grants, equivocators) = (grants, grants, [])
        revocations = Revocations.none
    }
}

extension Revocations {
    static let none = Revocations(kept: [:], decided: [], successors: [:])
    private init(kept: [Digest: Set<Digest>], decided: Set<Digest>, successors: [Digest: PublicKey]) {
        (self.kept, self.decided, self.successors) = (kept, decided, successors)
    }
}
