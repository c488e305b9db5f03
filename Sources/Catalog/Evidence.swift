public import MeshCore
public import Signing

// What travels beside a capsule, so that a stranger can see who stands behind it.
extension Catalog {
    /// The envelopes that make a capsule's makers known to whoever trusts this mesh's roots: the charter, what was said of the
    /// capsule (released, withdrawn), every grant on the way from a root to its publishers and signers, and all revocations.
    public func evidence(for capsule: Digest, signedBy signers: [PublicKey]) throws(MeshError) -> [[UInt8]] {
        let charter = charter, grants = authorities.everGranted, control = control, authors = authors
        let about = try table.envelopes(.about(capsule)).map { (envelope) throws(MeshError) in try Fact(stored: envelope, mesh: charter.meshID) }
        let makers = Set((about.map(\.author) + signers).compactMap(\.subject)).filter(grants.isKnown)
        // A mesh that knows nobody of them has nothing to say.
        guard !makers.isEmpty else { return [] }
        // Whoever handed over to a maker stands behind it too.
        var above = makers.reduce(makers) { $0.union(grants.ancestors(of: $1)) }
        let successions = control.filter { $0.successor != nil }
        var before = -1
        while above.count != before {
            before = above.count
            for fact in successions { if let new = fact.successor?.subject, above.contains(new), let old = fact.author.subject { above.formUnion(grants.ancestors(of: old).union([old])) } }
        }
        let rest = control.filter { $0.kind == "revoke" || ($0.subject.map(above.contains) ?? false) }
        let chains = try Self.keptChains(of: above, rest) { (key) throws(MeshError) in
            guard let row = authors[key] else { return [] }
            return try self.table.envelopes(.by(row.number)).map { (envelope) throws(MeshError) in try Fact(stored: envelope, mesh: charter.meshID) }
        }
        var seen: Set<Digest> = []
        return charter.envelopes + (about + rest + chains).filter { seen.insert($0.id).inserted }.sorted { $0.id < $1.id }.map(\.envelope)
    }

    /// What a revocation keeps of one of these keys is kept with the facts before it. Where that is more than a file carries,
    /// the reader finds less kept than the mesh does, and trusts less.
    private static func keptChains(of keys: Set<Digest>, _ control: [Fact], facts: (Digest) throws(MeshError) -> [Fact]) throws(MeshError) -> [Fact] {
        var out: [Fact] = []
        for fact in control {
            // A key that leaves by itself is followed from there; one that was revoked, from what was kept.
            let leaves = fact.successor != nil || fact.author.subject == fact.subject
            guard fact.kind != "grant", let key = leaves ? fact.author.subject : fact.subject, keys.contains(key) else { continue }
            var next = leaves ? fact.prev : fact.body["keep"]?.string.flatMap { Digest(hex: $0) }
            if next == nil { continue }
            let byID = Dictionary(try facts(key).map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
            while let id = next, let fact = byID[id] {
                guard out.count < chainFactsMax else { return [] }
                out.append(fact)
                next = fact.prev
            }
        }
        return out
    }

    /// Half of the documents that may refer to a capsule.
    private static let chainFactsMax = Limits.referrersPerCapsuleMax / 2
}

/// What a capsule brings along of the mesh that it comes from, weighed by itself and believed by nobody yet.
public struct CarriedCatalog: Sendable {
    public let charter: Charter
    private let view: CatalogView

    /// One for each charter among the envelopes: a capsule that was passed on may come from several meshes. What is no
    /// fact of a charter's mesh is passed over.
    public static func all(in envelopes: [[UInt8]]) -> [CarriedCatalog] {
        let charters = envelopes.filter { (try? Envelope(parsing: $0))?.payloadType == Charter.payloadType }
        // Alone only a first one can stand; the others of its mesh follow from it.
        return charters.compactMap { try? Charter(envelopes: [$0]).adding(charters) }.map { CarriedCatalog($0, envelopes) }
    }

    private init(_ charter: Charter, _ envelopes: [[UInt8]]) {
        self.charter = charter
        let facts = envelopes.compactMap { try? Fact(parsing: $0, mesh: charter.meshID) }
        view = CatalogView(AdmittedSet(offered: facts, charter: charter), charter: charter)
    }

    /// Whether so many of these keys are roots of the charter as must agree in it.
    public func isAnchored(in keys: Set<PublicKey>) -> Bool { charter.roots.count(where: keys.contains) >= charter.threshold }

    public func mayPublish(_ name: String, _ key: PublicKey) -> Bool {
        key.subject.map { !view.revoked.contains($0) && view.grants.mayPublish(name, $0) } ?? false
    }

    public func release(of capsule: Digest) -> Catalog.Release? {
        view.releases.first { $0.capsule == capsule && !$0.contested }
    }
}
