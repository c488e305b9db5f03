import Discovery
import MeshCore
import Testing

@Suite struct PeerAddressTests {
    @Test(arguments: [
        ("192.168.7.20", "192.168.7.20:7423"),
        ("192.168.7.20:80", "192.168.7.20:80"),
        ("10.0.0.1:65535", "10.0.0.1:65535"),
        ("2001:db8::1", "[2001:db8::1]:7423"),
        ("[2001:db8::1]", "[2001:db8::1]:7423"),
        ("[2001:DB8:0:0:0:0:0:1]:1", "[2001:db8::1]:1"),
        ("::1", "[::1]:7423"),
        ("::ffff:10.1.2.3", "10.1.2.3:7423"),
        ("[fe80::1%2]:7500", "[fe80::1%2]:7500"),
        ("fe80::a4d:2%7", "[fe80::a4d:2%7]:7423"),
        ("fe80::1%lo", "[fe80::1%1]:7423"),
        ("127.0.0.1", "127.0.0.1:7423"),
    ])
    func readsOneSpelling(text: String, spelling: String) throws {
        let address = try PeerAddress(parsing: text, defaultPort: 7423)
        #expect(address.description == spelling)
        #expect(try PeerAddress(parsing: address.description, defaultPort: 1) == address)
    }

    @Test(arguments: [
        "", ":", "lab1.local", "lab1:7423", "1.2.3", "1.2.3.4:", "1.2.3.4:0", "1.2.3.4:65536", "1.2.3.4:+1", "1.2.3.4:7 ", " 1.2.3.4", "01.2.3.4x",
        "[1.2.3.4]:1", "[::1", "[::1]7423", "[::1]:", "[::1]:x", "0.0.0.0", "224.0.0.251", "255.255.255.255", "::", "ff02::fb", "fe80::1", "[fe80::1]:7423",
        "fe80::1%", "fe80::1%0", "fe80::1%4294967297", "fe80::1%no-such-interface", "2001:db8::1%1", "1.2.3.4%1", "1.2.3.4\n", "1.2.3.4:7423/x",
        String(repeating: "1", count: 100),
    ])
    func refuses(text: String) {
        let error = #expect(throws: MeshError.self) { try PeerAddress(parsing: text, defaultPort: 7423) }
        #expect(error?.code == .peerAddressInvalid)
        #expect(error?.hint.isEmpty == false)
    }

    @Test func linkLocalHasAZone() throws {
        #expect(try PeerAddress(parsing: "fe80::1%12", defaultPort: 1).zone == 12)
        #expect(try PeerAddress(parsing: "2001:db8::1", defaultPort: 1).zone == nil)
        #expect(throws: MeshError.self) { try PeerAddress(parsing: "1.2.3.4", defaultPort: 0) }
    }
}
