internal import MeshCore
public import Signing

/// The DNS-SD TXT record of a node (RFC 6763 §6): `v=1`, `id=<64 hex>`, `mesh=<16 hex>`, `root=<16 hex>`, `name=<display name>`.
/// No capsule names: whoever shares the network can read it.
public struct ServiceText: Hashable, Sendable {
    public let nodeID: KeyID
    public let mesh: String?
    public let catalogRoot: String?
    public let name: String?

    public init(_ announcement: Announcement) {
        nodeID = announcement.nodeID
        mesh = String(announcement.mesh.hex.prefix(16))
        catalogRoot = String(announcement.catalogRoot.hex.prefix(16))
        name = displayName(Array(announcement.name.utf8))
    }

    /// From the strings of a record, as anyone may have sent it. nil where it is not a node's of this version: another `v`,
    /// or no whole id. Other fields that are malformed count as absent, unknown ones are passed over; of a key that stands
    /// twice the first counts, and case does not matter in keys (RFC 6763 §6.4).
    public init?(entries: [[UInt8]]) {
        var values: [String: ArraySlice<UInt8>] = [:]
        for entry in entries {
            guard let equals = entry.firstIndex(of: UInt8(ascii: "=")), equals > 0, equals <= 16 else { continue }
            let key = String(decoding: entry[..<equals].map { (0x41...0x5a).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
            if values[key] == nil { values[key] = entry[(equals + 1)...] }
        }
        guard values["v"].map(Array.init) == [UInt8(ascii: "1")], let id = values["id"], Self.isHex(id, count: 64),
              let nodeID = KeyID(hex: String(decoding: id, as: UTF8.self)) else { return nil }
        func hex16(_ key: String) -> String? {
            values[key].flatMap { Self.isHex($0, count: 16) ? String(decoding: $0, as: UTF8.self) : nil }
        }
        self.nodeID = nodeID
        mesh = hex16("mesh")
        catalogRoot = hex16("root")
        name = values["name"].flatMap { displayName(Array($0)) }
    }

    /// The strings of the record; `v` first, as RFC 6763 §6.7 asks for a version.
    public var entries: [[UInt8]] {
        [("v", "1"), ("id", nodeID.hex), ("mesh", mesh), ("root", catalogRoot), ("name", name)]
            .compactMap { key, value in value.map { Array("\(key)=\($0)".utf8) } }
    }

    /// The DNS-SD instance name: DNS allows 63 bytes, the whole id has 64.
    public var instanceName: String { String(nodeID.hex.prefix(32)) }

    private static func isHex(_ bytes: ArraySlice<UInt8>, count: Int) -> Bool {
        bytes.count == count && bytes.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }
}

/// A name that is safe to show: valid Unicode, one line, nothing invisible or that turns the text's direction, at most
/// `Limits.displayNameBytesMax` bytes, trimmed. nil when nothing is left.
public func displayName(_ bytes: [UInt8]) -> String? {
    var out = String.UnicodeScalarView()
    var count = 0
    for scalar in String(decoding: bytes, as: UTF8.self).unicodeScalars {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned: continue
        case .spaceSeparator where out.isEmpty: continue
        default: break
        }
        count += UTF8.width(scalar)
        if count > Limits.displayNameBytesMax { break }
        out.append(scalar)
    }
    while out.last?.properties.generalCategory == .spaceSeparator { out.removeLast() }
    return out.isEmpty ? nil : String(out)
}
