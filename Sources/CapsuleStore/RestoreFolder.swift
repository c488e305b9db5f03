internal import CapsuleFormat
internal import Glibc
internal import MeshCore

/// A folder that is filled beside its place and takes it at the end, or goes away.
final class RestoreFolder: Sendable {
    /// Open on the temporary folder; everything is made below it.
    let descriptor: Int32
    private let target: String
    private let temporary: String
    /// Folders above that were not there before, the topmost first.
    private let made: [String]
    private let lock: FolderLock

    /// The time that files.tar gives everything: 1980-01-01. Equal times are also what keeps `make` from rebuilding what was
    /// shipped already made.
    static let modified = timespec(tv_sec: 315_532_800, tv_nsec: 0)

    /// - Throws: `folder_not_empty` unless `directory` is new or an empty folder.
    private init(_ directory: String) throws(MeshError) {
        target = try Self.resolve(Files.absolute(directory))
        let parent = Files.parent(of: target), name = String(target.dropFirst(parent == "/" ? 1 : parent.utf8.count + 1))
        made = Self.missing(parent)
        try Files.makeDirectory(parent)
        let prefix = ".\(name.utf8.count <= 100 ? name : Digest.of(Array(name.utf8)).hex).unpack-"
        FolderLock.removeAbandoned(in: parent, prefix: prefix)
        temporary = "\(parent == "/" ? "" : parent)/\(prefix)\(getpid())-\(UInt64.random(in: 0 ... .max))"
        guard mkdir(temporary, 0o700) == 0 else {
            let error = Files.failure("create the folder", temporary)
            for folder in made.reversed() { rmdir(folder) }
            throw error
        }
        descriptor = open(temporary, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        let number = errno
        lock = FolderLock(descriptor)
        guard descriptor >= 0 else {
            for folder in [temporary] + made.reversed() { rmdir(folder) }
            throw Files.failure("open the folder", temporary, number)
        }
        lock.take()
    }

    /// Fills a folder with `body`: all of it is in place when this returns, and nothing is left when it throws.
    static func fill(_ directory: String, _ body: (RestoreFolder) throws(MeshError) -> Void) throws(MeshError) {
        let folder = try RestoreFolder(directory)
        do throws(MeshError) {
            try body(folder)
            try folder.place()
        } catch {
            folder.discard()
            throw error
        }
    }

    /// An empty folder that is there keeps its mode and owner.
    private func place() throws(MeshError) {
        var times = [Self.modified, Self.modified]
        futimens(descriptor, &times)
        var mode: mode_t = 0o755
        var info = stat()
        if lstat(target, &info) == 0 {
            mode = info.st_mode & 0o7777
            if info.st_uid != geteuid() || info.st_gid != getegid() { _ = fchown(descriptor, info.st_uid, info.st_gid) }
        }
        guard fchmod(descriptor, mode) == 0 else { throw Files.failure("set the mode of", target) }
        try Files.syncFileSystem(holding: temporary)
        guard rename(temporary, target) == 0 else {
            let number = errno
            if number == ENOTEMPTY || number == EEXIST { throw Self.notEmpty(target) }
            if number == EBUSY {
                throw MeshError(
                    .folderNotEmpty, "\(target) is a mount point or in use and cannot be replaced", hint: "name a new folder inside it")
            }
            throw Files.failure("rename \(temporary) to", target, number)
        }
        try Files.syncDirectory(Files.parent(of: target))
    }

    private func discard() {
        try? Files.removeTree(temporary)
        for folder in made.reversed() { rmdir(folder) }
    }

    private static func missing(_ path: String) -> [String] {
        var out: [String] = []
        var path = path
        while path != "/", !Files.exists(path) {
            out.insert(path, at: 0)
            path = Files.parent(of: path)
        }
        return out
    }

    private static func resolve(_ path: String) throws(MeshError) -> String {
        var info = stat()
        guard lstat(path, &info) == 0 else {
            guard errno == ENOENT else { throw Files.failure("look at", path) }
            return path
        }
        guard stat(path, &info) == 0, info.st_mode & S_IFMT == S_IFDIR else {
            throw MeshError(.folderNotEmpty, "\(path) is there and is no folder", hint: "name a new or empty folder")
        }
        guard try Files.names(in: path).isEmpty else { throw notEmpty(path) }
        guard let real = realpath(path, nil) else { throw Files.failure("look at", path) }
        defer { free(real) }
        return String(cString: real)
    }

    private static func notEmpty(_ path: String) -> MeshError {
        MeshError(.folderNotEmpty, "\(path) is not empty", hint: "name a new or empty folder; nothing is ever overwritten")
    }
}

/// flock on a folder, held while it is filled: one that is not held was left by a crash.
private final class FolderLock: Sendable {
    private let descriptor: Int32

    /// Owns the descriptor.
    init(_ descriptor: Int32) { self.descriptor = descriptor }
    deinit { if descriptor >= 0 { close(descriptor) } }

    func take() { flock(descriptor, LOCK_EX | LOCK_NB) }

    static func removeAbandoned(in parent: String, prefix: String) {
        for name in (try? Files.names(in: parent)) ?? [] where name.hasPrefix(prefix) {
            let path = parent + "/" + name
            let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            guard descriptor >= 0 else { continue }
            if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { try? Files.removeTree(path) }
            close(descriptor)
        }
    }
}

/// Makes things below a held folder, never through a link: each part of a path is opened by itself. Neighbours share their
/// open parents.
struct FolderCursor: ~Copyable {
    private let root: Int32
    private var parts: [Substring] = []
    private var descriptors: [Int32] = []

    init(_ root: Int32) { self.root = root }

    deinit { for descriptor in descriptors { close(descriptor) } }

    /// The folder that `path` lies in, and its name there.
    mutating func parent(of path: String) throws(MeshError) -> (folder: Int32, name: String) {
        var wanted = path.split(separator: "/")
        guard let name = wanted.popLast() else { throw Files.failure("create", path, EINVAL) }
        var shared = 0
        while shared < parts.count, shared < wanted.count, parts[shared].utf8.elementsEqual(wanted[shared].utf8) { shared += 1 }
        for descriptor in descriptors[shared...] { close(descriptor) }
        parts.removeSubrange(shared...)
        descriptors.removeSubrange(shared...)
        for part in wanted[shared...] {
            let descriptor = openat(descriptors.last ?? root, String(part), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            guard descriptor >= 0 else { throw Files.failure("open the folder of", path) }
            parts.append(part)
            descriptors.append(descriptor)
        }
        return (descriptors.last ?? root, String(name))
    }

    mutating func makeDirectory(_ path: String) throws(MeshError) {
        let (folder, name) = try parent(of: path)
        guard mkdirat(folder, name, 0o755) == 0, fchmodat(folder, name, 0o755, 0) == 0 else { throw Self.failure(path) }
    }

    mutating func makeLink(_ path: String, to target: String) throws(MeshError) {
        let (folder, name) = try parent(of: path)
        guard symlinkat(target, folder, name) == 0 else { throw Self.failure(path) }
        var times = [RestoreFolder.modified, RestoreFolder.modified]
        utimensat(folder, name, &times, AT_SYMLINK_NOFOLLOW)
    }

    /// A new file, empty and open for writing. What is there already (two names that this file system folds into one) is refused.
    mutating func makeFile(_ path: String) throws(MeshError) -> NewFile {
        let (folder, name) = try parent(of: path)
        let descriptor = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw Self.failure(path) }
        return NewFile(descriptor: descriptor, path: path)
    }

    /// What `makeFile` made.
    mutating func remove(_ path: String) throws(MeshError) {
        let (folder, name) = try parent(of: path)
        guard unlinkat(folder, name, 0) == 0 else { throw Files.failure("remove", path) }
    }

    private static func failure(_ path: String) -> MeshError {
        guard errno == EEXIST else { return Files.failure("create", path) }
        return MeshError(
            .alreadyExists, "“\(path)” exists already: this file system does not tell two names of the capsule apart",
            hint: "unpack on a file system that keeps upper and lower case apart")
    }
}
