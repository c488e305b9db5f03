internal import CapsuleFormat
internal import MeshCore

/// Takes a folder's content into the store: shares are read, cut and hashed on all cores, a few ahead; this thread takes
/// them in order, asks which chunks are new, and hands those on to be compressed. Unchanged files are not read.
struct TreeIngest {
    private let source: SourceTree
    private let kind: TreeKind
    private let unchanged: UnchangedFiles
    private let reader: SourceReader
    private let ingest: ChunkIngest
    private let meter: ProgressMeter
    private let aheadMax = Threads.cores + 1

    init(_ source: SourceTree, kind: TreeKind, _ unchanged: UnchangedFiles, _ ingest: ChunkIngest, _ progress: StoreProgressSink?) {
        self.source = source
        self.kind = kind
        self.unchanged = unchanged
        self.ingest = ingest
        reader = SourceReader(tree: source, unchanged: unchanged)
        var files = 0
        var bytes: Int64 = 0
        for item in source.items {
            guard case .file(let size) = item.kind else { continue }
            files += 1
            bytes += size
        }
        meter = ProgressMeter("pack", files: files, bytes: bytes, progress)
        if unchanged.files > 0 { meter.pass(files: unchanged.files, bytes: unchanged.bytes) }
    }

    /// The tree, with its chunks on their way into the store.
    func run() throws(MeshError) -> (index: TreeIndex, chunks: ChunkList) {
        var chunks: [ChunkReference] = []
        var digests: [Digest] = []
        let shares = reader.shares()
        var ahead: [Promise<CutContent>] = []
        var next = 0
        for taken in shares.indices {
            while next < shares.count, ahead.count < aheadMax, isReady(shares[next], taken: taken, at: next) {
                ahead.append(read(shares[next]))
                next += 1
            }
            let content = try ahead.removeFirst().wait()
            // What follows in the same file can be read now, while this thread works on this part of it.
            if next < shares.count, ahead.count < aheadMax, isReady(shares[next], taken: taken + 1, at: next) {
                ahead.append(read(shares[next]))
                next += 1
            }
            try take(content)
            for piece in content.pieces { chunks.append(ChunkReference(digest: piece.digest, length: piece.length)) }
            digests += content.files
            reader.buffers.give(content.buffer)
            meter.add(files: content.files.count, bytes: content.bytes)
        }
        return try tree(digests, chunks)
    }

    /// A part of a large file is cut from where the one before it ended, so that one must have been taken.
    private func isReady(_ share: ReadShare, taken: Int, at position: Int) -> Bool {
        if case .part(_, isFirst: false) = share { taken == position } else { true }
    }

    private func read(_ share: ReadShare) -> Promise<CutContent> {
        let promise = Promise<CutContent>()
        let reader = reader
        ingest.workers.submit(urgent: true) { promise.fulfil { () throws(MeshError) in try reader.read(share) } }
        return promise
    }

    private func take(_ content: CutContent) throws(MeshError) {
        for (piece, isKnown) in zip(content.pieces, try ingest.known(content.pieces.map(\.digest))) where !isKnown {
            try ingest.add(
                ChunkReference(digest: piece.digest, length: piece.length),
                UnsafeRawBufferPointer(rebasing: content.buffer.bytes[piece.start..<piece.start + piece.length]))
        }
    }

    /// Puts together what was read and what is unchanged.
    private func tree(_ digests: [Digest], _ read: [ChunkReference]) throws(MeshError) -> (index: TreeIndex, chunks: ChunkList) {
        var entries: [TreeEntry] = []
        entries.reserveCapacity(source.items.count)
        var chunks: [ChunkReference] = []
        chunks.reserveCapacity(read.count + unchanged.files)
        var file = 0, next = 0
        for (i, item) in source.items.enumerated() {
            let content: TreeEntry.Content
            switch item.kind {
            case .file(let size):
                if let known = unchanged.content(of: i) {
                    chunks += known.chunks
                    content = .file(size: size, sha256: known.digest)
                } else {
                    let start = next
                    var left = size
                    while left > 0 {
                        left -= Int64(read[next].length)
                        next += 1
                    }
                    chunks += read[start..<next]
                    content = .file(size: size, sha256: digests[file])
                    file += 1
                }
            case .directory: content = .directory
            case .link(let target): content = .link(target: target)
            }
            entries.append(TreeEntry(path: item.path, mode: item.mode, content: content))
        }
        return (try TreeIndex(entries: entries, kind: kind), ChunkList(chunks))
    }
}
