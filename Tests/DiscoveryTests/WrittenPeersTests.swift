import Discovery
import Foundation
import MeshCore
import Signing
import Testing

@Suite final class WrittenPeersTests {
    let folder = "/tmp/written-peers-\(UUID().uuidString)"
    static let id = String(repeating: "ab", count: 32)

    deinit { try? Files.removeTree(folder) }

    func write(_ text: String, _ name: String) throws {
        try Files.makeDirectory(folder)
        try Files.writeDurably(Array(text.utf8), to: "\(folder)/\(name)")
    }

    func address(_ text: String) throws -> PeerAddress { try PeerAddress(parsing: text, defaultPort: 7423) }

    @Test func readsAFolder() throws {
        #expect(try WrittenPeers.read(in: folder).isEmpty)
        try write("# Peers", "README.md")
        try write(#"{"addresses": ["192.168.7.20", "[2001:db8::7]:80"], "nodeId": "\#(Self.id)"}"#, "b.json")
        try write(#"{"addresses": ["192.168.7.21:7500", "192.168.7.21:7500"]}"#, "a.json")
        let peers = try WrittenPeers.read(in: folder)
        #expect(peers.map { $0.addresses.map(\.description) } == [["192.168.7.21:7500"], ["192.168.7.20:7423", "[2001:db8::7]:80"]])
        #expect(peers.map { $0.nodeID?.hex } == [nil, Self.id])
        #expect(peers[1].sighting.source == .written && peers[1].sighting.nodeID?.hex == Self.id)
    }

    @Test(arguments: [
        (#"{"addresses": []}"#, "field_invalid", "/addresses"), (#"{}"#, "field_missing", "/addresses"), (#"{"addresses": "10.0.0.1"}"#, "field_invalid", "/addresses"),
        (#"{"addresses": ["lab1.local"]}"#, "field_invalid", "/addresses"), (#"{"addresses": ["10.0.0.1"], "nodeid": "x"}"#, "field_unknown", "/nodeid"),
        (#"{"addresses": ["10.0.0.1"], "nodeId": "xyz"}"#, "field_invalid", "/nodeId"), (#"{"addresses": ["10.0.0.1"], "nodeId": 5}"#, "field_invalid", "/nodeId"),
        (#"{"addresses": [1]}"#, "field_invalid", "/addresses/0"), (#"["10.0.0.1"]"#, "field_invalid", ""), ("{", "json_invalid", nil),
        ("{\"addresses\": [\(Array(repeating: "\"10.0.0.1\"", count: 17).joined(separator: ","))]}", "field_invalid", "/addresses"),
        (String(repeating: " ", count: 20_000), "file_too_large", nil),
    ] as [(String, String, String?)])
    func refuses(text: String, code: String, pointer: String?) throws {
        try write(text, "bad.json")
        let error = #expect(throws: MeshError.self) { try WrittenPeers.read(in: folder) }
        #expect(error?.code.name == code)
        #expect(error?.pointer == pointer)
        #expect(error?.message.contains("\(folder)/bad.json") == true)
    }

    @Test func addsOnceAndForgets() throws {
        let one = WrittenPeer(nodeID: KeyID(hex: Self.id), addresses: [try address("10.0.0.1")])
        try WrittenPeers.add(one, in: folder)
        try WrittenPeers.add(one, in: folder)
        #expect(try WrittenPeers.read(in: folder) == [one])
        // The same node at another address is one peer; an address that becomes known to be a node's, too.
        try WrittenPeers.add(WrittenPeer(nodeID: one.nodeID, addresses: [try address("10.0.0.2:80")]), in: folder)
        try WrittenPeers.add(WrittenPeer(nodeID: nil, addresses: [try address("10.0.0.9")]), in: folder)
        try WrittenPeers.add(WrittenPeer(nodeID: KeyID(hex: String(repeating: "cd", count: 32)), addresses: [try address("10.0.0.9")]), in: folder)
        #expect(Set(try WrittenPeers.read(in: folder)) == [
            WrittenPeer(nodeID: one.nodeID, addresses: [try address("10.0.0.1"), try address("10.0.0.2:80")]),
            WrittenPeer(nodeID: KeyID(hex: String(repeating: "cd", count: 32)), addresses: [try address("10.0.0.9")]),
        ])
        #expect(try WrittenPeers.forget("10.0.0.1", in: folder) == 1)
        #expect(try WrittenPeers.forget("10.0.0.1:7423", in: folder) == 0)
        #expect(try WrittenPeers.forget("cdcdcdcd", in: folder) == 1)
        #expect(try WrittenPeers.forget("", in: folder) == 0)
        #expect(try WrittenPeers.forget("ab", in: folder) == 0)
        #expect(try WrittenPeers.read(in: folder).map { $0.addresses.map(\.description) } == [["10.0.0.2:80"]])
        #expect(try WrittenPeers.forget("10.0.0.2:80", in: folder) == 1)
        #expect(try Files.names(in: folder).isEmpty)
    }

    @Test func isBoundedPerPeer() throws {
        for i in 1...Limits.addressesPerPeerMax {
            try WrittenPeers.add(WrittenPeer(nodeID: KeyID(hex: Self.id), addresses: [try address("10.0.0.\(i)")]), in: folder)
        }
        let error = #expect(throws: MeshError.self) {
            try WrittenPeers.add(WrittenPeer(nodeID: KeyID(hex: Self.id), addresses: [address("10.0.1.1")]), in: folder)
        }
        #expect(error?.code == .peerAddressInvalid)
        #expect(throws: MeshError.self) { try WrittenPeers.add(WrittenPeer(nodeID: nil, addresses: []), in: folder) }
    }
}
