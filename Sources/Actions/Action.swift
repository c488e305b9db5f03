public import MeshCore

/// What a caller must be allowed to do; the order is not a ranking, a token names each that it has.
public enum Scope: String, Sendable, CaseIterable { case read, write, deploy, admin }

/// When a person's confirmation is needed, whatever the caller's scopes.
public enum Confirmation: String, Sendable { case never, prod, always }

/// One verb of the node. The command line, HTTP, and every later face call the same table; none holds logic of its own.
public struct Action: Sendable {
    public typealias Handler = @Sendable (ActionContext, JSONValue) async throws(MeshError) -> JSONValue

    /// `area.verb`
    public let name: String
    public let title: String
    public let description: String
    public let input: Schema
    public let output: Schema
    public let scope: Scope
    public let confirmation: Confirmation
    /// A run that can be watched, rather than an answer at once.
    public let isLong: Bool
    let handler: Handler

    init(_ name: String, _ title: String, _ description: String, scope: Scope, confirmation: Confirmation = .never, isLong: Bool = false,
         input: Schema = .empty, output: Schema, handler: @escaping Handler) {
        self.name = name
        self.title = title
        self.description = description
        self.scope = scope
        self.confirmation = confirmation
        self.isLong = isLong
        self.input = input
        self.output = output
        self.handler = handler
    }

    /// As `GET /oai/tools` lists it.
    public var json: JSONValue {
        ["name": .string(name), "title": .string(title), "description": .string(description), "inputSchema": input.json,
         "outputSchema": output.json, "scopes": [.string(scope.rawValue)], "confirm": .string(confirmation.rawValue)]
    }
}

/// What a handler works with.
public struct ActionContext: Sendable {
    public let parts: NodeParts
    public let emit: EventSink

    public init(parts: NodeParts, emit: @escaping EventSink) {
        self.parts = parts
        self.emit = emit
    }
}

/// The table of all actions, in name order.
public struct ActionRegistry: Sendable {
    public let actions: [Action]
    private let byName: [String: Action]

    public static let standard = ActionRegistry(homeActions + keyActions + capsuleActions + shareActions + peerActions + buildActions + deployActions
        + catalogActions + lineageActions + storeActions + garbageActions + tokenActions + backupActions)

    init(_ actions: [Action]) {
        self.actions = actions.sorted { $0.name < $1.name }
        byName = Dictionary(actions.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    }

    public func action(_ name: String) throws(MeshError) -> Action {
        guard let action = byName[name] else {
            throw MeshError(.unknownAction, "there is no action “\(name)”", hint: "`capsule tools` lists them")
        }
        return action
    }

    /// Checks the parameters, runs the handler, and says start and end as events.
    public func call(_ action: Action, _ params: JSONValue, context: ActionContext) async throws(MeshError) -> JSONValue {
        let problems = action.input.problems(in: params)
        if let first = problems.first {
            throw MeshError(.paramsInvalid, "\(first.pointer) \(first.message)", hint: "`capsule tools` shows the parameters of \(action.name)",
                            pointer: first.pointer, details: problems.map { "\($0.pointer) \($0.message)" })
        }
        let says = action.scope != .read || action.isLong
        if says { context.emit(NodeEvent(source: action.name, type: "action.started", data: ["action": .string(action.name)])) }
        do throws(MeshError) {
            let result = try await action.handler(context, params)
            if says { context.emit(NodeEvent(source: action.name, type: "action.finished", data: ["action": .string(action.name), "result": result])) }
            return result
        } catch {
            if says { context.emit(NodeEvent(source: action.name, type: "action.failed", data: ["action": .string(action.name), "error": error.json])) }
            throw error
        }
    }

    /// `{revision, tools}`; the revision is the digest of the tools, so that a cache knows when they changed.
    public var toolsDocument: JSONValue {
        let tools = JSONValue.array(actions.map(\.json))
        return ["revision": .string(Digest.of(tools.canonicalBytes).hex), "tools": tools]
    }
}

extension ErrorCode {
    public static let unknownAction = ErrorCode("unknown_action", .usage)
    public static let paramsInvalid = ErrorCode("params_invalid", .usage)
}
