internal import CapsuleFormat
internal import CapsuleStore
internal import Catalog
internal import MeshCore
internal import Signing

/// Who vouches for a capsule, and whether this node has reason to believe them.
struct TrustVerdict: Sendable {
    struct Signer: Sendable, Hashable {
        let key: PublicKey
        let trusted: Bool
    }

    let signers: [Signer]
    let trusted: Bool
    /// One sentence for people.
    let reason: String
}

extension NodeParts {
    /// The signature statement that `pack` makes: "I made this". Its predicate names the key, so that anyone can check it.
    static func signatureDocument(for capsule: Digest, by key: SigningKey) -> ReferrerDocument {
        let statement = Statement(subjects: [.init(name: nil, digest: capsule)], predicateType: Statement.capsuleSignatureType,
                                  predicate: ["author": .string(key.publicKey.hex)])
        let envelope = Envelope.sign(payload: statement.bytes, payloadType: Statement.payloadType, with: key)
        return ReferrerDocument(bytes: envelope.bytes, artifactType: Statement.payloadType)
    }

    /// The signature statements among what refers to a capsule, each verified with the key that it names.
    ///
    /// - Throws: `signature_invalid`, `signature_foreign`.
    static func signatures(in documents: [ReferrerDocument], of capsule: Digest) throws(MeshError) -> [(author: PublicKey, document: ReferrerDocument)] {
        var out: [(author: PublicKey, document: ReferrerDocument)] = []
        for document in documents {
            let envelope = try Envelope(parsing: document.bytes)
            guard envelope.payloadType == Statement.payloadType else { continue }
            let statement = try Statement(parsing: envelope.payload)
            guard let author = try statement.capsuleSigner() else { continue }
            guard statement.subjects.contains(where: { $0.digest == capsule }) else {
                throw MeshError(.signatureForeign, "a signature beside the capsule is about something else", hint: "get the capsule again from its author")
            }
            _ = try envelope.verify(with: [author])
            out.append((author, document))
        }
        return out
    }

    /// Weighs the documents that came with a capsule. A signature that does not verify is an error (`signature_invalid`):
    /// somebody altered it; a valid one by a stranger is merely not a reason to trust. `anchors`: keys to believe for this
    /// question, as signers, or as the roots of the mesh whose charter came with the capsule.
    func trustVerdict(_ capsule: VerifiedCapsule, _ documents: [ReferrerDocument], anchors: [PublicKey]) throws(MeshError) -> TrustVerdict {
        let own = Set(try KeyFile.list(in: home.keys).filter(\.hasSecret).map(\.publicKey))
        let anchors = Set(anchors)
        let carried = anchors.isEmpty ? [] : CarriedCatalog.all(in: documents.map(\.bytes)).filter { $0.isAnchored(in: anchors) }
        let name = capsule.manifest.id.name.description
        var signers: [TrustVerdict.Signer] = []
        for (author, _) in try Self.signatures(in: documents, of: capsule.digest) {
            let publishes = try catalog.roles(of: author)[.publisher]?.contains { $0.matches(name) } ?? false
            let vouched = carried.contains { $0.mayPublish(name, author) }
            let signer = TrustVerdict.Signer(key: author, trusted: own.contains(author) || anchors.contains(author) || publishes || vouched)
            if !signers.contains(signer) { signers.append(signer) }
        }
        if let signer = signers.first(where: \.trusted) {
            let how = !carried.isEmpty && !own.contains(signer.key) && !anchors.contains(signer.key) ? "whom the mesh of the given root trusts" : "which this node trusts"
            return TrustVerdict(signers: signers, trusted: true, reason: "signed by \(signer.key.id.short), \(how)")
        }
        if let release = try catalog.releases(of: capsule.digest).first(where: { $0.name == capsule.manifest.id.name && !$0.contested }) {
            return TrustVerdict(signers: signers, trusted: true, reason: "released in this mesh by \(release.publisher.id.short)")
        }
        if let release = carried.lazy.compactMap({ $0.release(of: capsule.digest) }).first {
            return TrustVerdict(signers: signers, trusted: true, reason: "released by \(release.publisher.id.short) in the mesh of the given root")
        }
        if let stored = try store.capsules().first(where: { $0.digest == capsule.digest }), stored.origin == .packed {
            return TrustVerdict(signers: signers, trusted: true, reason: "packed in this home")
        }
        let reason = signers.isEmpty ? "nobody signed it" : "signed, but by nobody this node trusts"
        return TrustVerdict(signers: signers, trusted: false, reason: reason)
    }

    /// `untrusted` (77) unless the node has a reason to believe in the stored capsule.
    func requireTrust(in capsule: VerifiedCapsule) throws(MeshError) {
        try Self.require(try trustVerdict(capsule, try store.referrers(of: capsule.digest), anchors: []), of: capsule)
    }

    static func require(_ verdict: TrustVerdict, of capsule: VerifiedCapsule) throws(MeshError) {
        guard verdict.trusted else {
            throw MeshError(.untrusted, "\(capsule.digest) is intact, but \(verdict.reason)",
                            hint: "ask its author for a release, or trust the signer: `capsule keys trust FILE.pub --role publisher --scope \(capsule.manifest.id.name)`")
        }
    }
}

extension ErrorCode {
    static let untrusted = ErrorCode("untrusted", .notPermitted)
    static let signatureForeign = ErrorCode("signature_foreign", .badData)
}
