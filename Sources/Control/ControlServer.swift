public import Actions
internal import Glibc
internal import Hummingbird
internal import Logging
public import MeshCore
internal import NIOCore
internal import Synchronization

/// The local HTTP face: `/oai` on a loopback port and on the home's own socket, over the same table of actions.
public final class ControlServer: Sendable {
    /// A path this long fits in a socket address with its terminating zero (unix(7): 108 bytes).
    private static let socketPathBytesMax = 107

    let registry: ActionRegistry
    let parts: NodeParts
    let log: EventLog
    let runs: RunTable
    let journal: IdempotencyJournal

    public init(parts: NodeParts, log: EventLog, registry: ActionRegistry = .standard) throws(MeshError) {
        self.registry = registry
        self.parts = parts
        self.log = log
        runs = RunTable(clock: parts.clock)
        journal = try IdempotencyJournal(home: parts.home, clock: parts.clock)
    }

    /// Serves until cancelled. `onReady` is given the TCP port once both doors are open.
    public func run(host: String, port: Int, onReady: @escaping @Sendable (Int) -> Void) async throws(MeshError) {
        let socket = parts.home.socket
        guard socket.utf8.count <= Self.socketPathBytesMax else {
            throw MeshError(.homePathTooLong, "the path \(socket) is too long for a unix socket", hint: "use a home with a shorter path (at most 90 bytes)")
        }
        // The home's lock is ours, so whatever socket lies there belongs to a process that is gone.
        try Files.remove(socket)
        var logger = Logger(label: "control")
        logger.logLevel = .error
        let ready = Ready(count: 2, then: onReady)
        let network = Application(
            router: router(.network), configuration: .init(address: .hostname(host, port: port), serverName: nil),
            onServerRunning: { ready.opened(port: $0.localAddress?.port) }, logger: logger)
        let local = Application(
            router: router(.socket), configuration: .init(address: .unixDomainSocket(path: socket), serverName: nil),
            onServerRunning: { _ in
                chmod(socket, 0o600)
                ready.opened(port: nil)
            }, logger: logger)
        defer {
            runs.cancelAll()
            unlink(socket)
        }
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await network.run() }
                group.addTask { try await local.run() }
                try await group.next()
                group.cancelAll()
            }
        } catch is CancellationError {
            return
        } catch let error as IOError where error.errnoCode == EADDRINUSE {
            throw MeshError(.controlPortBusy, "port \(port) on \(host) is in use", hint: "stop what uses it, or choose another: --control \(host):0 takes any free port", cause: error)
        } catch {
            throw MeshError(.controlUnreachable, "the control API cannot listen on \(host):\(port): \(error)", hint: "choose a loopback address: --control 127.0.0.1:4311", cause: error)
        }
    }

    private func router(_ door: Door) -> Router<ControlContext> {
        let router = Router(context: ControlContext.self)
        router.add(middleware: AccessMiddleware(door: door, tokens: parts.tokens))
        router.get("/oai/health") { _, _ in
            jsonResponse(.ok, JSONValue.object(["ok": true, "actions": JSONValue(self.registry.actions.count)]).canonicalBytes)
        }
        router.get("/oai/tools") { request, context in self.answer(context, .read) { self.tools(request) } }
        router.post("/oai/act") { request, context in await self.act(request, context) }
        router.get("/oai/events") { request, context in self.answer(context, .read) { self.events(request) } }
        router.get("/oai/runs/:id") { _, context in self.answer(context, .read) { self.run(context.parameters.get("id") ?? "") } }
        router.get("/oai/runs/:id/events") { request, context in
            self.answer(context, .read) { self.events(request, run: context.parameters.get("id")) }
        }
        router.post("/oai/runs/:id/cancel") { _, context in
            self.answer(context, .write) {
                jsonResponse(.ok, JSONValue.object(["cancelled": .bool(self.runs.cancel(context.parameters.get("id") ?? ""))]).canonicalBytes)
            }
        }
        return router
    }

    private func answer(_ context: ControlContext, _ scope: Scope, _ body: () -> Response) -> Response {
        guard context.principal.scopes.contains(scope) else { return Self.missing(scope) }
        return body()
    }

    static func missing(_ scope: Scope) -> Response {
        Problem(.scopeMissing, "this token does not have the scope “\(scope.rawValue)”", hint: "make one that has: `capsule token new --scope \(scope.rawValue)`").response
    }

    private func tools(_ request: Request) -> Response {
        let document = registry.toolsDocument
        let tag = "\"\(document["revision"]?.string ?? "")\""
        if request.headers[.ifNoneMatch] == tag { return Response(status: .notModified, headers: [.eTag: tag]) }
        var response = jsonResponse(.ok, document.canonicalBytes)
        response.headers[.eTag] = tag
        response.headers[.cacheControl] = "no-cache"
        return response
    }

    private func run(_ id: String) -> Response {
        guard let run = runs.run(id) else { return Problem(.runUnknown, "there is no run \(id.prefix(80))", hint: "runs are kept while the node runs").response }
        return jsonResponse(.ok, run.json.canonicalBytes)
    }
}

/// Calls once, after the given number of doors have opened.
private final class Ready: Sendable {
    private let state: Mutex<(left: Int, port: Int)>
    private let then: @Sendable (Int) -> Void

    init(count: Int, then: @escaping @Sendable (Int) -> Void) {
        state = Mutex((count, 0))
        self.then = then
    }

    func opened(port: Int?) {
        let port: Int? = state.withLock { state in
            state.left -= 1
            if let port { state.port = port }
            return state.left == 0 ? state.port : nil
        }
        if let port { then(port) }
    }
}

extension ErrorCode {
    public static let homePathTooLong = ErrorCode("home_path_too_long", .badConfiguration)
}
