internal import CapsuleFormat
internal import MeshCore

// What was packed once is not read again.
extension CapsuleStore {
    /// A file that was changed less than this before a scan, in nanoseconds, may be changed once more without its times showing it:
    /// they are as fine as the file system keeps them (two seconds on FAT, one on ext3) and the kernel's clock ticks (10 ms). It is
    /// read every time, until it has been left alone for so long.
    private static let timesGrain: Int64 = 2_000_000_000

    /// - Parameter generation: of the index, read before this.
    func unchangedFiles(_ source: SourceTree, _ memory: SourceMemory?, at generation: Int64) throws(MeshError) -> UnchangedFiles {
        guard let memory else { return .none }
        let isAllHere = try index.holds(memory.mark, at: generation)
        return try UnchangedFiles(source, memory, asking: isAllHere ? nil : index)
    }

    /// Keeps what the files of a folder that was just packed are, if it can. The scan began at `scannedAt`; the chunks were here at
    /// `generation`.
    func remember(_ source: SourceTree, _ tree: VerifiedTree, _ unchanged: UnchangedFiles, at generation: Int64, scannedAt: Milliseconds) {
        if unchanged.saysAll(of: source, at: generation) { return sources.touch(source.directory) }
        guard let mark = try? index.mark(at: generation) else { return }
        let (scan, isTooLate) = scannedAt.multipliedReportingOverflow(by: 1_000_000)
        let settled = (isTooLate ? .max : scan) - Self.timesGrain
        var writer = SourceMemoryWriter(folder: source.directory, mark: mark, expecting: source.items.count)
        for (i, item) in source.items.enumerated() {
            guard case .file(_, let digest) = tree.index.entries[i].content else { continue }
            guard unchanged.contains(i) || (item.modified < settled && item.changed < settled) else { continue }
            writer.add(
                item, digest: digest, chunks: tree.chunks.chunks[tree.fileChunks[i]], wasScanned: source.scans(item.path) || unchanged.isClean(i))
        }
        sources.write(writer.finish(), for: source.directory)
    }
}
