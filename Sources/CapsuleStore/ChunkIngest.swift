internal import CapsuleFormat
internal import Glibc
internal import MeshCore

/// Takes chunks into the store: what is not known yet is grouped, compressed on all cores, and written into packs, each of
/// which is committed when it is full, so that a process that is killed has lost one pack's work at most.
///
/// Used by one thread, under the store's turn. Chunks count only after `finish()`; without it nothing of the last pack is left.
final class ChunkIngest {
    private let store: CapsuleStore
    let workers: WorkerPool
    private let committer: WorkerPool
    private let contents = BufferPool(bytes: Limits.packFrameContentBytesMax)
    private let frames = BufferPool(bytes: Zstd.frameBytesMax(Limits.packFrameContentBytesMax))
    private let inFlightMax = 2 * Threads.cores + 2

    private var group: ChunkGroup?
    private var inFlight: [(promise: Promise<MadeFrame>, content: SharedBuffer)] = []
    private var pack: PackWriter?
    /// What is in no committed pack yet: on its way into a pack, and in the one that is being committed.
    private var fresh: Set<Digest> = []
    private var freshBlobs: Set<Digest> = []
    private var committing: (promise: Promise<Void>, digests: Set<Digest>)?

    /// The packs that were made, durable and indexed after `finish`.
    private(set) var written: [(digest: Digest, bytes: Int64, footer: PackFooter)] = []
    /// Content of chunks that the store did not have.
    private(set) var newBytes: Int64 = 0

    init(_ store: CapsuleStore) throws(MeshError) {
        self.store = store
        workers = try WorkerPool(threads: Threads.cores)
        committer = try WorkerPool(threads: 1)
    }

    /// Which of these are in the store, or on their way into it.
    func known(_ digests: [Digest]) throws(MeshError) -> [Bool] {
        var out = try store.index.known(digests)
        for i in out.indices where !out[i] { out[i] = isFresh(digests[i]) }
        return out
    }

    private func isFresh(_ digest: Digest) -> Bool { fresh.contains(digest) || committing?.digests.contains(digest) ?? false }

    /// Adds verified bytes that `known` did not know. The same chunk may come again and is passed over.
    func add(_ chunk: ChunkReference, _ bytes: UnsafeRawBufferPointer) throws(MeshError) {
        guard !isFresh(chunk.digest) else { return }
        fresh.insert(chunk.digest)
        newBytes += Int64(bytes.count)
        if let group, !group.hasRoom(bytes.count) { try submit() }
        if group == nil { group = ChunkGroup(contents.take()) }
        group?.append(chunk, bytes)
    }

    /// Adds a document, cut like content where it is long.
    func add(blob bytes: [UInt8]) throws(MeshError) -> Digest {
        let digest = Digest.of(bytes)
        let counted = newBytes
        defer { newBytes = counted }
        // Known to the index is not enough: the pack that named it may be gone, and an index that is made anew would not know it.
        guard try !store.index.isNamed(blob: digest), freshBlobs.insert(digest).inserted else {
            // Nor is that: a piece may have been set aside since.
            try addPieces(of: bytes)
            return digest
        }
        let pieces = try addPieces(of: bytes)
        try flush()
        if let pack, !pack.hasRoom(blobPieces: pieces.count) { try commit() }
        try openPack().append(blob: digest, size: Int64(bytes.count), pieces: pieces)
        return digest
    }

    /// Names a document whose pieces are in the store, or on their way into it.
    func carry(_ blob: PackFooter.Blob) throws(MeshError) {
        try flush()
        if let pack, !pack.hasRoom(blobPieces: blob.pieces.count) { try commit() }
        try openPack().append(blob: blob.digest, size: blob.size, pieces: blob.pieces)
    }

    @discardableResult
    private func addPieces(of bytes: [UInt8]) throws(MeshError) -> [ChunkReference] {
        let lengths = bytes.count <= Limits.blobWholeBytesMax ? [bytes.count].filter { $0 > 0 } : bytes.withUnsafeBytes { Chunker.cut($0) }
        var pieces: [ChunkReference] = []
        var start = 0
        for length in lengths {
            pieces.append(
                ChunkReference(
                    digest: bytes.withUnsafeBytes { Digest.of(UnsafeRawBufferPointer(rebasing: $0[start..<start + length])) },
                    length: length))
            start += length
        }
        start = 0
        for (piece, isKnown) in zip(pieces, try known(pieces.map(\.digest))) {
            if !isKnown {
                let part = Array(bytes[start..<start + piece.length])
                try part.withRawBytes { (raw) throws(MeshError) in try add(piece, raw) }
            }
            start += piece.length
        }
        return pieces
    }

    /// Everything that was added is durable and indexed when this returns.
    func finish() throws(MeshError) {
        try flush()
        try commit()
        try awaitCommit()
        workers.close()
        committer.close()
    }

    // MARK: Group → frame → pack → commit

    private func submit() throws(MeshError) {
        guard let full = group else { return }
        group = nil
        if inFlight.count >= inFlightMax { try writeOldest() }
        let promise = Promise<MadeFrame>()
        let frame = frames.take(), contents = contents
        workers.submit {
            promise.fulfil { () throws(MeshError) in
                let scratch = contents.take()
                defer { contents.give(scratch) }
                return try MadeFrame.make(full, into: frame, scratch: scratch)
            }
        }
        inFlight.append((promise, full.content))
    }

    private func writeOldest() throws(MeshError) {
        let (promise, content) = inFlight.removeFirst()
        let made = try promise.wait()
        contents.give(content)
        defer { frames.give(made.frame) }
        if let pack, !pack.hasRoom(frameBytes: made.bytes, chunks: made.chunks.count) { try commit() }
        try openPack().append(frame: made.frame.prefix(made.bytes), chunks: made.chunks)
    }

    private func flush() throws(MeshError) {
        try submit()
        while !inFlight.isEmpty { try writeOldest() }
    }

    private func openPack() throws(MeshError) -> PackWriter {
        if let pack { return pack }
        let new = try PackWriter(in: store.folders.temporary)
        pack = new
        return new
    }

    /// The pack is made durable beside the work on the next one; one such commit at a time.
    private func commit() throws(MeshError) {
        guard let full = pack, !full.isEmpty else { return }
        pack = nil
        let written = try full.finish()
        try awaitCommit()
        self.written.append((written.digest, written.bytes, written.footer))
        let promise = Promise<Void>()
        let folders = store.folders, index = store.index
        committer.submit {
            promise.fulfil { () throws(MeshError) in
                try written.file.file.sync()
                try Files.rename(written.file.file.path, folders.packs + "/" + PackFiles.name(written.digest))
                try Files.syncDirectory(folders.packs)
                try index.add(pack: written.digest, bytes: written.bytes, written.footer)
            }
        }
        let digests = Set(written.footer.chunks.map(\.digest))
        committing = (promise, digests)
        fresh.subtract(digests)
    }

    private func awaitCommit() throws(MeshError) {
        guard let commit = committing else { return }
        try commit.promise.wait()
        committing = nil
    }
}
