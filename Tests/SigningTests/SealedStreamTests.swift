import MeshCore
@testable import Signing
import Testing

@Suite struct SealedStreamTests {
    static let passphrase = Array("correct horse".utf8)
    static let messageBytes = 64 * 1024, headerBytes = 125, overhead = 4 + 17

    /// As little work as Argon2id takes: what is tested is not the passphrase.
    static func seal(_ content: [UInt8], _ passphrase: [UInt8] = passphrase, work: PassphraseWork = PassphraseWork(passes: 1, memoryBytes: 8192), in folder: Folder,
                     pieces: Int = 10_000) throws -> [UInt8] {
        let path = folder.path + "/stream"
        try Files.remove(path)
        var writer = try SealedWriter(OpenFile(creating: path), passphrase: passphrase, work: work)
        for start in stride(from: 0, to: content.count, by: pieces) { try writer.write(Array(content[start..<min(start + pieces, content.count)])) }
        try writer.finish()
        return try Files.read(path, bytesMax: 1 << 24)
    }

    static func open(_ bytes: [UInt8], _ passphrase: [UInt8] = passphrase, in folder: Folder) throws -> [UInt8] {
        let path = folder.path + "/stream"
        try Files.writeDurably(bytes, to: path)
        var reader = try SealedReader(OpenFile(reading: path), passphrase: passphrase), out: [UInt8] = []
        while let content = try reader.next() { out += content }
        #expect(try reader.next() == nil)
        return out
    }

    static func content(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) } }

    /// Made with PyNaCl.
    @Test func opensWhatOthersSealed() throws {
        let folder = try Folder(), vector = try vectors("backup.md")
        let backup = try bytes(#require(vector["backup"]))
        #expect(try Hex.encode(Self.open(backup, Array(#require(vector["passphrase"]).utf8), in: folder)) == vector["content"])
        let work = try #require(PassphraseWork(backup[5..<37]))
        #expect(work.passes == 1 && work.memoryBytes == 8 << 20 && work.bytes == Array(backup[5..<37]))
        #expect(try Hex.encode(work.key(from: Self.passphrase)) == vector["key"])
    }

    @Test(arguments: [0, 1, 65_535, 65_536, 65_537, 131_072, 200_000]) func givesBackWhatWasWritten(_ count: Int) throws {
        let folder = try Folder(), content = Self.content(count)
        let sealed = try Self.seal(content, in: folder)
        #expect(sealed.count == Self.headerBytes + count + max(1, (count + Self.messageBytes - 1) / Self.messageBytes) * Self.overhead)
        #expect(try Self.open(sealed, in: folder) == content)
        // However it was handed over.
        #expect(try Self.open(Self.seal(content, in: folder, pieces: 200_000), in: folder) == content)
        // Never the same twice, and nothing shows through.
        #expect(try Self.seal(content, in: folder).dropFirst(5 + 16) != sealed.dropFirst(5 + 16))
        if count >= 65_535 { #expect(!sealed.indices.dropLast(64).contains { sealed[$0..<$0 + 16].elementsEqual(content[..<16]) }) }
    }

    @Test func isSealedWithTheModerateSetting() throws {
        let folder = try Folder()
        let path = folder.path + "/stream"
        try SealedWriter(OpenFile(creating: path), passphrase: Self.passphrase).finish()
        let work = try #require(PassphraseWork(Files.read(path, bytesMax: 1000)[5..<37]))
        #expect(work.passes == 3 && work.memoryBytes == 256 << 20)
        var reader = try SealedReader(OpenFile(reading: path), passphrase: Self.passphrase)
        #expect(try reader.next() == [])
        #expect(try reader.next() == nil)
    }

    @Test(arguments: ["", "correct hors", "correct horse ", "Correct horse"]) func opensWithItsPassphraseOnly(_ other: String) throws {
        let folder = try Folder()
        let sealed = try Self.seal(Self.content(10), in: folder)
        #expect(code { _ = try Self.open(sealed, Array(other.utf8), in: folder) } == "passphrase_wrong")
    }

    /// A digest of the header again made right: what is left is a matter of the passphrase, or of what a file may ask.
    @Test func whoeverForgesAHeaderGainsNothing() throws {
        let folder = try Folder()
        let sealed = try Self.seal(Self.content(100), in: folder)
        func forged(_ place: Int, _ value: UInt8) -> [UInt8] {
            var header = Array(sealed.prefix(93))
            header[place] = value
            return header + Digest.of(header).bytes + sealed.dropFirst(Self.headerBytes)
        }
        for place in [21, 36, 37, 60, 61, 92] { #expect(code { _ = try Self.open(forged(place, sealed[place] ^ 1), in: folder) } == "passphrase_wrong", "\(place)") }
        // Form; no passes, far too many; no memory, 4 GiB, 2^63 bytes.
        for (place, value) in [(0, 0), (4, 2), (5, 0), (5, 5), (12, 1), (14, 0), (17, 1), (20, 128)] as [(Int, UInt8)] {
            #expect(code { _ = try Self.open(forged(place, value), in: folder) } == "backup_damaged", "\(place)")
        }
    }

    @Test func everyAlteredByteIsNoticed() throws {
        let folder = try Folder()
        let content = Self.content(Self.messageBytes + 300), sealed = try Self.seal(content, in: folder)
        let second = Self.headerBytes + Self.messageBytes + Self.overhead
        let places = Array(0..<Self.headerBytes + 40) + Array(stride(from: 200, to: second, by: 1999)) + Array(second - 20..<second + 24) + [sealed.count - 17, sealed.count - 1]
        for place in places {
            var changed = sealed
            changed[place] ^= 1 << UInt8(place % 8)
            #expect(code { _ = try Self.open(changed, in: folder) } == "backup_damaged", "byte \(place)")
        }
    }

    @Test func everyCutIsNoticed() throws {
        let folder = try Folder()
        let sealed = try Self.seal(Self.content(2 * Self.messageBytes), in: folder)
        let second = Self.headerBytes + Self.messageBytes + Self.overhead
        for count in [0, 4, 5, 60, 124, 125, 126, 129, 5000, second - 1, second, second + 3, second + 4, sealed.count - 1] {
            #expect(code { _ = try Self.open(Array(sealed.prefix(count)), in: folder) } == "backup_damaged", "\(count) bytes")
        }
        #expect(code { _ = try Self.open(sealed + [0], in: folder) } == "backup_damaged")
        #expect(code { _ = try Self.open(sealed + sealed, in: folder) } == "backup_damaged")
    }

    @Test func messagesStayInTheirPlaces() throws {
        let folder = try Folder()
        let sealed = try Self.seal(Self.content(3 * Self.messageBytes), in: folder), other = try Self.seal(Self.content(3 * Self.messageBytes), in: folder)
        let size = Self.messageBytes + Self.overhead
        func parts(_ bytes: [UInt8]) -> [ArraySlice<UInt8>] { [bytes[..<Self.headerBytes]] + (0..<3).map { bytes[(Self.headerBytes + $0 * size)...].prefix(size) } }
        let (ours, theirs) = (parts(sealed), parts(other))
        for order in [[0, 2, 1, 3], [0, 1, 1, 2, 3], [0, 1, 3], [0, 2, 3], [0, 3], [0, 1, 2], [0], [0, 1, 2, 3, 3]] {
            #expect(code { _ = try Self.open(order.flatMap { ours[$0] }, in: folder) } == "backup_damaged", "\(order)")
        }
        // Of another stream under the same passphrase.
        for place in 1...3 {
            var mixed = ours
            mixed[place] = theirs[place]
            #expect(code { _ = try Self.open(mixed.flatMap { $0 }, in: folder) } == "backup_damaged", "\(place)")
        }
        #expect(try Self.open(ours.flatMap { $0 }, in: folder) == Self.content(3 * Self.messageBytes))
    }

    /// A writer that ends before `finish`, as after a crash.
    @Test func aStreamWithoutItsEndIsNotTaken() throws {
        let folder = try Folder()
        let path = folder.path + "/stream"
        do {
            var writer = try SealedWriter(OpenFile(creating: path), passphrase: Self.passphrase, work: PassphraseWork(passes: 1, memoryBytes: 8192))
            try writer.write(Self.content(2 * Self.messageBytes))
        }
        #expect(code { _ = try Self.open(Files.read(path, bytesMax: 1 << 20), in: folder) } == "backup_damaged")
    }
}
