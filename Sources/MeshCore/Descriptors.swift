internal import CLinux
internal import Glibc

/// One open file descriptor, closed when the last reference goes. All made here are close-on-exec.
public final class Descriptor: Sendable {
    public let number: Int32

    /// Takes over an open descriptor.
    public init(owning number: Int32) { self.number = number }

    deinit { close(number) }

    /// Bytes sent into `writing` come out of `reading`.
    public static func pipe() throws(MeshError) -> (reading: Descriptor, writing: Descriptor) {
        var ends: [Int32] = [-1, -1]
        guard mesh_pipe(&ends) == 0 else { throw Files.failure("make", "a pipe") }
        return (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
    }

    /// A connected pair of stream sockets. Unlike a pipe, a write whose reader is gone can be told apart without a signal.
    public static func socketPair() throws(MeshError) -> (ours: Descriptor, theirs: Descriptor) {
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            throw Files.failure("make", "a pair of sockets")
        }
        return (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
    }

    /// A file that is only in memory, holding `bytes`, at its beginning.
    public static func memoryFile(_ bytes: [UInt8]) throws(MeshError) -> Descriptor {
        let number = mesh_memory_file("data")
        guard number >= 0 else { throw Files.failure("make", "a file in memory") }
        let descriptor = Descriptor(owning: number)
        guard bytes.withUnsafeBytes({ write(number, $0.baseAddress, $0.count) }) == bytes.count, lseek(number, 0, SEEK_SET) == 0 else {
            throw Files.failure("fill", "a file in memory")
        }
        return descriptor
    }

    /// Opens a folder below this one without following a link anywhere on the way.
    public func openDirectory(_ path: String) throws(MeshError) -> Descriptor {
        let opened = mesh_open_beneath(number, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
        guard opened >= 0 else { throw Files.failure("open the folder", path) }
        return Descriptor(owning: opened)
    }

    public static func directory(_ path: String) throws(MeshError) -> Descriptor {
        let opened = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard opened >= 0 else { throw Files.failure("open the folder", path) }
        return Descriptor(owning: opened)
    }

    /// A process that is not (only) our child (pidfd_open(2)): readable once it has ended.
    public static func process(_ id: Int32) throws(MeshError) -> Descriptor {
        let number = mesh_pidfd_open(id)
        guard number >= 0 else { throw Files.failure("watch the process", String(id)) }
        return Descriptor(owning: number)
    }

    /// To the process that this descriptor stands for; never to another that took over its number.
    public func send(signal: Int32) { _ = mesh_pidfd_kill(number, signal) }

    /// A path by which this process reaches what is open, even where no folder leads to it any more (proc(5)).
    public var path: String { "/proc/self/fd/\(number)" }

    public func setNonBlocking() throws(MeshError) {
        let flags = fcntl(number, F_GETFL)
        guard flags >= 0, fcntl(number, F_SETFL, flags | O_NONBLOCK) == 0 else { throw Files.failure("set up", "a descriptor") }
    }
}

/// A flag that another thread raises and that a poll loop can wait for together with its other descriptors.
public final class WakeFlag: Sendable {
    /// Readable once raised.
    public let descriptor: Int32

    public init() throws(MeshError) {
        descriptor = mesh_event()
        guard descriptor >= 0 else { throw Files.failure("make", "an event descriptor") }
    }

    deinit { close(descriptor) }

    public func raise() {
        var one: UInt64 = 1
        write(descriptor, &one, 8)
     }
}
