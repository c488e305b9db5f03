public import CapsuleFormat
internal import Glibc
public import MeshCore

// Chunks and what is made of them, verified at every read.
extension CapsuleStore {
    /// - Throws: `chunk_missing`; `chunk_corrupt` when the bytes here are not the chunk's: they are set aside, and the chunk
    ///   counts as missing from then on.
    public func read(chunk: ChunkReference) throws(MeshError) -> [UInt8] {
        let place = try index.places(CollectionOfOne(chunk.digest))[0]
        let reader = try readers.take()
        defer { readers.give(reader) }
        return try withChunk(chunk, at: place, of: nil, reader) { bytes throws(MeshError) in Array(bytes) }
    }

    /// The content of one file of a tree, verified.
    ///
    /// - Throws: `file_not_found`, `file_too_large`, and as `read(chunk:)`.
    public func readFile(_ tree: VerifiedTree, path: String, bytesMax: Int) throws(MeshError) -> [UInt8] {
        guard let entry = tree.index.position(of: path),
            case .file(let size, _) = tree.index.entries[entry].content
        else {
            throw MeshError(.fileNotFound, "the tree has no file “\(path)”", hint: "`capsule inspect` lists its files")
        }
        guard size <= Int64(bytesMax) else { throw MeshError(.fileTooLarge, "\(path) has \(size) bytes; at most \(bytesMax) are read") }
        var out: [UInt8] = []
        out.reserveCapacity(Int(size))
        let reader = try readers.take()
        defer { readers.give(reader) }
        let chunks = tree.chunks.chunks[tree.fileChunks[entry]]
        for (chunk, place) in zip(chunks, try index.places(chunks.map(\.digest))) {
            try withChunk(chunk, at: place, of: path, reader) { bytes throws(MeshError) in out.append(contentsOf: bytes) }
        }
        return out
    }

    /// Hands the verified bytes to `body`. `file` is named in errors.
    func withChunk<T>(
        _ chunk: ChunkReference, at place: ChunkPlace?, of file: String?, _ reader: ChunkReader,
        _ body: (UnsafeRawBufferPointer) throws(MeshError) -> T
    ) throws(MeshError) -> T {
        // Another length is another chunk's reference, whoever made it up: no reason to doubt the one that is here.
        guard var place, place.length == chunk.length else { throw Self.missing(chunk, file) }
        var outcome = try reader.read(chunk, at: place)
        if case .good = outcome {} else {
            // Once more from the disk, in case only the copy in memory was bad; and from where the chunk is by now: a collection may have
            // moved it since it was looked up.
            reader.forget(place)
            if let now = try index.places(CollectionOfOne(chunk.digest))[0], now.length == chunk.length { place = now }
            outcome = try reader.read(chunk, at: place)
        }
        switch outcome {
        case .good(let bytes): return try body(bytes)
        case .gone: throw Self.missing(chunk, file)
        case .damaged:
            setAside(chunk, place)
            throw MeshError(
                .chunkCorrupt, "the chunk \(chunk.digest)\(file.map { " of \($0)" } ?? "") is damaged in the store",
                hint: "it was set aside in capsules/quarantine; pull, import or pack the capsule again to replace it")
        }
    }

    private static func missing(_ chunk: ChunkReference, _ file: String?) -> MeshError {
        MeshError(
            .chunkMissing, "the chunk \(chunk.digest)\(file.map { " of \($0)" } ?? "") is not in the store",
            hint: "pull, import or pack the capsule again")
    }

    /// The frame's bytes go to `quarantine/` for whoever wants to know what happened, as far as the disk allows.
    private func setAside(_ chunk: ChunkReference, _ place: ChunkPlace) {
        try? index.markDamaged(chunk.digest, place, at: clock.now)
        guard let pack = try? index.packDigest(place.pack) else { return }
        let path = folders.quarantine + "/" + chunk.digest.hex + ".frame"
        guard !Files.exists(path), let file = try? OpenFile(reading: folders.packs + "/" + PackFiles.name(pack)),
            let size = try? file.size(), place.start < size
        else { return }
        let count = min(place.frameBytes, Int(size - place.start))
        if let bytes = try? file.read(count: count, at: place.start) { try? Files.writeDurably(bytes, to: path) }
    }

    /// The root, index or chunk list with this digest, verified. `blob_not_found` when it is not here.
    public func blob(_ digest: Digest) throws(MeshError) -> [UInt8] {
        guard let blob = try index.blob(digest) else { throw Self.missing(document: digest) }
        var out = try stored(blob)
        if let base = blob.base {
            // A base is whole, so that no document is more than one step away from its bytes.
            guard let whole = try index.blob(base), whole.base == nil else { throw Self.missing(document: base) }
            out = try Zstd.apply(out, to: try stored(whole), count: Int(blob.size))
        }
        guard Digest.of(out) == digest else {
            throw MeshError(
                .chunkCorrupt, "the document \(digest) does not have its digest",
                hint: "pull, import or pack the capsule again to replace it")
        }
        return out
    }

    /// The bytes of its pieces: the document, or the difference that makes it.
    private func stored(_ blob: PackFooter.Blob) throws(MeshError) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(Int(blob.storedBytes))
        let reader = try readers.take()
        defer { readers.give(reader) }
        for (piece, place) in zip(blob.pieces, try index.places(blob.pieces.map(\.digest))) {
            try withChunk(piece, at: place, of: nil, reader) { bytes throws(MeshError) in out.append(contentsOf: bytes) }
        }
        return out
    }

    private static func missing(document: Digest) -> MeshError {
        MeshError(.blobNotFound, "the document \(document) is not in the store", hint: "pull or import the capsule that it belongs to")
    }

    // MARK: What is here

    /// The chunks that are not here, each once, in the order given.
    public func missing(_ chunks: [ChunkReference]) throws(MeshError) -> [ChunkReference] {
        var seen: Set<Digest> = []
        let distinct = chunks.filter { seen.insert($0.digest).inserted }
        return zip(distinct, try index.known(distinct.map(\.digest))).filter { !$0.1 }.map(\.0)
    }

    /// For each digest, whether its chunk is here.
    public func has(_ digests: [Digest]) throws(MeshError) -> [Bool] { try index.known(digests) }

    public func contains(capsule: Digest) -> Bool { (try? index.contains(capsule: capsule)) ?? false }

    /// By name, then in the order in which they came.
    public func capsules() throws(MeshError) -> [StoredCapsule] { try index.capsules() }

    /// The capsules whose digests begin with these hexadecimal digits.
    public func capsules(withPrefix hex: String) throws(MeshError) -> [Digest] { try index.capsules(withPrefix: hex) }

    /// - Throws: `capsule_not_found`, `chunk_corrupt`.
    public func capsule(_ digest: Digest) throws(MeshError) -> VerifiedCapsule {
        guard try index.contains(capsule: digest) else { throw Self.notFound(digest) }
        return try readCapsule(digest)
    }

    func readCapsule(_ digest: Digest) throws(MeshError) -> VerifiedCapsule {
        let bytes = try blob(digest)
        let root = try CapsuleRoot(parsing: bytes)
        return try UnverifiedCapsule(root: bytes, index: try blob(root.index), chunks: try blob(root.chunks)).verified(as: digest)
    }

    static func notFound(_ digest: Digest) -> MeshError {
        MeshError(
            .capsuleNotFound, "the capsule \(digest) is not in the store",
            hint: "`capsule ls` lists those that are; `capsule pull` fetches one from the mesh")
    }

    /// A stored tree by the digest of its index: a build's output, or a capsule's files. `tree_not_found` when it is not here.
    public func tree(index digest: Digest) throws(MeshError) -> VerifiedTree {
        guard let (chunks, kind) = try index.tree(digest) else {
            throw MeshError(
                .treeNotFound, "the tree \(digest) is not in the store", hint: "build the capsule that makes it, or pull it again")
        }
        return try VerifiedTree(checking: TreeIndex(parsing: blob(digest), kind: kind), ChunkList(parsing: blob(chunks)))
    }
}

extension CapsuleStore.StoredCapsule {
    init(_ capsule: VerifiedCapsule, origin: CapsuleStore.Origin, addedAt: Milliseconds) {
        self.init(
            digest: capsule.digest, name: capsule.manifest.id.name, version: capsule.manifest.version, origin: origin,
            files: capsule.tree.index.fileCount, bytes: capsule.tree.index.byteCount, addedAt: addedAt)
    }
}
