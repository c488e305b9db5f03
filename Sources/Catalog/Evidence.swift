public import MeshCore
public import Signing

// What travels beside a capsule, so that a stranger can see who stands behind it.
extension Catalog {
    /// The envelopes that make a capsule's makers known to whoever trusts this mesh's roots: the charter, what was said of the
    /// capsule (released, withdrawn), every grant on the way from a root to its publishers and signers, and all revocations.
    public func evidence(for capsule: Digest, signedBy signers: [PublicKey]) throws(MeshError) -> [[UInt8]] {
        let (charter, facts, grants) = snapshot
        let about = facts.filter { ($0.kind == "release" || $0.kind == "withdraw") && $0.subject == capsule }
        let makers = Set((about.map(\.author) + signers).compactMap(\.subject)).filter(grants.isKnown)
        // A mesh that knows nobody of them has nothing to say.
        guard !makers.isEmpty else { return [] }
        let above = makers.reduce(makers) { $0.union(grants.ancestors(of: $1)) }
        let rest = facts.filter { $0.kind == "revoke" || ($0.kind == "grant" && $0.subject.map(above.contains) ?? false) }
        return try charter.envelopes + (about + rest).sorted { $0.id < $1.id }.map(\.envelope)
    }
}

/// What a capsule brings along of the mesh that it comes from, weighed by itself and believed by nobody yet.
public struct CarriedCatalog: Sendable {
    public let charter: Charter
    private let view: CatalogView

    /// One for each charter among the envelopes: a capsule that was passed on may come from several meshes. What is no
    /// fact of a charter's mesh is passed over.
    public static func all(in envelopes: [[UInt8]]) -> [CarriedCatalog] {
        envelopes.filter { (try? Envelope(parsing: $0))?.payloadType == Charter.payloadType }
            .compactMap { try? Charter(envelopes: [$0]) }.map { CarriedCatalog($0, envelopes) }
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
