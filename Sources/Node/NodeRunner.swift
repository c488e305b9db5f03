internal import Actions
internal import Catalog
internal import Control
internal import Deployments
internal import Discovery
internal import Exchange
internal import Logging
public import MeshCore
internal import ServiceLifecycle
internal import UnixSignals
internal import Signing
internal import Synchronization

/// `capsule up`: the rooms of a home, running together until a signal or a failure ends them.
public enum NodeRunner {
    /// What a node says once all its doors are open.
    public struct Ready: Sendable {
        public let home: String
        public let name: String
        public let nodeID: String
        /// The id as people compare it.
        public let shortID: String
        public let mesh: String
        public let meshPort: Int
        public let controlPort: Int
        public let frontPort: Int
    }

    /// Runs until SIGTERM or SIGINT, then drains. `onTrouble` hears what does not stop the node (discovery without D-Bus).
    public static func run(home: HomeLayout, options: NodeOptions, clock: any WallClock, onTrouble: @escaping @Sendable (MeshError) -> Void,
                           onReady: @escaping @Sendable (Ready) -> Void) async throws(MeshError) {
        guard isLoopback(options.control.host) else {
            throw MeshError(.notLoopback, "the control API would listen on \(options.control.host)", hint: "it is for this machine only: --control 127.0.0.1:4311")
        }
        let open = try OpenHome(home, clock: clock)
        let parts = open.parts
        let control = try ControlServer(parts: parts, log: open.log)
        parts.update { $0.isServing = true }

        let doors = Doors(parts: parts, onReady: onReady)
        let discovery = options.discovers ? DiscoveryService(parts: parts, doors: doors, onTrouble: onTrouble) : nil
        let exchange = NodeService { () async throws(MeshError) in
            try await parts.exchange.run(listen: (options.mesh.host, options.mesh.port), sightings: discovery.map { [$0.sightings] } ?? [],
                                         onReady: { doors.open(mesh: $0) })
        }
        let deployments = NodeService { () async throws(MeshError) in
            try await parts.deployments.run(front: (options.front.host, options.front.port), onReady: { doors.open(front: $0) })
        }
        let face = NodeService { () async throws(MeshError) in
            try await control.run(host: options.control.host, port: options.control.port, onReady: { doors.open(control: $0) })
        }
        let housekeeping = Housekeeping(home: open)
        var logger = Logger(label: "node")
        logger.logLevel = .error
        let services: [any Service] = [deployments, exchange] + (discovery.map { [$0] } ?? []) + [housekeeping, face]
        let group = ServiceGroup(configuration: .init(
            services: services.map { .init(service: $0, successTerminationBehavior: .gracefullyShutdownGroup, failureTerminationBehavior: .gracefullyShutdownGroup) },
            gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
        do {
            try await group.run()
        } catch let error as MeshError {
            throw error
        } catch {
            throw MeshError(.nodeFailed, "the node stopped: \(error)", hint: "look at the lines before this one", cause: error)
        }
    }

    static func isLoopback(_ host: String) -> Bool { host == "localhost" || host == "::1" || host.hasPrefix("127.") }
}

/// A room's endless work as a service: a graceful shutdown is its cancellation.
private struct NodeService: Service {
    let body: @Sendable () async throws(MeshError) -> Void

    func run() async throws {
        try await cancelWhenGracefulShutdown { try await body() }
    }
}

/// Counts the doors as they open; the node is ready when all three are.
final class Doors: Sendable {
    private let state = Mutex<(mesh: Int?, control: Int?, front: Int?)>((nil, nil, nil))
    private let parts: NodeParts
    private let onReady: @Sendable (NodeRunner.Ready) -> Void
    private let meshOpened: AsyncStream<Int>.Continuation
    /// The mesh port, once.
    let meshPort: AsyncStream<Int>

    init(parts: NodeParts, onReady: @escaping @Sendable (NodeRunner.Ready) -> Void) {
        self.parts = parts
        self.onReady = onReady
        (meshPort, meshOpened) = AsyncStream.makeStream(of: Int.self, bufferingPolicy: .bufferingNewest(1))
    }

    func open(mesh: Int? = nil, control: Int? = nil, front: Int? = nil) {
        let ready: NodeRunner.Ready? = state.withLock { state in
            state.mesh = mesh ?? state.mesh
            state.control = control ?? state.control
            state.front = front ?? state.front
            guard let mesh = state.mesh, let control = state.control, let front = state.front else { return nil }
            let id = parts.key.publicKey.id
            return .init(home: parts.home.path, name: parts.settings.name, nodeID: id.hex, shortID: id.short, mesh: parts.catalog.meshID.hex,
                         meshPort: mesh, controlPort: control, frontPort: front)
        }
        parts.update { runtime in
            runtime.meshPort = mesh ?? runtime.meshPort
            runtime.controlPort = control ?? runtime.controlPort
            runtime.frontPort = front ?? runtime.frontPort
        }
        if let mesh { meshOpened.yield(mesh) }
        if let ready { onReady(ready) }
    }
}
