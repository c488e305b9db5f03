internal import Catalog
internal import Glibc
public import MeshCore
internal import Signing

/// `state/node.json`: what a node is called and which home format it has.
public struct NodeSettings: Sendable, Hashable {
    public let name: String

    static let format = 1

    static func read(_ home: HomeLayout) throws(MeshError) -> NodeSettings {
        guard Files.exists(home.nodeSettings) else {
            throw MeshError(.homeMissing, "there is no home in \(home.path)", hint: "make one with `capsule init`, or name another with --home DIR")
        }
        var reader = try FieldReader(JSONValue.parse(Files.read(home.nodeSettings, bytesMax: Limits.controlMessageBytesMax)))
        let format = try reader.integer("format")
        let name = try reader.string("name")
        try reader.finish()
        guard format == Self.format else {
            throw MeshError(.homeFormat, "the home in \(home.path) has format \(format); this program knows \(Self.format)",
                            hint: "use the version of capsule that made it, or a newer one")
        }
        return NodeSettings(name: name)
    }

    func write(_ home: HomeLayout) throws(MeshError) {
        let document: JSONValue = ["format": .integer(Int64(Self.format)), "name": .string(name)]
        try Files.writeDurably(Array(document.prettyText.utf8), to: home.nodeSettings)
    }
}

/// Making a home: folders, a node key, a root key, and the charter of a mesh of one.
public enum HomeSetup {
    /// Makes what is missing, so that an interrupted call is finished by the next; a complete home is left as it is.
    /// `created` says whether there was anything to do.
    public static func create(_ home: HomeLayout, name: String?, clock: any WallClock) throws(MeshError) -> (settings: NodeSettings, created: Bool) {
        if Files.exists(home.nodeSettings) { return (try NodeSettings.read(home), false) }
        let settings = NodeSettings(name: try validated(name ?? hostName))
        for folder in [home.path, home.capsules, home.peers, home.deployments] { try Files.makeDirectory(folder) }
        for folder in [home.keys, home.state] { try Files.makeDirectory(folder, mode: 0o700) }
        guard let lock = try FileLock(home.lock) else { throw NodeParts.inUse(home) }
        Leftovers.remove(in: home.keys)
        let node = try key("node", home), root = try key("root", home)
        if !Files.exists(home.charter) || !Files.exists(home.catalogDatabase) {
            _ = try Catalog.found(home: home, root: root, node: node, clock: clock)
        }
        // SQLite does not make the name of a new database durable.
        try Files.syncDirectory(home.state)
        try settings.write(home)
        _ = consume lock
        return (settings, true)
    }

    private static func key(_ name: String, _ home: HomeLayout) throws(MeshError) -> SigningKey {
        let path = "\(home.keys)/\(name).key"
        if Files.exists(path) {
            let key = try KeyFile.readSecret(path, passphrase: { () throws(MeshError) in throw NodeParts.sealedNodeKey(path) })
            try KeyFile.completePublic(key, named: name, in: home.keys)
            return key
        }
        let key = SigningKey.generate()
        try KeyFile.create(key, named: name, in: home.keys, passphrase: nil)
        return key
    }

    /// A display name: it travels in DNS-SD records and stands in scopes, so it is held to a capsule name's alphabet.
    private static func validated(_ name: String) throws(MeshError) -> String {
        do throws(MeshError) { return try CapsuleName(parsing: name).description } catch {
            throw MeshError(.nodeNameInvalid, "“\(name)” is not a node name", hint: "1–63 of a-z, 0-9 and -, beginning with a letter: --name studio-2")
        }
    }

    private static var hostName: String {
        var buffer = [CChar](repeating: 0, count: 256)
        gethostname(&buffer, 255)
        let full = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let allowed = full.lowercased().utf8.prefix { $0 != UInt8(ascii: ".") }
            .filter { (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2d }
        let text = String(decoding: allowed.prefix(63), as: UTF8.self)
        return (try? CapsuleName(parsing: text))?.description ?? "node"
    }
}

extension ErrorCode {
    public static let homeMissing = ErrorCode("home_missing", .badConfiguration)
    public static let homeFormat = ErrorCode("home_format", .badConfiguration)
    public static let homeInUse = ErrorCode("home_in_use", .tryAgain)
    public static let nodeNameInvalid = ErrorCode("node_name_invalid", .usage)
    public static let keySealed = ErrorCode("key_sealed", .badConfiguration)
}
