public import CapsuleFormat
internal import Glibc
public import MeshCore
internal import Synchronization

/// What a restore wrote.
public struct RestoreResult: Sendable, Hashable {
    public let files: Int
    /// Their sizes together.
    public let bytes: Int64
    /// Paths of the files that could not be written because the store lacks some of their content, in the tree's order.
    public let lost: [String]
}

/// What several threads could not write.
private final class LostFiles: Sendable {
    private let found = Mutex<[(entry: Int, size: Int64)]>([])
    var entries: [(entry: Int, size: Int64)] { found.withLock { $0 } }
    func add(_ entry: Int, size: Int64) { found.withLock { $0.append((entry, size)) } }
}

// Verified files into a new or empty folder, all or nothing.
extension CapsuleStore {
    /// Restores a tree. It is made beside `directory`, each chunk verified as it is written, and takes its place when all of
    /// it is durable; on any failure nothing is left. `manifest` becomes `capsule.json`, so that packing the folder gives the
    /// same capsule. With `paths` only these files and folders are written, and only their chunks are read. With `intactOnly`, files
    /// with a chunk that is missing or damaged are left out and named, and all others are written.
    ///
    /// - Throws: `folder_not_empty`, `file_not_found` (a path that the tree does not have), `chunk_missing`, `chunk_corrupt`,
    ///   `disk_full`, `already_exists` (names that the file system folds).
    @discardableResult
    public func restore(
        _ tree: VerifiedTree, manifest: Manifest?, to directory: String, paths: [String] = [], intactOnly: Bool = false, progress: StoreProgressSink? = nil
    ) throws(MeshError) -> RestoreResult {
        let selection = try RestoreSelection(paths, of: tree.index, hasManifest: manifest != nil)
        let lost = intactOnly ? LostFiles() : nil
        try RestoreFolder.fill(directory) { folder throws(MeshError) in
            try Self.makeDirectories(tree, selection, folder)
            if let manifest, selection.takesManifest { try Self.write(manifest, folder) }
            let shares = tree.shares()
            let meter = ProgressMeter("restore", files: selection.files, bytes: selection.bytes, progress)
            try Threads.each(shares.count) { (i) throws(MeshError) in try self.restore(shares[i], of: tree, selection, folder, meter, lost) }
            Self.setTimes(tree, selection, folder)
        }
        let missed = lost?.entries ?? []
        return RestoreResult(
            files: selection.files - missed.count, bytes: selection.bytes - missed.reduce(0) { $0 + $1.size },
            lost: missed.map(\.entry).sorted().map { tree.index.entries[$0].path })
    }

    static func makeDirectories(_ tree: VerifiedTree, _ selection: RestoreSelection, _ folder: RestoreFolder) throws(MeshError) {
        var cursor = FolderCursor(folder.descriptor)
        for (i, entry) in tree.index.entries.enumerated() where entry.isDirectory && selection.contains(i) { try cursor.makeDirectory(entry.path) }
    }

    static func write(_ manifest: Manifest, _ folder: RestoreFolder) throws(MeshError) {
        var cursor = FolderCursor(folder.descriptor)
        var file = try cursor.makeFile("capsule.json")
        let text = Array(manifest.json.prettyText.utf8)
        try text.withRawBytes { (raw) throws(MeshError) in try file.write(raw) }
        try file.finish(mode: TreeEntry.plainMode)
    }

    /// Last of all, because everything made in a folder changes its time.
    static func setTimes(_ tree: VerifiedTree, _ selection: RestoreSelection, _ folder: RestoreFolder) {
        var times = [RestoreFolder.modified, RestoreFolder.modified]
        for (i, entry) in tree.index.entries.enumerated() where entry.isDirectory && selection.contains(i) {
            utimensat(folder.descriptor, entry.path, &times, AT_SYMLINK_NOFOLLOW)
        }
    }

    private func restore(
        _ entries: Range<Int>, of tree: VerifiedTree, _ selection: RestoreSelection, _ folder: RestoreFolder, _ meter: ProgressMeter,
        _ lost: LostFiles?
    ) throws(MeshError) {
        guard entries.contains(where: selection.contains) else { return }
        let reader = try readers.take()
        defer { readers.give(reader) }
        var cursor = FolderCursor(folder.descriptor)
        let range = tree.chunkRange(entries)
        let places = try index.places(tree.chunks.chunks[range].map(\.digest))
        for i in entries where selection.contains(i) {
            let entry = tree.index.entries[i]
            switch entry.content {
            case .directory: continue
            case .link(let target): try cursor.makeLink(entry.path, to: target)
            case .file(let size, _):
                do throws(MeshError) {
                    var file = try cursor.makeFile(entry.path)
                    for chunk in tree.fileChunks[i] {
                        try withChunk(tree.chunks.chunks[chunk], at: places[chunk - range.lowerBound], of: entry.path, reader) {
                            bytes throws(MeshError) in
                            try file.write(bytes)
                            meter.add(files: 0, bytes: Int64(bytes.count))
                        }
                    }
                    try file.finish(mode: entry.mode)
                } catch {
                    guard let lost, error.code == .chunkCorrupt || error.code == .chunkMissing else { throw error }
                    try cursor.remove(entry.path)
                    lost.add(i, size: size)
                }
                meter.add(files: 1, bytes: 0)
            }
        }
    }
}
