import CapsuleFormat
import CapsuleStore
import Glibc
import MeshCore
import Testing

/// What was packed once is not read again, and what may have changed is.
@Suite struct SourceMemoryTests {
    struct Clock: WallClock {
        let now: Milliseconds
        /// So late that nothing was changed a moment ago.
        static var later: Clock { Clock(now: SystemClock().now + 60_000) }
    }

    /// Another store for every pack, as every command is another process.
    private func pack(
        _ app: String, _ folder: TemporaryFolder, clock: any WallClock = Clock.later, options: CapsuleStore.PackOptions = CapsuleStore.PackOptions()
    ) throws -> CapsuleStore.PackResult { try CapsuleStore(home: folder.home, clock: clock).pack(directory: app, options: options) }

    private func memoryFile(_ folder: TemporaryFolder) throws -> String {
        let names = try folder.names("home/state/sources")
        try #require(names.count == 1)
        return folder.file("home/state/sources/" + names[0])
    }

    @Test func whatDidNotChangeIsNotRead() throws {
        let folder = try TemporaryFolder(), fresh = try TemporaryFolder()
        let app = try folder.writeApp()
        try folder.write(prose(2_500_000, seed: 80), to: "app/large")
        let first = try pack(app, folder)
        #expect(first.filesRead == 8)
        for path in [app, app + "/", folder.file("home/../app")] {
            let again = try pack(path, folder)
            #expect(again.filesRead == 0 && again.files == 8 && again.newBytes == 0 && again.capsule.digest == first.capsule.digest)
        }
        #expect(try pack(app, folder, options: .init(paranoid: true)).filesRead == 8)
        #expect(try pack(app, folder).filesRead == 0)
        let text = folder.file("app/text.txt")
        // Each changes something of one file; whatever it is, the capsule is the one that a store without a memory makes.
        let changes: [(what: String, read: Int, change: () throws -> Void)] = [
            ("content", 1, { try folder.write(prose(300_000, seed: 2), to: "app/text.txt") }),
            ("times", 1, { try shell("touch -d 2001-02-03 \(text)") }),
            ("times set back", 1, { try shell("touch -r \(text) \(folder.file("ref")); echo more >> \(text); touch -r \(folder.file("ref")) \(text)") }),
            ("the same length and time", 1, { try shell("touch -r \(text) \(folder.file("ref")); printf x | dd of=\(text) conv=notrunc status=none; touch -r \(folder.file("ref")) \(text)") }),
            ("another file in its place", 1, { try shell("cp -p \(text) \(text).new && mv \(text).new \(text)") }),
            ("the execute bit", 1, { try shell("chmod +x \(text)") }),
            ("a new file", 1, { try folder.write("new", to: "app/a/new") }),
            ("no files any more", 0, { try shell("rm -r \(app)/a \(app)/empty") }),
            ("a large file", 1, { try folder.write(prose(2_500_000, seed: 81), to: "app/large") }),
            ("a folder's name", 1, { try shell("mv \(app)/bin \(app)/sbin && rm \(app)/start") }),
            ("a link for a file", 0, { try shell("rm \(app)/noise.bin && ln -s text.txt \(app)/noise.bin") }),
            ("a file for a link", 1, { try shell("rm \(app)/noise.bin && echo plain > \(app)/noise.bin") }),
        ]
        for (what, read, change) in changes {
            try change()
            let packed = try pack(app, folder)
            #expect(packed.filesRead == read, "\(what)")
            #expect(try packed.capsule.digest == pack(app, fresh, options: .init(paranoid: true)).capsule.digest, "\(what)")
            #expect(try pack(app, folder).filesRead == 0, "\(what)")
        }
        let store = try CapsuleStore(home: folder.home)
        for capsule in try store.capsules() { try store.verifyContents(of: store.capsule(capsule.digest).tree) }
        // A folder of another name is another folder.
        try shell("mv \(app) \(app)2")
        #expect(try pack(app + "2", folder).filesRead > 0)
        #expect(try folder.names("home/state/sources").count == 2)
        #expect(try shell("stat -c %a \(folder.file("home/state/sources")) \(folder.file("home/state/sources"))/*").output == "700\n600\n600\n")
    }

    /// A file that was written to while it was read may have the same times afterwards, as far as the clock shows them.
    @Test func whatChangedAMomentAgoIsReadAgain() throws {
        let folder = try TemporaryFolder()
        let app = try folder.writeApp()
        /// The second in which something of a file was changed last.
        func newest() throws -> Int64 {
            let times = try shell("find \(app) -type f ! -name capsule.json -printf '%C@\\n' | sort -n | tail -1").output
            return try #require(times.split(separator: ".").first.flatMap { Int64($0) })
        }
        // Two seconds later: not all are older than that. Three: all are.
        let created = try newest()
        #expect(try pack(app, folder, clock: Clock(now: created * 1000 + 2000)).filesRead == 7)
        #expect(try pack(app, folder, clock: Clock(now: created * 1000 + 2000)).filesRead > 0)
        _ = try pack(app, folder, clock: Clock(now: created * 1000 + 3001))
        #expect(try pack(app, folder, clock: Clock(now: created * 1000)).filesRead == 0, "what was settled once stays so, whatever the clock says")
        // One more is touched: it is read until it has been left alone, the others are not.
        try shell("touch -d 2001-02-03 \(app)/text.txt")
        let touched = try newest()
        for _ in 0..<2 { #expect(try pack(app, folder, clock: Clock(now: touched * 1000 + 2000)).filesRead == 1) }
        #expect(try pack(app, folder).filesRead == 1)
        #expect(try pack(app, folder).filesRead == 0)
        // Times in the future say nothing, also where nanoseconds cannot count them.
        for year in [2100, 2300] {
            try shell("touch -d \(year)-02-03 \(app)/text.txt")
            for _ in 0..<2 { #expect(try pack(app, folder).filesRead == 1, "\(year)") }
        }
    }

    @Test func aDamagedMemoryIsNone() throws {
        let folder = try TemporaryFolder()
        let app = try folder.writeApp()
        let digest = try pack(app, folder).capsule.digest
        let path = try memoryFile(folder), good = try Files.read(path, bytesMax: 1 << 20)
        #expect(SourceMemory(parsing: good, folder: app)?.records.count == 7)
        #expect(SourceMemory(parsing: good, folder: app + "2") == nil)
        for i in good.indices {
            var bad = good
            bad[i] ^= 0x20
            #expect(SourceMemory(parsing: bad, folder: app) == nil, "byte \(i)")
        }
        for count in [0, 1, 31, 32, 40, 100, good.count - 33, good.count - 1] { #expect(SourceMemory(parsing: Array(good[..<count]), folder: app) == nil, "\(count) bytes") }
        // What the checksum agrees to must still hold together: a length of a path, of a chunk list, of a file.
        let record = 8 + 8 + 8 + 8 + 32 + app.utf8.count
        for (offset, byte) in [(8 + 4, 200), (record, 255), (record + 4, 1), (record + 7, 127), (record + 8 + 7, 255), (record + 8 + 4, 1)] as [(Int, UInt8)] {
            var bad = good
            bad[offset] = byte
            bad = Array(bad.dropLast(32)) + Digest.of(Array(bad.dropLast(32))).bytes
            #expect(SourceMemory(parsing: bad, folder: app) == nil, "byte \(offset)")
        }
        var later = good
        later[4] = 2
        for bad in [[], Array(good[..<500]), Array(later.dropLast(32)) + Digest.of(Array(later.dropLast(32))).bytes, good + good] {
            try folder.write(bad, to: String(path.dropFirst(folder.path.utf8.count + 1)))
            let packed = try pack(app, folder)
            #expect(packed.filesRead == 7 && packed.capsule.digest == digest)
            #expect(try pack(app, folder).filesRead == 0)
        }
        // Nor is one that cannot be read or written.
        try shell("rm -r \(folder.file("home/state/sources")) && echo > \(folder.file("home/state/sources"))")
        for _ in 0..<2 { #expect(try pack(app, folder).filesRead == 7) }
    }

    @Test func chunksThatAreGoneAreReadAgain() throws {
        let folder = try TemporaryFolder()
        let app = try folder.writeApp()
        let capsule = try pack(app, folder).capsule
        #expect(try pack(app, folder).filesRead == 0)
        let packFile = try #require(try folder.packs.first)
        let bytes = try Files.read(packFile, bytesMax: 1 << 24), needle = noise(200_000, seed: 2)[5000..<5032]
        try DamageTests.flip(packFile, at: Int64(try #require(bytes.indices.first { bytes[$0...].starts(with: needle) })))
        #expect(code { try CapsuleStore(home: folder.home).verifyContents(of: capsule.tree) } == "chunk_corrupt")
        let mended = try pack(app, folder)
        #expect(mended.filesRead == 1 && mended.newBytes > 0 && mended.capsule.digest == capsule.digest)
        try CapsuleStore(home: folder.home).verifyContents(of: capsule.tree)
        #expect(try pack(app, folder).filesRead == 0)
        // All of them: every pack is gone.
        try shell("rm \(folder.file("home/capsules/packs"))/*")
        // Nothing of the empty file can be gone.
        #expect(try pack(app, folder).filesRead == 6)
        try CapsuleStore(home: folder.home).verifyContents(of: capsule.tree)
        // An index that is made anew knows the same chunks; the memory's mark means nothing to it, so each is looked up.
        try shell("rm \(folder.file("home/capsules"))/index.sqlite*")
        #expect(try pack(app, folder).filesRead == 0)
        try CapsuleStore(home: folder.home).verifyContents(of: capsule.tree)
    }

    /// A copy of the store from yesterday in the place of today's; the memory is today's.
    @Test func aStoreThatWasPutBack() throws {
        let folder = try TemporaryFolder()
        let app = try folder.writeApp()
        _ = try pack(app, folder)
        let store = folder.file("home/capsules"), copy = folder.file("yesterday")
        try #require(try shell("cp -a \(store) \(copy)").status == 0)
        try folder.write(noise(400_000, seed: 82), to: "app/more")
        _ = try pack(app, folder)
        #expect(try pack(app, folder).filesRead == 0)
        try #require(try shell("rm -r \(store) && mv \(copy) \(store)").status == 0)
        let packed = try pack(app, folder)
        #expect(packed.filesRead == 1 && packed.newBytes == 400_000)
        try CapsuleStore(home: folder.home).verifyContents(of: packed.capsule.tree)
        #expect(try pack(app, folder).filesRead == 0)
    }

    /// One that an earlier version of the program made.
    @Test func anIndexOfAnEarlierVersion() throws {
        let folder = try TemporaryFolder()
        let app = try folder.writeApp()
        let capsule = try pack(app, folder).capsule
        let statements = "drop trigger chunk_gone; drop table generation; drop table names; pragma user_version = 1"
        let dropped = try shell("python3 -c 'import sqlite3; sqlite3.connect(\"\(folder.file("home/capsules/index.sqlite"))\").executescript(\"\(statements)\")'")
        try #require(dropped.status == 0, "\(dropped.output)")
        for _ in 0..<2 { #expect(try pack(app, folder).filesRead == 0) }
        // It counts from then on.
        try shell("rm \(folder.file("home/capsules/packs"))/*")
        #expect(try pack(app, folder).filesRead == 6)
        try CapsuleStore(home: folder.home).verifyContents(of: capsule.tree)
    }

    /// Being remembered lets no secret through.
    @Test func whatWasAllowedIsLookedThroughWhenItIsNoLonger() throws {
        let folder = try TemporaryFolder()
        let app = try folder.writeApp()
        try folder.write("-----BEGIN PRIVATE KEY-----\nMC4CAQ\n", to: "app/server.pem")
        let allowed = CapsuleStore.PackOptions(allowSecrets: ["server.pem"])
        #expect(try pack(app, folder, options: allowed).filesRead == 8)
        #expect(try pack(app, folder, options: allowed).filesRead == 0)
        #expect(code { _ = try pack(app, folder) } == "secret_found")
        #expect(try pack(app, folder, options: allowed).filesRead == 0)
        // Allowing more changes nothing for what was found clean.
        #expect(try pack(app, folder, options: .init(allowSecrets: ["server.pem", "text.txt"])).filesRead == 0)
        #expect(try pack(app, folder, options: allowed).filesRead == 0)
        // What was never looked through is, once it must be.
        try shell("touch -d 2001-02-03 \(app)/text.txt")
        #expect(try pack(app, folder, options: .init(allowSecrets: ["server.pem", "text.txt"])).filesRead == 1)
        #expect(try pack(app, folder, options: allowed).filesRead == 1)
        #expect(try pack(app, folder, options: allowed).filesRead == 0)
    }

    @Test func aNewScannerLooksAtEverythingAgain() throws {
        let folder = try TemporaryFolder()
        let app = try folder.writeApp()
        let tree = try pack(app, folder).capsule.tree
        let path = try memoryFile(folder)
        let memory = try #require(SourceMemory(parsing: try Files.read(path, bytesMax: 1 << 20), folder: app))
        let source = try SourceTree.scan(app, kind: .app, options: SourceTree.ScanOptions())
        for (version, read) in [(SecretScanner.version, 0), (SecretScanner.version - 1, 7), (SecretScanner.version + 1, 7)] {
            var writer = SourceMemoryWriter(folder: app, mark: memory.mark, scannerVersion: version, expecting: 7)
            for (i, item) in source.items.enumerated() {
                guard case .file(_, let digest) = tree.index.entries[i].content else { continue }
                writer.add(item, digest: digest, chunks: tree.chunks.chunks[tree.fileChunks[i]], wasScanned: true)
            }
            try folder.write(writer.finish(), to: String(path.dropFirst(folder.path.utf8.count + 1)))
            #expect(try pack(app, folder).filesRead == read, "scanner \(version)")
        }
    }

    /// What is written is what is read; files come in the tree's order, which is not that of their paths' bytes.
    @Test func theFile() throws {
        let folder = try TemporaryFolder()
        for name in ["a/b", "a/z/c", "a!", "a-b", "a.b", "a0", "ab"] { try folder.write("content of \(name)", to: "app/" + name) }
        try folder.write(noise(300_000, seed: 83), to: "app/a-c/large")
        try folder.write([], to: "app/a/nothing")
        let app = folder.file("app")
        let source = try SourceTree.scan(app, kind: .app, options: SourceTree.ScanOptions())
        let tree = try CapsuleStore(home: folder.home).storeTree(directory: app, kind: .app)
        let mark = SourceMemory.Mark(generation: -5, pack: 7, packDigest: Digest.of([7]))
        var writer = SourceMemoryWriter(folder: app, mark: mark, expecting: 9)
        for (i, item) in source.items.enumerated() {
            guard case .file(_, let digest) = tree.index.entries[i].content else { continue }
            writer.add(item, digest: digest, chunks: tree.chunks.chunks[tree.fileChunks[i]], wasScanned: i % 2 == 0)
        }
        let memory = try #require(SourceMemory(parsing: writer.finish(), folder: app))
        #expect(memory.mark == mark && memory.scannerVersion == SecretScanner.version && memory.records.count == 9)
        let places = memory.places(of: source.items)
        for (i, item) in source.items.enumerated() {
            guard case .file(let size) = item.kind else {
                #expect(places[i] == nil)
                continue
            }
            let record = memory.records[try #require(places[i], "\(item.path)")]
            #expect(record.size == size && record.wasScanned == (i % 2 == 0) && record.inode == item.inode)
            #expect(tree.index.entries[i].content == .file(size: record.size, sha256: record.digest))
            #expect(memory.chunks(of: record) == Array(tree.chunks.chunks[tree.fileChunks[i]]))
        }
        // Some of them gone, others new.
        for kept in [0..<3, 4..<source.items.count, 2..<6] { #expect(memory.places(of: Array(source.items[kept])) == Array(places[kept])) }
    }

    @Test func onlySoManyFoldersAreRemembered() throws {
        let folder = try TemporaryFolder()
        let app = try folder.writeApp()
        _ = try pack(app, folder)
        let own = try memoryFile(folder)
        let sources = folder.file("home/state/sources")
        // Older ones, the higher the number the older; and what a write left that never ended.
        try #require(try shell("for i in $(seq 100 199); do : > \(sources)/$i; touch -d @$((1000000000 - i)) \(sources)/$i; done; touch -d @1 \(sources)/x.tmp-1-2").status == 0)
        try shell("touch -d @2 \(own)")
        try folder.write("changed", to: "app/text.txt")
        #expect(try pack(app, folder).filesRead == 1)
        let left = try folder.names("home/state/sources")
        #expect(left.count == Limits.sourcesKept)
        #expect(left.contains { own.hasSuffix($0) } && left.contains("100") && left.contains("162") && !left.contains("163"))
        // One that is of use is not old.
        try shell("touch -d @2 \(own)")
        #expect(try pack(app, folder).filesRead == 0)
        #expect(try shell("find \(own) -newermt 2020-01-01").output == own + "\n")
    }
}
