internal import CLinux
internal import Glibc

/// Files by POSIX calls, durable where it says so. Foundation's writer syncs every single file; a store syncs once a commit.
public enum Files {
    /// The error for `errno` after doing `action` to `path`.
    public static func failure(_ action: String, _ path: String, _ errorNumber: Int32? = nil) -> MeshError {
        let number = errorNumber ?? errno
        let reason = String(cString: strerror(number))
        let message = "cannot \(action) \(path): \(reason)"
        switch number {
        case ENOSPC, EDQUOT: return MeshError(.diskFull, message, hint: "free some space and run the same command again; nothing was half-written")
        case EROFS: return MeshError(.readOnly, message, hint: "the file system is mounted read-only; use another folder or --home")
        case EACCES, EPERM: return MeshError(.notPermitted, message, hint: "check the owner and mode of the file and its folder")
        case ENOENT, ENOTDIR: return MeshError(.fileNotFound, message, hint: "check the path")
        case EEXIST, ENOTEMPTY: return MeshError(.alreadyExists, message, hint: "choose another name or an empty folder")
        default: return MeshError(.inputOutput, message, hint: "check the disk (dmesg) and try again")
        }
    }

    public static func exists(_ path: String) -> Bool {
        var info = stat()
        return lstat(path, &info) == 0
    }

    public static func isDirectory(_ path: String) -> Bool {
        var info = stat()
        return stat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFDIR
    }

    /// The names in a folder, without `.` and `..`, ordered by their bytes. Names that are not UTF-8 are returned repaired.
    public static func names(in directory: String) throws(MeshError) -> [String] {
        guard let handle = opendir(directory) else { throw failure("read the folder", directory) }
        defer { closedir(handle) }
        var out: [String] = []
        while let entry = readdir(handle) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { out.append(name) }
        }
        return out.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    /// The whole file, if it has at most `bytesMax` bytes.
    public static func read(_ path: String, bytesMax: Int) throws(MeshError) -> [UInt8] {
        let file = try OpenFile(reading: path)
        let size = try file.size()
        guard size <= bytesMax else { throw MeshError(.fileTooLarge, "\(path) has \(size) bytes; at most \(bytesMax) are read") }
        var out: [UInt8] = []
        out.reserveCapacity(Int(size))
        var buffer = [UInt8](repeating: 0, count: 64 * 1024)
        while true {
            let count = try file.read(into: &buffer, at: Int64(out.count))
            if count == 0 { return out }
            out.append(contentsOf: buffer[..<count])
            guard out.count <= bytesMax else { throw MeshError(.fileTooLarge, "\(path) grew past \(bytesMax) bytes while it was read") }
        }
    }

    /// Replaces or creates a file so that, at any power cut, either the old bytes or the new ones are there:
    /// temporary file beside it, fsync, rename, fsync of the folder.
    public static func writeDurably(_ bytes: [UInt8], to path: String, mode: UInt32 = 0o644) throws(MeshError) {
        try write(bytes, to: path, mode: mode) { (temporary) throws(MeshError) in try rename(temporary, path) }
    }

    /// As `writeDurably`, but a file that exists is an error (`already_exists`), even when two processes try at once.
    public static func createDurably(_ bytes: [UInt8], at path: String, mode: UInt32 = 0o644) throws(MeshError) {
        try write(bytes, to: path, mode: mode) { (temporary) throws(MeshError) in try renameExclusively(temporary, path) }
    }

    private static func write(_ bytes: [UInt8], to path: String, mode: UInt32, place: (String) throws(MeshError) -> Void) throws(MeshError) {
        let temporary = Leftovers.newPath(beside: path)
        do throws(MeshError) {
            let file = try OpenFile(creating: temporary, mode: mode)
            try file.write(bytes)
            try file.sync()
            try place(temporary)
        } catch {
            unlink(temporary)
            throw error
        }
        try syncDirectory(parent(of: path))
    }

    public static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// fsync of a folder: makes renames and creations in it durable.
    public static func syncDirectory(_ path: String) throws(MeshError) {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("open the folder", path) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw failure("sync the folder", path) }
    }

    /// Writes back everything of the file system that holds `path`; far cheaper than an fsync for each of many files.
    public static func syncFileSystem(holding path: String) throws(MeshError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("open", path) }
        defer { close(descriptor) }
        guard syncfs(descriptor) == 0 else { throw failure("sync the file system of", path) }
    }

    public static func rename(_ from: String, _ to: String) throws(MeshError) {
        guard Glibc.rename(from, to) == 0 else { throw failure("rename \(from) to", to) }
    }

    /// As `rename`, but a target that exists is an error (`already_exists`), even when two processes try at once.
    public static func renameExclusively(_ from: String, _ to: String) throws(MeshError) {
        if mesh_rename_exclusive(from, to) == 0 { return }
        // NFS and most of FUSE do not know the flag. Giving a file a second name is as exclusive, there too.
        guard errno == EINVAL, link(from, to) == 0 else { throw failure("rename \(from) to", to) }
        unlink(from)
    }

    /// Removes a file; one that is not there is fine.
    public static func remove(_ path: String) throws(MeshError) {
        guard unlink(path) == 0 || errno == ENOENT else { throw failure("remove", path) }
    }

    /// Creates the folder and those above it, durably; an existing one is fine.
    public static func makeDirectory(_ path: String, mode: UInt32 = 0o755) throws(MeshError) {
        if mkdir(path, mode) == 0 { return try syncDirectory(parent(of: path)) }
        if errno == EEXIST {
            guard isDirectory(path) else { throw failure("create the folder", path, EEXIST) }
            return
        }
        guard errno == ENOENT, parent(of: path) != path else { throw failure("create the folder", path) }
        try makeDirectory(parent(of: path), mode: mode)
        guard mkdir(path, mode) == 0 || errno == EEXIST else { throw failure("create the folder", path) }
        try syncDirectory(parent(of: path))
    }

    /// Whether what is there leaves no room: what SQLite calls an input/output error then, or a file that it cannot open, is a full disk.
    public static func isFull(_ path: String) -> Bool {
        var info = statvfs()
        guard statvfs(path, &info) == 0, info.f_flag & UInt(ST_RDONLY) == 0 else { return false }
        let free = geteuid() == 0 ? info.f_bfree : info.f_bavail
        return free * info.f_frsize < 1 << 20
    }

    /// Removes a folder and all below it, never following a link. Folders without write permission are opened up first.
    public static func removeTree(_ path: String) throws(MeshError) {
        var info = stat()
        guard lstat(path, &info) == 0 else {
            if errno == ENOENT { return }
            throw failure("remove", path)
        }
        guard info.st_mode & S_IFMT == S_IFDIR else { return try remove(path) }
        if info.st_mode & 0o700 != 0o700 { chmod(path, 0o700) }
        for name in try names(in: path) { try removeTree(path + "/" + name) }
        guard rmdir(path) == 0 || errno == ENOENT else { throw failure("remove the folder", path) }
    }

    /// An absolute path without `.` and `..` parts or doubled slashes; links are not looked at.
    public static func absolute(_ path: String) -> String {
        var parts: [Substring] = []
        let full: String
        if path.hasPrefix("/") {
            full = path
        } else {
            var buffer = [CChar](repeating: 0, count: 4097)
            let base = getcwd(&buffer, 4096).map { String(cString: $0) } ?? ""
            full = base + "/" + path
        }
        for part in full.split(separator: "/") {
            switch part {
            case ".": continue
            case "..": _ = parts.popLast()
            default: parts.append(part)
            }
        }
        return "/" + parts.joined(separator: "/")
    }

    /// Bytes that an unprivileged user could still write to the file system holding `path`.
    public static func freeBytes(at path: String) throws(MeshError) -> Int64 {
        var info = statvfs()
        guard statvfs(path, &info) == 0 else { throw failure("look at the file system of", path) }
        return Int64(info.f_bavail) * Int64(info.f_frsize)
    }
}

/// One open file, closed when the value ends. Every call names the path when it fails.
public struct OpenFile: ~Copyable, Sendable {
    public let descriptor: Int32
    public let path: String

    public init(reading path: String) throws(MeshError) {
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
        self.path = path
        guard descriptor >= 0 else { throw Files.failure("read", path) }
    }

    /// A new file; one that exists is an error (`already_exists`), and a link is never followed.
    public init(creating path: String, mode: UInt32 = 0o644) throws(MeshError) {
        descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode)
        self.path = path
        guard descriptor >= 0 else { throw Files.failure("create", path) }
    }

    /// Opened for appending, created when missing.
    public init(appending path: String, mode: UInt32 = 0o644) throws(MeshError) {
        descriptor = open(path, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, mode)
        self.path = path
        guard descriptor >= 0 else { throw Files.failure("open", path) }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    public func size() throws(MeshError) -> Int64 {
        var info = stat()
        guard fstat(descriptor, &info) == 0 else { throw Files.failure("look at", path) }
        return Int64(info.st_size)
    }

    /// Reads at most `buffer.count` bytes at `offset`; 0 at the end.
    public func read(into buffer: inout [UInt8], at offset: Int64) throws(MeshError) -> Int {
        var result = 0
        var number: Int32 = 0
        buffer.withUnsafeMutableBytes { raw in
            repeat { result = pread(descriptor, raw.baseAddress, raw.count, off_t(offset)) } while result < 0 && errno == EINTR
            number = errno
        }
        guard result >= 0 else { throw Files.failure("read", path, number) }
        return result
    }

    /// Exactly `count` bytes at `offset`; fewer means the file was cut short (`input_output`).
    public func read(count: Int, at offset: Int64) throws(MeshError) -> [UInt8] {
        var number: Int32 = 0
        let out = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            filled = 0
            while filled < count {
                let got = pread(descriptor, buffer.baseAddress.map { $0 + filled }, count - filled, off_t(offset) + off_t(filled))
                if got < 0, errno == EINTR { continue }
                if got <= 0 { number = got < 0 ? errno : 0; break }
                filled += got
            }
        }
        guard out.count == count else {
            if number != 0 { throw Files.failure("read", path, number) }
            throw MeshError(.inputOutput, "\(path) ends early: \(count) bytes wanted at \(offset), \(out.count) there", hint: "the file was cut short")
        }
        return out
    }

    public func write(_ bytes: [UInt8]) throws(MeshError) {
        var number: Int32 = 0
        let ok = bytes.withUnsafeBytes { raw in Self.writeAll(descriptor, raw, &number) }
        guard ok else { throw Files.failure("write", path, number) }
    }

    public func write(_ bytes: UnsafeRawBufferPointer) throws(MeshError) {
        var number: Int32 = 0
        guard Self.writeAll(descriptor, bytes, &number) else { throw Files.failure("write", path, number) }
    }

    /// From the beginning of the file on, whatever was written to it last; the next write goes on from there.
    public func rewrite(start bytes: [UInt8]) throws(MeshError) {
        guard lseek(descriptor, 0, SEEK_SET) == 0 else { throw Files.failure("write", path) }
        try write(bytes)
    }

    private static func writeAll(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer, _ number: inout Int32) -> Bool {
        var done = 0
        while done < bytes.count {
            let count = Glibc.write(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done)
            if count < 0 {
                if errno == EINTR { continue }
                number = errno
                return false
            }
            done += count
        }
        return true
    }

    public func sync() throws(MeshError) {
        guard fsync(descriptor) == 0 else { throw Files.failure("sync", path) }
    }
}

/// An advisory lock on a file (flock): released when the value ends, and by the kernel when the process dies, so that no
/// lock file ever needs a hand.
public final class FileLock: Sendable {
    private let descriptor: Int32

    /// nil when another process holds it.
    public init?(_ path: String, exclusive: Bool = true) throws(MeshError) {
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw Files.failure("open", path) }
        guard flock(descriptor, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0 else {
            close(descriptor)
            return nil
        }
    }

    deinit { close(descriptor) }
}
