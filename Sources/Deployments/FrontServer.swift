internal import AsyncHTTPClient
internal import HTTPTypes
internal import Hummingbird
internal import HummingbirdCore
internal import Glibc
internal import Logging
internal import MeshCore
internal import NIOCore

/// The one HTTP port of all apps: finds the app by the Host name, and answers from its site or its process.
struct FrontServer: Sendable {
    let routes: RouteTable
    let client: HTTPClient

    /// Serves until the task is cancelled. `onListening` gets the port.
    func run(host: String, port: Int, onListening: @escaping @Sendable (Int) -> Void) async throws(MeshError) {
        var logger = Logger(label: "front") { _ in SwiftLogNoOpLogHandler() }
        logger.logLevel = .critical
        let server = HTTPServerBuilder.http1(configuration: .init(
            idleTimeout: .seconds(Int64(Limits.frontIdleSeconds)),
            httpDecoderConfiguration: .init(maxHeaderFieldSize: Limits.frontHeaderBytesMax, maxHeaderListSize: Limits.frontHeaderBytesMax,
                                            maxHeaderFieldCount: Limits.frontHeadersMax)))
        let application = Application(
            responder: Responder(routes: routes, proxy: FrontProxy(client: client)), server: server,
            configuration: ApplicationConfiguration(address: .hostname(host, port: port), serverName: nil,
                                                    availableConnectionsDelegate: MaximumAvailableConnections(Limits.frontConnectionsMax, logger: logger)),
            onServerRunning: { onListening($0.localAddress?.port ?? port) }, logger: logger)
        do {
            try await application.run()
        } catch {
            if Task.isCancelled { return }
            throw Self.explain(error, host, port)
        }
    }

    private static func explain(_ error: any Error, _ host: String, _ port: Int) -> MeshError {
        switch (error as? IOError)?.errnoCode {
        case EADDRINUSE:
            MeshError(.frontPortBusy, "port \(port) on \(host) is in use", hint: "another node or program listens there; stop it or choose another: --front \(host):0 takes any free port", cause: error)
        case EACCES, EPERM:
            MeshError(.notPermitted, "port \(port) on \(host) may not be used", hint: "choose a port above 1023 with --front", cause: error)
        default:
            MeshError(.frontFailed, "the front cannot listen on \(host):\(port): \(error)", hint: "choose a loopback address: --front 127.0.0.1:8080", cause: error)
        }
    }

    private struct Context: RequestContext {
        var coreContext: CoreRequestContextStorage
        let address: String?

        init(source: ApplicationRequestContextSource) {
            coreContext = .init(source: source)
            address = source.channel.remoteAddress?.ipAddress
        }
    }

    private struct Responder: HTTPResponder {
        let routes: RouteTable
        let proxy: FrontProxy

        func respond(to request: Request, context: Context) async throws -> Response {
            let host = request.head.authority
            guard let key = host.flatMap(DeploymentKey.init(host:)) else { return FrontPages.unknownHost(host) }
            switch routes.lease(key) {
            case .unknown: return FrontPages.unknownHost(host)
            case .stopped: return FrontPages.stopped(key)
            case .changing: return FrontPages.starting(key)
            case .broken(let why): return FrontPages.broken(key, why)
            case .lease(let lease):
                switch lease.backend.target {
                case .site(let site, let folder): return await SiteResponder.respond(to: request, site: site, folder: folder, lease: lease, key: key)
                case .app(let app): return await proxy.forward(request, to: app, lease: lease, from: context.address)
                }
            }
        }
    }

    static func isLoopback(_ host: String) -> Bool { host == "localhost" || host == "::1" || host.hasPrefix("127.") }
}
