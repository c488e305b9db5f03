internal import MeshCore
internal import Synchronization

/// Something that answers requests for a deployment: a site or a process, and how many requests it is answering.
final class Backend: Sendable {
    enum Target: Sendable {
        case site(StaticSite, SiteFolder)
        case app(RunningApp)
    }

    private struct State {
        var inFlight = 0
        var drained: Latch?
    }

    let generation: Int
    let target: Target
    private let state = Mutex(State())

    init(generation: Int, target: Target) {
        self.generation = generation
        self.target = target
    }

    var app: RunningApp? { if case .app(let app) = target { app } else { nil } }

    fileprivate func begin() -> Lease {
        state.withLock { $0.inFlight += 1 }
        return Lease(self)
    }

    fileprivate func end() {
        let drained: Latch? = state.withLock { state in
            state.inFlight -= 1
            return state.inFlight == 0 ? state.drained : nil
        }
        drained?.set()
    }

    /// Waits until the last request has its answer, but not for ever: an event stream never ends by itself.
    func drain(seconds: Int) async {
        let latch = Latch()
        let isIdle = state.withLock { state in
            state.drained = latch
            return state.inFlight == 0
        }
        if !isIdle { _ = await latch.wait(milliseconds: seconds * 1000) }
    }
}

/// One request being answered by a backend; over when the value goes.
final class Lease: Sendable {
    let backend: Backend

    fileprivate init(_ backend: Backend) { self.backend = backend }

    deinit { backend.end() }
}

/// Which backend answers for which deployment, now.
final class RouteTable: Sendable {
    enum Route: Sendable {
        case serving(Backend)
        case stopped
        /// Between two generations that may not run beside each other, or before the first request to start one.
        case changing
        /// It should run and cannot; the reason, for people.
        case broken(String)
    }

    enum Answer: Sendable {
        case lease(Lease)
        case stopped
        case changing
        case broken(String)
        case unknown
    }

    private let routes = Mutex<[DeploymentKey: Route]>([:])

    func set(_ key: DeploymentKey, _ route: Route?) { routes.withLock { $0[key] = route } }

    /// Counted before a switch could begin to wait for it, because both take the same lock.
    func lease(_ key: DeploymentKey) -> Answer {
        routes.withLock { routes in
            switch routes[key] {
            case .serving(let backend)?: .lease(backend.begin())
            case .stopped?: .stopped
            case .changing?: .changing
            case .broken(let why)?: .broken(why)
            case nil: .unknown
            }
        }
    }
}
