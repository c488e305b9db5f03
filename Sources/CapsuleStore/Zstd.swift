internal import CZstd
internal import MeshCore
internal import Synchronization

/// One compression context: a megabyte or two of tables, worth keeping from frame to frame.
final class ZstdCompressor: @unchecked Sendable {  // proof: whoever took it from ZstdContexts alone uses it until it is given back
    private let context: OpaquePointer

    init() throws(MeshError) {
        guard let context = ZSTD_createCCtx() else { throw Zstd.outOfMemory }
        self.context = context
    }

    deinit { ZSTD_freeCCtx(context) }

    /// One frame with its content size in the header, no checksum, no dictionary. `frame` has `Zstd.frameBytesMax` bytes.
    func compress(_ content: UnsafeRawBufferPointer, level: Int32, into frame: UnsafeMutableRawBufferPointer) throws(MeshError) -> Int {
        ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level)
        let size = ZSTD_compress2(context, frame.baseAddress, frame.count, content.baseAddress, content.count)
        guard ZSTD_isError(size) == 0 else { throw Zstd.invalid("compressing failed: \(String(cString: ZSTD_getErrorName(size)))") }
        return size
    }
}

/// One decompression context.
final class ZstdDecompressor: @unchecked Sendable {  // proof: whoever took it from ZstdContexts alone uses it until it is given back
    private let context: OpaquePointer

    init() throws(MeshError) {
        guard let context = ZSTD_createDCtx() else { throw Zstd.outOfMemory }
        self.context = context
    }

    deinit { ZSTD_freeDCtx(context) }

    /// The content of one whole frame, which must have exactly `content.count` bytes.
    func decompress(_ frame: UnsafeRawBufferPointer, into content: UnsafeMutableRawBufferPointer) throws(MeshError) {
        let size = ZSTD_decompressDCtx(context, content.baseAddress, content.count, frame.baseAddress, frame.count)
        guard ZSTD_isError(size) == 0 else { throw Zstd.invalid(String(cString: ZSTD_getErrorName(size))) }
        guard size == content.count else { throw Zstd.invalid("it holds \(size) bytes, not \(content.count)") }
    }
}

enum Zstd {
    /// Room for a frame around `content` bytes, whatever they are.
    static func frameBytesMax(_ content: Int) -> Int { ZSTD_compressBound(content) + RawFrame.overheadBytes(content) }

    /// What the header says is inside; `frame_invalid` unless `frame` is exactly one frame that says it.
    static func contentBytes(of frame: UnsafeRawBufferPointer, max: Int) throws(MeshError) -> Int {
        let size = ZSTD_getFrameContentSize(frame.baseAddress, frame.count)
        // ZSTD_CONTENTSIZE_UNKNOWN and ZSTD_CONTENTSIZE_ERROR are the two largest values.
        guard size < UInt64.max - 1 else { throw invalid("it does not begin with a zstd frame that says its content size") }
        guard size <= UInt64(max) else { throw invalid("it claims \(size) bytes of content; at most \(max) are read") }
        guard ZSTD_findFrameCompressedSize(frame.baseAddress, frame.count) == frame.count else {
            throw invalid("it is not exactly one zstd frame")
        }
        guard blocksAreSmall(frame) else { throw invalid("it has a block of more than 128 KiB") }
        return Int(size)
    }

    /// Block_Maximum_Size (RFC 8878 §3.1.1.2.4): libzstd, which found where the frame ends, does not hold every kind of block to it.
    private static func blocksAreSmall(_ frame: UnsafeRawBufferPointer) -> Bool {
        let descriptor = frame[4], isSingleSegment = descriptor >> 5 & 1 == 1
        let contentSizeBytes = [isSingleSegment ? 1 : 0, 2, 4, 8][Int(descriptor >> 6)]
        var at = 5 + (isSingleSegment ? 0 : 1) + [0, 1, 2, 4][Int(descriptor & 3)] + contentSizeBytes
        while at + 3 <= frame.count {
            let header = Int(frame[at]) | Int(frame[at + 1]) << 8 | Int(frame[at + 2]) << 16
            let size = header >> 3, isRun = header >> 1 & 3 == 1
            guard size <= RawFrame.blockBytesMax else { return false }
            if header & 1 == 1 { return true }
            at += 3 + (isRun ? 1 : size)
        }
        return false
    }

    /// A frame that gives `content` to whoever has `base` (what `zstd --patch-from` makes), compared before it counts.
    static func difference(of content: [UInt8], from base: [UInt8]) throws(MeshError) -> [UInt8] {
        guard let context = ZSTD_createCCtx() else { throw outOfMemory }
        defer { ZSTD_freeCCtx(context) }
        ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, 3)
        // The window reaches over both, and matches are looked for everywhere in it, not only in what the level's tables remember.
        ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, Int32(Int.bitWidth - (content.count + base.count).leadingZeroBitCount))
        ZSTD_CCtx_setParameter(context, ZSTD_c_enableLongDistanceMatching, 1)
        ZSTD_CCtx_setParameter(context, ZSTD_c_ldmHashLog, 20)
        let bound = ZSTD_compressBound(content.count)
        var size = 0
        let out = [UInt8](unsafeUninitializedCapacity: bound) { target, count in
            base.withUnsafeBytes { base in
                ZSTD_CCtx_refPrefix(context, base.baseAddress, base.count)
                size = content.withUnsafeBytes { ZSTD_compress2(context, target.baseAddress, bound, $0.baseAddress, $0.count) }
            }
            count = ZSTD_isError(size) == 0 ? size : 0
        }
        guard ZSTD_isError(size) == 0 else { throw invalid("compressing failed: \(String(cString: ZSTD_getErrorName(size)))") }
        guard try apply(out, to: base, count: content.count) == content else { throw comesBackOtherwise }
        return out
    }

    /// The `count` bytes that `difference` makes of `base`.
    static func apply(_ difference: [UInt8], to base: [UInt8], count: Int) throws(MeshError) -> [UInt8] {
        guard let context = ZSTD_createDCtx() else { throw outOfMemory }
        defer { ZSTD_freeDCtx(context) }
        var size = 0
        let out = [UInt8](unsafeUninitializedCapacity: count) { target, written in
            base.withUnsafeBytes { base in
                ZSTD_DCtx_refPrefix(context, base.baseAddress, base.count)
                size = difference.withUnsafeBytes { ZSTD_decompressDCtx(context, target.baseAddress, count, $0.baseAddress, $0.count) }
            }
            written = ZSTD_isError(size) == 0 ? size : 0
        }
        guard ZSTD_isError(size) == 0 else { throw invalid(String(cString: ZSTD_getErrorName(size))) }
        guard size == count else { throw invalid("it holds \(size) bytes, not \(count)") }
        return out
    }

    static func invalid(_ why: String) -> MeshError {
        MeshError(.frameInvalid, "a compressed frame is not valid: \(why)", hint: "the file was damaged; get it again")
    }

    static let comesBackOtherwise = MeshError(
        .frameInvalid, "compressed content does not come back as it was", hint: "this machine's memory or zstd library is faulty; check both")

    static let outOfMemory = MeshError(.inputOutput, "no memory is left for compression", hint: "end other programs and try again")
}

/// Contexts in reserve, so that neither a frame nor a chunk pays for making one.
enum ZstdContexts {
    private static let compressors = Mutex<[ZstdCompressor]>([])
    private static let decompressors = Mutex<[ZstdDecompressor]>([])
    private static let kept = 16

    static func takeCompressor() throws(MeshError) -> ZstdCompressor {
        if let context = compressors.withLock({ $0.popLast() }) { return context }
        return try ZstdCompressor()
    }

    static func takeDecompressor() throws(MeshError) -> ZstdDecompressor {
        if let context = decompressors.withLock({ $0.popLast() }) { return context }
        return try ZstdDecompressor()
    }

    static func give(_ context: ZstdCompressor) { compressors.withLock { if $0.count < kept { $0.append(context) } } }
    static func give(_ context: ZstdDecompressor) { decompressors.withLock { if $0.count < kept { $0.append(context) } } }
}

/// A zstd frame whose blocks hold their content as it is (RFC 8878 §3.1.1.2.2): what does not compress costs nothing to read.
enum RawFrame {
    private static let headerBytes = 9
    static let blockBytesMax = 128 * 1024

    static func overheadBytes(_ content: Int) -> Int { headerBytes + 3 * max(1, (content + blockBytesMax - 1) / blockBytesMax) }

    /// Writes the frame and gives its length. `frame` has room for the content and `overheadBytes`.
    static func write(_ content: UnsafeRawBufferPointer, into frame: UnsafeMutableRawBufferPointer) -> Int {
        frame.storeBytes(of: UInt32(0xfd2f_b528).littleEndian, toByteOffset: 0, as: UInt32.self)
        // Single segment, content size in four bytes.
        frame[4] = 0xa0
        frame.storeBytes(of: UInt32(content.count).littleEndian, toByteOffset: 5, as: UInt32.self)
        var read = 0, written = headerBytes
        repeat {
            let count = min(blockBytesMax, content.count - read)
            let header = count << 3 | (read + count == content.count ? 1 : 0)
            for i in 0..<3 { frame[written + i] = UInt8(truncatingIfNeeded: header >> (8 * i)) }
            written += 3
            UnsafeMutableRawBufferPointer(rebasing: frame[written..<written + count]).copyMemory(
                from: UnsafeRawBufferPointer(rebasing: content[read..<read + count]))
            read += count
            written += count
        } while read < content.count
        return written
    }
}
