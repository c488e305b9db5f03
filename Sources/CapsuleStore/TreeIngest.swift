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
    private let aheadMax = 2 * Threads.cores + 1

    init(
        _ source: SourceTree, kind: TreeKind, _ unchanged: UnchangedFiles, _ last: LastVersion, _ ingest: ChunkIngest,
        _ progress: StoreProgressSink?
    ) {
        self.source = source
        self.kind = kind
        self.unchanged = unchanged
        self.ingest = ingest
        reader = SourceReader(tree: source, unchanged: unchanged, last: last)
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
        var digests: [WholeDigest] = []
        let shares = reader.shares()
        var ahead: [(share: ReadShare, promise: Promise<CutContent>)] = []
        var next = 0
        while next < shares.count || !ahead.isEmpty {
            while next < shares.count, ahead.count < aheadMax {
                ahead.append((shares[next], reader.read(shares[next], on: ingest.workers)))
                next += 1
            }
            let (share, promise) = ahead.removeFirst()
            let content = try promise.wait()
            try take(content)
            for (digest, range) in zip(content.digests, content.ranges) { chunks.append(ChunkReference(digest: digest, length: range.count)) }
            digests += try wholeDigests(content, share)
            reader.buffers.give(content.buffer)
            meter.add(files: content.files.count, bytes: content.bytes)
        }
        var known: [Digest] = []
        for digest in digests { known.append(try digest.wait()) }
        return try tree(known, chunks)
    }

    private func take(_ content: CutContent) throws(MeshError) {
        for (i, isKnown) in try ingest.known(content.digests).enumerated() where !isKnown {
            let bytes = content.chunk(i)
            try ingest.add(ChunkReference(digest: content.digests[i], length: bytes.count), bytes)
        }
    }

    /// Of the files that end in a share.
    private func wholeDigests(_ content: CutContent, _ share: ReadShare) throws(MeshError) -> [WholeDigest] {
        if case .part(let file) = share { file.compare(content.digests, on: ingest.workers) }
        var out: [WholeDigest] = []
        for digest in content.files {
            if let digest { out.append(.known(digest)) } else if case .part(let file) = share { out.append(file.digest(on: ingest.workers)) }
        }
        return out
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
