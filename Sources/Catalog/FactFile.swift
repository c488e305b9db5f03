internal import Dispatch
internal import Glibc
public import MeshCore
internal import Synchronization

/// Charter and facts of a mesh in one file, for sites that no cable reaches. docs/formats/facts.md is normative:
/// `"OSFX" ‖ u8 1 ‖ 3 zero bytes ‖ mesh[32] ‖ root[32] ‖ u32 charters ‖ u64 facts`, then each as `u32 length ‖ envelope`, the charters
/// first, then the facts that grant and revoke, then the others.
public enum FactFile {
    private static let header: [UInt8] = Array("OSFX".utf8) + [1, 0, 0, 0]
    private static let headerBytes = 8 + 64 + 12

    /// - Returns: the root over the facts written, how many they are, and the file's bytes.
    public static func write(_ catalog: Catalog, to path: String) throws(MeshError) -> (root: Digest, facts: Int, bytes: Int64) {
        let charter = catalog.charter
        return try write(charter, to: path) { add throws(MeshError) in
            try catalog.table.eachEnvelope { _, envelope in try add(try Fact(stored: envelope, mesh: charter.meshID).id, envelope) }
        }
    }

    /// The same of facts that are in no catalog.
    package static func write(charter: Charter, _ envelopes: [[UInt8]], to path: String) throws(MeshError) {
        _ = try write(charter, to: path) { add throws(MeshError) in
            for envelope in envelopes { try add(try Fact(stored: envelope, mesh: charter.meshID).id, envelope) }
        }
    }

    private static func write(
        _ charter: Charter, to path: String, _ each: ((Digest, [UInt8]) throws(MeshError) -> Void) throws(MeshError) -> Void
    ) throws(MeshError) -> (root: Digest, facts: Int, bytes: Int64) {
        let temporary = path + ".part-\(getpid())"
        do throws(MeshError) {
            let file = try OpenFile(creating: temporary, mode: 0o644)
            var ids: [Digest] = [], buffer = [UInt8](repeating: 0, count: headerBytes) + charter.envelopes.flatMap(part)
            try each { id, envelope throws(MeshError) in
                ids.append(id)
                buffer += part(envelope)
                guard buffer.count >= 4 << 20 else { return }
                try file.write(buffer)
                buffer.removeAll(keepingCapacity: true)
            }
            try file.write(buffer)
            let root = MerkleTrie.root(ids.sorted())
            // Last, because only now it is known what is in it.
            try file.rewrite(start: header + charter.meshID.bytes + root.bytes + little(UInt64(charter.envelopes.count), bytes: 4) + little(UInt64(ids.count), bytes: 8))
            try file.sync()
            let bytes = try file.size()
            try Files.rename(temporary, path)
            try Files.syncDirectory(Files.parent(of: Files.absolute(path)))
            return (root, ids.count, bytes)
        } catch {
            try? Files.remove(temporary)
            throw error
        }
    }

    public struct Taken: Sendable {
        public private(set) var admitted = 0, known = 0, waiting = 0, refused = 0

        mutating func add(_ admission: Catalog.Admission) {
            admitted += admission.admitted.count
            known += admission.known
            waiting += admission.waiting
            refused += admission.refused.count
        }
    }

    private static let batchFacts = 32_768

    /// Facts that are checked on other threads.
    private final class Checking: Sendable {
        private let result = Mutex<(facts: [Fact], refused: [MeshError])>(([], []))
        private let done = DispatchGroup()

        static func begin(_ envelopes: [[UInt8]], mesh: Digest) -> Checking {
            let checking = Checking()
            DispatchQueue.global().async(group: checking.done) {
                let checked = Catalog.check(envelopes, mesh: mesh)
                checking.result.withLock { $0 = checked }
            }
            return checking
        }

        private var checked: (facts: [Fact], refused: [MeshError]) {
            done.wait()
            return result.withLock { $0 }
        }
        var facts: [Fact] { checked.facts }
        var refused: [MeshError] { checked.refused }
    }

    /// A batch at a time: a file may be larger than the memory.
    ///
    /// - Throws: `fact_file_invalid`, `fact_foreign` (another mesh), `disk_full`. What was taken in before stays.
    public static func read(_ path: String, into catalog: Catalog) throws(MeshError) -> Taken {
        let file = try OpenFile(reading: path), size = try file.size()
        guard size >= Int64(headerBytes) else { throw invalid(path, "it has \(size) bytes") }
        let head = try file.read(count: headerBytes, at: 0)
        guard Array(head[..<8]) == header, let mesh = Digest(bytes: head[8..<40]) else { throw invalid(path, "it does not begin as one of version 1") }
        guard mesh == catalog.meshID else { throw Fact.foreign(mesh) }
        let charters = head[72..<76].reversed().reduce(0) { $0 << 8 | Int($1) }
        let facts = head[76..<84].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        // Before anything is believed: each has a length and is not empty.
        guard charters <= Limits.charterDocumentsMax, facts <= UInt64(size) / 5 else { throw invalid(path, "it claims more than it holds") }
        var reader = PartReader(file, path, from: Int64(headerBytes), size: size)
        var chain: [[UInt8]] = []
        for _ in 0..<charters { chain.append(try reader.next(bytesMax: Limits.controlMessageBytesMax)) }
        _ = try catalog.adopt(charters: chain)
        var taken = Taken(), left = facts
        // One batch is checked while the one before is written. Each is one transaction, and every one touches most of the index.
        var checking: Checking?
        repeat {
            var batch: [[UInt8]] = []
            while left > 0, batch.count < batchFacts {
                batch.append(try reader.next(bytesMax: Limits.factEnvelopeBytesMax))
                left -= 1
            }
            let before = checking
            checking = batch.isEmpty ? nil : Checking.begin(batch, mesh: mesh)
            if let before { taken.add(try catalog.admit(before.facts, before.refused)) }
        } while checking != nil
        guard reader.isAtEnd else { throw invalid(path, "something follows its facts") }
        return taken
    }

    /// A few MiB of the file at a time.
    private struct PartReader: ~Copyable {
        private let file: OpenFile
        private let path: String
        private let size: Int64
        private var offset: Int64
        private var buffer: [UInt8] = []
        private var position = 0

        init(_ file: consuming OpenFile, _ path: String, from offset: Int64, size: Int64) {
            self.file = file
            (self.path, self.offset, self.size) = (path, offset, size)
        }

        var isAtEnd: Bool { position == buffer.count && offset == size }

        mutating func next(bytesMax: Int) throws(MeshError) -> [UInt8] {
            let length = try take(4).reversed().reduce(0) { $0 << 8 | Int($1) }
            guard (1...bytesMax).contains(length) else { throw FactFile.invalid(path, "a part of it claims \(length) bytes") }
            return Array(try take(length))
        }

        private mutating func take(_ count: Int) throws(MeshError) -> ArraySlice<UInt8> {
            if buffer.count - position < count {
                buffer.removeSubrange(..<position)
                position = 0
                let more = Int(min(size - offset, Int64(max(count, 4 << 20))))
                buffer += try file.read(count: more, at: offset)
                offset += Int64(more)
                guard buffer.count >= count else { throw FactFile.invalid(path, "it ends early") }
            }
            defer { position += count }
            return buffer[position..<position + count]
        }
    }

    private static func part(_ envelope: [UInt8]) -> [UInt8] { little(UInt64(envelope.count), bytes: 4) + envelope }
    private static func little(_ value: UInt64, bytes: Int) -> [UInt8] { (0..<bytes).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) } }

    static func invalid(_ path: String, _ why: String) -> MeshError {
        MeshError(.factFileInvalid, "\(path) is no file of facts: \(why)", hint: "it was damaged; export it again: capsule catalog export FILE")
    }
}
