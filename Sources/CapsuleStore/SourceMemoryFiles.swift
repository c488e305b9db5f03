internal import CapsuleFormat
internal import Glibc
internal import MeshCore

/// `state/sources/`: a file for each packed folder, the longest unused going first. Nothing here may fail a pack: what cannot be
/// read or written costs time only.
struct SourceMemoryFiles: Sendable {
    let folder: String

    /// - Parameter directory: the packed folder's absolute path.
    func read(_ directory: String) -> SourceMemory? {
        guard let file = try? OpenFile(reading: path(directory)), let size = try? file.size(), size <= Int64(Limits.sourceMemoryBytesMax),
            let bytes = try? file.read(count: Int(size), at: 0)
        else { return nil }
        return SourceMemory(parsing: bytes, folder: directory)
    }

    func write(_ bytes: [UInt8], for directory: String) {
        do throws(MeshError) {
            // What is too long to be read would be in the way of nothing.
            guard bytes.count <= Limits.sourceMemoryBytesMax else { return try Files.remove(path(directory)) }
            try Files.makeDirectory(folder, mode: 0o700)
            try Files.writeDurably(bytes, to: path(directory), mode: 0o600)
        } catch { return }
        prune(except: name(directory))
    }

    /// It was of use now.
    func touch(_ directory: String) { utimensat(AT_FDCWD, path(directory), nil, 0) }

    /// What an interrupted write left goes the same way.
    private func prune(except name: String) {
        let names = ((try? Files.names(in: folder)) ?? []).filter { $0 != name }
        guard names.count >= Limits.sourcesKept else { return }
        let byAge = names.map { (name: $0, used: used($0)) }.sorted { $0.used > $1.used }
        for old in byAge[(Limits.sourcesKept - 1)...] { try? Files.remove(folder + "/" + old.name) }
    }

    /// Nanoseconds since 1970.
    private func used(_ name: String) -> Int64 {
        var info = stat()
        guard lstat(folder + "/" + name, &info) == 0 else { return 0 }
        return SourceTree.nanoseconds(info.st_mtim)
    }

    private func name(_ directory: String) -> String { Digest.of(Array(directory.utf8)).hex }
    private func path(_ directory: String) -> String { folder + "/" + name(directory) }
}
