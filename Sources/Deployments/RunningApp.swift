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
