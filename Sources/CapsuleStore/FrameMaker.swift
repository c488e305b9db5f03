internal import CapsuleFormat
internal import Glibc
internal import MeshCore

/// Chunks that lie one after another, on their way into one frame.
struct ChunkGroup: Sendable {
    let content: SharedBuffer
    var bytes = 0
    var chunks: [ChunkReference] = []

    init(_ content: SharedBuffer) { self.content = content }

    func hasRoom(_ count: Int) -> Bool {
        bytes + count <= Limits.packFrameContentBytesMax && chunks.count < Limits.packFrameChunksMax
    }

    mutating func append(_ chunk: ChunkReference, _ source: UnsafeRawBufferPointer) {
        UnsafeMutableRawBufferPointer(rebasing: content.bytes[bytes..<bytes + source.count]).copyMemory(from: source)
        bytes += source.count
        chunks.append(chunk)
    }
}

/// A frame of a pack, already decompressed and compared.
struct MadeFrame: Sendable {
    let frame: SharedBuffer
    let bytes: Int
    let chunks: [ChunkReference]

    /// Compresses a group. What saves less than a 64th is kept as it is: reading it then costs nothing.
    static func make(_ group: ChunkGroup, into frame: SharedBuffer, scratch: SharedBuffer) throws(MeshError) -> MadeFrame {
        let content = group.content.prefix(group.bytes)
        let compressor = try ZstdContexts.takeCompressor(), decompressor = try ZstdContexts.takeDecompressor()
        defer {
            ZstdContexts.give(compressor)
            ZstdContexts.give(decompressor)
        }
        var size = try compressor.compress(content, level: level, into: frame.bytes)
        if size > content.count - content.count / 64 { size = RawFrame.write(content, into: frame.bytes) }
        for isLastTry in [false, true] {
            let target = UnsafeMutableRawBufferPointer(rebasing: scratch.bytes[..<content.count])
            do throws(MeshError) { try decompressor.decompress(frame.prefix(size), into: target) } catch { if isLastTry { throw error } }
            if let made = target.baseAddress, let given = content.baseAddress, memcmp(made, given, content.count) == 0 {
                return MadeFrame(frame: frame, bytes: size, chunks: group.chunks)
            }
            size = RawFrame.write(content, into: frame.bytes)
        }
        throw Zstd.comesBackOtherwise
    }

    /// zstd's default: what the sizes and times of docs/performance.md were measured with.
    private static let level: Int32 = 3
}
