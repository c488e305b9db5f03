import CapsuleFormat
import MeshCore
import Testing

@Suite struct ChunkerTests {
    /// SHA-256(u32le 0) ‖ SHA-256(u32le 1) ‖ …, as in docs/formats/chunks.md.
    static func sample(blocks: Int) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(blocks * 32)
        for i in 0..<UInt32(blocks) { out.append(contentsOf: Digest.of((0..<4).map { UInt8(truncatingIfNeeded: i >> (8 * $0)) }).bytes) }
        return out
    }

    static func lengths(_ bytes: [UInt8]) -> [Int] { bytes.withUnsafeBytes { Chunker.cut($0) } }

    /// The algorithm as docs/formats/chunks.md writes it, one byte at a time, for comparison.
    static func reference(_ bytes: [UInt8]) -> [Int] {
        var gear: [UInt64] = []
        for i in UInt8(0)..<64 {
            let hash = Digest.of(Array("oursynth-gear-v1".utf8) + [i, 0, 0, 0]).bytes
            for k in 0..<4 { gear.append((0..<8).reversed().reduce(0) { $0 << 8 | UInt64(hash[8 * k + $1]) }) }
        }
        #expect(gear[0] == 0x7466_c707_2d85_de17)
        var out: [Int] = [], start = 0
        while start < bytes.count {
            let n = min(bytes.count - start, 131_072)
            var length = n
            var h: UInt64 = 0
            if n > 8192 {
                for i in 8192..<n {
                    h = (h << 1) &+ gear[Int(bytes[start + i])]
                    if h & (i < 32768 ? 0x7fff_8000_0000_0000 : 0x7ffe_0000_0000_0000) == 0 { length = i; break }
                }
            }
            out.append(length)
            start += length
        }
        return out
    }

    @Test func publishedVector() {
        let lengths = Self.lengths(Self.sample(blocks: 1 << 15))
        #expect(lengths.count == 32)
        #expect(Array(lengths.prefix(5)) == [32854, 31800, 17887, 38670, 15445])
        #expect(lengths.reduce(0, +) == 1 << 20)
        #expect(lengths.dropLast().allSatisfy { $0 > 8192 - 1 && $0 <= 131_072 })
    }

    @Test func agreesWithTheWrittenAlgorithm() {
        let sample = Self.sample(blocks: 1 << 13)
        for size in [0, 1, 8191, 8192, 8193, 32767, 32768, 32769, 131_071, 131_072, 131_073, sample.count] {
            let bytes = Array(sample.prefix(size))
            #expect(Self.lengths(bytes) == Self.reference(bytes), "\(size) bytes")
        }
    }

    @Test func sameByteEverywhereIsCutAtTheMaximum() {
        for byte in [UInt8(0), 0xff] {
            let bytes = [UInt8](repeating: byte, count: 300_000)
            #expect(Self.lengths(bytes) == Self.reference(bytes))
        }
    }

    @Test func aWindowIsEnough() {
        let sample = Self.sample(blocks: 1 << 14)
        var start = 0, lengths: [Int] = []
        while start < sample.count {
            let window = Array(sample[start..<min(sample.count, start + Limits.chunkBytesMax)])
            let length = window.withUnsafeBytes { Chunker.nextLength(in: $0) }
            lengths.append(length)
            start += length
        }
        #expect(lengths == Self.lengths(sample))
    }

    /// Cut points depend on content only: an insertion near the start leaves the later chunks as they were.
    @Test func insertionMovesFewCuts() {
        let before = Self.sample(blocks: 1 << 15)
        let after = Array(before[..<50_000]) + Array("inserted".utf8) + Array(before[50_000...])
        func digests(_ bytes: [UInt8]) -> Set<Digest> {
            var out: Set<Digest> = [], start = 0
            for length in Self.lengths(bytes) {
                out.insert(Digest.of(Array(bytes[start..<start + length])))
                start += length
            }
            return out
        }
        #expect(digests(after).subtracting(digests(before)).count <= 3)
    }
}

@Suite struct ChunkListTests {
    static let one = ChunkReference(digest: Digest.of([1]), length: 1)
    static let two = ChunkReference(digest: Digest.of([2, 2]), length: 131_072)

    @Test func bytesAreAsDocumented() throws {
        let list = ChunkList([Self.one, Self.two])
        let expected = "4f53434b01000000" + "0200000000000000" + Self.one.digest.hex + "01000000" + Self.two.digest.hex + "00000200"
        #expect(Hex.encode(list.bytes) == expected)
        #expect(list.digest == Digest.of(list.bytes))
        #expect(try ChunkList(parsing: list.bytes).chunks == [Self.one, Self.two])
        #expect(Hex.encode(ChunkList([]).bytes) == "4f53434b010000000000000000000000")
        #expect(ChunkList([]).digest.hex == "d48c71459b8aa5a3f9d46b0315aa21223f0449028dab857452832b28de1f5f32")
        #expect(try ChunkList(parsing: ChunkList([]).bytes).chunks.isEmpty)
    }

    @Test func everyOtherShapeIsRefused() {
        let good = ChunkList([Self.one, Self.two]).bytes
        var cases: [(String, [UInt8])] = [("empty", []), ("longer", good + [0]), ("a whole entry more", good + good.suffix(36))]
        for cut in 0..<good.count { cases.append(("cut at \(cut)", Array(good[..<cut]))) }
        for i in 0..<16 { cases.append(("header byte \(i)", Self.replacing(good, at: i, with: good[i] ^ 0x41))) }
        cases.append(("length 0", Self.replacing(good, at: 16 + 32, with: 0)))
        cases.append(("length 131073", Self.replacing(good, at: 16 + 36 + 32, with: 1)))
        cases.append(("count that overflows", Array(good[..<8]) + [UInt8](repeating: 0xff, count: 8) + Array(good[16...])))
        for (what, bytes) in cases {
            let error = #expect(throws: MeshError.self, "\(what)") { try ChunkList(parsing: bytes) }
            #expect(error?.code == .chunksInvalid, "\(what)")
        }
    }

    static func replacing(_ bytes: [UInt8], at index: Int, with byte: UInt8) -> [UInt8] {
        var out = bytes
        out[index] = byte
        return out
    }
}
