internal import CapsuleFormat
internal import MeshCore

/// Which entries of a tree are restored: all of them, or some files and folders with what is in them and what leads to them.
struct RestoreSelection: Sendable {
    /// By entry; nil for all of them.
    private let wanted: [Bool]?
    /// Whether the manifest is written as `capsule.json`.
    let takesManifest: Bool
    let files: Int
    /// Their sizes together.
    let bytes: Int64

    /// - Parameter paths: relative to the tree, without a slash at the end; `capsule.json` is the manifest's.
    /// - Throws: `file_not_found` for the first that is neither.
    init(_ paths: [String], of index: TreeIndex, hasManifest: Bool) throws(MeshError) {
        guard !paths.isEmpty else {
            (wanted, takesManifest, files, bytes) = (nil, hasManifest, index.fileCount, index.byteCount)
            return
        }
        var marks = [Bool](repeating: false, count: index.entries.count)
        var manifest = false
        for path in paths {
            let path = path.hasSuffix("/") ? String(path.dropLast()) : path
            guard let start = index.position(of: path) else {
                guard hasManifest, path == "capsule.json" else {
                    throw MeshError(.fileNotFound, "the tree has no file or folder “\(path)”", hint: "paths are relative to the top of the capsule, e.g. --path src/main.c")
                }
                manifest = true
                continue
            }
            var at = start
            // In pre-order, what is below a folder follows it.
            repeat {
                marks[at] = true
                at += 1
            } while at < marks.count && index.entries[at].path.utf8.starts(with: (path + "/").utf8)
            for slash in path.utf8.indices where path.utf8[slash] == UInt8(ascii: "/") {
                if let parent = index.position(of: String(path[..<slash])) { marks[parent] = true }
            }
        }
        var files = 0
        var bytes: Int64 = 0
        for (entry, isWanted) in zip(index.entries, marks) where isWanted {
            guard case .file(let size, _) = entry.content else { continue }
            files += 1
            bytes += size
        }
        (wanted, takesManifest, self.files, self.bytes) = (marks, manifest, files, bytes)
    }

    func contains(_ entry: Int) -> Bool { wanted?[entry] ?? true }
}
