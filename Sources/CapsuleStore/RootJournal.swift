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

    /// Appends all of them durably, with nobody else at it in any process: `before` hears how long the journal was, `then` how long it
    /// is. Where `before` fails nothing was appended.
    func append(_ records: [Record], before: (Int64) throws(MeshError) -> Void, then: (Int64) throws(MeshError) -> Void) throws(MeshError) {
        let lines: [UInt8] = records.reduce(into: []) { $0 += $1.json.canonicalBytes + [0x0a] }
        try locked { file throws(MeshError) in
            let size = try file.size()
            try before(size)
            // What a power cut left of a line is ended, so that it spoils no other.
            let torn = size > 0 ? try file.read(count: 1, at: size - 1) != [0x0a] : false
            do throws(MeshError) {
                try file.write((torn ? [0x0a] : []) + lines)
                try file.sync()
            } catch {
                ftruncate(file.descriptor, off_t(size))
                throw error
            }
            // What fails from here on may have been done all the same (a commit whose sync failed), so what was promised stays: whoever
            // opens the store next makes it true.
            try then(size + (torn ? 1 : 0) + Int64(lines.count))
        }
    }

    /// Does `body` while nobody appends; it hears how long the journal is.
    func settled(_ body: (Int64) throws(MeshError) -> Void) throws(MeshError) {
        try locked { file throws(MeshError) in try body(try file.size()) }
    }

    private func locked(_ body: (borrowing OpenFile) throws(MeshError) -> Void) throws(MeshError) {
        try turn.withLock { _ throws(MeshError) in
            let isNew = !Files.exists(path)
            let file = try OpenFile(appending: path, mode: 0o600)
            guard flock(file.descriptor, LOCK_EX) == 0 else { throw Files.failure("lock", path) }
            if isNew { try Files.syncDirectory(Files.parent(of: path)) }
            try body(file)
        }
    }

    /// In bytes; 0 when there is none yet.
    func size() throws(MeshError) -> Int64 { Files.exists(path) ? try OpenFile(reading: path).size() : 0 }

    /// Hands over all whole records from `start` on, in order and one at a time; lines that are none are passed over.
    func eachRecord(from start: Int64 = 0, _ body: (Record) throws(MeshError) -> Void) throws(MeshError) {
        guard Files.exists(path) else { return }
        let file = try OpenFile(reading: path)
        var line: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 * 1024)
        var offset = start
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
