import Discovery
import Exchange
import MeshCore
import Signing
import Testing

@Suite struct PeerTableTests {
    private let own = SigningKey.generate().publicKey.id
    private let peer = SigningKey.generate().publicKey.id

    private func address(_ text: String) throws -> PeerAddress { try PeerAddress(parsing: text, defaultPort: 7423) }

    @Test func onePeerReachedThreeWaysIsOnePeer() throws {
        var table = PeerTable(own: own)
        #expect(table.note(.seen(Sighting(nodeID: peer, name: "ada", mesh: "00", addresses: [try address("192.0.2.1")], source: .avahi))) == .node(peer))
        #expect(table.note(.seen(Sighting(nodeID: peer, addresses: [try address("192.0.2.1"), try address("192.0.2.2")], source: .written))) == .node(peer))
        #expect(table.note(.seen(Sighting(nodeID: peer, addresses: [try address("192.0.2.1")], source: .lastKnown))) == nil)
        #expect(table.entries.count == 1)
        let entry = try #require(table.entries[.node(peer)])
        #expect(entry.candidates == [try address("192.0.2.1"), try address("192.0.2.2")])
        #expect(entry.name == "ada")
        #expect(Set(entry.addresses.keys) == [.avahi, .written, .lastKnown])
    }

    @Test func ownSightingIsPassedOver() throws {
        var table = PeerTable(own: own)
        #expect(table.note(.seen(Sighting(nodeID: own, addresses: [try address("192.0.2.1")], source: .avahi))) == nil)
        #expect(table.entries.isEmpty)
    }

    @Test func sameSightingAgainIsNoNews() throws {
        var table = PeerTable(own: own)
        let sighting = Sighting(nodeID: peer, mesh: "00", addresses: [try address("192.0.2.1")], source: .avahi, catalogRoot: "aa")
        #expect(table.note(.seen(sighting)) != nil)
        #expect(table.note(.seen(sighting)) == nil)
        let withNews = Sighting(nodeID: peer, mesh: "00", addresses: [try address("192.0.2.1")], source: .avahi, catalogRoot: "bb")
        #expect(table.note(.seen(withNews)) == .node(peer))
    }

    @Test func anAddressBecomesTheNodeThatAnswers() throws {
        var table = PeerTable(own: own)
        let place = try address("192.0.2.1")
        #expect(table.note(.seen(Sighting(nodeID: nil, addresses: [place, try address("192.0.2.2")], source: .written))) == .address(place))
        #expect(table.identified(place, as: peer) == .node(peer))
        #expect(Array(table.entries.keys) == [.node(peer)])
        // Written without an id, read again: it is known who that is.
        #expect(table.note(.seen(Sighting(nodeID: nil, addresses: [place], source: .written))) == nil)
        #expect(table.entries.count == 1)
    }

    @Test func ownAddressIsForgottenAndStaysSo() throws {
        var table = PeerTable(own: own)
        let place = try address("192.0.2.1")
        #expect(table.note(.seen(Sighting(nodeID: nil, addresses: [place], source: .written))) != nil)
        #expect(table.identified(place, as: own) == nil)
        #expect(table.entries.isEmpty)
        #expect(table.note(.seen(Sighting(nodeID: nil, addresses: [place], source: .written))) == nil)
    }

    @Test func goneFromOneSourceIsKeptByAnother() throws {
        var table = PeerTable(own: own)
        _ = table.note(.seen(Sighting(nodeID: peer, addresses: [try address("192.0.2.1")], source: .avahi)))
        table.answered(.node(peer), name: "ada", mesh: Digest.of([1]), at: try address("192.0.2.1"), isMember: true, now: 5)
        #expect(table.connected == [peer])
        _ = table.note(.gone(peer, .avahi))
        #expect(table.entries[.node(peer)]?.candidates == [try address("192.0.2.1")])
        let stranger = SigningKey.generate().publicKey.id
        _ = table.note(.seen(Sighting(nodeID: stranger, addresses: [try address("192.0.2.9")], source: .avahi)))
        _ = table.note(.gone(stranger, .avahi))
        #expect(table.entries[.node(stranger)] == nil)
    }

    @Test(arguments: [
        (ErrorCode.notMember, PeerTable.State.reachable), (.peerProtocol, .reachable), (.peerUnreachable, .unreachable), (.peerTimeout, .unreachable),
        (.tlsFailed, .unreachable), (.peerKeyMismatch, .unreachable), (.otherMesh, .otherMesh), (.peerStranger, .stranger),
    ])
    func failuresAreSaidInWords(_ code: ErrorCode, _ state: PeerTable.State) throws {
        var table = PeerTable(own: own)
        _ = table.note(.seen(Sighting(nodeID: peer, addresses: [try address("192.0.2.1")], source: .avahi)))
        table.failed(.node(peer), MeshError(code, "it went wrong", hint: "mend it"), now: 1)
        #expect(table.entries[.node(peer)]?.state == state)
        #expect(table.entries[.node(peer)]?.why == "it went wrong; mend it")
    }

    @Test func floodIsBounded() throws {
        var table = PeerTable(own: own)
        for _ in 0..<(Limits.peersMax + 50) {
            _ = table.note(.seen(Sighting(nodeID: KeyID(hex: Hex.encode(randomBytes(32))), addresses: [try address("192.0.2.1")], source: .avahi)))
        }
        #expect(table.entries.count == Limits.peersMax)
    }
}
