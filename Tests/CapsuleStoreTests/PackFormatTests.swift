import CapsuleFormat
import CapsuleStore
import Glibc
import MeshCore
import Testing

/// The pack of docs/formats/packs.md, and what is refused.
@Suite struct PackFormatTests {
    static let chunks = ["hello\n", "world\n"].map { text in
        ChunkReference(digest: Digest.of(Array(text.utf8)), length: text.utf8.count)
    }

    /// “hello\nworld\n” as a frame of one raw block.
    static let frame: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd, 0xa0, 12, 0, 0, 0, 0x61, 0, 0] + Array("hello\nworld\n".utf8)

    static func write(into folder: TemporaryFolder) throws -> (path: String, pack: WrittenPack) {
        let writer = try PackWriter(in: folder.path)
        try frame.withUnsafeBytes { try writer.append(frame: $0, chunks: chunks) }
        writer.append(PackFooter.Blob(digest: Digest.of(Array("hello\nworld\n".utf8)), size: 12, pieces: chunks))
        let pack = try writer.finish()
        // What is in tmp/ goes away with the value.
        let name = try #require(try Files.names(in: folder.path).first { $0.hasPrefix("pack-") })
        try folder.write(try Files.read(folder.file(name), bytesMax: 1 << 20), to: "kept")
        return (folder.file("kept"), pack)
    }

    @Test func theVector() throws {
        let folder = try TemporaryFolder()
        let (path, pack) = try Self.write(into: folder)
        let bytes = try Files.read(path, bytesMax: 1 << 20)
        #expect(bytes.count == 300)
        #expect(pack.digest.hex == "58317afd9443ae5ed4de64cd6a2ae228bf5a2eadb769e5b265122171de458f3e")
        #expect(Digest.of(bytes) == pack.digest)
        // The bytes stand in the document.
        let document = String(
            decoding: try Files.read(Files.absolute(#filePath + "/../../../docs/formats/packs.md"), bytesMax: 1 << 20), as: UTF8.self)
        let hex = document.split(separator: "\n").filter { $0.hasPrefix("    ") && $0.dropFirst(4).allSatisfy(\.isHexDigit) }.map {
            $0.dropFirst(4)
        }.joined()
        #expect(hex == Hex.encode(bytes) && document.contains(pack.digest.hex))
        #expect(try PackFooter.read(path) == pack.footer)
        #expect(pack.footer.chunks.map(\.place) == [0, 6])
        // Any zstd reads the content and passes over the footer.
        let shown = try shell("zstd -dcq < \(path)")
        #expect(shown.status == 0 && shown.output == "hello\nworld\n")
    }

    @Test func everyDamagedByteOfAFooterIsFound() throws {
        let folder = try TemporaryFolder()
        let (path, _) = try Self.write(into: folder)
        let good = try Files.read(path, bytesMax: 1 << 20)
        for i in Self.frame.count..<good.count {
            var bad = good
            bad[i] ^= 1
            try folder.write(bad, to: "bad")
            #expect(code { _ = try PackFooter.read(folder.file("bad")) } == "pack_invalid", "byte \(i)")
        }
        for count in [0, 1, 36, 100, good.count - 1] {
            try folder.write(Array(good[..<count]), to: "bad")
            #expect(code { _ = try PackFooter.read(folder.file("bad")) } == "pack_invalid", "\(count) bytes")
        }
        try folder.write([0] + good, to: "bad")
        #expect(code { _ = try PackFooter.read(folder.file("bad")) } == "pack_invalid", "a byte before it")
    }

    /// Footers whose checksum is right and whose claims are not.
    @Test(
        arguments: [
            ("more frames than bytes", 8, [0xff, 0xff, 0xff, 0x0f]), ("more chunks than bytes", 12, [0xff, 0xff, 0xff, 0x7f]),
            ("more blobs than bytes", 16, [0xff, 0xff, 0xff, 0x7f]), ("a frame of other length", 20, [25, 0, 0, 0]),
            ("a frame of too much content", 24, [0xff, 0xff, 0xff, 0x7f]), ("less content than its chunks", 24, [11, 0, 0, 0]),
            ("a chunk in no frame", 28 + 32, [9, 0, 0, 0]), ("a chunk in another place", 28 + 36, [1, 0, 0, 0]),
            ("an empty chunk", 28 + 40, [0, 0, 0, 0]), ("a chunk that overlaps", 28 + 40, [7, 0, 0, 0]),
            ("a blob of another size", 116 + 32, [13, 0, 0, 0]), ("a blob with more pieces than bytes", 116 + 40, [9, 0, 0, 0]),
            ("version 2 without bases", 4, [2]), ("version 3", 4, [3]),
        ] as [(String, Int, [UInt8])])
    func claims(what: String, offset: Int, bytes: [UInt8]) throws {
        let folder = try TemporaryFolder()
        let (path, _) = try Self.write(into: folder)
        var pack = try Files.read(path, bytesMax: 1 << 20)
        let body = Self.frame.count + 8
        for (i, byte) in bytes.enumerated() { pack[body + offset + i] = byte }
        pack = pack[..<(pack.count - 32)] + Digest.of(Array(pack[body..<pack.count - 36])).bytes
        try folder.write(pack, to: "bad")
        #expect(code { _ = try PackFooter.read(folder.file("bad")) } == "pack_invalid", "\(what)")
    }

    @Test func theUnchangedClaimsAreTaken() throws {
        let folder = try TemporaryFolder()
        let (path, pack) = try Self.write(into: folder)
        var bytes = try Files.read(path, bytesMax: 1 << 20)
        bytes = bytes[..<(bytes.count - 32)] + Digest.of(Array(bytes[(Self.frame.count + 8)..<bytes.count - 36])).bytes
        try folder.write(bytes, to: "good")
        #expect(try PackFooter.read(folder.file("good")) == pack.footer)
    }
}

@Suite struct ZstdCodecTests {
    let codec = ZstdCodec()

    @Test(arguments: [0, 1, 255, 256, 70_000, 1 << 20])
    func roundTrip(count: Int) throws {
        for content in [prose(count, seed: 3), noise(count, seed: 4)] {
            let frame = try codec.compress(content)
            #expect(try codec.decompress(frame, contentBytesMax: count) == content)
            if count > 0 { #expect(code { _ = try codec.decompress(frame, contentBytesMax: count - 1) } == "frame_invalid") }
        }
        #expect(try codec.compress(prose(1 << 20, seed: 3)).count < 400_000)
    }

    @Test func whatIsNotExactlyOneFrameIsRefused() throws {
        let frame = try codec.compress(prose(5000, seed: 5))
        for bad in [
            [], Array(frame.dropLast()), frame + [0], frame + frame, Array(frame[1...]), noise(100, seed: 6), [0x28, 0xb5, 0x2f, 0xfd],
        ] {
            #expect(code { _ = try codec.decompress(bad, contentBytesMax: 1 << 20) } == "frame_invalid", "\(bad.count) bytes")
        }
    }

    /// A frame of 15 bytes that claims a TiB costs neither time nor memory.
    @Test func aBombIsRefusedByItsHeader() throws {
        let bomb: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0]
        let error = try failure { _ = try codec.decompress(bomb, contentBytesMax: 1 << 20) }
        #expect(error.code.name == "frame_invalid" && error.message.contains("1099511627776"))
    }

    /// Frames of the zstd program, with and without what this program never writes.
    @Test func foreignFrames() throws {
        let folder = try TemporaryFolder()
        try folder.write(prose(200_000, seed: 7), to: "text")
        try #require(try shell("zstd -q -19 \(folder.file("text")) -o \(folder.file("19.zst"))").status == 0)
        #expect(
            try codec.decompress(try Files.read(folder.file("19.zst"), bytesMax: 1 << 20), contentBytesMax: 200_000)
                == prose(200_000, seed: 7))
        try #require(try shell("zstd -q < \(folder.file("text")) > \(folder.file("stream.zst"))").status == 0)
        #expect(
            code { _ = try codec.decompress(try Files.read(folder.file("stream.zst"), bytesMax: 1 << 20), contentBytesMax: 200_000) }
                == "frame_invalid", "it says no content size")
    }
}
