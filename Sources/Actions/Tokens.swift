public import MeshCore
internal import Signing
internal import Synchronization

/// Who calls an action, and what they may do.
public struct Principal: Sendable, Hashable {
    public let name: String
    public let scopes: Set<Scope>

    public init(name: String, scopes: Set<Scope>) {
        self.name = name
        self.scopes = scopes
    }

    /// The person at this machine's own command line: whoever may open the home's socket owns the home.
    public static let local = Principal(name: "local", scopes: Set(Scope.allCases))
}

/// Bearer tokens of the control API: `state/tokens.json`. Only a token's SHA-256 is kept; the token has 256 random bits, so
/// a plain hash is enough.
public final class TokenStore: Sendable {
    public struct Entry: Sendable, Hashable {
        public let id: String
        public let name: String
        public let scopes: Set<Scope>
        public let createdAt: Milliseconds
        let hash: Digest
    }

    private static let prefix = "ostk_"
    private let path: String
    private let clock: any WallClock
    private let entries: Mutex<[Entry]>

    public init(home: HomeLayout, clock: any WallClock) throws(MeshError) {
        path = home.state + "/tokens.json"
        self.clock = clock
        entries = Mutex(try Self.read(path))
    }

    public var all: [Entry] { entries.withLock { $0 } }

    /// The token is returned here and never again.
    public func create(name: String, scopes: Set<Scope>) throws(MeshError) -> (token: String, entry: Entry) {
        let token = Self.prefix + Base32.encode(randomBytes(32))
        let hash = Digest.of(Array(token.utf8))
        let entry = Entry(id: String(hash.hex.prefix(12)), name: name, scopes: scopes, createdAt: clock.now, hash: hash)
        try change { $0.append(entry) }
        return (token, entry)
    }

    /// False when there is no such token.
    public func revoke(id: String) throws(MeshError) -> Bool {
        let before = all.count
        try change { $0.removeAll { $0.id == id } }
        return all.count < before
    }

    public func principal(for token: String) -> Principal? {
        let hash = Digest.of(Array(token.utf8))
        return all.first { constantTimeEqual($0.hash.bytes, hash.bytes) }.map { Principal(name: "token:\($0.id)", scopes: $0.scopes) }
    }

    private func change(_ edit: (inout [Entry]) -> Void) throws(MeshError) {
        let result: Result<Void, MeshError> = entries.withLock { entries in
            var edited = entries
            edit(&edited)
            do throws(MeshError) { try Files.writeDurably(Array(Self.document(edited).prettyText.utf8), to: path, mode: 0o600) } catch { return .failure(error) }
            entries = edited
            return .success(())
        }
        try result.get()
    }

    private static func document(_ entries: [Entry]) -> JSONValue {
        .array(entries.map { ["id": .string($0.id), "name": .string($0.name), "hash": .string($0.hash.hex), "createdAt": .integer($0.createdAt),
                              "scopes": .array($0.scopes.map(\.rawValue).sorted().map(JSONValue.string))] })
    }

    private static func read(_ path: String) throws(MeshError) -> [Entry] {
        guard Files.exists(path) else { return [] }
        var out: [Entry] = []
        for (i, item) in (try JSONValue.parse(Files.read(path, bytesMax: Limits.controlMessageBytesMax)).array ?? []).enumerated() {
            var reader = try FieldReader(item, at: "/\(i)")
            guard let hash = Digest(hex: try reader.string("hash")) else { throw reader.invalid("hash", "not a digest") }
            out.append(Entry(id: try reader.string("id"), name: try reader.string("name"), scopes: Set(try reader.strings("scopes").compactMap(Scope.init(rawValue:))),
                             createdAt: Int64(try reader.integer("createdAt")), hash: hash))
        }
        return out
    }
}

let tokenActions: [Action] = [
    Action("token.new", "New token", "Makes a bearer token for the control API; it is shown once.", scope: .admin,
           input: .object([
               .init("scopes", .array(.string(oneOf: Scope.allCases.map(\.rawValue))), "What it may do"), .optional("name", .string(), "What it is for"),
           ]),
           output: .object([.init("token", .string(), "The secret"), .init("id", .string(), "Names it in `token list`"), .init("scopes", .array(.string()), "What it may do")])) { context, params throws(MeshError) in
        let scopes = Set((params["scopes"]?.array ?? []).compactMap(\.string).compactMap(Scope.init(rawValue:)))
        guard !scopes.isEmpty else { throw MeshError(.paramsInvalid, "a token needs a scope", hint: "--scope read,write", pointer: "/scopes") }
        let made = try context.parts.tokens.create(name: params["name"]?.string ?? "", scopes: scopes)
        return ["token": .string(made.token), "id": .string(made.entry.id), "scopes": .array(scopes.map(\.rawValue).sorted().map(JSONValue.string))]
    },
    Action("token.list", "Tokens", "The tokens of the control API, without their secrets.", scope: .admin,
           output: .array(.object([
               .init("id", .string(), "Names it"), .init("name", .string(), "What it is for"), .init("scopes", .array(.string()), "What it may do"), .init("createdAt", .string(), "When it was made"),
           ]))) { context, _ throws(MeshError) in
        .array(context.parts.tokens.all.map { ["id": .string($0.id), "name": .string($0.name), "createdAt": .string($0.createdAt.rfc3339),
                                               "scopes": .array($0.scopes.map(\.rawValue).sorted().map(JSONValue.string))] })
    },
    Action("token.revoke", "Revoke a token", "The token stops working at once.", scope: .admin, input: .object([.init("id", .string(), "As in `token list`")]),
           output: .object([.init("revoked", .boolean, "False when there was no such token")])) { context, params throws(MeshError) in
        ["revoked": .bool(try context.parts.tokens.revoke(id: params["id"]?.string ?? ""))]
    },
]
