public import MeshCore

/// A `.caps` file, opened for reading: digest frame and seek table recomputed, and every member of its tar a plain file
/// with the one header that its name and size make. Errors: `caps_damaged`, `tar_invalid`, `member_refused`.
public final class CapsReader: LayoutSource {
    private let tar: IndexedTar

    public init(path: String, codec: any FrameCodec) throws(MeshError) {
        tar = try IndexedTar(SeekableFrameReader(path: path, codec: codec), .canonical)
    }

    public var members: [String: Int64] { tar.sizes }

    /// The members' names as they stand in the file.
    var order: [String] { tar.members.map(\.name) }

    public func read(_ member: String, offset: Int64, count: Int) throws(MeshError) -> [UInt8] {
        try tar.read(member, offset: offset, count: count)
    }
}

/// An uncompressed tar of an OCI layout, as `skopeo copy … oci-archive:FILE` writes it.
public final class TarLayout: LayoutSource {
    private let tar: IndexedTar

    public init(path: String) throws(MeshError) {
        tar = try IndexedTar(FileBytes(path), .ustar)
    }

    /// Whether the file starts with a tar header.
    public static func recognises(_ path: String) throws(MeshError) -> Bool {
        let file = try FileBytes(path)
        guard file.size >= Int64(2 * TarHeader.blockBytes) else { return false }
        return try file.read(at: 257, count: 5) == Array("ustar".utf8)
    }

    public var members: [String: Int64] { tar.sizes }

    public func read(_ member: String, offset: Int64, count: Int) throws(MeshError) -> [UInt8] {
        try tar.read(member, offset: offset, count: count)
    }
}

private final class FileBytes: ByteSource {
    let size: Int64
    private let file: OpenFile

    init(_ path: String) throws(MeshError) {
        let file = try OpenFile(reading: path)
        size = try file.size()
        self.file = file
    }

    func read(at offset: Int64, count: Int) throws(MeshError) -> [UInt8] { try file.read(count: count, at: offset) }
}

/// The table of a tar, and the bytes below it.
private struct IndexedTar: Sendable {
    let members: [TarMember]
    let sizes: [String: Int64]
    private let places: [String: TarMember]
    private let source: any ByteSource

    init(_ source: any ByteSource, _ dialect: TarReader.Dialect) throws(MeshError) {
        let members = try TarReader.members(of: source, dialect)
        self.members = members
        self.source = source
        sizes = Dictionary(members.map { ($0.name, $0.size) }, uniquingKeysWith: { first, _ in first })
        places = Dictionary(members.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    }

    func read(_ name: String, offset: Int64, count: Int) throws(MeshError) -> [UInt8] {
        guard let member = places[name] else { throw layoutInvalid("\(name) is missing") }
        guard offset >= 0, count >= 0, Int64(count) <= member.size - offset else {
            throw layoutInvalid("\(name) has only \(member.size) bytes")
        }
        return try source.read(at: member.offset + offset, count: count)
    }
}
