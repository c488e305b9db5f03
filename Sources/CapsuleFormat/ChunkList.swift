public import MeshCore

/// One chunk of a file's content: what it hashes to, and its length in bytes (1…131,072).
public struct ChunkReference: Sendable, Hashable {
    public let digest: Digest
    public let length: Int

    public init(digest: Digest, length: Int) {
        self.digest = digest
        self.length = length
    }
}

/// The chunks of all files of a tree, in index order: `OSCK` ‖ u8 1 ‖ 3 zero bytes ‖ u64le count ‖
/// count × (sha256[32] ‖ u32le length). See docs/formats/chunks.md.
public struct ChunkList: Sendable {
    public static let mediaType = "application/vnd.oursynth.capsule.chunks.v1"

    public let chunks: [ChunkReference]

    public init(_ chunks: [ChunkReference]) {
        self.chunks = chunks
    }

    /// Refused with `chunks_invalid`: another header, a count that the bytes do not hold, a length of 0 or over 131,072.
    public init(parsing bytes: [UInt8]) throws(MeshError) {
        guard bytes.count <= Limits.chunkListBytesMax else {
            throw Self.invalid("it has \(bytes.count) bytes; at most \(Limits.chunkListBytesMax) are read")
        }
        guard bytes.count >= Self.headerBytes, bytes.starts(with: Self.header) else {
            throw Self.invalid("it does not start with OSCK version 1")
        }
        let count = bytes.littleEndianInteger(at: 8, as: UInt64.self)
        let (wanted, overflow) = count.multipliedReportingOverflow(by: UInt64(Self.entryBytes))
        guard !overflow, wanted == UInt64(bytes.count - Self.headerBytes) else {
            throw Self.invalid("it announces \(count) chunks and has \(bytes.count - Self.headerBytes) bytes for them")
        }
        var chunks: [ChunkReference] = []
        chunks.reserveCapacity(Int(count))
        for offset in stride(from: Self.headerBytes, to: bytes.count, by: Self.entryBytes) {
            let length = bytes.littleEndianInteger(at: offset + 32, as: UInt32.self)
            guard length >= 1, length <= Limits.chunkBytesMax, let digest = Digest(bytes: bytes[offset..<offset + 32]) else {
                throw Self.invalid("chunk \(chunks.count) has the length \(length)")
            }
            chunks.append(ChunkReference(digest: digest, length: Int(length)))
        }
        self.chunks = chunks
    }

    public var bytes: [UInt8] {
        var out = Self.header
        out.reserveCapacity(Self.headerBytes + chunks.count * Self.entryBytes)
        out.append(littleEndian: UInt64(chunks.count))
        for chunk in chunks {
            out.append(contentsOf: chunk.digest.bytes)
            out.append(littleEndian: UInt32(chunk.length))
        }
        return out
    }

    public var digest: Digest { Digest.of(bytes) }

    private static let header: [UInt8] = Array("OSCK".utf8) + [1, 0, 0, 0]
    /// The least and the most bytes that the chunk list of a tree can have.
    static func bytes(for index: TreeIndex) -> ClosedRange<Int64> {
        var least: Int64 = 0, most: Int64 = 0
        for entry in index.entries {
            guard case .file(let size, _) = entry.content else { continue }
            least += (size + Int64(Limits.chunkBytesMax) - 1) / Int64(Limits.chunkBytesMax)
            most += (size + Int64(Limits.chunkBytesMin) - 1) / Int64(Limits.chunkBytesMin)
        }
        return Int64(headerBytes) + least * Int64(entryBytes)...Int64(headerBytes) + most * Int64(entryBytes)
    }

    private static let headerBytes = 16
    private static let entryBytes = 36

    private static func invalid(_ why: String) -> MeshError {
        MeshError(.chunksInvalid, "the chunk list is not valid: \(why)",
                  hint: "the capsule was damaged or written by a faulty program; fetch it again")
    }
}
