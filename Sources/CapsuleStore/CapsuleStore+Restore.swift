public import CapsuleFormat
internal import Glibc
public import MeshCore

// Verified files into a new or empty folder, all or nothing.
extension CapsuleStore {
    /// Restores a tree. It is made beside `directory`, each chunk verified as it is written, and takes its place when all of
    /// it is durable; on any failure nothing is left. `manifest` becomes `capsule.json`, so that packing the folder gives the
    /// same capsule.
    ///
    /// - Throws: `folder_not_empty`, `chunk_missing`, `chunk_corrupt`, `disk_full`, `already_exists` (names that the file system folds).
    @discardableResult
    public func restore(_ tree: VerifiedTree, manifest: Manifest?, to directory: String) throws(MeshError) -> (files: Int, bytes: Int64) {
        try restore(tree, manifest: manifest, to: directory, progress: nil)
    }

    @discardableResult
    public func restore(_ tree: VerifiedTree, manifest: Manifest?, to directory: String, progress: StoreProgressSink?) throws(MeshError)
        -> (files: Int, bytes: Int64)
    {
        let files = tree.index.fileCount, bytes = tree.index.byteCount
        let folder = try RestoreFolder(directory)
        do throws(MeshError) {
            try makeDirectories(tree, folder)
            if let manifest { try write(manifest, folder) }
            let shares = tree.shares()
            let meter = ProgressMeter("restore", files: files, bytes: bytes, progress)
            try Threads.each(shares.count) { (i) throws(MeshError) in try self.restore(shares[i], of: tree, folder, meter) }
            setTimes(tree, folder)
            try folder.place()
        } catch {
            folder.discard()
            throw error
        }
        return (files, bytes)
    }

    private func makeDirectories(_ tree: VerifiedTree, _ folder: RestoreFolder) throws(MeshError) {
        var cursor = FolderCursor(folder.descriptor)
        for entry in tree.index.entries where entry.isDirectory { try cursor.makeDirectory(entry.path) }
    }

    private func write(_ manifest: Manifest, _ folder: RestoreFolder) throws(MeshError) {
        var cursor = FolderCursor(folder.descriptor)
        let file = try cursor.makeFile("capsule.json")
        let text = Array(manifest.json.prettyText.utf8)
        try text.withRawBytes { (raw) throws(MeshError) in try file.write(raw) }
        try file.finish(mode: TreeEntry.plainMode)
    }

    /// Last of all, because everything made in a folder changes its time.
    private func setTimes(_ tree: VerifiedTree, _ folder: RestoreFolder) {
        var times = [RestoreFolder.modified, RestoreFolder.modified]
        for entry in tree.index.entries where entry.isDirectory { utimensat(folder.descriptor, entry.path, &times, AT_SYMLINK_NOFOLLOW) }
    }

    private func restore(_ entries: Range<Int>, of tree: VerifiedTree, _ folder: RestoreFolder, _ meter: ProgressMeter) throws(MeshError) {
        let reader = try readers.take()
        defer { readers.give(reader) }
        var cursor = FolderCursor(folder.descriptor)
        let range = tree.chunkRange(entries)
        let places = try index.places(tree.chunks.chunks[range].map(\.digest))
        for i in entries {
            let entry = tree.index.entries[i]
            switch entry.content {
            case .directory: continue
            case .link(let target): try cursor.makeLink(entry.path, to: target)
            case .file(let size, _):
                let file = try cursor.makeFile(entry.path)
                for chunk in tree.fileChunks[i] {
                    try withChunk(tree.chunks.chunks[chunk], at: places[chunk - range.lowerBound], of: entry.path, reader) {
                        bytes throws(MeshError) in
                        try file.write(bytes)
                    }
                }
                try file.finish(mode: entry.mode)
                meter.add(files: 1, bytes: size)
            }
        }
    }
}
