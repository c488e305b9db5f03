internal import CapsuleFormat
internal import Glibc
internal import MeshCore
internal import Synchronization

/// `state/roots`: what the store promised to keep, one canonical JSON object a line, appended durably before the index says
/// it. Packs and this journal are enough to make the index again.
final class RootJournal: Sendable {
    enum Record: Sendable, Hashable {
        case capsule(Digest, origin: CapsuleStore.Origin, at: Milliseconds)
        case tree(index: Digest, chunks: Digest, kind: TreeKind)
        case referrer(ReferrerDocument, capsule: Digest)
        case removedCapsule(Digest)
        case removedTree(index: Digest)
    }

    /// One envelope in base64 and a few digests.
    private static let lineBytesMax = Limits.envelopeBytesMax * 2

    private let path: String
    private let turn = Mutex(())

    init(_ path: String) { self.path = path }

    func append(_ record: Record) throws(MeshError) { try append([record]) }

    /// All of them durably when this returns.
    func append(_ records: [Record]) throws(MeshError) {
        let lines: [UInt8] = records.reduce(into: []) { $0 += $1.json.canonicalBytes + [0x0a] }
        try turn.withLock { _ throws(MeshError) in
            let isNew = !Files.exists(path)
            let file = try OpenFile(appending: path, mode: 0o600)
            guard flock(file.descriptor, LOCK_EX) == 0 else { throw Files.failure("lock", path) }
            let size = try file.size()
            // What a power cut left of a line is ended, so that it spoils no other.
            let torn = size > 0 ? try file.read(count: 1, at: size - 1) != [0x0a] : false
            do throws(MeshError) {
                try file.write((torn ? [0x0a] : []) + lines)
                try file.sync()
            } catch {
                ftruncate(file.descriptor, off_t(size))
                throw error
            }
            if isNew { try Files.syncDirectory(Files.parent(of: path)) }
        }
    }

    /// Hands over all whole records, in order and one at a time; lines that are none are passed over.
    func eachRecord(_ body: (Record) throws(MeshError) -> Void) throws(MeshError) {
        guard Files.exists(path) else { return }
        let file = try OpenFile(reading: path)
        var line: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 * 1024)
        var offset: Int64 = 0
        while case let count = try file.read(into: &buffer, at: offset), count > 0 {
            offset += Int64(count)
            for byte in buffer[..<count] {
                if byte != 0x0a {
                    if line.count <= Self.lineBytesMax { line.append(byte) }
                    continue
                }
                if let json = try? JSONValue.parse(line, bytesMax: Self.lineBytesMax), let record = try? Record(json) { try body(record) }
                line.removeAll(keepingCapacity: true)
            }
        }
    }
}

extension RootJournal.Record {
    var json: JSONValue {
        switch self {
        case .capsule(let digest, let origin, let at):
            ["type": "capsule", "capsule": JSONValue(digest), "origin": .string(origin.rawValue), "at": .integer(at)]
        case .tree(let index, let chunks, let kind):
            ["type": "tree", "index": JSONValue(index), "chunks": JSONValue(chunks), "kind": .string(kind.rawValue)]
        case .referrer(let document, let capsule):
            [
                "type": "referrer", "capsule": JSONValue(capsule), "artifactType": .string(document.artifactType),
                "envelope": .string(Base64.encode(document.bytes)),
            ]
        case .removedCapsule(let digest): ["type": "removed", "capsule": JSONValue(digest)]
        case .removedTree(let index): ["type": "removed", "tree": JSONValue(index)]
        }
    }

    init(_ json: JSONValue) throws(MeshError) {
        var reader = try FieldReader(json)
        switch try reader.string("type") {
        case "capsule":
            guard let origin = CapsuleStore.Origin(rawValue: try reader.string("origin")) else {
                throw reader.invalid("origin", "not an origin")
            }
            self = .capsule(try reader.digest("capsule"), origin: origin, at: Int64(try reader.integer("at")))
        case "tree":
            guard let kind = TreeKind(rawValue: try reader.string("kind")) else { throw reader.invalid("kind", "not a kind of tree") }
            self = .tree(index: try reader.digest("index"), chunks: try reader.digest("chunks"), kind: kind)
        case "referrer":
            guard let bytes = Base64.decode(try reader.string("envelope")) else { throw reader.invalid("envelope", "not base64") }
            self = .referrer(
                ReferrerDocument(bytes: bytes, artifactType: try reader.string("artifactType")), capsule: try reader.digest("capsule"))
        case "removed": self = json["tree"] == nil ? .removedCapsule(try reader.digest("capsule")) : .removedTree(index: try reader.digest("tree"))
        default: throw reader.invalid("type", "not known")
        }
    }
}
