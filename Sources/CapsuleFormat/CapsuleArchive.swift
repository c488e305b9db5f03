public import MeshCore

/// An OCI layout that holds one capsule, with every document of it checked. The content is checked by `verifyContents`.
public struct CapsuleArchive: Sendable {
    public let capsule: VerifiedCapsule
    /// Well-formed envelopes that refer to the capsule; who signed them is for others to judge. Ordered by the digests of their manifests.
    public let referrers: [ReferrerDocument]
    public let manifestDigest: Digest

    private let layout: any LayoutSource
    private let filesTar: OCIDescriptor

    /// Errors, all of them exit 65: `layout_invalid`, `digest_mismatch`, and those of the documents within.
    public init(_ layout: any LayoutSource) throws(MeshError) {
        let caps = layout as? CapsReader
        let version = try layout.read(LayoutPlan.layoutMember, bytesMax: 4096)
        guard caps == nil ? try JSONValue.parse(version)["imageLayoutVersion"]?.string == "1.0.0" : version == LayoutPlan.layoutBytes else {
            throw layoutInvalid("its oci-layout is not version 1.0.0")
        }
        let indexBytes = try layout.read(LayoutPlan.indexMember, bytesMax: Limits.layoutDocumentBytesMax)
        let listed = try Listed(in: OCIIndex(parsing: indexBytes, tolerant: caps == nil), layout)

        let manifest = listed.capsule
        let root = try layout.readBlob(manifest.config, bytesMax: Limits.manifestBytesMax + 1024)
        let index = try layout.readBlob(manifest.layers[0], bytesMax: Limits.indexBytesMax)
        var chunks: [UInt8] = []
        capsule = try UnverifiedCapsule.verified(root: root, index: index, as: manifest.config.digest) { bytes throws(MeshError) in
            let list = manifest.layers[1]
            // Half a gigabyte that cannot fit the index is not read to find that out.
            guard list.size > Int64(Limits.chunkListBytesMax) || bytes.contains(list.size) else {
                throw VerifiedTree.mismatch("the list has \(list.size) bytes; the index needs \(bytes.lowerBound) to \(bytes.upperBound)")
            }
            chunks = try layout.readBlob(list, bytesMax: Limits.chunkListBytesMax)
            return chunks
        }
        filesTar = manifest.layers[2]
        let descriptor = manifest.descriptor
        manifestDigest = descriptor.digest
        guard OCIManifest.capsule(root: root, index: index, chunks: chunks, filesTar: (filesTar.digest, filesTar.size)) == manifest else {
            throw layoutInvalid("its manifest is not the one that the capsule makes")
        }
        guard filesTar.size == CanonicalTar.size(of: capsule.tree.index),
              layout.members[LayoutPlan.blobMember(filesTar.digest)] == filesTar.size else {
            throw MeshError(.filesTarMismatch, "files.tar does not have the length that the capsule's index gives it",
                            hint: Self.contentHint)
        }
        referrers = try listed.referrers(in: layout, of: descriptor, strict: caps != nil)
        self.layout = layout

        if let caps {
            let plan = try LayoutPlan(capsule, filesTar: (filesTar.digest, filesTar.size), referrers: referrers)
            guard indexBytes == OCIIndex([plan.manifest]).bytes else {
                throw layoutInvalid("its index.json lists something besides the capsule")
            }
            let expected = plan.members.map(\.name)
            let names = Set(expected)
            if let stranger = caps.order.first(where: { !names.contains($0) }) {
                throw layoutInvalid("the member “\(stranger)” belongs to nothing in it")
            }
            guard caps.order == expected else { throw layoutInvalid("its members are missing or not in their order") }
        }
    }

    static let contentHint = "the capsule was damaged or altered; ask for it again"

    /// Reads files.tar from start to end and holds it against the index: every header, every chunk's digest and place of
    /// cutting, every file's digest, the zero bytes between, and the digest of the whole. Each chunk is handed on once it is verified,
    /// in index order and as often as it occurs; what `eachChunk` throws ends the reading. Errors: `files_tar_mismatch`, `chunks_invalid`,
    /// and those of the layout.
    public func verifyContents(_ eachChunk: (ChunkReference, [UInt8]) throws(MeshError) -> Void) throws(MeshError) {
        var stream = MemberStream(LayoutPlan.blobMember(filesTar.digest), of: layout, size: filesTar.size)
        defer { stream.drop() }
        let tree = capsule.tree
        for (entry, range) in zip(tree.index.entries, tree.fileChunks) {
            let header = try CanonicalTar.header(for: entry)
            guard try stream.read(header.count) == header else { throw mismatch("has another entry where the index has \(entry.path)") }
            guard case .file(let size, let fileDigest) = entry.content else { continue }
            var hasher = DigestHasher()
            var last = Digest.of([])
            for (i, chunk) in zip(range, tree.chunks.chunks[range]) {
                let bytes = try stream.read(chunk.length)
                last = Digest.of(bytes)
                guard last == chunk.digest else { throw mismatch("has other bytes for \(entry.path) than the capsule") }
                let next = i + 1 < range.upperBound ? try stream.peek() : nil
                guard bytes.withUnsafeBytes({ Chunker.OpenChunk($0) })?.ends(before: next) ?? false else {
                    throw MeshError(.chunksInvalid, "\(entry.path) is not cut into the chunks that its content makes",
                                    hint: "the capsule was written by a faulty program; pack its files again")
                }
                if range.count > 1 { hasher.update(bytes) }
                try eachChunk(chunk, bytes)
            }
            guard (range.count > 1 ? hasher.finish() : last) == fileDigest else {
                throw mismatch("has chunks for \(entry.path) that do not make the file of the index")
            }
            try requireZeros(CanonicalTar.padding(afterSize: size), in: &stream, after: entry.path)
        }
        try requireZeros(CanonicalTar.trailer.count, in: &stream, after: "the last entry")
        guard try stream.finish() == filesTar.digest else { throw mismatch("does not have the digest that the manifest says") }
    }

    private func requireZeros(_ count: Int, in stream: inout MemberStream, after what: String) throws(MeshError) {
        guard try stream.read(count).allSatisfy({ $0 == 0 }) else { throw mismatch("has something besides zeros after \(what)") }
    }

    private func mismatch(_ what: String) -> MeshError {
        MeshError(.filesTarMismatch, "files.tar \(what)", hint: Self.contentHint)
    }
}

/// What an index.json leads to: the capsule's manifest, and other manifests that have a subject.
private struct Listed {
    let capsule: OCIManifest
    private var others: [OCIDescriptor] = []

    init(in index: OCIIndex, _ layout: any LayoutSource) throws(MeshError) {
        var capsules: [Digest: OCIManifest] = [:]
        guard index.manifests.count <= Limits.layoutMembersMax else { throw layoutInvalid("its index.json lists too many manifests") }
        for descriptor in index.manifests where descriptor.mediaType == OCIMediaType.manifest {
            let bytes = try layout.readBlob(descriptor, bytesMax: Limits.controlMessageBytesMax)
            let json = try JSONValue.parse(bytes)
            if json["artifactType"]?.string == OCIMediaType.capsule, json["subject"] == nil {
                capsules[descriptor.digest] = try OCIManifest(parsing: bytes)
            } else if json["subject"] != nil {
                others.append(descriptor)
            }
        }
        guard let manifest = capsules.values.first else { throw layoutInvalid("no manifest in its index.json is one of a capsule") }
        guard capsules.count == 1 else { throw layoutInvalid("its index.json lists \(capsules.count) capsules; one is expected") }
        guard manifest.layers.count == 3 else {
            throw layoutInvalid("the capsule's manifest has \(manifest.layers.count) layers instead of three")
        }
        capsule = manifest
    }

    /// From the list beside the blobs, and from index.json, where other tools put what refers to an image. Manifests of
    /// another shape are refused in the first and passed over in the second.
    func referrers(in layout: any LayoutSource, of subject: OCIDescriptor, strict: Bool) throws(MeshError) -> [ReferrerDocument] {
        var found: [Digest: ReferrerDocument] = [:], bytes = 0
        let list = LayoutPlan.referrersMember(of: subject.digest)
        if layout.members[list] != nil {
            let index = try OCIIndex(parsing: try layout.read(list, bytesMax: Limits.layoutDocumentBytesMax))
            guard (1...Limits.referrersPerCapsuleMax).contains(index.manifests.count) else {
                throw layoutInvalid("\(index.manifests.count) documents refer to the capsule; 1 to \(Limits.referrersPerCapsuleMax) are read")
            }
            for descriptor in index.manifests {
                let (document, manifest) = try Self.referrer(descriptor, in: layout, of: subject)
                guard manifest.descriptor == descriptor, found.updateValue(document, forKey: descriptor.digest) == nil else {
                    throw layoutInvalid("its list of referrers is not the one that they make")
                }
                bytes += document.bytes.count
                guard bytes <= Limits.referrersPerCapsuleBytesMax else {
                    throw layoutInvalid("what refers to the capsule has more than \(Limits.referrersPerCapsuleBytesMax) bytes")
                }
            }
            guard !strict || index.manifests.map(\.digest) == found.keys.sorted() else {
                throw layoutInvalid("its list of referrers is not in order")
            }
        }
        for descriptor in others where found.count < Limits.referrersPerCapsuleMax {
            guard found[descriptor.digest] == nil, let document = try? Self.referrer(descriptor, in: layout, of: subject).0 else { continue }
            bytes += document.bytes.count
            guard bytes <= Limits.referrersPerCapsuleBytesMax else { break }
            found[descriptor.digest] = document
        }
        return found.sorted { $0.key < $1.key }.map(\.value)
    }

    private static func referrer(_ descriptor: OCIDescriptor, in layout: any LayoutSource,
                                 of subject: OCIDescriptor) throws(MeshError) -> (ReferrerDocument, OCIManifest) {
        let manifest = try OCIManifest(parsing: layout.readBlob(descriptor, bytesMax: Limits.controlMessageBytesMax))
        guard manifest.layers.count == 1, manifest.layers[0].mediaType == OCIMediaType.envelope else {
            throw layoutInvalid("the referrer \(descriptor.digest) does not hold one DSSE envelope")
        }
        let document = ReferrerDocument(bytes: try layout.readBlob(manifest.layers[0], bytesMax: Limits.envelopeBytesMax),
                                        artifactType: manifest.artifactType)
        guard try OCIManifest.referrer(document, subject: subject) == manifest else {
            throw layoutInvalid("the referrer \(descriptor.digest) does not refer to the capsule in the documented form")
        }
        _ = try layout.readBlob(.empty, bytesMax: 2)
        return (document, manifest)
    }
}
