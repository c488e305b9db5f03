public import MeshCore

/// The compressor of `.caps` files and packs, a parameter so that the format depends on no library.
public protocol FrameCodec: Sendable {
    /// One zstd frame (RFC 8878 §3.1.1) that says its content size and needs no dictionary.
    func compress(_ content: [UInt8]) throws(MeshError) -> [UInt8]
    /// The content of `frame`, which must be exactly one frame. Content over `contentBytesMax` is refused before memory
    /// is spent on it.
    func decompress(_ frame: [UInt8], contentBytesMax: Int) throws(MeshError) -> [UInt8]
}

/// The outer form of a `.caps` file; see docs/formats/oci-and-caps.md.
///
///     data frame …, digest frame, seek table
package enum SeekableFrames {
    static let frameMagic: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd]
    /// A skippable frame (RFC 8878 §3.1.2) of 32 bytes: the SHA-256 of every byte before it.
    static let digestFrameHeader: [UInt8] = [0x50, 0x2a, 0x4d, 0x18, 32, 0, 0, 0]
    static let digestFrameBytes = 40

    static func damaged(_ what: String, _ why: String, cause: (any Error)? = nil) -> MeshError {
        MeshError(.capsDamaged, "\(what) is damaged: \(why)",
                  hint: "ask for the file again, or export it again from a node that has the capsule", cause: cause)
    }
}

/// The seek table of the zstd seekable format 0.1.0 (facebook/zstd, contrib/seekable_format), without checksums: a
/// skippable frame with (u32le size on disk, u32le size of the content) for every frame before it, then
/// u32le count ‖ u8 0 ‖ u32le 0x8F92EAB1.
package struct SeekTable: Sendable {
    package struct Entry: Sendable, Hashable {
        package let frameBytes: Int
        package let contentBytes: Int
    }

    package let entries: [Entry]

    static let footerBytes = 9

    static func bytes(entryCount: Int) -> Int { 8 + 8 * entryCount + footerBytes }

    init(_ entries: [Entry]) { self.entries = entries }

    package var bytes: [UInt8] {
        var out: [UInt8] = []
        out.append(littleEndian: UInt32(0x184d_2a5e))
        out.append(littleEndian: UInt32(Self.bytes(entryCount: entries.count) - 8))
        for entry in entries {
            out.append(littleEndian: UInt32(entry.frameBytes))
            out.append(littleEndian: UInt32(entry.contentBytes))
        }
        out.append(littleEndian: UInt32(entries.count))
        out.append(0)
        out.append(littleEndian: UInt32(0x8f92_eab1))
        return out
    }

    /// How many entries the table has that ends in `footer`, or nil when that is not the end of one.
    static func entryCount(footer: [UInt8]) -> Int? {
        guard footer.count == footerBytes, footer[4] == 0, footer.littleEndianInteger(at: 5, as: UInt32.self) == 0x8f92_eab1 else {
            return nil
        }
        return Int(footer.littleEndianInteger(at: 0, as: UInt32.self))
    }

    /// The table as it stands in the file; nil when its frame header or footer disagree with its length.
    init?(parsing bytes: [UInt8]) {
        guard bytes.count >= 8 + Self.footerBytes, (bytes.count - 8 - Self.footerBytes) % 8 == 0 else { return nil }
        var entries: [Entry] = []
        for offset in stride(from: 8, to: bytes.count - Self.footerBytes, by: 8) {
            entries.append(Entry(frameBytes: Int(bytes.littleEndianInteger(at: offset, as: UInt32.self)),
                                 contentBytes: Int(bytes.littleEndianInteger(at: offset + 4, as: UInt32.self))))
        }
        self.entries = entries
        guard self.bytes == bytes else { return nil }
    }
}

/// What a zstd frame says of itself, read without decompressing it (RFC 8878 §3.1.1).
enum ZstdFrame {
    /// The content size in the header of `frame`, after a walk over its blocks has shown that it is one whole frame and
    /// nothing more. nil when it is not, says no content size, or needs a dictionary.
    static func contentBytes(of frame: [UInt8]) -> UInt64? {
        guard frame.count >= 6, frame.starts(with: SeekableFrames.frameMagic) else { return nil }
        let descriptor = frame[4]
        let singleSegment = descriptor & 0x20 != 0
        guard descriptor & 0x1b == 0 else { return nil }
        var position = singleSegment ? 5 : 6
        let sizeBytes = [singleSegment ? 1 : 0, 2, 4, 8][Int(descriptor >> 6)]
        guard sizeBytes > 0, frame.count >= position + sizeBytes else { return nil }
        var size: UInt64 = 0
        for i in (0..<sizeBytes).reversed() { size = size << 8 | UInt64(frame[position + i]) }
        if sizeBytes == 2 { size += 256 }
        position += sizeBytes
        while true {
            guard frame.count >= position + 3 else { return nil }
            let header = Int(frame[position]) | Int(frame[position + 1]) << 8 | Int(frame[position + 2]) << 16
            let kind = header >> 1 & 3
            guard kind != 3 else { return nil }
            position += 3 + (kind == 1 ? 1 : header >> 3)
            if header & 1 == 1 { break }
        }
        if descriptor & 0x04 != 0 { position += 4 }
        return position == frame.count ? size : nil
    }
}
