internal import CapsuleFormat
internal import CapsuleStore
internal import Glibc
internal import MeshCore

/// The folder that the steps left behind: foreign in every respect, although nothing in it can change any more.
struct OutputTree {
    private let folder: Descriptor
    private let name: String
    private let bytesMax: Int64

    /// - Throws: `output_missing`, and `output_invalid` where a link stands in the way.
    init(_ outDir: String, in build: Descriptor, bytesMax: Int64) throws(MeshError) {
        name = outDir
        self.bytesMax = bytesMax
        do throws(MeshError) { folder = try build.openDirectory(outDir) } catch {
            guard error.code == .fileNotFound, !Files.exists(build.path + "/" + outDir) else {
                throw MeshError(.outputInvalid, "the output folder “\(outDir)” is not a plain folder inside the build",
                                hint: "let a step make it as a folder, not as a link or a file", cause: error)
            }
            throw MeshError(.outputMissing, "the steps succeeded, but left no folder “\(outDir)” behind",
                            hint: "check build.outDir in capsule.json, or what the last step makes")
        }
    }

    /// Takes the tree into the store. Refused, with the path: what is no file, folder or link; setuid and setgid; more
    /// bytes than the build may leave, counting holes as if they were full; links that leave the folder.
    func store(in store: CapsuleStore) throws(MeshError) -> VerifiedTree {
        var total = Total()
        try check("", depth: 0, &total)
        do throws(MeshError) { return try store.storeTree(directory: folder.path, kind: .app) } catch {
            guard error.code.exit == .badData else { throw error }
            throw invalid(error.message.replacing(folder.path, with: name), error.hint, cause: error)
        }
    }

    private struct Total {
        var entries = 0
        var bytes: Int64 = 0
    }

    private func check(_ path: String, depth: Int, _ total: inout Total) throws(MeshError) {
        guard depth <= Limits.pathDepthMax else {
            throw invalid("“\(path.prefix(200))…” is deeper than \(Limits.pathDepthMax) folders", "make a flatter tree")
        }
        for entry in try Files.names(in: folder.path + "/" + path) {
            let path = path.isEmpty ? entry : path + "/" + entry
            var info = stat()
            guard lstat(folder.path + "/" + path, &info) == 0 else {
                throw invalid("“\(path)” cannot be looked at: its name is not UTF-8, or its path is too long",
                              "let the last step rename or remove it")
            }
            total.entries += 1
            guard total.entries <= Limits.treeEntriesMax else {
                throw invalid("it has more than \(Limits.treeEntriesMax) files", "leave less behind")
            }
            let kind = info.st_mode & S_IFMT
            guard kind == S_IFREG || kind == S_IFDIR || kind == S_IFLNK else {
                throw invalid("“\(path)” is a device, pipe or socket", "let the last step remove it")
            }
            guard kind == S_IFLNK || info.st_mode & 0o6000 == 0 else {
                throw invalid("“\(path)” is setuid or setgid", "let the last step take the bit away (chmod a-s)")
            }
            if kind == S_IFREG {
                total.bytes += Int64(info.st_size)
                guard total.bytes <= bytesMax else {
                    throw MeshError(.buildLimitExceeded, "the output folder “\(name)” holds more than \(bytesMax) bytes",
                                    hint: "leave less behind, or raise build.limits.outputBytes in capsule.json if it is there")
                }
            }
            try makeReadable(path, kind, info.st_mode)
            if kind == S_IFDIR { try check(path, depth: depth + 1, &total) }
        }
    }

    /// A file that its owner may not read is a file like any other; only root could store it otherwise.
    private func makeReadable(_ path: String, _ kind: mode_t, _ mode: mode_t) throws(MeshError) {
        let wanted: mode_t = kind == S_IFDIR ? 0o700 : kind == S_IFREG ? 0o400 : 0
        guard mode & wanted != wanted else { return }
        guard chmod(folder.path + "/" + path, mode & 0o777 | wanted) == 0 else { throw Files.failure("read", path) }
    }

    private func invalid(_ why: String, _ hint: String, cause: (any Error)? = nil) -> MeshError {
        MeshError(.outputInvalid, "the output folder “\(name)” cannot be taken: \(why)", hint: hint, cause: cause)
    }
}
