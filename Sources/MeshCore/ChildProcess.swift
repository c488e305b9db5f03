internal import CLinux
internal import Glibc

/// A child process that gets exactly the arguments, the environment and the descriptors it is given: no signal mask, no
/// ignored signal, no descriptor of ours. For the places that must hand over more than the three standard streams.
/// Ends by `wait`; a value that is dropped earlier is killed and reaped.
public struct ChildProcess: ~Copyable, Sendable {
    public let id: Int32
    /// Readable once the process has ended (pidfd_open(2)).
    public let descriptor: Int32

    public enum Ending: Hashable, Sendable {
        case exited(Int32)
        case killed(signal: Int32)
    }

    /// Starts `arguments[0]`, an absolute path. `descriptors` become 0, 1, 2, … of the child, in a process group of its own.
    public init(_ arguments: [String], environment: [String] = [], descriptors: [Int32]) throws(MeshError) {
        guard let program = arguments.first else { throw Files.failure("start", "nothing", EINVAL) }
        // Away from the numbers they are to get, so that one cannot be overwritten before it was handed over.
        var moved: [Int32] = []
        defer { for number in moved { close(number) } }
        for number in descriptors {
            let copy = fcntl(number, F_DUPFD_CLOEXEC, Int32(descriptors.count))
            guard copy >= 0 else { throw Files.failure("hand over a descriptor to", program) }
            moved.append(copy)
        }
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        for (target, number) in moved.enumerated() { posix_spawn_file_actions_adddup2(&actions, number, Int32(target)) }
        posix_spawn_file_actions_addclosefrom_np(&actions, Int32(moved.count))
        var none = sigset_t(), all = sigset_t()
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP))

        var child: pid_t = 0
        let result = Self.withCStrings(arguments) { argv in
            Self.withCStrings(environment) { envp in posix_spawn(&child, program, &actions, &attributes, argv, envp) }
        }
        guard result == 0 else { throw Files.failure("start", program, result) }
        let watch = mesh_pidfd_open(child)
        guard watch >= 0 else {
            let error = Files.failure("watch", program)
            kill(child, SIGKILL)
            Self.reap(child)
            throw error
        }
        id = child
        descriptor = watch
    }

    deinit {
        kill(id, SIGKILL)
        Self.reap(id)
        close(descriptor)
    }

    /// Never hits another process that took over the number.
    public func send(signal: Int32) { _ = mesh_pidfd_kill(descriptor, signal) }

    /// Blocks until the process has ended.
    public consuming func wait() -> Ending {
        let status = Self.reap(id)
        close(descriptor)
        discard self
        let signal = status & 0x7f
        return signal == 0 ? .exited(status >> 8 & 0xff) : .killed(signal: signal)
    }

    /// A CPU that this process may use, the `n`-th counted round; nil when the kernel does not say.
    public static func allowedCPU(_ n: Int) -> Int? {
        let cpu = mesh_allowed_cpu(UInt32(truncatingIfNeeded: n))
        return cpu < 0 ? nil : Int(cpu)
    }

    @discardableResult private static func reap(_ id: Int32) -> Int32 {
        var status: Int32 = 0
        while waitpid(id, &status, 0) < 0, errno == EINTR {}
        return status
    }

    private static func withCStrings<R>(_ strings: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> R) -> R {
        var pointers: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) }
        pointers.append(nil)
        defer { for pointer in pointers { free(pointer) } }
        return body(pointers)
    }
}
