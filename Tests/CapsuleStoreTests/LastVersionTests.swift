import CapsuleFormat
import CapsuleStore
import MeshCore
import Testing

/// The digest of a file whose chunks are those of the last version is taken from there; whatever became of the file, it is right.
@Suite struct LastVersionTests {
    static let size = 7_000_000
    static let original = noise(size, seed: 300)

    enum Change: String, CaseIterable, Sendable {
        case none, firstByte, middle, lastByte, longer, shorter, empty, swapped
    }

    static func changed(_ change: Change) -> [UInt8] {
        var bytes = original
        switch change {
        case .none: break
        case .firstByte: bytes[0] ^= 1
        case .middle: bytes[size / 2] ^= 1
        case .lastByte: bytes[size - 1] ^= 1
        case .longer: bytes += noise(300_000, seed: 301)
        case .shorter: bytes.removeLast(300_000)
        case .empty: bytes = []
        case .swapped: bytes = Array(bytes[(size / 2)...] + bytes[..<(size / 2)])
        }
        return bytes
    }

    /// A large file, which is read in parts, and one that is read at once.
    @Test(arguments: Change.allCases)
    func digestsAreThoseOfTheContent(_ change: Change) throws {
        let folder = try TemporaryFolder()
        try folder.write(manifestText, to: "app/capsule.json")
        try folder.write(Self.original, to: "app/large.bin")
        try folder.write(Array(Self.original[..<500_000]), to: "app/small.bin")
        let store = try CapsuleStore(home: folder.home)
        _ = try store.pack(directory: folder.file("app"))
        let bytes = Self.changed(change), few = Array(bytes.prefix(500_000).reversed().prefix(change == .none ? 0 : 500_000))
        // Elsewhere, so that every file is read.
        try folder.write(manifestText.replacing("1.0.0", with: "1.0.1"), to: "next/capsule.json")
        try folder.write(bytes, to: "next/large.bin")
        try folder.write(change == .none ? Array(Self.original[..<500_000]) : few, to: "next/small.bin")
        let result = try store.pack(directory: folder.file("next"))
        let digests = result.capsule.tree.index.entries.map { entry -> Digest? in if case .file(_, let digest) = entry.content { digest } else { nil } }
        #expect(digests == [Digest.of(bytes), Digest.of(change == .none ? Array(Self.original[..<500_000]) : few)])
        #expect(result.filesRead == 2)
        try store.verifyContents(of: result.capsule.tree)
        // As a store that knows nothing of an earlier version has it.
        let fresh = try CapsuleStore(home: HomeLayout(path: folder.file("other")))
        #expect(try fresh.pack(directory: folder.file("next")).capsule.digest == result.capsule.digest)
    }

    @Test func aSecretThatLiesInTwoPartsIsFound() throws {
        let folder = try TemporaryFolder()
        try folder.write(manifestText, to: "app/capsule.json")
        let key = "\n-----BEGIN " + "PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n-----END " + "PRIVATE KEY-----\n"
        for part in 1...3 {
            try folder.write(prose(part * Limits.ingestUnitBytes - 12, seed: 302) + Array(key.utf8) + prose(3_000_000, seed: 303), to: "app/large.txt")
            let store = try CapsuleStore(home: folder.home)
            #expect(code { _ = try store.pack(directory: folder.file("app")) } == "secret_found", "part \(part)")
            #expect(try store.capsules().isEmpty)
        }
    }
}
