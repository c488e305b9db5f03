import Exchange
import MeshCore
import Testing

@Suite struct FramesTests {
    @Test func framesRoundTripAndLookAsDocumented() throws {
        #expect(Frames.encode([[1, 2, 3], [], [9]]) == [3, 0, 0, 0, 1, 2, 3, 0, 0, 0, 0, 1, 0, 0, 0, 9])
        #expect(try Frames.decode([3, 0, 0, 0, 1, 2, 3, 0, 0, 0, 0, 1, 0, 0, 0, 9], countMax: 3, partBytesMax: 3) == [[1, 2, 3], [], [9]])
        #expect(try Frames.decode([], countMax: 0, partBytesMax: 0) == [])
    }

    @Test(arguments: [
        [3, 0, 0, 0, 1, 2], [3, 0, 0], [0xff, 0xff, 0xff, 0xff], [4, 0, 0, 0, 1, 2, 3, 4], [1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1],
    ] as [[UInt8]])
    func brokenFramesAreRefused(_ bytes: [UInt8]) {
        #expect { try Frames.decode(bytes, countMax: 2, partBytesMax: 3) } throws: { ($0 as? MeshError)?.code.name == "peer_misbehaved" }
    }

    @Test func digestsAreWholeAndBounded() throws {
        let digests = [Digest.of([1]), Digest.of([2])]
        let bytes = Frames.encode(digests: digests)
        #expect(bytes.count == 64)
        #expect(try Frames.decodeDigests(bytes, countMax: 2) == digests)
        #expect(throws: MeshError.self) { try Frames.decodeDigests(bytes, countMax: 1) }
        #expect(throws: MeshError.self) { try Frames.decodeDigests(Array(bytes.dropLast()), countMax: 2) }
    }

    @Test(arguments: [0, 1, 7, 8, 9, 64, 65])
    func flagsRoundTrip(_ count: Int) throws {
        let flags = (0..<count).map { $0 % 3 == 0 }
        #expect(try Frames.decodeFlags(Frames.encode(flags: flags), count: count) == flags)
        #expect(throws: MeshError.self) { try Frames.decodeFlags(Frames.encode(flags: flags) + [0], count: count) }
    }

    @Test func firstFlagIsTheLowestBit() {
        #expect(Frames.encode(flags: [true, false, false, false, false, false, false, false, false, true]) == [1, 2])
    }

    /// RFC 9110 §14.1.2, for a representation of 10,000 bytes.
    @Test(arguments: [
        ("bytes=0-499", 0..<500), ("bytes=500-999", 500..<1000), ("bytes=-500", 9500..<10000), ("bytes=9500-", 9500..<10000),
        ("bytes=0-0", 0..<1), ("bytes=0-99999", 0..<10000), ("bytes=-99999", 0..<10000),
        ("bytes=10000-", nil), ("bytes=5-4", nil), ("bytes=-0", nil), ("bytes=-", nil), ("bytes=a-b", nil), ("items=0-1", nil), ("bytes=0-1,3-4", nil),
        ("bytes=--5", nil), ("bytes=+1-2", nil),
    ] as [(String, Range<Int>?)])
    func byteRanges(_ header: String, _ wanted: Range<Int>?) {
        #expect(ByteRange(header, of: 10000)?.bounds == wanted)
    }
}
