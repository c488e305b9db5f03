import Dispatch
import Glibc
import Synchronization

struct Answer: Sendable {
    let status: Int
    /// Lower-case names, in order.
    let headers: [(name: String, value: String)]
    let body: [UInt8]

    var text: String { String(decoding: body, as: UTF8.self) }
    subscript(name: String) -> String? { headers.first { $0.name == name }?.value }
    func all(_ name: String) -> [String] { headers.filter { $0.name == name }.map(\.value) }
}

/// HTTP/1.1 by plain sockets, a connection each: what is sent is what is written here, also where a client would mend it.
enum HTTP {
    static func ask(port: Int, host: String?, path: String = "/", method: String = "GET", headers: [String] = [], body: [UInt8]? = nil) async throws -> Answer {
        var head = ["\(method) \(path) HTTP/1.1"] + (host.map { ["Host: \($0)"] } ?? []) + ["Connection: close"] + headers
        if let body, !headers.contains(where: { $0.lowercased().hasPrefix("transfer-encoding") }) { head.append("Content-Length: \(body.count)") }
        let request = Array((head.joined(separator: "\r\n") + "\r\n\r\n").utf8) + (body ?? [])
        return try await blocking { try Connection(port: port).exchange(request, isHead: method == "HEAD") }
    }
}

/// Off the few threads that async code shares.
private func blocking<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
    try await withCheckedThrowingContinuation { continuation in
        DispatchQueue.global().async { continuation.resume(with: Result { try body() }) }
    }
}

final class Connection: Sendable {
    private let descriptor: Int32
    private let received = Mutex<[UInt8]>([])

    init(port: Int, seconds: Int = 30) throws {
        signal(SIGPIPE, SIG_IGN)
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var place = sockaddr_in()
        place.sin_family = sa_family_t(AF_INET)
        place.sin_port = UInt16(port).bigEndian
        place.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var limit = timeval(tv_sec: seconds, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        let descriptor = descriptor
        let result = withUnsafePointer(to: &place) { $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) } }
        guard result == 0 else {
            let number = errno
            close(descriptor)
            throw Failed(description: "connect: \(String(cString: strerror(number)))")
        }
    }

    deinit { close(descriptor) }

    private func send(_ bytes: [UInt8]) throws {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress.map { $0 + done }, bytes.count - done) }
            guard count > 0 else { throw Failed(description: "send: \(String(cString: strerror(errno)))") }
            done += count
        }
    }

    /// Sends a request and waits for a part of its answer.
    static func open(port: Int, _ request: String, until mark: String) async throws -> (connection: Connection, text: String) {
        try await blocking {
            let connection = try Connection(port: port)
            try connection.send(Array(request.utf8))
            return (connection, try connection.receive(until: mark))
        }
    }

    func text(until mark: String) async throws -> String { try await blocking { try self.receive(until: mark) } }
    func rest() async throws -> String { try await blocking { String(decoding: try self.receive(), as: UTF8.self) } }

    /// More bytes, none at the end.
    private func receive() throws -> [UInt8] {
        var part = [UInt8](repeating: 0, count: 64 * 1024)
        let count = read(descriptor, &part, part.count)
        guard count >= 0 else { throw Failed(description: "receive: \(String(cString: strerror(errno)))") }
        return Array(part[..<count])
    }

    private func receive(until mark: String) throws -> String {
        while true {
            let text = String(decoding: received.withLock { $0 }, as: UTF8.self)
            if text.contains(mark) { return text }
            let more = try receive()
            guard !more.isEmpty else { throw Failed(description: "the connection ended before “\(mark)”: \(text)") }
            received.withLock { $0 += more }
        }
    }

    fileprivate func exchange(_ request: [UInt8], isHead: Bool) throws -> Answer {
        // The other side may answer and close before it has read all.
        try? send(request)
        var buffer: [UInt8] = []
        while true {
            let more: [UInt8]
            do { more = try receive() } catch { throw Failed(description: "\(error) after \(buffer.count) bytes of the answer to \(String(decoding: request.prefix(200), as: UTF8.self))") }
            if more.isEmpty { break }
            buffer += more
            // Without a plain “Connection: close” of ours the other side may keep the connection.
            if buffer.count < 4096, let answer = try? Self.parse(buffer, isHead: isHead), answer["content-length"] != nil { return answer }
        }
        return try Self.parse(buffer, isHead: isHead)
    }

    private static func parse(_ bytes: [UInt8], isHead: Bool) throws -> Answer {
        let text = Array(bytes)
        guard let end = (0..<max(0, text.count - 3)).first(where: { Array(text[$0..<$0 + 4]) == [13, 10, 13, 10] }) else {
            throw Failed(description: "no answer: \(String(decoding: text.prefix(200), as: UTF8.self))")
        }
        let lines = String(decoding: text[..<end], as: UTF8.self).split(separator: "\r\n")
        let status = lines.first.flatMap { Int($0.split(separator: " ")[1]) } ?? 0
        let headers = lines.dropFirst().map { line in
            let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            return (name: parts[0].lowercased(), value: parts.count > 1 ? String(parts[1].drop { $0 == " " }) : "")
        }
        var body = Array(text[(end + 4)...])
        if headers.contains(where: { $0.name == "transfer-encoding" && $0.value == "chunked" }) { body = try unchunked(body) }
        if !isHead, let length = headers.first(where: { $0.name == "content-length" }).flatMap({ Int($0.value) }), status != 304, body.count != length {
            throw Failed(description: "\(body.count) bytes came, \(length) were said")
        }
        return Answer(status: status, headers: headers, body: body)
    }

    private static func unchunked(_ bytes: [UInt8]) throws -> [UInt8] {
        var out: [UInt8] = [], rest = bytes[...]
        while let newline = rest.firstIndex(of: 10) {
            let line = String(decoding: rest[..<newline], as: UTF8.self).filter { $0.isHexDigit }
            guard let size = Int(line, radix: 16) else { throw Failed(description: "a bad chunk") }
            rest = rest[(newline + 1)...]
            if size == 0 { return out }
            guard rest.count >= size + 2 else { throw Failed(description: "a chunk was cut short") }
            out += rest.prefix(size)
            rest = rest.dropFirst(size + 2)
        }
        throw Failed(description: "the answer was cut short")
    }
}
