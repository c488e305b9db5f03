public import CapsuleFormat
public import MeshCore

/// zstd for `.caps` files. Levels as in zstd's manual; 3 is its default.
public struct ZstdCodec: FrameCodec {
    private let level: Int32

    public init(level: Int32 = 3) { self.level = level }

    public func compress(_ content: [UInt8]) throws(MeshError) -> [UInt8] {
        let context = try ZstdContexts.takeCompressor()
        defer { ZstdContexts.give(context) }
        var failure: MeshError?
        let frame = [UInt8](unsafeUninitializedCapacity: Zstd.frameBytesMax(content.count)) { buffer, filled in
            content.withUnsafeBytes { raw in
                do throws(MeshError) {
                    filled = try context.compress(raw, level: level, into: UnsafeMutableRawBufferPointer(buffer))
                } catch { failure = error }
            }
        }
        if let failure { throw failure }
        return frame
    }

    /// - Throws: `frame_invalid` unless `frame` is exactly one whole zstd frame that says its content size, at most
    ///   `contentBytesMax`; no more memory than that is used.
    public func decompress(_ frame: [UInt8], contentBytesMax: Int) throws(MeshError) -> [UInt8] {
        let context = try ZstdContexts.takeDecompressor()
        defer { ZstdContexts.give(context) }
        var failure: MeshError?
        var size = 0
        frame.withUnsafeBytes { raw in
            do throws(MeshError) { size = try Zstd.contentBytes(of: raw, max: contentBytesMax) } catch { failure = error }
        }
        if let failure { throw failure }
        let content = [UInt8](unsafeUninitializedCapacity: size) { buffer, filled in
            frame.withUnsafeBytes { raw in
                do throws(MeshError) {
                    try context.decompress(
                        raw, into: UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[..<size]))
                    filled = size
                } catch { failure = error }
            }
        }
        if let failure { throw failure }
        return content
    }
}
