internal import Glibc
package import MeshCore
internal import Synchronization

/// Free ports of the loopback interface, none given to two apps at a time.
///
/// They lie outside the range from which the kernel takes ports for outgoing connections: between the choice of a port and
/// the app's listening on it, no connection of anybody's can come to stand on it, not even the health check's own, which
/// might otherwise connect to itself (a simultaneous open, RFC 9293 §3.5).
package final class PortPool: Sendable {
    private let taken = Mutex<Set<Int>>([])
    private let candidates: [ClosedRange<Int>]

    package init() { candidates = Self.candidates(ephemeral: (try? Files.read("/proc/sys/net/ipv4/ip_local_port_range", bytesMax: 64)) ?? []) }

    package func take() throws(MeshError) -> Int {
        try taken.withLock { (taken) throws(MeshError) in
            for attempt in 0..<256 {
                let port = try Self.free(attempt < 192 ? candidates.randomElement()?.randomElement() ?? 0 : 0)
                if let port, taken.insert(port).inserted { return port }
            }
            throw MeshError(.frontFailed, "no free port was found for an app", hint: "too many programs listen on this machine")
        }
    }

    package func give(back port: Int) { taken.withLock { _ = $0.remove(port) } }

    /// Below and above the kernel's range, `LOW HIGH` in decimal, and above what services are usually given.
    package static func candidates(ephemeral text: [UInt8]) -> [ClosedRange<Int>] {
        let bounds = String(decoding: text, as: UTF8.self).split(whereSeparator: \.isWhitespace).compactMap { Int($0) }
        let low = bounds.first ?? 32_768, high = bounds.last ?? 60_999
        // Each as often as the other, so neither may be so small that it is soon used up.
        return [(portMin, low - 1), (max(high + 1, portMin), 65_535)].filter { $0.1 - $0.0 >= 1023 }.map { $0.0...$0.1 }
    }

    private static let portMin = 20_000

    /// The port itself when nobody has it (any free one for 0), else nil.
    private static func free(_ port: Int) throws(MeshError) -> Int? {
        let socket = Loopback.socket()
        guard socket >= 0 else { throw Files.failure("make", "a socket") }
        defer { close(socket) }
        return Loopback.bind(socket, port: port)
    }
}

/// The IPv4 loopback interface by plain sockets.
enum Loopback {
    static let address = "127.0.0.1"

    static func socket() -> Int32 { Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0) }

    /// The port that was bound, or nil.
    static func bind(_ socket: Int32, port: Int) -> Int? {
        var place = address(port)
        let bound = withUnsafePointer(to: &place) { $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.bind(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) } }
        guard bound == 0 else { return nil }
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let named = withUnsafeMutablePointer(to: &place) { $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(socket, $0, &length) } }
        return named == 0 ? Int(UInt16(bigEndian: place.sin_port)) : nil
    }

    /// Whether somebody listens there. On the loopback interface the answer is there at once.
    static func answers(port: Int) -> Bool {
        let socket = Self.socket()
        guard socket >= 0 else { return false }
        defer { close(socket) }
        var place = address(port)
        return withUnsafePointer(to: &place) { $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) } } == 0
    }

    private static func address(_ port: Int) -> sockaddr_in {
        var place = sockaddr_in()
        place.sin_family = sa_family_t(AF_INET)
        place.sin_port = UInt16(clamping: port).bigEndian
        place.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return place
    }
}
