internal import Discovery
internal import MeshCore
internal import Signing

/// The members that answered, and where, kept in `state/peers.json`: where multicast is dropped or nothing announces, these
/// are tried. What cannot be read is no loss and is written anew.
struct PeerMemory: Sendable {
    struct Known: Sendable, Hashable {
        let node: KeyID
        let name: String
        let addresses: [PeerAddress]
        let lastSeen: Milliseconds
    }

    private let path: String

    init(home: HomeLayout) { path = home.state + "/peers.json" }

    func read() -> [Known] {
        guard let bytes = try? Files.read(path, bytesMax: 4 << 20), let items = (try? JSONValue.parse(bytes, bytesMax: 4 << 20))?["peers"]?.array else { return [] }
        return items.prefix(Limits.peersMax).compactMap { item in
            guard let node = item["nodeId"]?.string.flatMap({ KeyID(hex: $0) }) else { return nil }
            let addresses = (item["addresses"]?.array ?? []).compactMap(\.string).compactMap { try? PeerAddress(parsing: $0, defaultPort: PeerExchange.defaultPort) }
            return Known(node: node, name: displayName(Array((item["name"]?.string ?? "").utf8)) ?? "", addresses: addresses, lastSeen: item["lastSeen"]?.integer ?? 0)
        }
    }

    func write(_ peers: [Known]) throws(MeshError) {
        let kept = peers.sorted { ($1.lastSeen, $0.node) < ($0.lastSeen, $1.node) }.prefix(Limits.peersMax)
        let document: JSONValue = ["peers": .array(kept.map { peer in
            ["nodeId": .string(peer.node.hex), "name": .string(peer.name), "lastSeen": .integer(peer.lastSeen),
             "addresses": .array(peer.addresses.map { .string($0.description) })]
        })]
        try Files.makeDirectory(Files.parent(of: path), mode: 0o700)
        try Files.writeDurably(Array(document.prettyText.utf8), to: path)
    }
}
