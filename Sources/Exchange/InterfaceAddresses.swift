internal import Discovery
internal import Glibc
internal import MeshCore

/// The addresses by which others on the network can reach this machine.
enum InterfaceAddresses {
    /// IPv4 first, then routable IPv6; no loopback, no link-local, no container bridges.
    static func list(port: Int) -> [PeerAddress] {
        var head: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&head) == 0 else { return [] }
        defer { freeifaddrs(head) }
        var v4: [PeerAddress] = [], v6: [PeerAddress] = []
        var next = head
        while let entry = next?.pointee {
            next = entry.ifa_next
            let flags = entry.ifa_flags
            guard let raw = entry.ifa_addr, flags & UInt32(IFF_UP) != 0, flags & UInt32(IFF_LOOPBACK) == 0 else { continue }
            let name = String(cString: entry.ifa_name)
            guard !["docker", "br-", "virbr"].contains(where: { name.hasPrefix($0) }) else { continue }
            guard let host = numericHost(raw), !host.hasPrefix("fe80"), !host.hasPrefix("169.254.") else { continue }
            if raw.pointee.sa_family == sa_family_t(AF_INET) {
                if let address = try? PeerAddress(parsing: "\(host):\(port)", defaultPort: port) { v4.append(address) }
            } else if let address = try? PeerAddress(parsing: "[\(host)]:\(port)", defaultPort: port) {
                v6.append(address)
            }
        }
        return Array((v4 + v6).prefix(8))
    }

    private static func numericHost(_ address: UnsafeMutablePointer<sockaddr>) -> String? {
        let family = Int32(address.pointee.sa_family)
        guard family == AF_INET || family == AF_INET6 else { return nil }
        let length = family == AF_INET ? MemoryLayout<sockaddr_in>.size : MemoryLayout<sockaddr_in6>.size
        var buffer = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        guard getnameinfo(address, socklen_t(length), &buffer, socklen_t(buffer.count), nil, 0, NI_NUMERICHOST) == 0 else { return nil }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
