import CapsuleFormat
import CapsuleStore
import MeshCore
import Testing

/// Index and chunk list of a version are kept as what differs from those of an earlier one.
@Suite struct DifferencesTests {
    static let files = 2000

    /// Version `n`: in each after the first twenty files are others than in the first, spread over the tree.
    static func write(_ n: Int, into folder: TemporaryFolder) throws -> String {
        try folder.write(manifestText.replacing("1.0.0", with: "1.0.\(n)"), to: "app/capsule.json")
        for i in 0..<files where n == 0 || i % 100 == n { try folder.write("file \(i), version \(i % 100 == n ? n : 0)\n", to: "app/\(i % 40)/a-rather-long-name-\(i).txt") }
        return folder.file("app")
    }

    private static func differences(_ folder: TemporaryFolder) throws -> [PackFooter.Blob] {
        try folder.packs.flatMap { try PackFooter.read($0).blobs }.filter { $0.base != nil }
    }

    @Test func aVersionCostsItsChange() throws {
        let folder = try TemporaryFolder()
        let store = try CapsuleStore(home: folder.home)
        let first = try store.pack(directory: try Self.write(0, into: folder)).capsule
        let before = Set(try folder.packs)
        #expect(try Self.differences(folder).isEmpty)
        let second = try store.pack(directory: try Self.write(1, into: folder)).capsule
        let added = try #require(try folder.packs.first { !before.contains($0) })
        #expect(try OpenFile(reading: added).size() < 12_000, "two documents of 400 kB with twenty changes in each, and twenty files")
        let third = try store.pack(directory: try Self.write(2, into: folder)).capsule
        // Never one on top of the other.
        let found = try Self.differences(folder)
        #expect(found.count == 4 && Set(found.compactMap(\.base)) == [first.root.index, first.root.chunks])
        #expect(Set(found.map(\.digest)) == [second.root.index, second.root.chunks, third.root.index, third.root.chunks])
        for capsule in [first, second, third] {
            #expect(try store.capsule(capsule.digest).root.bytes == capsule.root.bytes)
            try store.verifyContents(of: capsule.tree)
        }
        #expect(try store.fsck(read: true).isClean)
        // Packs and journal are enough.
        try Files.removeTree(folder.file("home/capsules/index.sqlite"))
        for ending in ["-wal", "-shm"] { try? Files.remove(folder.file("home/capsules/index.sqlite") + ending) }
        let again = try CapsuleStore(home: folder.home)
        #expect(try again.capsule(third.digest).root.bytes == third.root.bytes && again.fsck(read: true).isClean)
    }

    @Test func whatAnotherNeedsStaysWhenItsOwnCapsuleGoes() throws {
        let folder = try TemporaryFolder()
        let store = try CapsuleStore(home: folder.home)
        let first = try store.pack(directory: try Self.write(0, into: folder)).capsule
        let second = try store.pack(directory: try Self.write(1, into: folder)).capsule
        try store.remove(capsule: first.digest)
        _ = try store.gc(all: true)
        #expect(try store.fsck(read: true).isClean)
        #expect(try CapsuleStore(home: folder.home).capsule(second.digest).root.bytes == second.root.bytes)
        #expect(code { _ = try store.capsule(first.digest) } == "capsule_not_found")
    }

    @Test func aDamagedBaseIsToldAndMended() throws {
        let folder = try TemporaryFolder()
        let writer = try CapsuleStore(home: folder.home)
        let first = try writer.pack(directory: try Self.write(0, into: folder)).capsule
        let app = try Self.write(1, into: folder)
        let second = try writer.pack(directory: app).capsule
        let firstPack = try #require(try folder.packs.first { try PackFooter.read($0).blobs.contains { $0.digest == first.root.chunks } })
        let footer = try PackFooter.read(firstPack)
        let piece = try #require(footer.blobs.first { $0.digest == first.root.chunks }?.pieces.first)
        let frame = try #require(footer.chunks.first { $0.digest == piece.digest }?.frame)
        try DamageTests.flip(firstPack, at: footer.frames[..<frame].reduce(0) { $0 + Int64($1.bytes) } + Int64(footer.frames[frame].bytes / 2))
        let store = try CapsuleStore(home: folder.home)
        let report = try store.fsck(read: true)
        #expect(Set(report.affected) == [first.digest, second.digest])
        // Whoever brings the second again brings all that it needs.
        #expect(try store.pack(directory: app).capsule.digest == second.digest)
        #expect(try store.capsule(second.digest).root.bytes == second.root.bytes)
        #expect(code { _ = try store.capsule(first.digest) } == "chunk_missing")
        #expect(try store.fsck(read: false).affected == [first.digest])
        try store.renewDamagedPacks(store.fsck(read: true))
        #expect(try store.capsule(second.digest).root.bytes == second.root.bytes)
    }

    @Test func theFooterOfDifferences() throws {
        let folder = try TemporaryFolder()
        let base = Digest.of(Array("base".utf8))
        func read(size: Int64, base: Digest?) throws -> PackFooter.Blob? {
            let writer = try PackWriter(in: folder.path)
            try PackFormatTests.frame.withUnsafeBytes { try writer.append(frame: $0, chunks: PackFormatTests.chunks) }
            writer.append(PackFooter.Blob(digest: Digest.of(Array("document".utf8)), size: size, pieces: PackFormatTests.chunks, base: base))
            writer.append(PackFooter.Blob(digest: Digest.of(Array("hello\nworld\n".utf8)), size: 12, pieces: PackFormatTests.chunks))
            let written = try writer.finish()
            defer { withExtendedLifetime(written) {} }
            let name = try #require(try Files.names(in: folder.path).first { $0.hasPrefix("pack-") })
            let footer = try PackFooter.read(folder.file(name))
            #expect(footer.blobs.last?.base == nil)
            return footer.blobs.first
        }
        #expect(try read(size: 100_000, base: base)?.base == base)
        #expect(try read(size: 12, base: nil)?.base == nil)
        #expect(code { _ = try read(size: 12, base: base) } == "pack_invalid", "no smaller than the document")
        #expect(code { _ = try read(size: 1 << 40, base: base) } == "pack_invalid", "more than is ever kept so")
    }
}
