import CapsuleFormat
import Glibc
import MeshCore
import Signing
import Testing

/// A folder under /tmp that goes away with the value.
final class TemporaryFolder: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/capsule-format-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        path = template.withUnsafeBufferPointer { String(decoding: $0.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self) }
    }

    deinit { try? Files.removeTree(path) }

    func file(_ name: String) -> String { path + "/" + name }

    func write(_ bytes: [UInt8], to name: String) throws -> String {
        try Files.writeDurably(bytes, to: file(name))
        return file(name)
    }
}

/// Runs a command line and gives its exit status and what it printed, errors included.
func shell(_ command: String) throws -> (status: Int32, output: String) {
    let stream = try #require(popen("{ \(command) ; } 2>&1", "r"))
    var out: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while case let count = fread(&buffer, 1, buffer.count, stream), count > 0 { out.append(contentsOf: buffer[..<count]) }
    let status = pclose(stream)
    return (status >> 8 & 0xff, String(decoding: out, as: UTF8.self))
}

/// The zstd frames that need no compressor: raw blocks (RFC 8878 §3.1.1.2.2), which every zstd reads.
struct RawBlockCodec: FrameCodec {
    func compress(_ content: [UInt8]) throws(MeshError) -> [UInt8] {
        var frame: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd, 0xa0] + Self.littleEndian(content.count, 4)
        var start = 0
        repeat {
            let count = min(131_072, content.count - start)
            let last = start + count == content.count
            frame += Self.littleEndian(count << 3 | (last ? 1 : 0), 3) + content[start..<start + count]
            start += count
        } while start < content.count
        return frame
    }

    func decompress(_ frame: [UInt8], contentBytesMax: Int) throws(MeshError) -> [UInt8] {
        let failure = MeshError(ErrorCode("frame_invalid", .badData), "not a frame of raw blocks")
        guard frame.count > 12, frame[4] == 0xa0 else { throw failure }
        let size = Self.integer(frame[5..<9])
        guard size <= contentBytesMax else { throw failure }
        var out: [UInt8] = [], position = 9
        while position + 3 <= frame.count {
            let header = Self.integer(frame[position..<position + 3])
            guard header >> 1 & 3 == 0, position + 3 + header >> 3 <= frame.count, out.count + header >> 3 <= size else { throw failure }
            out += frame[position + 3..<position + 3 + header >> 3]
            position += 3 + header >> 3
            if header & 1 == 1 { break }
        }
        guard position == frame.count, out.count == size else { throw failure }
        return out
    }

    static func littleEndian(_ value: Int, _ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
    static func integer(_ bytes: ArraySlice<UInt8>) -> Int { bytes.reversed().reduce(0) { $0 << 8 | Int($1) } }
}

/// A capsule whose files are held in memory.
struct SampleCapsule: ContentSource, Sendable {
    enum Item {
        case file([UInt8], executable: Bool = false)
        case directory
        case link(String)
    }

    let capsule: VerifiedCapsule
    let chunks: [Digest: [UInt8]]

    /// `items` in canonical order.
    init(_ items: [(path: String, item: Item)], kind: TreeKind = .app,
         cut: ([UInt8]) -> [Int] = { $0.withUnsafeBytes { Chunker.cut($0) } }) throws {
        var entries: [TreeEntry] = [], references: [ChunkReference] = [], chunks: [Digest: [UInt8]] = [:]
        for (path, item) in items {
            switch item {
            case .directory: entries.append(TreeEntry(path: path, mode: 0o755, content: .directory))
            case .link(let target): entries.append(TreeEntry(path: path, mode: 0o777, content: .link(target: target)))
            case .file(let bytes, let executable):
                entries.append(TreeEntry(path: path, mode: executable ? 0o755 : 0o644,
                                         content: .file(size: Int64(bytes.count), sha256: Digest.of(bytes))))
                var start = 0
                for length in cut(bytes) {
                    let chunk = Array(bytes[start..<start + length])
                    references.append(ChunkReference(digest: Digest.of(chunk), length: length))
                    chunks[Digest.of(chunk)] = chunk
                    start += length
                }
            }
        }
        let index = try TreeIndex(entries: entries, kind: kind)
        let list = ChunkList(references)
        var json: JSONValue = ["id": "urn:oursynth:app:sample@1.0.0", "name": "Sample", "version": "1.0.0", "app": ["framework": "static"]]
        if kind == .rootfs, case .object(var members) = json {
            members["tree"] = "rootfs"
            json = .object(members)
        }
        let root = CapsuleRoot(manifest: try Manifest(json), index: index.digest, chunks: list.digest)
        capsule = try UnverifiedCapsule(root: root.bytes, index: index.bytes, chunks: list.bytes).verified(as: root.digest)
        self.chunks = chunks
    }

    func read(chunk: ChunkReference) throws(MeshError) -> [UInt8] {
        guard let bytes = chunks[chunk.digest] else { throw MeshError(.digestMismatch, "the sample has no chunk \(chunk.digest)") }
        return bytes
    }

    /// files.tar in memory.
    func filesTar() throws -> [UInt8] {
        var out: [UInt8] = []
        try CanonicalTar.write(capsule.tree, content: self) { piece throws(MeshError) in out += piece }
        return out
    }

    /// A few files of every kind, small enough to try each byte.
    static func small() throws -> SampleCapsule {
        try SampleCapsule([
            ("bin", .directory), ("bin/run.sh", .file(Array("#!/bin/sh\necho hello\n".utf8), executable: true)),
            ("empty", .file([])), ("link", .link("bin/run.sh")), ("page.html", .file(Array("<p>hello</p>\n".utf8))),
        ])
    }

    /// Over 3 MiB, so that there are several frames and chunks.
    static func large() throws -> SampleCapsule {
        try SampleCapsule([
            ("a.bin", .file(ChunkerTests.sample(blocks: 1 << 16))), ("b", .directory), ("b/again.bin", .file(ChunkerTests.sample(blocks: 1 << 15))),
            ("c.txt", .file(Array("text\n".utf8))),
        ])
    }

    /// Two envelopes by one key that is made anew every time.
    static func referrers() -> [ReferrerDocument] {
        let key = SigningKey.generate()
        return ["one", "two"].map {
            let statement = Statement(subjects: [.init(name: nil, digest: Digest.of([]))], predicateType: "urn:test", predicate: ["n": .string($0)])
            return ReferrerDocument(bytes: Envelope.sign(payload: statement.bytes, payloadType: Statement.payloadType, with: key).bytes,
                                    artifactType: Statement.payloadType)
        }
    }

    @discardableResult
    func writeCaps(to path: String, referrers: [ReferrerDocument] = []) throws -> OCIDescriptor {
        try CapsWriter.write(capsule, content: self, referrers: referrers, codec: RawBlockCodec(), to: path, progress: nil)
    }
}

extension MeshError {
    /// What a refused capsule must look like: exit 65, a sentence without a full stop, and what to do.
    var isClearRefusal: Bool { code.exit == .badData && !message.isEmpty && !message.hasSuffix(".") && !hint.isEmpty }
}

/// Opens a `.caps` file and checks all of it.
@discardableResult
func verifyCaps(_ path: String) throws -> CapsuleArchive {
    let archive = try CapsuleArchive(CapsReader(path: path, codec: RawBlockCodec()))
    try archive.verifyContents { _, _ throws(MeshError) in }
    return archive
}
