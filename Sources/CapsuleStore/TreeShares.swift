public import CapsuleFormat
public import MeshCore

extension VerifiedTree {
    /// Runs of entries for one thread each, in order: a few MiB or a few hundred entries.
    func shares() -> [Range<Int>] {
        var out: [Range<Int>] = []
        var start = 0
        var bytes: Int64 = 0
        for (i, entry) in index.entries.enumerated() {
            if case .file(let size, _) = entry.content { bytes += size }
            guard bytes >= Limits.restoreUnitBytes || i + 1 - start == Limits.ingestUnitFilesMax else { continue }
            out.append(start..<i + 1)
            (start, bytes) = (i + 1, 0)
        }
        if start < index.entries.count { out.append(start..<index.entries.count) }
        return out
    }

    /// The chunks of a run of entries; they follow each other in the list.
    func chunkRange(_ entries: Range<Int>) -> Range<Int> {
        guard let first = entries.first, let last = entries.last else { return 0..<0 }
        return fileChunks[first].lowerBound..<fileChunks[last].upperBound
    }
}

extension CapsuleStore {
    /// Reads every chunk of a tree and holds every file against the digest that the index names, on all cores.
    ///
    /// - Throws: `chunk_missing`, `chunk_corrupt`, `file_mismatch`, for the first file in order.
    public func verifyContents(of tree: VerifiedTree) throws(MeshError) { try verifyContents(of: tree, progress: nil) }

    public func verifyContents(of tree: VerifiedTree, progress: StoreProgressSink?) throws(MeshError) {
        try verifyContents(of: tree, checksCuts: false, progress)
    }

    /// `checksCuts`: also that each file is cut into the chunks that its content makes (`chunks_invalid`). For what others
    /// made: a capsule cut otherwise would share nothing with the same files packed elsewhere.
    func verifyContents(of tree: VerifiedTree, checksCuts: Bool, _ progress: StoreProgressSink? = nil) throws(MeshError) {
        let shares = tree.shares()
        let meter = ProgressMeter("verify", files: tree.index.fileCount, bytes: tree.index.byteCount, progress)
        try Threads.each(shares.count) { (i) throws(MeshError) in try self.verify(shares[i], of: tree, checksCuts: checksCuts, meter) }
    }

    private func verify(_ entries: Range<Int>, of tree: VerifiedTree, checksCuts: Bool, _ meter: ProgressMeter) throws(MeshError) {
        let reader = try readers.take()
        defer { readers.give(reader) }
        let range = tree.chunkRange(entries)
        let places = try index.places(tree.chunks.chunks[range].map(\.digest))
        for i in entries {
            let entry = tree.index.entries[i]
            guard case .file(let size, let expected) = entry.content else { continue }
            let chunks = tree.fileChunks[i]
            // Chunks are held against their digests when they enter the store. Here the file's digest says whether they are all still
            // right, with one hash of each byte; where it does not, the chunks are asked one by one below, which names the bad one.
            if !checksCuts, chunks.count > 1, try isWhole(chunks, of: tree, expected, places[(chunks.lowerBound - range.lowerBound)...], reader) {
                meter.add(files: 1, bytes: size)
                continue
            }
            var hasher = DigestHasher()
            var open: Chunker.OpenChunk?
            var isRightlyCut = true
            for chunk in chunks {
                try withChunk(tree.chunks.chunks[chunk], at: places[chunk - range.lowerBound], of: entry.path, reader) {
                    bytes throws(MeshError) in
                    meter.add(files: 0, bytes: Int64(bytes.count))
                    // The digest of an only chunk is the file's.
                    if chunks.count > 1 { hasher.update(bytes) }
                    guard checksCuts else { return }
                    if let before = open, !before.ends(before: bytes.first) { isRightlyCut = false }
                    open = Chunker.OpenChunk(bytes)
                    if open == nil { isRightlyCut = false }
                }
            }
            let found = chunks.count == 1 ? tree.chunks.chunks[chunks.lowerBound].digest : hasher.finish()
            guard found == expected else {
                throw MeshError(
                    .fileMismatch, "the chunks of “\(entry.path)” do not make the file that the index names",
                    hint: "the capsule was made by a faulty or hostile program; do not use it")
            }
            guard isRightlyCut else {
                throw MeshError(
                    .chunksInvalid, "\(entry.path) is not cut into the chunks that its content makes",
                    hint: "the capsule was written by a faulty program; pack its files again")
            }
            meter.add(files: 1, bytes: 0)
        }
    }

    /// Whether these chunks, one after the other, have the digest.
    private func isWhole(
        _ chunks: Range<Int>, of tree: VerifiedTree, _ digest: Digest, _ places: ArraySlice<ChunkPlace?>, _ reader: ChunkReader
    ) throws(MeshError) -> Bool {
        var hasher = DigestHasher()
        for (chunk, place) in zip(tree.chunks.chunks[chunks], places) {
            guard let place, place.length == chunk.length, let bytes = try reader.unverified(at: place) else { return false }
            hasher.update(bytes)
        }
        return hasher.finish() == digest
    }
}
