internal import Glibc
internal import Hummingbird
internal import HummingbirdCore
internal import HummingbirdTLS
internal import Logging
internal import MeshCore
internal import NIOCore
internal import NIOSSL

/// The listening side: HTTP/1.1 over TLS 1.3, every connection behind the gate, every request answered by `PeerRoutes`.
struct PeerServer: Sendable {
    let identity: NodeIdentity
    let connections: ConnectionTable
    let routes: PeerRoutes

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
            let application = Application(
                responder: routes, server: try .tls(server, configuration: tls),
                configuration: ApplicationConfiguration(address: .hostname(host, port: port), backlog: Limits.connectionsMax),
                onServerRunning: { channel in onReady(channel.localAddress?.port ?? port) },
                logger: Logger(label: "exchange") { _ in SwiftLogNoOpLogHandler() })
            try await application.run()
        } catch {
            if Task.isCancelled { return }
            throw Self.explain(error, host, port)
        }
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

/// What a request comes with: the channel, by which the table knows the peer's key.
struct PeerRequestContext: InitializableFromSource {
    let channel: any Channel

    init(source: ApplicationRequestContextSource) { channel = source.channel }
}
