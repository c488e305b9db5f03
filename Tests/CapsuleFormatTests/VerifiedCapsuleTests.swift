import CapsuleFormat
import MeshCore
import Testing

@Suite struct VerifiedCapsuleTests {
    static func code(_ body: () throws -> Void) -> ErrorCode? {
        let error = #expect(throws: MeshError.self) { try body() }
        #expect(error?.isClearRefusal == true, "\(error.map(String.init(describing:)) ?? "")")
        return error?.code
    }

    struct Documents {
        var manifest: JSONValue
        var index: [UInt8]
        var chunks: [UInt8]
        var root: CapsuleRoot { get throws { CapsuleRoot(manifest: try Manifest(manifest), index: Digest.of(index), chunks: Digest.of(chunks)) } }

        init() throws {
            let capsule = try SampleCapsule.small().capsule
            (manifest, index, chunks) = (capsule.manifest.json, capsule.tree.index.bytes, capsule.tree.chunks.bytes)
        }

        func verified(as expected: Digest? = nil) throws -> VerifiedCapsule {
            try UnverifiedCapsule(root: root.bytes, index: index, chunks: chunks).verified(as: expected)
        }
    }

    @Test func whatFitsIsVerified() throws {
        let documents = try Documents(), root = try documents.root
        let capsule = try documents.verified(as: root.digest)
        #expect(capsule.digest == root.digest && capsule.manifest == root.manifest && capsule.root.bytes == root.bytes)
        #expect(capsule.tree.fileChunks == [0..<0, 0..<1, 1..<1, 1..<1, 1..<2])
    }

    @Test func otherDocumentsThanTheRootNames() throws {
        let documents = try Documents(), root = try documents.root.bytes
        #expect(Self.code { _ = try documents.verified(as: Digest.of([1])) } == .capsuleMismatch)
        let empty = Array("{\"entries\":[]}".utf8)
        #expect(Self.code { _ = try UnverifiedCapsule(root: root, index: empty, chunks: documents.chunks).verified(as: nil) } == .capsuleMismatch)
        #expect(Self.code { _ = try UnverifiedCapsule(root: root, index: documents.index, chunks: ChunkList([]).bytes).verified(as: nil) } == .capsuleMismatch)
    }

    @Test func aRootThatIsSpeltOtherwise() throws {
        let documents = try Documents(), root = try documents.root.bytes
        let text = String(decoding: root, as: UTF8.self)
        for (bytes, code) in [
            (root + [0x0a], ErrorCode.jsonNotCanonical), (Array(text.replacing("\"chunks\"", with: "\"blocks\"").utf8), .jsonNotCanonical),
            (Array(text.replacing("\"index\"", with: "\"indez\"").utf8), .fieldMissing), (Array(text.dropLast().utf8) + Array(",\"more\":1}".utf8), .fieldUnknown),
            (Array(text.replacing("\"index\":\"sha256:", with: "\"index\":\"sha512:").utf8), .fieldInvalid), (Array("[]".utf8), .fieldInvalid), ([], .jsonInvalid),
        ] {
            let error = #expect(throws: MeshError.self) { try UnverifiedCapsule(root: bytes, index: documents.index, chunks: documents.chunks).verified(as: nil) }
            #expect(error?.code == code, "\(String(decoding: bytes, as: UTF8.self))")
        }
    }

    @Test func chunksThatDoNotMakeTheFiles() throws {
        let good = try SampleCapsule.small().capsule.tree.chunks.chunks
        let more = ChunkReference(digest: Digest.of([9]), length: 1)
        for chunks in [[], [good[0]], good + [more], [ChunkReference(digest: good[0].digest, length: good[0].length + 1), good[1]], [more] + good, [good[1], good[0]]] {
            var documents = try Documents()
            documents.chunks = ChunkList(chunks).bytes
            #expect(Self.code { _ = try documents.verified() } == .treeMismatch, "\(chunks)")
        }
    }

    /// `unpack` writes capsule.json from the root; nothing else may stand in its place. In other folders it is a file as any.
    @Test func theManifestIsNotInTheIndex() throws {
        for content in [TreeEntry.Content.file(size: 0, sha256: Digest.of([])), .directory, .link(target: "a")] {
            let mode = if case .link = content { 0o777 } else { content == .directory ? 0o755 : 0o644 }
            for kind in TreeKind.allCases {
                var documents = try Documents()
                documents.manifest = documents.manifest.with(.string(kind.rawValue), at: "/tree")
                documents.chunks = ChunkList([]).bytes
                documents.index = try TreeIndex(entries: [TreeEntry(path: "capsule.json", mode: mode, content: content)], kind: kind).bytes
                #expect(Self.code { _ = try documents.verified() } == .indexInvalid)
                let folder = TreeEntry(path: "a", mode: 0o755, content: .directory)
                documents.index = try TreeIndex(entries: [folder, TreeEntry(path: "a/capsule.json", mode: mode, content: content)], kind: kind).bytes
                _ = try documents.verified()
            }
        }
    }

    @Test func linksLeaveARootFileSystemOnly() throws {
        var documents = try Documents()
        documents.chunks = ChunkList([]).bytes
        documents.index = try TreeIndex(entries: [TreeEntry(path: "sh", mode: 0o777, content: .link(target: "/bin/dash"))], kind: .rootfs).bytes
        #expect(Self.code { _ = try documents.verified() } == .linkEscapes)
        documents.manifest = documents.manifest.with("rootfs", at: "/tree")
        _ = try documents.verified()
    }

    @Test func evidenceIsInTheCapsule() throws {
        var documents = try Documents()
        func attest(_ digest: Digest) -> JSONValue { .array([["type": "sbom", "sha256": .string(digest.hex)]]) }
        documents.manifest = documents.manifest.with(attest(Digest.of(Array("<p>hello</p>\n".utf8))), at: "/attestations")
        _ = try documents.verified()
        documents.manifest = documents.manifest.with(attest(Digest.of([7])), at: "/attestations")
        let error = #expect(throws: MeshError.self) { try documents.verified() }
        #expect(error?.code == .treeMismatch && error?.pointer == "/attestations/0/sha256")
    }
}
