internal import Glibc
internal import HummingbirdCore
internal import HummingbirdTLS
internal import Logging
internal import MeshCore
internal import NIOCore
internal import NIOPosix
internal import NIOSSL
internal import ServiceLifecycle

/// The listening side: HTTP/1.1 over TLS 1.3, every connection behind the gate, every request answered by `PeerRoutes`.
struct PeerServer: Sendable {
    let identity: NodeIdentity
    let connections: ConnectionTable
    let routes: PeerRoutes
    /// What happens here is told as events.
    private static let silent = Logger(label: "exchange") { _ in SwiftLogNoOpLogHandler() }

    /// Serves until the task is cancelled or its service group shuts down gracefully. `onReady` gets the bound port.
    func run(host: String, port: Int, onReady: @escaping @Sendable (Int) -> Void) async throws(MeshError) {
        do {
            let connections = connections
            let server = HTTPServerBuilder.http1(configuration: .init(
                additionalChannelHandlers: [ConnectionGate(table: connections)],
                idleTimeout: .seconds(Int64(Limits.idleSecondsServed)),
                httpDecoderConfiguration: .init(maxHeaderFieldSize: 8192, maxHeaderListSize: 16384, maxHeaderFieldCount: 32)))
            // Any key is let in; what it may ask for is decided at each request.
            let tls = TLSChannelConfiguration(tlsConfiguration: identity.server) { certificates, verdict in
                verdict.succeed(NodeIdentity.key(presented: certificates) != nil ? .certificateVerified : .failed)
            }
            let routes = routes
            let service = try HTTPServerBuilder.tls(server, configuration: tls).buildServer(
                configuration: ServerConfiguration(address: .hostname(host, port: port), backlog: Limits.connectionsMax),
                eventLoopGroup: MultiThreadedEventLoopGroup.singleton, logger: Self.silent
            ) { request, writer, channel in
                let response = try await routes.respond(to: request, on: channel)
                try await writer.write(response: response.head, body: response.body)
            } onServerRunning: { channel in
                onReady(channel.localAddress?.port ?? port)
            }
            try await Self.runUntilAsked(service)
        } catch {
            throw Self.explain(error, host, port)
        }
    }

    /// Cancelling the server's own task would drop connections between their acceptance and their first read, which NIO
    /// answers with a crash. So it runs in a task of its own, and a cancellation here asks it to stop: no new connections, idle
    /// ones closed, answers under way finished.
    private static func runUntilAsked(_ server: any Service) async throws {
        var configuration = ServiceGroupConfiguration(services: [server], logger: silent)
        configuration.maximumGracefulShutdownDuration = .seconds(Limits.shutdownSecondsMax)
        let services = ServiceGroup(configuration: configuration)
        let stop = Bell()
        let serving = Task {
            try await withThrowingTaskGroup(of: Void.self) { group in
                defer { group.cancelAll() }
                group.addTask { try await services.run() }
                group.addTask {
                    await stop.wait(after: 0)
                    await services.triggerGracefulShutdown()
                }
                // Whichever ends first, the server has ended when both have.
                try await group.next()
                if stop.rings > 0 { try await group.next() }
            }
        }
        try await withTaskCancellationHandler { try await serving.value } onCancel: { stop.ring() }
    }

    private static func explain(_ error: any Error, _ host: String, _ port: Int) -> MeshError {
        switch (error as? IOError)?.errnoCode {
        case EADDRINUSE:
            MeshError(.portBusy, "port \(port) on \(host) is in use", hint: "another node or program listens there; stop it or choose another with --listen", cause: error)
        case EACCES, EPERM:
            MeshError(.notPermitted, "port \(port) on \(host) may not be used", hint: "choose a port above 1023 with --listen", cause: error)
        case EADDRNOTAVAIL:
            MeshError(.listenFailed, "this machine has no address \(host)", hint: "choose another with --listen", cause: error)
        default:
            MeshError(.listenFailed, "cannot listen on \(host):\(port): \(error)", hint: "choose another address with --listen", cause: error)
        }
    }
}
