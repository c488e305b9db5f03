public import CapsuleFormat
public import MeshCore

// Straight from a `.caps` file into a folder, without a store.
extension CapsuleStore {
    /// Unpacks a `.caps` file, an OCI layout folder or a tar of one, taking nothing in. All of it is read and verified while
    /// the files are written beside `directory`; they take its place when nothing was wrong. `accepting` is asked about the
    /// documents before anything is written; where it refuses, what is wrong with the content is told before its own reason. With `paths` only these files and folders are written; all is verified still.
    ///
    /// - Throws: what is wrong with the file (exit 65), what `accepting` throws, and as `restore`.
    public static func restoreLayout(
        path: String, to directory: String, paths: [String] = [], progress: StoreProgressSink? = nil,
        accepting: (CapsuleArchive) throws(MeshError) -> Void
    ) throws(MeshError) -> (capsule: VerifiedCapsule, referrers: [ReferrerDocument], files: Int, bytes: Int64) {
        let archive = try CapsuleArchive(Layout.open(path, codec: ZstdCodec()))
        do throws(MeshError) { try accepting(archive) } catch {
            // Who made it is asked first, so that nothing of a stranger's is written; but what is said of it is said of a file
            // that was read to its end: a damaged one is damaged, whoever made it.
            try archive.verifyContents { _, _ throws(MeshError) in }
            throw error
        }
        let tree = archive.capsule.tree
        let selection = try RestoreSelection(paths, of: tree.index, hasManifest: true)
        try RestoreFolder.fill(directory) { folder throws(MeshError) in
            try makeDirectories(tree, selection, folder)
            if selection.takesManifest { try write(archive.capsule.manifest, folder) }
            let meter = ProgressMeter("restore", files: selection.files, bytes: selection.bytes, progress)
            var writer = LayoutWriter(tree, selection, folder, meter)
            try archive.verifyContents { chunk, bytes throws(MeshError) in try writer.take(chunk, bytes) }
            try writer.finish()
            setTimes(tree, selection, folder)
        }
        return (archive.capsule, archive.referrers, selection.files, selection.bytes)
    }
}

/// Writes the files of a tree from its chunks as they come, in the tree's order.
private struct LayoutWriter: ~Copyable {
    private let tree: VerifiedTree
    private let selection: RestoreSelection
    private let meter: ProgressMeter
    private var cursor: FolderCursor
    /// The entry that the next chunk belongs to, or an earlier one; and how many chunks came.
    private var entry = 0
    private var chunks = 0
    private var file: NewFile?

    init(_ tree: VerifiedTree, _ selection: RestoreSelection, _ folder: RestoreFolder, _ meter: ProgressMeter) {
        self.tree = tree
        self.selection = selection
        self.meter = meter
        cursor = FolderCursor(folder.descriptor)
    }

    mutating func take(_ chunk: ChunkReference, _ bytes: [UInt8]) throws(MeshError) {
        while entry < tree.index.entries.count, tree.fileChunks[entry].upperBound <= chunks { try pass() }
        let range = tree.fileChunks[entry], isWanted = selection.contains(entry)
        if isWanted, chunks == range.lowerBound { file = try cursor.makeFile(tree.index.entries[entry].path) }
        if isWanted {
            try bytes.withRawBytes { (raw) throws(MeshError) in try file?.write(raw) }
            meter.add(files: 0, bytes: Int64(bytes.count))
        }
        chunks += 1
        guard chunks == range.upperBound else { return }
        if isWanted {
            try file?.finish(mode: tree.index.entries[entry].mode)
            file = nil
            meter.add(files: 1, bytes: 0)
        }
        entry += 1
    }

    /// What follows the last file that has chunks.
    mutating func finish() throws(MeshError) {
        while entry < tree.index.entries.count { try pass() }
    }

    /// An entry without chunks.
    private mutating func pass() throws(MeshError) {
        let passed = tree.index.entries[entry]
        defer { entry += 1 }
        guard selection.contains(entry) else { return }
        switch passed.content {
        case .directory: return
        case .link(let target): try cursor.makeLink(passed.path, to: target)
        case .file:
            try cursor.makeFile(passed.path).finish(mode: passed.mode)
            meter.add(files: 1, bytes: 0)
        }
    }
}
