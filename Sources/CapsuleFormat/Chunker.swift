internal import MeshCore

/// Content-defined chunking by FastCDC (Xia et al., USENIX ATC 2016), with the parameters of docs/formats/chunks.md:
/// at least 8 KiB, normally 32 KiB, at most 128 KiB. The same bytes are cut alike on every machine and in every version.
public struct Chunker {
    /// The length of the chunk that `window` starts with, in bytes.
    ///
    /// `window` holds the rest of the file, or at least its next 131,072 bytes. An empty window gives 0.
    public static func nextLength(in window: UnsafeRawBufferPointer) -> Int { scan(window).length }

    /// How far the first chunk goes, and the rolling hash where the window ended without a cut.
    private static func scan(_ window: UnsafeRawBufferPointer) -> (length: Int, hash: UInt64) {
        let available = min(window.count, Limits.chunkBytesMax)
        guard available > Limits.chunkBytesMin, let bytes = window.baseAddress?.assumingMemoryBound(to: UInt8.self) else {
            return (available, 0)
        }
        return gear.withUnsafeBufferPointer { table in
            guard let gear = table.baseAddress else { return (available, 0) }
            var hash: UInt64 = 0
            var i = Limits.chunkBytesMin
            let normal = min(available, Limits.chunkBytesNormal)
            while i < normal {
                hash = (hash &<< 1) &+ gear[Int(bytes[i])]
                if hash & maskSmall == 0 { return (i, hash) }
                i &+= 1
            }
            while i < available {
                hash = (hash &<< 1) &+ gear[Int(bytes[i])]
                if hash & maskLarge == 0 { return (i, hash) }
                i &+= 1
            }
            return (available, hash)
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

    /// A chunk that is not cut before its end. Whether it rightly ends there, the byte after it says.
    package struct OpenChunk: Sendable {
        private let length: Int
        private let hash: UInt64

        /// nil when the file would have been cut within these bytes, or when they are more than a chunk.
        package init?(_ chunk: UnsafeRawBufferPointer) {
            let (length, hash) = Chunker.scan(chunk)
            guard length == chunk.count else { return nil }
            self.length = length
            self.hash = hash
        }

        /// `next` is the byte that follows; nil at the end of the file.
        package func ends(before next: UInt8?) -> Bool {
            guard let next, length < Limits.chunkBytesMax else { return true }
            guard length >= Limits.chunkBytesMin else { return false }
            let mask = length < Limits.chunkBytesNormal ? Chunker.maskSmall : Chunker.maskLarge
            return ((hash &<< 1) &+ Chunker.gear[Int(next)]) & mask == 0
        }
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
