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

    /// Adds a document, cut like content where it is long, or as a difference to `base`, a document that is much like it.
    func add(blob bytes: [UInt8], base: Digest? = nil) throws(MeshError) -> Digest {
        let digest = Digest.of(bytes)
        let counted = newBytes
        defer { newBytes = counted }
        guard freshBlobs.insert(digest).inserted else { return digest }
        // Known to the index is not enough: the pack that named it may be gone, and an index that is made anew would not know it.
        if try store.index.isNamed(blob: digest), let known = try store.index.blob(digest) {
            if try isHere(known) { return digest }
            // A piece was set aside since.
            if known.base == nil {
                try addPieces(of: bytes)
                return digest
            }
        } else if let base, let difference = try difference(of: bytes, to: base) {
            try carry(PackFooter.Blob(digest: digest, size: Int64(bytes.count), pieces: try addPieces(of: difference.bytes), base: difference.base))
            return digest
        }
        try carry(PackFooter.Blob(digest: digest, size: Int64(bytes.count), pieces: try addPieces(of: bytes)))
        return digest
    }

    /// Names a document whose pieces are in the store, or on their way into it.
    func carry(_ blob: PackFooter.Blob) throws(MeshError) {
        try flush()
        if let pack, !pack.hasRoom(blobPieces: blob.pieces.count) { try commit() }
        try openPack().append(blob)
    }

    /// Whether all is here that makes the document.
    private func isHere(_ blob: PackFooter.Blob) throws(MeshError) -> Bool {
        guard try known(blob.pieces.map(\.digest)).allSatisfy({ $0 }) else { return false }
        guard let base = blob.base else { return true }
        guard let whole = try store.index.blob(base), whole.base == nil else { return false }
        return try isHere(whole)
    }

    /// What makes `bytes` of `base`, or of what `base` itself is a difference to; nil where it would not save much.
    private func difference(of bytes: [UInt8], to base: Digest) throws(MeshError) -> (bytes: [UInt8], base: Digest)? {
        let sizes = Limits.blobWholeBytesMax + 1...Limits.differenceBytesMax
        guard sizes.contains(bytes.count), let described = try store.index.blob(base) else { return nil }
        let whole = described.base ?? base
        guard let size = try store.index.blob(whole)?.size, sizes.contains(Int(size)) else { return nil }
        let from: [UInt8]
        do throws(MeshError) { from = try store.blob(whole) } catch {
            // A base that is damaged is no base. Whoever reads the capsule that it belongs to is told.
            guard error.code.exit == .badData || error.code == .blobNotFound else { throw error }
            return nil
        }
        let difference = try Zstd.difference(of: bytes, from: from)
        // The differences grow from version to version as the base gets older; at some point a new base costs less than the next of them.
        return difference.count <= bytes.count / Limits.differenceDivisor ? (difference, whole) : nil
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
