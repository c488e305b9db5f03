internal import AsyncHTTPClient
internal import HTTPTypes
internal import Hummingbird
internal import NIOCore
internal import NIOHTTP1
internal import Synchronization

/// Hands a request to an app's process and its answer back, both as they come, nothing gathered.
struct FrontProxy: Sendable {
    let client: HTTPClient

    /// Headers that speak about one connection and not about the message (RFC 9110 §7.6.1), and what this proxy answers for itself.
    private static let hopByHop: Set<String> = ["connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect"]

    func forward(_ request: Request, to app: RunningApp, lease: Lease, from address: String?) async -> Response {
        let key = app.specification.key
        guard app.phase == .running else { return FrontPages.down(key) }
        if request.headers[.upgrade] != nil {
            return FrontPages.page(.notImplemented, "No upgrades here yet", "This front passes HTTP and event streams through, not WebSockets.")
        }
        guard let path = request.head.path, path.utf8.first == UInt8(ascii: "/") else {
            return FrontPages.page(.badRequest, "Not a path", "The request names no path of this app.")
        }
        var outgoing = HTTPClientRequest(url: "http://\(Loopback.address):\(app.port)\(path)")
        outgoing.method = HTTPMethod(rawValue: request.method.rawValue)
        outgoing.headers = Self.requestHeaders(request, key: key, from: address)
        let upload: Upload?
        if let text = request.headers[.contentLength] {
            guard let length = Int64(text), length >= 0 else { return FrontPages.page(.badRequest, "Not a length", "The Content-Length is no number.") }
            upload = length > 0 ? Upload(request.body) : nil
            if let upload { outgoing.body = .stream(upload, length: .known(length)) }
        } else if request.headers[.transferEncoding] != nil {
            let body = Upload(request.body)
            upload = body
            outgoing.body = .stream(body, length: .unknown)
        } else {
            upload = nil
        }

        let response: HTTPClientResponse
        do {
            response = try await execute(outgoing, mayRepeat: upload == nil && (request.method == .get || request.method == .head || request.method == .options))
        } catch {
            guard app.phase == .running else { return FrontPages.down(key) }
            return Loopback.answers(port: app.port) ? FrontPages.noAnswer(key) : FrontPages.starting(key)
        }
        return Self.answer(response, to: request, upload: upload, lease: lease)
    }

    /// A kept connection may be closed by the app just as it is used again. Only what changes nothing is asked twice.
    private func execute(_ request: HTTPClientRequest, mayRepeat: Bool) async throws -> HTTPClientResponse {
        do {
            return try await client.execute(request, deadline: .distantFuture)
        } catch where mayRepeat && !Task.isCancelled {
            return try await client.execute(request, deadline: .distantFuture)
        }
    }

    private static func requestHeaders(_ request: Request, key: DeploymentKey, from address: String?) -> HTTPHeaders {
        let named = connectionNames(request.headers[values: .connection])
        var headers = HTTPHeaders()
        for field in request.headers where !hopByHop.contains(field.name.canonicalName) && !named.contains(field.name.canonicalName) {
            // Whatever a client claims about where it comes from is not passed on as ours.
            guard !field.name.canonicalName.hasPrefix("x-forwarded-"), field.name != .contentLength, field.name.canonicalName != "forwarded" else { continue }
            headers.add(name: field.name.rawName, value: field.value)
        }
        let host = request.head.authority ?? key.host
        headers.replaceOrAdd(name: "host", value: host)
        if let address { headers.add(name: "x-forwarded-for", value: address) }
        headers.add(name: "x-forwarded-host", value: host)
        headers.add(name: "x-forwarded-proto", value: "http")
        return headers
    }

    private static func answer(_ response: HTTPClientResponse, to request: Request, upload: Upload?, lease: Lease) -> Response {
        let named = connectionNames(response.headers["connection"])
        var headers = HTTPFields()
        for (name, value) in response.headers where !hopByHop.contains(name.lowercased()) && !named.contains(name.lowercased()) {
            if let field = HTTPField.Name(name) { headers.append(HTTPField(name: field, value: value)) }
        }
        let status = HTTPResponse.Status(code: Int(response.status.code), reasonPhrase: response.status.reasonPhrase)
        let isBare = request.method == .head || status == .noContent || status == .notModified
        let isEventStream = headers[.contentType]?.lowercased().hasPrefix("text/event-stream") ?? false
        let body = response.body
        return Response(status: status, headers: headers, body: ResponseBody { writer in
            defer { withExtendedLifetime(lease) {} }
            var out = writer
            if isBare {
                for try await _ in body {}
            } else if isEventStream, upload == nil {
                // A stream may be silent for hours: only the end of the connection tells that nobody listens any more.
                try await request.body.consumeWithCancellationOnInboundClose { _ in
                    for try await piece in body { try await out.write(piece) }
                }
            } else {
                for try await piece in body { try await out.write(piece) }
            }
            try await out.finish(nil)
            // The rest of an upload that the app did not want cannot be told from a next request.
            if let upload, !upload.isFinished { throw UploadAbandoned() }
        })
    }

    private static func connectionNames(_ values: [String]) -> Set<String> {
        Set(values.flatMap { $0.split(separator: ",") }.map { $0.filter { $0 != " " && $0 != "\t" }.lowercased() })
    }
}

private struct UploadAbandoned: Error {}

/// A request's body on its way to the app; knows whether all of it was taken.
private struct Upload: AsyncSequence, Sendable {
    fileprivate final class Mark: Sendable {
        let isSet = Atomic(false)
    }

    private let body: RequestBody
    private let end = Mark()

    init(_ body: RequestBody) { self.body = body }

    var isFinished: Bool { end.isSet.load(ordering: .acquiring) }

    struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate var inner: RequestBody.AsyncIterator
        fileprivate let end: Mark

        mutating func next() async throws -> ByteBuffer? {
            let piece = try await inner.next()
            if piece == nil { end.isSet.store(true, ordering: .releasing) }
            return piece
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(inner: body.makeAsyncIterator(), end: end) }
}
