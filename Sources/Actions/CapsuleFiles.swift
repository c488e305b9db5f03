internal import CapsuleFormat
internal import CapsuleStore
internal import Catalog
internal import MeshCore
internal import Signing

extension ActionContext {
    /// Says at most every few percent how far a long store operation is.
    func storeProgress(_ source: String) -> @Sendable (StoreProgress) -> Void {
        let emit = emit
        return { progress in
            emit(NodeEvent(source: source, type: "progress", data: [
                "phase": .string(progress.phase), "files": JSONValue(progress.files), "bytes": .integer(progress.bytes),
                "totalFiles": JSONValue(progress.totalFiles), "totalBytes": .integer(progress.totalBytes),
                "bytesPerSecond": progress.bytesPerSecond.map(JSONValue.integer) ?? .null, "secondsLeft": progress.secondsLeft.map(JSONValue.init) ?? .null,
            ]))
        }
    }
}

extension NodeParts {
    /// The node key, or a named key of this home.
    func signingKey(named name: String?, passphrase: String?) throws(MeshError) -> SigningKey {
        guard let name else { return key }
        // A key that is kept elsewhere, on a stick for instance, is named by its path.
        let path = name.hasPrefix("/") ? name : "\(home.keys)/\(try CapsuleName(parsing: name)).key"
        guard Files.exists(path) else {
            throw MeshError(.keyUnknown, "there is no key “\(name)” in \(home.keys)", hint: "`capsule keys list` shows those there are; `capsule keys new \(name)` makes one")
        }
        return try KeyFile.readSecret(path, passphrase: { () throws(MeshError) in
            guard let passphrase else {
                throw MeshError(.passphraseNeeded, "the key “\(name)” is sealed", hint: "give its passphrase at the prompt or with --passphrase-stdin")
            }
            return Array(passphrase.utf8)
        })
    }

    struct CheckedCapsule {
        let capsule: VerifiedCapsule
        let documents: [ReferrerDocument]
        let checks: [(name: String, detail: String)]
    }

    /// Reads every byte of a stored capsule, or of a file without taking it in.
    func checkContents(of text: String) async throws(MeshError) -> CheckedCapsule {
        try await offEventLoops { () throws(MeshError) in
            if case .path(let path) = try Reference(parsing: text) {
                let archive = try CapsuleArchive(Layout.open(path, codec: ZstdCodec()))
                var chunks = 0
                try archive.verifyContents { (_, _) throws(MeshError) in chunks += 1 }
                let tree = archive.capsule.tree.index
                return CheckedCapsule(capsule: archive.capsule, documents: archive.referrers, checks: [
                    ("container", "frames, digest and seek table agree"), ("layout", "OCI manifest \(archive.manifestDigest)"),
                    ("chunks", "\(chunks) read"), ("files", "\(tree.fileCount) files, \(tree.byteCount) bytes"),
                ])
            }
            let capsule = try self.storedCapsule(text)
            try self.store.verifyContents(of: capsule.tree)
            let tree = capsule.tree.index
            return CheckedCapsule(capsule: capsule, documents: try self.store.referrers(of: capsule.digest), checks: [
                ("root", capsule.digest.description), ("chunks", "\(capsule.tree.chunks.chunks.count) read"),
                ("files", "\(tree.fileCount) files, \(tree.byteCount) bytes"),
            ])
        }
    }

    /// Writes a `.caps` that is complete for a stranger: with the mesh's charter and the facts that make the signers known.
    func export(_ digest: Digest, to path: String) async throws(MeshError) {
        let evidence = try evidence(for: digest)
        try await offEventLoops { () throws(MeshError) in try self.store.exportCaps(digest, extraReferrers: evidence, to: path) }
    }

    private func evidence(for digest: Digest) throws(MeshError) -> [ReferrerDocument] {
        let signers = try Self.signatures(in: try store.referrers(of: digest), of: digest).map(\.author)
        return try catalog.evidence(for: digest, signedBy: signers).map { (bytes) throws(MeshError) in
            ReferrerDocument(bytes: bytes, artifactType: try Envelope(parsing: bytes).payloadType)
        }
    }

    /// What the package lists in a stored capsule name, as its author states it. The same capsule and key make the same bytes.
    func sbomDocument(of capsule: VerifiedCapsule, by signer: SigningKey) throws(MeshError) -> ReferrerDocument {
        let document = try SBOM.document(for: capsule.manifest, digest: capsule.digest, tree: capsule.tree.index) { path throws(MeshError) in
            try store.readFile(capsule.tree, path: path, bytesMax: Limits.sbomFileBytesMax)
        }
        let statement = try SBOM.statement(document, about: capsule.digest)
        return ReferrerDocument(bytes: Envelope.sign(payload: statement.bytes, payloadType: Statement.payloadType, with: signer).bytes,
                                artifactType: Statement.payloadType)
    }

    /// Says to the mesh that this capsule is a release of its name and version.
    func release(_ capsule: VerifiedCapsule, by signer: SigningKey, notes: String?) throws(MeshError) -> Fact {
        let id = capsule.manifest.id
        if let known = try catalog.releases(matching: Glob(id.name.description)).first(where: {
            $0.capsule == capsule.digest && $0.version == id.version && $0.publisher == signer.publicKey
        }), let bytes = try catalog.facts([known.fact]).first {
            return try Fact(parsing: bytes, mesh: catalog.meshID)
        }
        var body: [String: JSONValue] = ["name": .string(id.name.description), "version": .string(id.version.description)]
        if let notes { body["notes"] = .string(notes) }
        return try catalog.publish(kind: "release", subject: capsule.digest, body: body, by: signer)
    }
}

extension ErrorCode {
    static let keyUnknown = ErrorCode("key_unknown", .usage)
    static let passphraseNeeded = ErrorCode("passphrase_needed", .usage)
}
