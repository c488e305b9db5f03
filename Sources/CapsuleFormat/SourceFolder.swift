package import Glibc
package import MeshCore

/// One open folder of a source tree. Everything in it is reached through its descriptor, so that nobody can swap a folder
/// above for a link meanwhile. Names are bytes, as the kernel has them.
package final class SourceFolder {
    /// For messages; relative to the root, which is shown as it was given.
    let name: String
    private let handle: OpaquePointer

    package init(_ path: String) throws(MeshError) {
        name = path
        handle = try Self.handle(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), path)
    }

    package init(_ child: [UInt8], in parent: SourceFolder, path: String) throws(MeshError) {
        name = path
        let descriptor = openat(parent.descriptor, Self.cString(child), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        handle = try Self.handle(descriptor, path)
    }

    deinit { closedir(handle) }

    package var descriptor: Int32 { dirfd(handle) }

    private static func handle(_ descriptor: Int32, _ path: String) throws(MeshError) -> OpaquePointer {
        guard descriptor >= 0, let handle = fdopendir(descriptor) else {
            let number = errno
            if descriptor >= 0 { close(descriptor) }
            throw Files.failure("read the folder", path, number)
        }
        return handle
    }

    /// The names in it without `.` and `..`, as the kernel has them, in byte order.
    package func names() throws(MeshError) -> [[UInt8]] {
        var out: [[UInt8]] = []
        while true {
            errno = 0
            guard let entry = readdir(handle) else { break }
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: UInt8.self, capacity: 256) { Array(UnsafeBufferPointer(start: $0, count: strnlen(UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self), 256))) }
            }
            if name != Self.dot, name != Self.dots { out.append(name) }
        }
        guard errno == 0 else { throw Files.failure("read the folder", name) }
        return out.sorted { $0.lexicographicallyPrecedes($1) }
    }

    private static let dot = Array(".".utf8), dots = Array("..".utf8)

    /// `path` is for messages, and made only for one.
    package func look(at child: [UInt8], path: @autoclosure () -> String) throws(MeshError) -> stat {
        var info = stat()
        guard fstatat(descriptor, Self.cString(child), &info, AT_SYMLINK_NOFOLLOW) == 0 else {
            let number = errno
            throw Files.failure("look at", path(), number)
        }
        return info
    }

    package func target(of child: [UInt8], path: String) throws(MeshError) -> [UInt8] {
        var buffer = [CChar](repeating: 0, count: Limits.pathBytesMax + 2)
        let count = readlinkat(descriptor, Self.cString(child), &buffer, buffer.count)
        guard count >= 0 else { throw Files.failure("read the link", path) }
        return buffer[..<count].map { UInt8(bitPattern: $0) }
    }

    /// The content of a plain file of patterns; nil where none is. Links are not followed, pipes not waited for.
    ///
    /// - Throws: `ignore_invalid` for what is no plain file or too long.
    func ruleFile(_ child: String, at path: String) throws(MeshError) -> [UInt8]? {
        let descriptor = openat(self.descriptor, child, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        var info = stat()
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            guard errno == ELOOP || errno == ENXIO else { throw Files.failure("read", path) }
            throw Self.notPlain(path)
        }
        defer { close(descriptor) }
        guard fstat(descriptor, &info) == 0 else { throw Files.failure("look at", path) }
        guard info.st_mode & S_IFMT == S_IFREG else { throw Self.notPlain(path) }
        var out: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 * 1024)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw Files.failure("read", path) }
            if count == 0 { return out }
            out += buffer[..<count]
            guard out.count <= Limits.ruleFileBytesMax else {
                throw MeshError(.ignoreInvalid, "\(TreePath.printable(path)) has more than \(Limits.ruleFileBytesMax) bytes", hint: "use patterns, e.g. *.o")
            }
        }
    }

    private static func notPlain(_ path: String) -> MeshError {
        MeshError(.ignoreInvalid, "\(TreePath.printable(path)) is not a plain file", hint: "write the patterns into it themselves; links are not followed")
    }

    private static func cString(_ bytes: [UInt8]) -> [CChar] { bytes.map { CChar(bitPattern: $0) } + [0] }
}
