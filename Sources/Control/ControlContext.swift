internal import Actions
internal import Hummingbird
internal import MeshCore
internal import NIOCore

/// What a request to the control API carries beside the usual: who sends it.
struct ControlContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    /// Set by `AccessMiddleware`; nobody until then.
    var principal = Principal(name: "", scopes: [])

    init(source: ApplicationRequestContextSource) {
        coreContext = .init(source: source)
    }
}

/// The way in: over TCP with a bearer token, or through the home's own socket, which only the home's owner can open.
enum Door: Sendable {
    case network
    case socket
}

/// Refuses what a browser may have been talked into (DNS rebinding, other origins) on every route, then finds out who asks.
struct AccessMiddleware: RouterMiddleware {
    let door: Door
    let tokens: TokenStore

    static let hosts: Set<String> = ["127.0.0.1", "localhost", "[::1]"]

    func handle(_ request: Request, context: ControlContext, next: (Request, ControlContext) async throws -> Response) async throws -> Response {
        var context = context
        switch door {
        case .socket: context.principal = .local
        case .network:
            guard let authority = request.head.authority, Self.hosts.contains(Self.host(of: authority)) else {
                return Problem(.hostRefused, "this API answers only under the names of this machine",
                               hint: "ask 127.0.0.1, localhost or [::1]").response
            }
            if let origin = request.headers[.origin], Self.originHost(origin) != authority {
                return Problem(.originRefused, "requests from \(origin.prefix(100)) are not answered",
                               hint: "pages of other origins may not use this API; a program of yours needs no Origin header").response
            }
            if request.uri.path != "/oai/health" {
                guard let header = request.headers[.authorization], header.lowercased().hasPrefix("bearer "),
                      let principal = tokens.principal(for: String(header.dropFirst(7))) else {
                    var response = Problem(.tokenMissing, "this needs a bearer token", hint: "make one with `capsule token new --scope read`").response
                    response.headers[.wwwAuthenticate] = "Bearer"
                    return response
                }
                context.principal = principal
            }
        }
        return try await next(request, context)
    }

    private static func host(of authority: String) -> String {
        if authority.hasPrefix("[") { return authority.prefix { $0 != "]" } + "]" }
        return String(authority.prefix { $0 != ":" })
    }

    private static func originHost(_ origin: String) -> String? {
        origin.hasPrefix("http://") ? String(origin.dropFirst(7)) : nil
    }
}

extension ErrorCode {
    static let hostRefused = ErrorCode("host_refused", .notPermitted)
    static let originRefused = ErrorCode("origin_refused", .notPermitted)
    static let tokenMissing = ErrorCode("token_missing", .notPermitted)
    static let scopeMissing = ErrorCode("scope_missing", .notPermitted)
    static let idempotencyKeyMissing = ErrorCode("idempotency_key_missing", .usage)
    static let runUnknown = ErrorCode("run_unknown", .usage)
    static let controlPortBusy = ErrorCode("control_port_busy", .unavailable)
    static let controlUnreachable = ErrorCode("control_unreachable", .unavailable)
}
