internal import MeshCore

/// Content-defined chunking by FastCDC (Xia et al., USENIX ATC 2016), with the parameters of docs/formats/chunks.md:
/// at least 8 KiB, normally 32 KiB, at most 128 KiB. The same bytes are cut alike on every machine and in every version.
public struct Chunker {
    /// The length of the chunk that `window` starts with, in bytes.
    ///
    /// `window` holds the rest of the file, or at least its next 131,072 bytes. An empty window gives 0.
    public static func nextLength(in window: UnsafeRawBufferPointer) -> Int {
        let available = min(window.count, Limits.chunkBytesMax)
        guard available > Limits.chunkBytesMin, let bytes = window.baseAddress?.assumingMemoryBound(to: UInt8.self) else {
            return available
        }
        return gear.withUnsafeBufferPointer { table in
            guard let gear = table.baseAddress else { return available }
            var hash: UInt64 = 0
            var i = Limits.chunkBytesMin
            let normal = min(available, Limits.chunkBytesNormal)
            while i < normal {
                hash = (hash &<< 1) &+ gear[Int(bytes[i])]
                if hash & maskSmall == 0 { return i }
                i &+= 1
            }
            while i < available {
                hash = (hash &<< 1) &+ gear[Int(bytes[i])]
                if hash & maskLarge == 0 { return i }
                i &+= 1
            }
            return available
        }
    }

    /// The lengths of all chunks of a file, in order; they add up to `bytes.count`. An empty file has none.
    public static func cut(_ bytes: UnsafeRawBufferPointer) -> [Int] {
        var lengths: [Int] = []
        lengths.reserveCapacity(bytes.count / Limits.chunkBytesNormal + 1)
        var start = 0
        while start < bytes.count {
            let length = nextLength(in: UnsafeRawBufferPointer(rebasing: bytes[start...]))
            lengths.append(length)
            start += length
        }
        return lengths
    }

    /// Whether a file is rightly cut after `chunk`, when `next` is the byte that follows it (nil at the end of the file).
    static func ends(_ chunk: [UInt8], before next: UInt8?) -> Bool {
        guard let next else { return chunk.withUnsafeBytes { nextLength(in: $0) } == chunk.count }
        return (chunk + [next]).withUnsafeBytes { nextLength(in: $0) } == chunk.count
    }

    /// 15 bits before the normal length, 14 after it.
    private static let maskSmall: UInt64 = 0x7fff_8000_0000_0000
    private static let maskLarge: UInt64 = 0x7ffe_0000_0000_0000

    /// `G[4i+k]` is the k-th little-endian word of SHA-256("oursynth-gear-v1" ‖ u32le i): nobody chose these numbers.
    private static let gear: [UInt64] = {
        var table: [UInt64] = []
        table.reserveCapacity(256)
        for i in UInt8(0)..<64 {
            let block = Digest.of(Array("oursynth-gear-v1".utf8) + [i, 0, 0, 0]).bytes
            for k in 0..<4 { table.append(block.littleEndianInteger(at: 8 * k, as: UInt64.self)) }
        }
        return table
    }()
}
