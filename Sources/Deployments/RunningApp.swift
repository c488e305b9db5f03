internal import Dispatch
internal import Glibc
internal import MeshCore
internal import Synchronization

/// How long to wait before an app that ended is started again: doubling, and from the beginning after a calm time.
package struct Backoff: Sendable, Hashable {
    private var failures = 0

    package init() {}

    package mutating func delay(afterRunning milliseconds: Int) -> Int {
        if milliseconds >= Limits.restartCalmMilliseconds { failures = 0 }
        defer { failures = min(failures + 1, 16) }
        return min(Limits.restartMillisecondsMin << failures, Limits.restartMillisecondsMax)
    }
}

/// One generation's process under supervision. Until `keepRunning` an end is final: what dies before it was ever healthy
/// is a failed deploy, not something to start again.
final class RunningApp: Sendable {
    enum Phase: Sendable, Hashable { case running, waiting, ended, stopped }

    struct Specification: Sendable {
        let key: DeploymentKey
        let generation: Int
        let command: [String]
        let environment: [String: String]
        let view: SandboxView
        let stopTimeoutMs: Int
        let log: AppLog
        let events: EventSink
    }

    private struct State {
        var phase = Phase.ended
        var process: AppProcess?
        var port = 0
        var isKept = false
        var isStopping = false
        var startedAt = ContinuousClock.now
        var backoff = Backoff()
        var restarts = 0
        var lines: [String] = []
    }

    let specification: Specification
    private let ports: PortPool
    private let state = Mutex(State())

    init(_ specification: Specification, ports: PortPool) {
        self.specification = specification
        self.ports = ports
    }

    var phase: Phase { state.withLock { $0.phase } }
    /// Where it listens now, or should; a new one after each start, because the old one may still be held by the kernel.
    var port: Int { state.withLock { $0.port } }
    /// The present process, or the last.
    var process: AppProcess? { state.withLock { $0.process } }
    /// The end of what this generation wrote.
    var lastLines: [String] { state.withLock { $0.lines } }
    var restarts: Int { state.withLock { $0.restarts } }

    func start() throws(MeshError) {
        let port = try ports.take()
        let process: AppProcess
        do throws(MeshError) {
            process = try AppProcess(specification.view, command: specification.command,
                                     environment: SandboxView.environment(specification.environment, port: port))
        } catch {
            ports.give(back: port)
            throw error
        }
        let isWanted = state.withLock { state in
            guard !state.isStopping else {
                state.phase = .stopped
                return false
            }
            state.process = process
            state.port = port
            state.phase = .running
            state.startedAt = .now
            return true
        }
        guard isWanted else { return ports.give(back: port) }
        note("started on port \(port)")
        let splitter = Mutex(LineSplitter())
        process.start(
            onOutput: { bytes in self.keep(splitter.withLock { $0.add(bytes) }) },
            onEnd: { process in
                self.keep(splitter.withLock { $0.finish() })
                self.ports.give(back: port)
                self.hasEnded(process)
            })
    }

    /// From now on it is started again whenever it ends, until `stop`.
    func keepRunning() {
        let ended = state.withLock { state in
            state.isKept = true
            return state.phase == .ended && !state.isStopping
        }
        if ended { startAgain(after: 0) }
    }

    /// SIGTERM, time to finish, SIGKILL. Returns when nothing of it is left.
    func stop() async {
        let process: AppProcess? = state.withLock { state in
            state.isStopping = true
            if state.phase != .running {
                state.phase = .stopped
                return nil
            }
            return state.process
        }
        guard let process else { return }
        process.terminate()
        if await !process.ended.wait(milliseconds: specification.stopTimeoutMs) {
            note("did not end within \(specification.stopTimeoutMs) ms of SIGTERM; killed")
            process.kill()
            await process.ended.wait()
        }
        state.withLock { $0.phase = .stopped }
    }

    private func hasEnded(_ process: AppProcess) {
        let what: String
        switch process.result {
        case .success(let outcome)?: what = "\(outcome)"
        case .failure(let error)?: what = "could not be started: \(error.message)"
        case nil: what = "ended"
        }
        let (isStopping, delay): (Bool, Int?) = state.withLock { state in
            guard !state.isStopping else {
                state.phase = .stopped
                return (true, nil)
            }
            guard state.isKept else {
                state.phase = .ended
                return (false, nil)
            }
            state.phase = .waiting
            return (false, state.backoff.delay(afterRunning: (ContinuousClock.now - state.startedAt).milliseconds))
        }
        note(what + (delay.map { "; starting again in \($0) ms" } ?? ""))
        say("app.exited", ["how": .string(what), "expected": .bool(isStopping)])
        if let delay { startAgain(after: delay) }
    }

    private func startAgain(after milliseconds: Int) {
        DispatchQueue.global().asyncAfter(deadline: .now() + .milliseconds(milliseconds)) { [weak self] in self?.startAgain() }
    }

    private func startAgain() {
        let isWanted = state.withLock { $0.isKept && !$0.isStopping && $0.phase != .running }
        guard isWanted else { return }
        do throws(MeshError) {
            try start()
            state.withLock { $0.restarts += 1 }
            say("app.restarted", ["port": JSONValue(port)])
        } catch {
            let delay = state.withLock { state in
                state.phase = .waiting
                return state.backoff.delay(afterRunning: 0)
            }
            note("could not be started: \(error.message); trying again in \(delay) ms")
            startAgain(after: delay)
        }
    }

    private func keep(_ lines: [String]) {
        guard !lines.isEmpty else { return }
        state.withLock { $0.lines = Array(($0.lines + lines).suffix(Limits.failureLogLines)) }
        specification.log.write(lines, generation: specification.generation)
    }

    private func note(_ text: String) { specification.log.write(["-- \(text)"], generation: specification.generation) }

    private func say(_ type: String, _ more: [String: JSONValue]) {
        let about: [String: JSONValue] = [
            "app": .string(specification.key.app.description), "env": .string(specification.key.environment.rawValue), "generation": JSONValue(specification.generation),
        ]
        specification.events(NodeEvent(source: "deployments", type: type, data: .object(about.merging(more) { $1 })))
    }
}

extension Duration {
    var milliseconds: Int { Int(components.seconds) * 1000 + Int(components.attoseconds / 1_000_000_000_000_000) }
}

/// Free ports of the loopback interface, none given to two apps at a time.
final class PortPool: Sendable {
    private let taken = Mutex<Set<Int>>([])

    func take() throws(MeshError) -> Int {
        try taken.withLock { (taken) throws(MeshError) in
            for _ in 0..<64 {
                let port = try Self.freePort()
                if taken.insert(port).inserted { return port }
            }
            throw MeshError(.frontFailed, "no free port was found for an app", hint: "too many programs listen on this machine")
        }
    }

    func give(back port: Int) { taken.withLock { _ = $0.remove(port) } }

    private static func freePort() throws(MeshError) -> Int {
        let socket = Loopback.socket()
        guard socket >= 0 else { throw Files.failure("make", "a socket") }
        defer { close(socket) }
        guard let port = Loopback.bind(socket, port: 0) else { throw Files.failure("take", "a free port") }
        return port
    }
}

/// The IPv4 loopback interface by plain sockets.
enum Loopback {
    static let address = "127.0.0.1"

    static func socket() -> Int32 { Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0) }

    /// The port that was bound, or nil.
    static func bind(_ socket: Int32, port: Int) -> Int? {
        var place = address(port)
        let bound = withUnsafePointer(to: &place) { $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.bind(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) } }
        guard bound == 0 else { return nil }
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let named = withUnsafeMutablePointer(to: &place) { $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(socket, $0, &length) } }
        return named == 0 ? Int(UInt16(bigEndian: place.sin_port)) : nil
    }

    /// Whether somebody listens there. On the loopback interface the answer is there at once.
    static func answers(port: Int) -> Bool {
        let socket = Self.socket()
        guard socket >= 0 else { return false }
        defer { close(socket) }
        var place = address(port)
        return withUnsafePointer(to: &place) { $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) } } == 0
    }

    private static func address(_ port: Int) -> sockaddr_in {
        var place = sockaddr_in()
        place.sin_family = sa_family_t(AF_INET)
        place.sin_port = UInt16(clamping: port).bigEndian
        place.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return place
    }
}
