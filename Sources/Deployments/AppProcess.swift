internal import Builder
internal import Glibc
internal import MeshCore
internal import Synchronization

/// One process in its sandbox, from its start to its end, on a thread of its own. The thread lives as long as the sandbox,
/// and must: bubblewrap's `--die-with-parent` means the thread that started it (prctl(2), PR_SET_PDEATHSIG).
final class AppProcess: Sendable {
    enum Outcome: Sendable, Hashable, CustomStringConvertible {
        case exited(status: Int32)
        case killed(signal: Int32)

        var description: String {
            switch self {
            // How a shell, and bubblewrap, say that a signal ended their child.
            case .exited(let status) where status > 128 && status <= 128 + 64: "was ended by signal \(status - 128)"
            case .exited(let status): "ended with status \(status)"
            case .killed(let signal): "was ended by signal \(signal)"
            }
        }
    }

    private struct State {
        var outer: Descriptor?
        var inner: (id: Int32, descriptor: Descriptor)?
        var isKilled = false
        var result: Result<Outcome, MeshError>?
    }

    private let arguments: [String]
    private let view: SandboxView
    private let state = Mutex(State())
    /// Set when every process in the sandbox is gone, or none could be started.
    let ended = Latch()

    /// Nil while it runs. A failure: it was never started.
    var result: Result<Outcome, MeshError>? { state.withLock { $0.result } }

    init(_ view: SandboxView, command: [String], environment: [String: String]) throws(MeshError) {
        self.view = view
        arguments = view.arguments(bubblewrap: try SandboxView.findBubblewrap(), command: command, environment: environment)
    }

    /// Call once. Both closures are called on the process's thread; `onEnd` last, after `ended` is set.
    func start(onOutput: @escaping @Sendable ([UInt8]) -> Void, onEnd: @escaping @Sendable (AppProcess) -> Void = { _ in }) {
        let body: @Sendable () -> Void = { [self] in
            let result: Result<Outcome, MeshError>
            do throws(MeshError) { result = .success(try run(onOutput)) } catch { result = .failure(error) }
            state.withLock { $0.result = result }
            ended.set()
            onEnd(self)
        }
        if let number = Self.startThread(body) {
            state.withLock { $0.result = .failure(Files.failure("start a thread for", view.outputFolder, number)) }
            ended.set()
            onEnd(self)
        }
    }

    /// SIGTERM to what the app started, not to the sandbox around it, whose end would be everyone's at once.
    func terminate() {
        let inner = state.withLock { $0.result == nil ? $0.inner?.id : nil }
        if let inner { Glibc.kill(-inner, SIGTERM) } else { kill() }
    }

    /// SIGKILL to process 1 of the sandbox: the kernel takes all others with it.
    func kill() {
        state.withLock { state in
            state.isKilled = true
            state.inner?.descriptor.send(signal: SIGKILL)
            state.outer?.send(signal: SIGKILL)
        }
    }

    private struct Launched: ~Copyable {
        let output: Descriptor
        let information: Descriptor
        let child: ChildProcess
    }

    private func run(_ onOutput: ([UInt8]) -> Void) throws(MeshError) -> Outcome {
        let launched = try launch()
        learnInner(launched.information)
        var buffer = [UInt8](repeating: 0, count: 64 * 1024)
        while true {
            let count = read(launched.output.number, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            onOutput(Array(buffer[..<count]))
        }
        let ending = launched.child.wait()
        // bubblewrap names its child before anything of the app runs; without that the sandbox itself failed.
        guard state.withLock({ $0.inner != nil || $0.isKilled }) else {
            throw MeshError(.sandboxUnavailable, "bubblewrap could not make a sandbox for the app", hint: "capsule doctor says what is missing")
        }
        switch ending {
        case .exited(let status): return .exited(status: status)
        case .killed(let signal): return .killed(signal: signal)
        }
    }

    /// Only the reading ends outlive this: a pipe ends when the last of the sandbox has closed it.
    private func launch() throws(MeshError) -> Launched {
        let output = try Descriptor.pipe(), information = try Descriptor.pipe()
        let nothing = open("/dev/null", O_RDONLY | O_CLOEXEC)
        guard nothing >= 0 else { throw Files.failure("open", "/dev/null") }
        let input = Descriptor(owning: nothing)
        let passwd = try Descriptor.memoryFile(Array(view.passwd.utf8)), group = try Descriptor.memoryFile(Array(view.group.utf8))
        let handed = [input, output.writing, output.writing, information.writing, passwd, group]
        let child = try ChildProcess(arguments, descriptors: handed.map(\.number))
        let outer = try Descriptor.process(child.id)
        state.withLock { state in
            state.outer = outer
            if state.isKilled { outer.send(signal: SIGKILL) }
        }
        return Launched(output: output.reading, information: information.reading, child: child)
    }

    /// bubblewrap says `{"child-pid": N, …}` once the sandbox's first process exists.
    private func learnInner(_ information: Descriptor) {
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1024)
        while !text.contains(UInt8(ascii: "}")), text.count < 4096 {
            let count = read(information.number, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return }
            text += buffer[..<count]
        }
        guard let json = try? JSONValue.parse(text), let id = json["child-pid"]?.integer, id > 1, let inner = try? Descriptor.process(Int32(clamping: id)) else { return }
        state.withLock { state in
            state.inner = (Int32(clamping: id), inner)
            if state.isKilled { inner.send(signal: SIGKILL) }
        }
    }

    /// Returns an error number, or nil.
    private static func startThread(_ body: @escaping @Sendable () -> Void) -> Int32? {
        final class Work {
            let body: @Sendable () -> Void
            init(_ body: @escaping @Sendable () -> Void) { self.body = body }
        }
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        pthread_attr_setstacksize(&attributes, 512 * 1024)
        let work = Unmanaged.passRetained(Work(body))
        var thread = pthread_t()
        let result = pthread_create(&thread, &attributes, { raw in
            if let raw { Unmanaged<Work>.fromOpaque(raw).takeRetainedValue().body() }
            return nil
        }, work.toOpaque())
        guard result != 0 else { return nil }
        work.release()
        return result
    }
}
