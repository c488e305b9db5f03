internal import Glibc
public import MeshCore

/// Where a peer may be reached: a numeric address and a TCP port. Never a host name: nothing here asks a resolver.
///
/// One address has one spelling: IPv4 in dotted form (an IPv4-mapped IPv6 address becomes one), IPv6 by RFC 5952, and a
/// link-local one always with its interface's index as the zone (`fe80::1%2`, RFC 4007).
public struct PeerAddress: Hashable, Sendable, CustomStringConvertible {
    /// As above, with the zone where there is one.
    public let host: String
    /// 1–65535
    public let port: Int

    /// Reads `1.2.3.4`, `1.2.3.4:7423`, `fe80::1%eth0`, `[fe80::1%2]:7423` or `[2001:db8::1]`. The zone is an interface's
    /// name or index. Addresses that name no single host (unspecified, multicast, broadcast) are refused.
    ///
    /// Throws `peer_address_invalid` (64).
    public init(parsing text: String, defaultPort: Int) throws(MeshError) {
        func invalid(_ why: String) -> MeshError {
            MeshError(.peerAddressInvalid, "“\(text.prefix(80))” is not a peer's address: \(why)",
                      hint: "write 192.168.1.20, 192.168.1.20:7423 or [fe80::1%eth0]:7423; host names are not looked up")
        }
        guard text.utf8.count <= 80 else { throw invalid("it is too long") }
        let hostText: Substring, portText: Substring?
        if text.hasPrefix("[") {
            guard let close = text.firstIndex(of: "]") else { throw invalid("the ] is missing") }
            hostText = text[text.index(after: text.startIndex)..<close]
            let rest = text[text.index(after: close)...]
            guard rest.isEmpty || rest.hasPrefix(":"), hostText.contains(":") else { throw invalid("only an IPv6 address stands in [ ]") }
            portText = rest.isEmpty ? nil : rest.dropFirst()
        } else {
            let parts = text.split(separator: ":", omittingEmptySubsequences: false)
            (hostText, portText) = parts.count == 2 ? (parts[0], parts[1]) : (text[...], nil)
        }
        port = try portText.map { (digits) throws(MeshError) in
            guard digits.utf8.count <= 5, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = Int(digits) else {
                throw invalid("the port is not a number")
            }
            return port
        } ?? defaultPort
        guard (1...65535).contains(port) else { throw invalid("a port is 1 to 65535") }

        let halves = hostText.split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false)
        guard let literal = halves.first.map(String.init), let bytes = Self.bytes(literal) else { throw invalid("it is no numeric address") }
        let zone = halves.count == 2 ? String(halves[1]) : nil
        let isLinkLocal = bytes.count == 16 && bytes[0] == 0xfe && bytes[1] & 0xc0 == 0x80
        guard Self.namesOneHost(bytes) else { throw invalid("it names no single host") }
        if isLinkLocal {
            guard let zone else { throw invalid("a link-local address needs its interface, as in fe80::1%eth0") }
            guard let index = Self.interfaceIndex(zone) else { throw invalid("there is no interface \(zone) here") }
            host = Self.text(bytes) + "%\(index)"
        } else {
            guard zone == nil else { throw invalid("only a link-local address has an interface") }
            host = Self.text(bytes)
        }
    }

    /// The interface's index, of a link-local address.
    public var zone: UInt32? {
        guard let percent = host.firstIndex(of: "%") else { return nil }
        return UInt32(host[host.index(after: percent)...])
    }

    /// `1.2.3.4:7423`, `[fe80::1%2]:7423`
    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    private static func bytes(_ literal: String) -> [UInt8]? {
        var out = [UInt8](repeating: 0, count: 16)
        if inet_pton(AF_INET, literal, &out) == 1 { return Array(out[..<4]) }
        guard inet_pton(AF_INET6, literal, &out) == 1 else { return nil }
        let mapped = out[..<10].allSatisfy { $0 == 0 } && out[10] == 0xff && out[11] == 0xff
        return mapped ? Array(out[12...]) : out
    }

    private static func text(_ bytes: [UInt8]) -> String {
        var buffer = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        guard inet_ntop(bytes.count == 4 ? AF_INET : AF_INET6, bytes, &buffer, socklen_t(buffer.count)) != nil else { return "" }
        return buffer.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
    }

    private static func namesOneHost(_ bytes: [UInt8]) -> Bool {
        if bytes.count == 4 { return bytes[0] != 0 && bytes[0] < 224 }
        return bytes[0] != 0xff && bytes.contains { $0 != 0 }
    }

    private static func interfaceIndex(_ zone: String) -> UInt32? {
        if zone.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
            guard let index = UInt32(zone), index > 0, index <= UInt32(Int32.max) else { return nil }
            return index
        }
        let index = if_nametoindex(zone)
        return index > 0 ? index : nil
    }
}
