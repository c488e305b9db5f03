internal import Discovery
internal import MeshCore
internal import Signing

/// What two nodes tell each other first: `{charter, count, mesh, name, node, port?, protocol, root}`.
struct Hello: Sendable, Hashable {
    static let protocolVersion = 1

    let protocolVersion: Int
    let node: KeyID
    let name: String
    let mesh: Digest
    /// Over the ids of all admitted facts: equal roots, equal catalogs.
    let root: Digest
    let count: Int
    /// Over the ids of all charters: equal ones, equal charters. Absent from a node that knows first charters only.
    let charter: Digest?
    /// Where the sender listens, on the address it speaks from; absent where it does not.
    let port: Int?

    var bytes: [UInt8] {
        var fields: [String: JSONValue] = [
            "protocol": JSONValue(protocolVersion), "node": .string(node.hex), "name": .string(name), "mesh": .string(mesh.hex),
            "root": .string(root.hex), "count": JSONValue(count),
        ]
        if let charter { fields["charter"] = .string(charter.hex) }
        if let port { fields["port"] = JSONValue(port) }
        return JSONValue.object(fields).canonicalBytes
    }

    init(node: KeyID, name: String, mesh: Digest, root: Digest, count: Int, charter: Digest?, port: Int?) {
        protocolVersion = Self.protocolVersion
        self.node = node
        self.name = name
        self.mesh = mesh
        self.root = root
        self.count = count
        self.charter = charter
        self.port = port
    }

    /// Members that are not known here are passed over: a newer node may say more.
    init(parsing bytes: [UInt8]) throws(MeshError) {
        var reader = try FieldReader(try JSONValue.parse(bytes, bytesMax: 4096))
        protocolVersion = try reader.integer("protocol")
        let hex = try (node: reader.string("node"), mesh: reader.string("mesh"), root: reader.string("root"))
        guard let node = KeyID(hex: hex.node), let mesh = Digest(hex: hex.mesh), let root = Digest(hex: hex.root) else {
            throw Frames.broken("a hello without a node, a mesh and a root")
        }
        self.node = node
        self.mesh = mesh
        self.root = root
        name = displayName(Array(try reader.string("name").utf8)) ?? ""
        count = try reader.integer("count")
        charter = try reader.stringIfPresent("charter").flatMap { Digest(hex: $0) }
        let port = try reader.integerIfPresent("port")
        self.port = port.flatMap { (1...65535).contains($0) ? $0 : nil }
    }
}
