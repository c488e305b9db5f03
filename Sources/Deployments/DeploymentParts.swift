internal import AsyncHTTPClient
internal import Builder
internal import CapsuleFormat
internal import CapsuleStore
internal import MeshCore
internal import NIOCore
internal import Synchronization

/// What carrying out a run needs from the node.
struct DeploymentParts: Sendable {
    let home: HomeLayout
    let store: CapsuleStore
    let replayer: Replayer
    let clock: any WallClock
    let events: EventSink
    let routes = RouteTable()
    let ports = PortPool()

    func say(_ type: String, _ key: DeploymentKey, _ more: [String: JSONValue]) {
        let about: [String: JSONValue] = ["app": .string(key.app.description), "env": .string(key.environment.rawValue)]
        events(NodeEvent(source: "deployments", type: type, data: .object(about.merging(more) { $1 })))
    }

    /// Something that can answer for this generation; a process is not started yet.
    func makeBackend(_ generation: Int, capsule: Digest, output: Digest, in slot: DeploymentSlot) async throws(MeshError) -> Backend {
        try await offEventLoops { [self] () throws(MeshError) in
            let plan = try ServicePlan(try store.capsule(capsule).manifest)
            let folder = slot.folder.generation(generation)
            switch plan.kind {
            case .site:
                let index = try store.tree(index: output).index
                return Backend(generation: generation, target: .site(StaticSite(index: index), try SiteFolder(folder)))
            case .process(let command):
                let identity = SandboxView.identity(of: slot.key)
                try slot.folder.prepareData(for: identity)
                let specification = RunningApp.Specification(
                    key: slot.key, generation: generation, command: command, environment: plan.environment,
                    view: SandboxView(outputFolder: folder, dataFolder: slot.folder.data, identity: identity),
                    stopTimeoutMs: plan.stopTimeoutMs, log: slot.log, events: events)
                return Backend(generation: generation, target: .app(RunningApp(specification, ports: ports)))
            }
        }
    }

    /// Starts what the record says should serve, and lets it be asked. What cannot start now is said, and shown at the front.
    func serveCurrent(of slot: DeploymentSlot) async {
        guard let current = slot.record.currentGeneration else { return }
        do throws(MeshError) {
            let backend = try await makeBackend(current.number, capsule: current.capsule, output: current.output, in: slot)
            if let app = backend.app {
                try app.start()
                app.keepRunning()
            }
            slot.set(backend: backend)
            routes.set(slot.key, .serving(backend))
        } catch {
            slot.set(backend: nil, trouble: error)
            routes.set(slot.key, .broken(error.message))
            say("app.failed", slot.key, ["generation": JSONValue(current.number), "error": error.json])
        }
    }
}

/// The time in which deployments are served: from the opening of the front to its end.
final class Serving: Sendable {
    private struct State {
        var port: Int?
        var isEnding = false
        var next = 0
        var works: [Int: @Sendable () -> Void] = [:]
    }

    let client: HTTPClient
    private let state = Mutex(State())

    init() {
        var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
        configuration.httpVersion = .http1Only
        configuration.timeout.connect = .seconds(2)
        configuration.connectionPool.idleTimeout = .seconds(Int64(Limits.appConnectionIdleSeconds))
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = Limits.appConnectionsMax
        // A refused connection is an answer: the app is not there now.
        configuration.connectionPool.retryConnectionEstablishment = false
        client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    var port: Int? { state.withLock { $0.port } }
    func opened(port: Int) { state.withLock { $0.port = port } }

    func close() async { try? await client.shutdown() }

    /// From here on no run goes on forward; what is under way is undone.
    func end() {
        let works = state.withLock { state in
            state.isEnding = true
            return state.works.values
        }
        for cancel in works { cancel() }
    }

    /// Long work that is cancelled when its task is, and when the node stops.
    func untilEnd<T: Sendable>(_ body: @escaping @Sendable () async throws(MeshError) -> T) async throws(MeshError) -> T {
        let task = Task { () async -> Result<T, MeshError> in
            do throws(MeshError) { return .success(try await body()) } catch { return .failure(error) }
        }
        let number: Int? = state.withLock { state in
            guard !state.isEnding else { return nil }
            state.next += 1
            state.works[state.next] = { task.cancel() }
            return state.next
        }
        if number == nil { task.cancel() }
        let result = await withTaskCancellationHandler { await task.value } onCancel: { task.cancel() }
        if let number { state.withLock { $0.works[number] = nil } }
        return try result.get()
    }

    var isEnding: Bool { state.withLock { $0.isEnding } }

    /// - Throws: `deploy_cancelled`, `deploy_interrupted`
    func checkGoesOn() throws(MeshError) {
        if isEnding {
            throw MeshError(.deployInterrupted, "the node is stopping", hint: "what served before serves again when the node is up; deploy again then")
        }
        if Task.isCancelled { throw MeshError(.deployCancelled, "the deploy was cancelled", hint: "what served before goes on serving") }
    }
}
