public import MeshCore
public import Signing

/// A neighbour that a person wrote down, for networks that discovery does not cross: a file `peers/*.json` that holds
/// `{"addresses": ["192.168.7.20:7423", …], "nodeId": "<64 hex>"}`, the id being optional.
public struct WrittenPeer: Hashable, Sendable {
    public static let defaultPort = 7423

    public let nodeID: KeyID?
    /// At least one, at most `Limits.addressesPerPeerMax`.
    public let addresses: [PeerAddress]

    public init(nodeID: KeyID?, addresses: [PeerAddress]) {
        self.nodeID = nodeID
        self.addresses = addresses
    }

    /// Errors name the field: `field_invalid`, `field_missing`, `field_unknown`, `json_invalid` (65).
    public init(parsing bytes: [UInt8]) throws(MeshError) {
        var fields = try FieldReader(JSONValue.parse(bytes, bytesMax: Limits.peerFileBytesMax))
        nodeID = try fields.stringIfPresent("nodeId").map { (text) throws(MeshError) in
            guard let id = KeyID(hex: text) else { throw fields.invalid("nodeId", "“\(text)” is not a key id", hint: "a key id is 64 lower-case hexadecimal digits") }
            return id
        }
        let texts = try fields.strings("addresses")
        guard (1...Limits.addressesPerPeerMax).contains(texts.count) else {
            throw fields.invalid("addresses", "\(texts.count) addresses", hint: "write 1 to \(Limits.addressesPerPeerMax)")
        }
        var addresses: [PeerAddress] = []
        for text in texts {
            do throws(MeshError) {
                let address = try PeerAddress(parsing: text, defaultPort: Self.defaultPort)
                if !addresses.contains(address) { addresses.append(address) }
            } catch { throw fields.invalid("addresses", error.message, hint: error.hint) }
        }
        self.addresses = addresses
        try fields.finish()
    }

    public var sighting: Sighting { Sighting(nodeID: nodeID, addresses: addresses, source: .written) }

    var text: String {
        var members: [String: JSONValue] = ["addresses": .array(addresses.map { .string($0.description) })]
        if let nodeID { members["nodeId"] = .string(nodeID.hex) }
        return JSONValue.object(members).prettyText
    }
}

/// The folder of written peers, one file each. Files of other kinds, such as a README, are left alone.
public enum WrittenPeers {
    /// All of them, by file name; none where the folder is missing. The first file that cannot be read is an error that
    /// names it; at most `Limits.peersMax` files.
    public static func read(in directory: String) throws(MeshError) -> [WrittenPeer] {
        try files(in: directory).map(\.peer)
    }

    /// Writes the peer down durably. One with the same id, or without id and with an address in common, gets the
    /// addresses besides its own; again is fine.
    public static func add(_ peer: WrittenPeer, in directory: String) throws(MeshError) {
        guard let first = peer.addresses.first else {
            throw MeshError(.peerAddressInvalid, "a written peer needs an address", hint: "write HOST:PORT")
        }
        let all = try files(in: directory)
        if let (name, known) = all.first(where: { isSame($0.peer, peer) }) {
            let merged = known.addresses + peer.addresses.filter { !known.addresses.contains($0) }
            guard merged.count <= Limits.addressesPerPeerMax else {
                throw MeshError(.peerAddressInvalid, "\(directory)/\(name) would hold more than \(Limits.addressesPerPeerMax) addresses", hint: "forget some first")
            }
            return try write(WrittenPeer(nodeID: known.nodeID ?? peer.nodeID, addresses: merged), name, directory)
        }
        guard all.count < Limits.peersMax else {
            throw MeshError(.peerAddressInvalid, "\(directory) already holds \(Limits.peersMax) peers", hint: "forget some first")
        }
        try Files.makeDirectory(directory)
        try write(peer, fileName(peer.nodeID?.hex ?? first.description, besides: all.map(\.name)), directory)
    }

    /// Takes back what was written about `text`: an address as `peers` shows it, or a key id or the first 8 or more of its
    /// digits. The number of addresses that were removed.
    @discardableResult
    public static func forget(_ text: String, in directory: String) throws(MeshError) -> Int {
        let address = try? PeerAddress(parsing: text, defaultPort: WrittenPeer.defaultPort)
        var count = 0
        for (name, peer) in try files(in: directory) {
            let isMeant = text.utf8.count >= 8 && peer.nodeID.map { $0.hex.hasPrefix(text) } ?? false
            let kept = isMeant ? [] : peer.addresses.filter { $0 != address }
            guard kept.count < peer.addresses.count else { continue }
            count += peer.addresses.count - kept.count
            if kept.isEmpty {
                try Files.remove(directory + "/" + name)
                try Files.syncDirectory(directory)
            } else {
                try write(WrittenPeer(nodeID: peer.nodeID, addresses: kept), name, directory)
            }
        }
        return count
    }

    private static func files(in directory: String) throws(MeshError) -> [(name: String, peer: WrittenPeer)] {
        guard Files.exists(directory) else { return [] }
        let names = try Files.names(in: directory).filter { $0.hasSuffix(".json") && !$0.hasPrefix(".") }
        guard names.count <= Limits.peersMax else {
            throw MeshError(.fieldInvalid, "\(directory) holds \(names.count) peers; at most \(Limits.peersMax) are read", hint: "remove some of its .json files")
        }
        var out: [(name: String, peer: WrittenPeer)] = []
        for name in names {
            let path = directory + "/" + name
            let bytes = try Files.read(path, bytesMax: Limits.peerFileBytesMax)
            do throws(MeshError) { out.append((name, try WrittenPeer(parsing: bytes))) } catch {
                throw MeshError(error.code, "\(path): \(error.message)", hint: error.hint.isEmpty ? "mend the file or remove it" : error.hint,
                                pointer: error.pointer)
            }
        }
        return out
    }

    private static func isSame(_ known: WrittenPeer, _ peer: WrittenPeer) -> Bool {
        if let a = known.nodeID, let b = peer.nodeID { return a == b }
        return known.addresses.contains { peer.addresses.contains($0) }
    }

    private static func fileName(_ text: String, besides taken: [String]) -> String {
        let letters = text.utf8.map { (0x30...0x39).contains($0) || (0x61...0x7a).contains($0) ? $0 : UInt8(ascii: "-") }
        let base = String(decoding: letters.prefix(32), as: UTF8.self)
        var name = base + ".json", number = 2
        while taken.contains(name) {
            name = "\(base)-\(number).json"
            number += 1
        }
        return name
    }

    private static func write(_ peer: WrittenPeer, _ name: String, _ directory: String) throws(MeshError) {
        try Files.writeDurably(Array(peer.text.utf8), to: directory + "/" + name)
    }
}
