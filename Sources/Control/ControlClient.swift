internal import AsyncHTTPClient
public import MeshCore
internal import NIOCore
internal import NIOHTTP1

/// The command line's way to the node that runs in its home: HTTP over the home's socket.
public struct ControlClient: Sendable {
    private let socket: String

    public init(home: HomeLayout) { socket = home.socket }

    /// Does an action and waits for its end. `onEvent` sees what a long one says on its way.
    public func call(_ action: String, _ params: JSONValue, onEvent: @escaping @Sendable (NodeEvent) -> Void) async throws(MeshError) -> JSONValue {
        let key = Hex.encode((0..<16).map { _ in UInt8.random(in: 0...255) })
        let body: JSONValue = ["action": .string(action), "params": params]
        let answer = try await send(.POST, "/oai/act", headers: [("Idempotency-Key", key), ("Content-Type", "application/json")], body: body.canonicalBytes)
        if let result = answer["result"] { return result }
        guard let id = answer["runId"]?.string else { throw Self.unexpected("no result") }
        let run = try await follow(id, onEvent)
        if let error = run["error"] { throw Self.error(code: error["code"], exit: error["exit"], message: error["message"], error) }
        guard let result = run["result"] else { throw Self.unexpected("the run ended without a result") }
        return result
    }

    /// Listens to a run until it ends; whoever stops waiting for it cancels it.
    private func follow(_ id: String, _ onEvent: @escaping @Sendable (NodeEvent) -> Void) async throws(MeshError) -> JSONValue {
        try await stream("/oai/runs/\(id)/events") { value in
            guard let source = value["source"]?.string, let type = value["type"]?.string else { return }
            onEvent(NodeEvent(source: source, type: type, data: value["data"] ?? .null))
        }
        if Task.isCancelled { _ = try await send(.POST, "/oai/runs/\(id)/cancel", headers: [], body: []) }
        return try await get("/oai/runs/\(id)")
    }

    public func get(_ path: String) async throws(MeshError) -> JSONValue { try await send(.GET, path, headers: [], body: nil) }

    /// Follows a stream of events until it ends: `{id, ts, source, type, data}` each.
    public func stream(_ path: String, _ onEvent: @escaping @Sendable (JSONValue) -> Void) async throws(MeshError) {
        do {
            let response = try await HTTPClient.shared.execute(request(.GET, path), deadline: .distantFuture)
            var pending: [UInt8] = []
            for try await buffer in response.body {
                pending.append(contentsOf: buffer.readableBytesView)
                while let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
                    let line = Array(pending[..<end])
                    pending.removeSubrange(...end)
                    guard line.starts(with: Array("data: ".utf8)), let value = try? JSONValue.parse(Array(line.dropFirst(6)), bytesMax: 4 << 20) else { continue }
                    onEvent(value)
                }
            }
        } catch { throw unreachable(error) }
    }

    private func request(_ method: HTTPMethod, _ path: String) -> HTTPClientRequest {
        // The socket's path is the URL's host, so every byte of it that is not a letter or digit is escaped.
        let host = socket.utf8.map { byte in
            (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte) ? String(UnicodeScalar(byte)) : "%" + Hex.encode([byte]).uppercased()
        }.joined()
        var request = HTTPClientRequest(url: "http+unix://\(host)\(path)")
        request.method = method
        return request
    }

    private func send(_ method: HTTPMethod, _ path: String, headers: [(String, String)], body: [UInt8]?) async throws(MeshError) -> JSONValue {
        let status: Int, bytes: [UInt8]
        do {
            var request = request(method, path)
            for (name, value) in headers { request.headers.add(name: name, value: value) }
            if let body { request.body = .bytes(ByteBuffer(bytes: body)) }
            let response = try await HTTPClient.shared.execute(request, deadline: .distantFuture)
            status = Int(response.status.code)
            var collected = try await response.body.collect(upTo: 256 << 20)
            bytes = collected.readBytes(length: collected.readableBytes) ?? []
        } catch { throw unreachable(error) }
        let document = try JSONValue.parse(bytes, bytesMax: 256 << 20)
        guard status < 400 else { throw Self.error(code: document["code"], exit: document["exit"], message: document["detail"], document) }
        return document
    }

    private func unreachable(_ error: any Error) -> MeshError {
        if let error = error as? MeshError { return error }
        return MeshError(.controlUnreachable, "the node in this home does not answer on \(socket)", hint: "look at its output; if it hangs, stop it and start it again", cause: error)
    }

    private static func unexpected(_ what: String) -> MeshError {
        MeshError(.controlUnreachable, "the node answered in an unknown way: \(what)", hint: "the running node may be of another version; restart it")
    }

    private static func error(code: JSONValue?, exit: JSONValue?, message: JSONValue?, _ document: JSONValue) -> MeshError {
        let status = exit?.integer.flatMap { ExitStatus(rawValue: Int32(truncatingIfNeeded: $0)) } ?? .unavailable
        return MeshError(ErrorCode(code?.string ?? "unknown", status), message?.string ?? "the node failed", hint: document["hint"]?.string ?? "",
                         pointer: document["pointer"]?.string, details: (document["details"]?.array ?? []).compactMap(\.string))
    }
}
