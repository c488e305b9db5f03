public import MeshCore

/// Where a node listens.
public struct NodeOptions: Sendable, Hashable {
    public struct Address: Sendable, Hashable, CustomStringConvertible {
        public let host: String
        public let port: Int

        public init(host: String, port: Int) {
            self.host = host
            self.port = port
        }

        /// `HOST:PORT`, `[V6]:PORT`, or only one of the two.
        public init(parsing text: String, host defaultHost: String, port defaultPort: Int) throws(MeshError) {
            func invalid() -> MeshError { MeshError(.addressInvalid, "“\(text)” is not an address", hint: "write HOST:PORT, e.g. 127.0.0.1:4311 or [::1]:4311") }
            var rest = text[...]
            var host = defaultHost
            if rest.hasPrefix("[") {
                guard let end = rest.firstIndex(of: "]") else { throw invalid() }
                host = String(rest[rest.index(after: rest.startIndex)..<end])
                rest = rest[rest.index(after: end)...]
            } else if let colon = rest.lastIndex(of: ":") {
                if colon > rest.startIndex { host = String(rest[..<colon]) }
                rest = rest[colon...]
            } else if let port = Int(rest), (0...65535).contains(port) {
                self.init(host: defaultHost, port: port)
                return
            } else {
                host = String(rest)
                rest = ""
            }
            guard !host.isEmpty else { throw invalid() }
            if rest.isEmpty { self.init(host: host, port: defaultPort); return }
            guard rest.hasPrefix(":"), let port = Int(rest.dropFirst()), (0...65535).contains(port) else { throw invalid() }
            self.init(host: host, port: port)
        }

        public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
    }

    public var mesh: Address
    public var control: Address
    public var front: Address
    /// Whether to find and be found over mDNS.
    public var discovers: Bool

    public init(mesh: Address, control: Address, front: Address, discovers: Bool) {
        self.mesh = mesh
        self.control = control
        self.front = front
        self.discovers = discovers
    }
}

extension ErrorCode {
    public static let addressInvalid = ErrorCode("address_invalid", .usage)
    public static let notLoopback = ErrorCode("not_loopback", .usage)
    public static let nodeFailed = ErrorCode("node_failed", .unavailable)
}
