import Discovery
import MeshCore
import Signing
import Testing

@Suite struct SightingTableTests {
    static func text(_ digit: Character, name: String = "n", root: String = "0000000000000000") throws -> ServiceText {
        let entries = ["v=1", "id=\(String(repeating: digit, count: 64))", "root=\(root)", "name=\(name)"]
        return try #require(ServiceText(entries: entries.map { Array($0.utf8) }))
    }

    static func key(_ interface: Int32, _ protocol: Int32, _ name: String = "a") -> SightingTable.Key {
        SightingTable.Key(interface: interface, protocol: `protocol`, name: name, type: "_oursynth._tcp", domain: "local")
    }

    static func address(_ text: String) throws -> PeerAddress { try PeerAddress(parsing: text, defaultPort: 7423) }

    static func seen(_ events: [SightingEvent]) -> [Sighting] {
        events.compactMap { if case .seen(let sighting) = $0 { sighting } else { nil } }
    }

    static func gone(_ events: [SightingEvent]) -> [String] {
        events.compactMap { if case .gone(let id, .avahi) = $0 { String(id.hex.prefix(1)) } else { nil } }
    }

    @Test func onePeerSeenTwiceIsOne() throws {
        var table = SightingTable()
        let v4 = Self.key(2, 0), v6 = Self.key(2, 1)
        let isNew = table.appeared(v4), isNewToo = table.appeared(v6)
        #expect(isNew && isNewToo)
        let first = table.resolved(v4, text: try Self.text("a"), address: try Self.address("10.0.0.2"), interface: "eth0")
        #expect(Self.seen(first).map(\.addresses) == [[try Self.address("10.0.0.2")]])
        let second = Self.seen(table.resolved(v6, text: try Self.text("a"), address: try Self.address("fe80::2%2"), interface: "eth0"))
        #expect(second.map(\.addresses) == [[try Self.address("10.0.0.2"), try Self.address("fe80::2%2")]])
        #expect(second.first?.interface == "eth0" && second.first?.source == .avahi && second.first?.name == "n")
        let left = table.vanished(v4)
        #expect(Self.seen(left).map(\.addresses) == [[try Self.address("fe80::2%2")]])
        #expect(Self.gone(left).isEmpty)
        let last = table.vanished(v6), again = table.vanished(v6)
        #expect(Self.gone(last) == ["a"])
        #expect(again.isEmpty)
        #expect(table.count == 0)
    }

    @Test func tellsOnlyNews() throws {
        var table = SightingTable()
        let key = Self.key(2, 0)
        _ = table.appeared(key)
        let address = try Self.address("10.0.0.2")
        let first = table.resolved(key, text: try Self.text("a"), address: address, interface: nil)
        let second = table.resolved(key, text: try Self.text("a"), address: address, interface: nil)
        #expect(first.count == 1 && second.isEmpty)
        let news = Self.seen(table.resolved(key, text: try Self.text("a", root: "1111111111111111"), address: address, interface: nil))
        #expect(news.map(\.catalogRoot) == ["1111111111111111"])
    }

    @Test func anInstanceThatTurnsIntoAnotherOrNoNode() throws {
        var table = SightingTable()
        let key = Self.key(2, 0), address = try Self.address("10.0.0.2")
        _ = table.appeared(key)
        _ = table.resolved(key, text: try Self.text("a"), address: address, interface: nil)
        let changed = table.resolved(key, text: try Self.text("b"), address: address, interface: nil)
        #expect(Self.gone(changed) == ["a"] && Self.seen(changed).count == 1)
        let isNone = table.resolved(key, text: nil, address: address, interface: nil), left = table.vanished(key)
        #expect(Self.gone(isNone) == ["b"] && left.isEmpty)
        let neverShown = table.resolved(Self.key(9, 0), text: try Self.text("c"), address: address, interface: nil)
        #expect(neverShown.isEmpty)
    }

    @Test func aLostDaemonIsNoNewsAboutPeers() throws {
        var table = SightingTable()
        let stays = Self.key(2, 0, "a"), leaves = Self.key(2, 0, "b")
        for (key, digit) in [(stays, Character("a")), (leaves, "b")] {
            _ = table.appeared(key)
            _ = table.resolved(key, text: try Self.text(digit), address: try Self.address("10.0.0.2"), interface: nil)
        }
        let nothing = table.settled()
        #expect(nothing.isEmpty)
        table.daemonLost()
        let isResolvedAnew = table.appeared(stays), lost = table.settled()
        #expect(isResolvedAnew)
        #expect(Self.gone(lost) == ["b"])
        #expect(table.count == 1)
    }

    @Test func aFloodIsBounded() throws {
        var table = SightingTable(rowsMax: 10)
        let taken = (0..<100).filter { table.appeared(Self.key(2, 0, "\($0)")) }
        #expect(taken == Array(0..<10))
        #expect(table.count == 10)
        _ = table.vanished(Self.key(2, 0, "3"))
        let hasRoom = table.appeared(Self.key(2, 0, "other"))
        #expect(hasRoom)
    }

    /// Whoever claims another's id can add addresses, but not push out those that were there.
    @Test func addressesAreBoundedAndTheFirstStay() throws {
        var table = SightingTable()
        var last: Sighting?
        for i in 1...50 {
            let key = Self.key(2, 0, "\(i)")
            _ = table.appeared(key)
            last = Self.seen(table.resolved(key, text: try Self.text("a"), address: try Self.address("10.0.0.\(i)"), interface: nil)).last ?? last
        }
        #expect(last?.addresses.count == Limits.addressesPerPeerMax)
        #expect(last?.addresses.first == (try Self.address("10.0.0.1")))
    }
}
