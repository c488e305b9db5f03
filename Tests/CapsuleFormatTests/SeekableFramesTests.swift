import CapsuleFormat
import MeshCore
import Synchronization
import Testing

/// Counts what is asked of it, so that a test can say that nothing was unpacked.
final class CountingCodec: FrameCodec {
    let decompressed = Mutex(0)

    func compress(_ content: [UInt8]) throws(MeshError) -> [UInt8] { try RawBlockCodec().compress(content) }

    func decompress(_ frame: [UInt8], contentBytesMax: Int) throws(MeshError) -> [UInt8] {
        decompressed.withLock { $0 += 1 }
        return try RawBlockCodec().decompress(frame, contentBytesMax: contentBytesMax)
    }
}

/// Parts of a seekable file by hand, so that each can lie.
struct FrameFile {
    var frames: [[UInt8]]
    var table: [(frame: Int, content: Int)]
    var digest: [UInt8]?
    var announcedFrames: Int?

    init(_ contents: [[UInt8]]) throws {
        frames = try contents.map { try RawBlockCodec().compress($0) }
        table = zip(frames, contents).map { ($0.count, $1.count) }
    }

    var bytes: [UInt8] {
        let data = frames.flatMap { $0 }
        var entries: [UInt8] = []
        for (frame, content) in table + [(40, 0)] { entries += RawBlockCodec.littleEndian(frame, 4) + RawBlockCodec.littleEndian(content, 4) }
        return data + [0x50, 0x2a, 0x4d, 0x18, 32, 0, 0, 0] + (digest ?? Digest.of(data).bytes)
            + [0x5e, 0x2a, 0x4d, 0x18] + RawBlockCodec.littleEndian(entries.count + 9, 4) + entries
            + RawBlockCodec.littleEndian(announcedFrames ?? table.count + 1, 4) + [0, 0xb1, 0xea, 0x92, 0x8f]
    }
}

@Suite struct SeekableFramesTests {
    /// The same bytes as `CapsWriter` would put around `content`.
    static func seal(_ content: [UInt8], to path: String) throws {
        try Files.remove(path)
        let writer = SeekableFrameWriter(to: try OpenFile(creating: path), codec: RawBlockCodec())
        try writer.append(content)
        try writer.finish()
    }

    @Test func formIsAsDocumented() throws {
        let folder = try TemporaryFolder()
        let content = ChunkerTests.sample(blocks: 1 << 15) + [1, 2, 3]
        try Self.seal(content, to: folder.file("x"))
        let expected = try FrameFile([Array(content[..<(1 << 20)]), [1, 2, 3]]).bytes
        #expect(try Files.read(folder.file("x"), bytesMax: 4 << 20) == expected)

        let reader = try SeekableFrameReader(path: folder.file("x"), codec: RawBlockCodec())
        #expect(reader.size == Int64(content.count))
        #expect(try reader.read(at: 0, count: content.count) == content)
        let places: [(Int, Int)] = [(0, 0), (0, 1), (1 << 20, 3), ((1 << 20) - 1, 2), ((1 << 20) + 3, 0), (5000, (1 << 20) - 4998)]
        for (offset, count) in places { #expect(try reader.read(at: Int64(offset), count: count) == Array(content[offset..<offset + count])) }
        for (offset, count) in [(-1, 1), (content.count, 1), (content.count + 1, 0), (0, content.count + 1), (0, -1)] {
            #expect(throws: MeshError.self) { try reader.read(at: Int64(offset), count: count) }
        }
    }

    /// In docs/formats/oci-and-caps.md.
    @Test func publishedVector() throws {
        let folder = try TemporaryFolder()
        let hex = "28b52ffda001000000090000" + "61" + "28b52ffda001000000090000" + "62"
            + "502a4d1820000000" + "c2a4c51f8f88ee0e84781a657b6d0abfacc782ad477a66f5473c13b809518da2"
            + "5e2a4d1821000000" + "0d00000001000000" + "0d00000001000000" + "2800000000000000" + "03000000" + "00" + "b1ea928f"
        let path = try folder.write(#require(Hex.decode(hex)), to: "x.zst")
        #expect(try SeekableFrameReader(path: path, codec: RawBlockCodec()).read(at: 0, count: 2) == Array("ab".utf8))
        #expect(try shell("zstd -dc \(path)").output == "ab")
    }

    @Test func stockToolsReadAndCheckIt() throws {
        let folder = try TemporaryFolder()
        let content = ChunkerTests.sample(blocks: 1 << 16) + [9]
        try Self.seal(content, to: folder.file("x.zst"))
        let plain = try folder.write(content, to: "plain")
        let size = try Files.read(folder.file("x.zst"), bytesMax: 4 << 20).count
        let tableBytes = 8 + 4 * 8 + 9
        let (status, output) = try shell("""
            set -e; cd \(folder.path); zstd -t x.zst; zstd -dc x.zst | cmp - \(plain)
            test "$(head -c \(size - tableBytes - 40) x.zst | sha256sum | cut -d' ' -f1)" = "$(tail -c \(tableBytes + 32) x.zst | head -c 32 | od -An -tx1 | tr -d ' \\n')"
            """)
        #expect(status == 0, "\(output)")
    }

    @Test func oneReadUnpacksOneFrame() throws {
        let folder = try TemporaryFolder()
        let codec = CountingCodec()
        try Self.seal([UInt8](repeating: 5, count: 5 << 20), to: folder.file("x"))
        let reader = try SeekableFrameReader(path: folder.file("x"), codec: codec)
        #expect(codec.decompressed.withLock { $0 } == 0)
        for _ in 0..<3 { _ = try reader.read(at: 3 << 20, count: 1000) }
        #expect(codec.decompressed.withLock { $0 } == 1)
        _ = try reader.read(at: 0, count: 5 << 20)
        #expect(codec.decompressed.withLock { $0 } == 5)
        _ = try reader.read(at: (5 << 20) - 1, count: 1)
        #expect(codec.decompressed.withLock { $0 } == 5)
    }

    @Test func everyFlippedByteIsSeenOnOpening() throws {
        let folder = try TemporaryFolder()
        let good = try FrameFile([Array("first frame".utf8), Array("second".utf8)]).bytes
        #expect(throws: Never.self) { try SeekableFrameReader(path: folder.write(good, to: "good"), codec: RawBlockCodec()) }
        for i in good.indices {
            for change in [UInt8(1), 0x80, 0xff] {
                let path = try folder.write(ChunkListTests.replacing(good, at: i, with: good[i] ^ change), to: "bad")
                let error = #expect(throws: MeshError.self, "byte \(i)") { try SeekableFrameReader(path: path, codec: RawBlockCodec()) }
                #expect(error?.code == .capsDamaged && error?.isClearRefusal == true, "byte \(i)")
            }
        }
        for count in 0..<good.count {
            let path = try folder.write(Array(good[..<count]), to: "short")
            let error = #expect(throws: MeshError.self, "\(count) bytes") { try SeekableFrameReader(path: path, codec: RawBlockCodec()) }
            #expect(error?.code == .capsDamaged, "\(count) bytes")
        }
        for extra in [[UInt8(0)], good] {
            #expect(throws: MeshError.self) { try SeekableFrameReader(path: folder.write(good + extra, to: "long"), codec: RawBlockCodec()) }
        }
    }

    /// Files whose digest and lengths agree with themselves, made to hurt.
    @Test func liesAreRefusedBeforeAnythingIsUnpacked() throws {
        let folder = try TemporaryFolder()
        let content = Array("some content".utf8)
        let one = try FrameFile([content]), two = try FrameFile([content, content])
        func changed(_ file: FrameFile, _ change: (inout FrameFile) -> Void) -> [UInt8] {
            var file = file
            change(&file)
            return file.bytes
        }
        let cases: [(String, [UInt8])] = [
            ("a frame header that announces 4 GiB", changed(one) { $0.frames[0].replaceSubrange(5..<9, with: [0xff, 0xff, 0xff, 0xff]) }),
            ("frame and table that announce 2 MiB", changed(one) { $0.frames[0].replaceSubrange(5..<9, with: [0, 0, 0x20, 0]); $0.table[0].content = 2 << 20 }),
            ("a table that announces more content than the frame", changed(one) { $0.table[0].content += 1 }),
            ("a table that announces no content", changed(one) { $0.table[0].content = 0 }),
            ("two lengths that even out", changed(two) { $0.table[0].frame += 1; $0.table[1].frame -= 1 }),
            ("one entry for two frames", changed(two) { $0.table = [($0.table[0].frame + $0.table[1].frame, 12)] }),
            ("2^32 - 1 frames", changed(one) { $0.announcedFrames = 0xffff_ffff }),
            ("no frames", changed(one) { $0.announcedFrames = 0 }),
            ("only the digest frame", try FrameFile([]).bytes),
            ("another digest", changed(one) { $0.digest = [UInt8](repeating: 0, count: 32) }),
            ("a skippable frame as data", changed(one) { $0.frames[0] = [0x51, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 7]; $0.table = [(9, 1)] }),
            ("a frame that needs a dictionary", changed(one) { $0.frames[0][4] |= 1; $0.frames[0].insert(1, at: 5); $0.table[0].frame += 1 }),
            ("a frame without content size", changed(one) { $0.frames[0][4] = 0; $0.frames[0].replaceSubrange(5..<9, with: [0]); $0.table[0].frame -= 3 }),
            ("a reserved block kind", changed(one) { $0.frames[0][9] |= 6 }),
            ("bytes after the frame's last block", changed(one) { $0.frames[0].append(0); $0.table[0].frame += 1 }),
            ("a block past the end", changed(one) { $0.frames[0][10] = 0xff }),
            ("a frame of 2 MiB on disk", changed(one) { $0.frames[0] += [UInt8](repeating: 0, count: 2 << 20); $0.table[0].frame += 2 << 20 }),
        ]
        for (what, bytes) in cases {
            let codec = CountingCodec()
            let path = try folder.write(bytes, to: "bad")
            let error = #expect(throws: MeshError.self, "\(what)") { try SeekableFrameReader(path: path, codec: codec) }
            #expect(error?.code == .capsDamaged, "\(what)")
            #expect(codec.decompressed.withLock { $0 } == 0, "\(what)")
        }
    }

    /// A block that announces another length than it unpacks to is found when the frame is read.
    @Test func contentThatDoesNotUnpackIsDamage() throws {
        struct Liar: FrameCodec {
            func compress(_ content: [UInt8]) throws(MeshError) -> [UInt8] { try RawBlockCodec().compress(content) }
            func decompress(_ frame: [UInt8], contentBytesMax: Int) throws(MeshError) -> [UInt8] { [1] }
        }
        let folder = try TemporaryFolder()
        let path = try folder.write(FrameFile([[1, 2, 3]]).bytes, to: "x")
        let error = #expect(throws: MeshError.self) { try SeekableFrameReader(path: path, codec: Liar()).read(at: 0, count: 1) }
        #expect(error?.code == .capsDamaged)
    }

    @Test func compressorThatFailsOrLiesEndsTheWriting() throws {
        struct Failing: FrameCodec {
            func compress(_ content: [UInt8]) throws(MeshError) -> [UInt8] {
                if content[0] == 3 { throw MeshError(ErrorCode("codec_failed", .badData), "no") }
                return try RawBlockCodec().compress(content)
            }
            func decompress(_ frame: [UInt8], contentBytesMax: Int) throws(MeshError) -> [UInt8] { [] }
        }
        struct Garbling: FrameCodec {
            func compress(_ content: [UInt8]) throws(MeshError) -> [UInt8] { [1, 2, 3] }
            func decompress(_ frame: [UInt8], contentBytesMax: Int) throws(MeshError) -> [UInt8] { [] }
        }
        let folder = try TemporaryFolder()
        for (i, (codec, code)) in [(Failing() as any FrameCodec, "codec_failed"), (Garbling(), "caps_damaged")].enumerated() {
            let error = #expect(throws: MeshError.self) {
                let writer = SeekableFrameWriter(to: try OpenFile(creating: folder.file("f\(i)")), codec: codec)
                for part in UInt8(0)..<20 { try writer.append([UInt8](repeating: part, count: 1 << 20)) }
                try writer.finish()
            }
            #expect(error?.code.name == code)
        }
    }
}
