import CapsuleFormat
import CapsuleStore
import Glibc
import MeshCore
import Synchronization
import Testing

/// Crashes, bit rot, full disks: what was promised is there, what is not good is never given out.
@Suite struct DamageTests {
    static func flip(_ path: String, at offset: Int64) throws {
        let descriptor = open(path, O_RDWR)
        try #require(descriptor >= 0)
        defer { close(descriptor) }
        var byte: UInt8 = 0
        try #require(pread(descriptor, &byte, 1, off_t(offset)) == 1)
        byte ^= 0x10
        try #require(pwrite(descriptor, &byte, 1, off_t(offset)) == 1)
    }

    @Test func aDamagedChunkIsNeverGivenOut() throws {
        let folder = try TemporaryFolder()
        let app = try folder.writeApp()
        let store = try CapsuleStore(home: folder.home)
        let capsule = try store.pack(directory: app).capsule
        let pack = try #require(try folder.packs.first)
        // The noise lies in a raw frame, so that this hits exactly one chunk of it.
        let bytes = try Files.read(pack, bytesMax: 1 << 24), needle = noise(200_000, seed: 2)[5000..<5032]
        let offset = try #require(bytes.indices.first { bytes[$0...].starts(with: needle) })
        try Self.flip(pack, at: Int64(offset))
        let error = try failure { try store.restore(capsule.tree, manifest: nil, to: folder.file("x/out")) }
        let bad = try #require(capsule.tree.chunks.chunks.first { error.message.contains($0.digest.hex) }, "\(error)")
        #expect(error.code.name == "chunk_corrupt" && error.code.exit == .badData && error.message.contains("noise.bin"))
        #expect(!Files.exists(folder.file("x")), "nothing is left of a restore that failed")
        #expect(try folder.names("home/capsules/quarantine") == [bad.digest.hex + ".frame"])
        #expect(try store.missing(capsule.tree.chunks.chunks) == [bad])
        #expect(try store.has([bad.digest, capsule.tree.chunks.chunks[0].digest]) == [false, true])
        #expect(code { _ = try store.read(chunk: bad) } == "chunk_missing")
        #expect(code { try store.verifyContents(of: capsule.tree) } == "chunk_missing")
        #expect(code { try store.exportCaps(capsule.digest, to: folder.file("x.caps")) } == "chunk_missing")
        #expect(!Files.exists(folder.file("x.caps")))
        // The other files are still there.
        #expect(try store.readFile(capsule.tree, path: "text.txt", bytesMax: 1 << 20) == prose(300_000, seed: 1))
        // What is packed again is whole again, now and for whoever opens the store later.
        let again = try store.pack(directory: app)
        #expect(again.newBytes == Int64(bad.length))
        try store.verifyContents(of: capsule.tree)
        try CapsuleStore(home: folder.home).verifyContents(of: capsule.tree)
    }

    @Test(arguments: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    func anyFlippedByteIsFound(_ round: Int) throws {
        let folder = try TemporaryFolder()
        let store = try CapsuleStore(home: folder.home)
        let capsule = try store.pack(directory: try folder.writeApp()).capsule
        let pack = try #require(try folder.packs.first)
        let footer = try PackFooter.read(pack)
        let frames = footer.frames.reduce(0) { $0 + $1.bytes }
        let offset = frames * round / 10 + 7
        try Self.flip(pack, at: Int64(offset))
        var found = 0
        for chunk in capsule.tree.chunks.chunks {
            do { #expect(Digest.of(try store.read(chunk: chunk)) == chunk.digest) } catch { found += 1 }
        }
        let documents = code { _ = try store.capsule(capsule.digest) }
        #expect(found > 0 || documents == "chunk_corrupt", "byte \(offset) of \(frames)")
        #expect(found < capsule.tree.chunks.chunks.count, "only one frame is hit")
    }

    @Test func aPackThatTheIndexDoesNotKnowIsTakenIn() throws {
        let folder = try TemporaryFolder(), other = try TemporaryFolder()
        let app = try folder.writeApp()
        let digest: Digest
        do {
            let store = try CapsuleStore(home: folder.home)
            digest = try store.pack(directory: app).capsule.digest
        }
        // As after a crash between rename and transaction: the pack is there, nothing else.
        try Files.makeDirectory(other.file("home/capsules/packs"))
        try #require(try shell("cp \(folder.file("home/capsules/packs"))/* \(other.file("home/capsules/packs"))/").status == 0)
        let store = try CapsuleStore(home: other.home)
        #expect(try store.capsules().isEmpty && !store.contains(capsule: digest), "nobody was told of it")
        let again = try store.pack(directory: app)
        #expect(again.capsule.digest == digest && again.newBytes == 0)
        #expect(try other.packs.count == 1)
        try store.verifyContents(of: again.capsule.tree)
    }

    /// Packs are committed as they fill, so that only the last one's work is lost with a process that is killed.
    @Test func whatAnInterruptedPackCommittedIsFoundAgain() throws {
        let folder = try TemporaryFolder()
        try folder.write(manifestText, to: "app/capsule.json")
        for i in 0..<5 { try #require(try shell("head -c 15000000 /dev/urandom > \(folder.file("app"))/noise\(i)").status == 0) }
        let digest: Digest
        do {
            let store = try CapsuleStore(home: folder.home)
            digest = try store.pack(directory: folder.file("app")).capsule.digest
        }
        let sizes = try folder.packs.map { (path: $0, size: try OpenFile(reading: $0).size()) }
        #expect(sizes.count == 2 && sizes.allSatisfy { $0.size <= 64 << 20 }, "\(sizes)")
        #expect(sizes.reduce(0) { $0 + $1.size } < 75_500_000)
        // As it is when the process dies before the second pack: no capsule, one pack.
        let smaller = try #require(sizes.min { $0.size < $1.size })
        try shell("rm \(smaller.path) \(folder.home.roots) \(folder.home.capsules)/index.sqlite*")
        let store = try CapsuleStore(home: folder.home)
        #expect(try store.capsules().isEmpty)
        let again = try store.pack(directory: folder.file("app"))
        #expect(again.capsule.digest == digest)
        #expect(again.newBytes > 0 && again.newBytes < smaller.size, "\(again.newBytes)")
        try store.restore(again.capsule.tree, manifest: nil, to: folder.file("out"))
        #expect(try shell("diff -r -x capsule.json \(folder.file("app")) \(folder.file("out"))").status == 0)
    }

    @Test func aLostIndexIsMadeAgain() throws {
        let folder = try TemporaryFolder()
        let app = try folder.writeApp()
        let document = try sampleReferrer()
        let capsule: VerifiedCapsule, before: [CapsuleStore.StoredCapsule], tree: VerifiedTree
        do {
            let store = try CapsuleStore(home: folder.home)
            capsule = try store.pack(directory: app).capsule
            try store.addReferrer(document, to: capsule.digest)
            try folder.write("built", to: "built/index.html")
            tree = try store.storeTree(directory: folder.file("built"), kind: .app)
            before = try store.capsules()
        }
        try shell("rm \(folder.file("home/capsules"))/index.sqlite*; printf '{\"torn' >> \(folder.file("home/state/roots"))")
        let store = try CapsuleStore(home: folder.home)
        #expect(try store.capsules() == before)
        #expect(try store.referrers(of: capsule.digest) == [document])
        #expect(try store.tree(index: tree.index.digest).index.entries == tree.index.entries)
        try store.verifyContents(of: try store.capsule(capsule.digest).tree)
        // The torn line spoils nothing that comes after it.
        try folder.write("more", to: "app/more")
        let second = try store.pack(directory: app).capsule
        try shell("rm \(folder.file("home/capsules"))/index.sqlite*")
        #expect(Set(try CapsuleStore(home: folder.home).capsules().map(\.digest)) == [capsule.digest, second.digest])
    }

    @Test func aTornFileInTmpIsCleared() throws {
        let folder = try TemporaryFolder()
        try folder.write(noise(100_000, seed: 20), to: "home/capsules/tmp/pack-1-1")
        let store = try CapsuleStore(home: folder.home)
        #expect(try folder.names("home/capsules/tmp").isEmpty)
        // While somebody has the store open, what lies there may be theirs.
        try folder.write(noise(100_000, seed: 20), to: "home/capsules/tmp/pack-2-2")
        _ = try CapsuleStore(home: folder.home)
        #expect(try folder.names("home/capsules/tmp") == ["pack-2-2"])
        #expect(try store.capsules().isEmpty)
    }

    @Test func aPackThatWasCutShort() throws {
        let folder = try TemporaryFolder()
        let app = try folder.writeApp()
        let capsule: VerifiedCapsule
        do {
            let store = try CapsuleStore(home: folder.home)
            capsule = try store.pack(directory: app).capsule
            let pack = try #require(try folder.packs.first)
            try #require(truncate(pack, off_t(try PackFooter.read(pack).frames[0].bytes)) == 0)
            // Open while it happens: the read finds it.
            #expect(code { try store.verifyContents(of: capsule.tree) } == "chunk_corrupt")
        }
        let store = try CapsuleStore(home: folder.home)
        let missing = try store.missing(capsule.tree.chunks.chunks)
        #expect(!missing.isEmpty && missing.count < capsule.tree.chunks.chunks.count)
        #expect(code { try store.verifyContents(of: capsule.tree) } == "chunk_missing")
        #expect(try store.pack(directory: app).capsule.digest == capsule.digest)
        try store.verifyContents(of: capsule.tree)
    }

    @Test func aPackThatIsGoneAndComesBack() throws {
        let folder = try TemporaryFolder()
        let app = try folder.writeApp()
        let capsule = try CapsuleStore(home: folder.home).pack(directory: app).capsule
        let pack = try #require(try folder.packs.first)
        try Files.rename(pack, folder.file("away.pack"))
        do {
            let store = try CapsuleStore(home: folder.home)
            #expect(try store.missing(capsule.tree.chunks.chunks).count == Set(capsule.tree.chunks.chunks).count)
            #expect(code { _ = try store.capsule(capsule.digest) } == "chunk_missing")
        }
        try Files.rename(folder.file("away.pack"), pack)
        try CapsuleStore(home: folder.home).verifyContents(of: capsule.tree)
    }

    /// A restored home has a journal and no packs; they come later, and not all at once.
    @Test func packsThatComeAfterTheIndexBringTheirCapsules() throws {
        let folder = try TemporaryFolder()
        let app = try folder.writeApp()
        let document = try sampleReferrer()
        let before: [CapsuleStore.StoredCapsule], first: Digest
        do {
            let store = try CapsuleStore(home: folder.home)
            first = try store.pack(directory: app).capsule.digest
            try store.addReferrer(document, to: first)
            try folder.write(noise(300_000, seed: 33), to: "app/more")
            _ = try store.pack(directory: app)
            before = try store.capsules()
        }
        #expect(try CapsuleStore.journaledCapsules(in: folder.home) == before.sorted { $0.addedAt < $1.addedAt }.map(\.digest))
        let packs = try folder.packs
        try #require(packs.count == 2)
        try shell("rm \(folder.file("home/capsules"))/index.sqlite*; mkdir \(folder.file("away")); mv \(folder.file("home/capsules/packs"))/* \(folder.file("away"))")
        #expect(try CapsuleStore(home: folder.home).capsules().isEmpty)
        #expect(try CapsuleStore.journaledCapsules(in: folder.home).count == 2)
        for pack in packs {
            try Files.rename(folder.file("away/") + (pack.split(separator: "/").last ?? ""), pack)
            for capsule in try CapsuleStore(home: folder.home).capsules() { #expect(before.contains(capsule)) }
        }
        let store = try CapsuleStore(home: folder.home)
        #expect(try store.capsules() == before)
        #expect(try store.referrers(of: first) == [document])
        for capsule in before { try store.verifyContents(of: try store.capsule(capsule.digest).tree) }
    }

    @Test func whatIsNoPackIsSetAside() throws {
        let folder = try TemporaryFolder()
        let name = Digest.of([7]).hex + ".pack"
        try folder.write(noise(5000, seed: 30), to: "home/capsules/packs/" + name)
        try folder.write("a note", to: "home/capsules/packs/README")
        _ = try CapsuleStore(home: folder.home)
        #expect(try folder.names("home/capsules/packs") == ["README"])
        #expect(try folder.names("home/capsules/quarantine") == [name])
    }

    @Test func aDamagedIndexIsTold() throws {
        let folder = try TemporaryFolder()
        _ = try CapsuleStore(home: folder.home)
        try shell("rm \(folder.file("home/capsules"))/index.sqlite-*")
        try folder.write(noise(50_000, seed: 31), to: "home/capsules/index.sqlite")
        let error = try failure { _ = try CapsuleStore(home: folder.home) }
        #expect(error.code.name == "store_index_damaged" && error.hint.contains("fsck --rebuild"))
    }

    @Test(.enabled(if: getuid() == 0, "SKIPPED: mounting needs root"))
    func aFullDisk() throws {
        let folder = try TemporaryFolder()
        let disk = folder.file("home")
        try Files.makeDirectory(disk)
        try #require(try shell("mount -t tmpfs -o size=3m tmpfs \(disk)").status == 0)
        defer { _ = try? shell("umount -l \(disk)") }
        let app = try folder.writeApp()
        do {
            let store = try CapsuleStore(home: folder.home)
            let small = try store.pack(directory: app).capsule
            for i in 0..<6 { try folder.write(noise(1_000_000, seed: UInt64(40 + i)), to: "app/noise\(i)") }
            for _ in 0..<2 {
                let error = try failure { _ = try store.pack(directory: app) }
                #expect(error.code.name == "disk_full" && error.code.exit == .cannotCreate && !error.hint.isEmpty, "\(error)")
                #expect(try folder.names("home/capsules/tmp").isEmpty)
            }
            #expect(try store.capsules().map(\.digest) == [small.digest])
            try store.verifyContents(of: small.tree)
            // Restoring onto the full disk leaves nothing there either.
            try shell("head -c 9000000 /dev/zero > \(disk)/filler")
            #expect(code { try store.restore(small.tree, manifest: nil, to: disk + "/out") } == "disk_full")
            #expect(try Files.names(in: disk).sorted() == ["capsules", "filler", "state"])
            try shell("rm \(disk)/filler")
            try #require(try shell("mount -o remount,size=64m \(disk)").status == 0)
            let all = try store.pack(directory: app).capsule
            try store.verifyContents(of: all.tree)
        }
    }

    @Test(.enabled(if: getuid() == 0, "SKIPPED: mounting needs root"))
    func aReadOnlyHome() throws {
        let folder = try TemporaryFolder()
        _ = try CapsuleStore(home: folder.home)
        let home = folder.file("home")
        try #require(try shell("mount --bind \(home) \(home) && mount -o remount,bind,ro \(home)").status == 0)
        defer { _ = try? shell("umount -l \(home)") }
        let error = try failure { _ = try CapsuleStore(home: folder.home) }
        #expect(error.code.name == "read_only" && error.code.exit == .cannotCreate && error.hint.contains("read-only"))
    }

    /// Two stores on one home, as in two processes, each with its own lock and connection.
    @Test func twoPackAtOnce() throws {
        let folder = try TemporaryFolder()
        var apps: [String] = []
        for i in 0..<2 {
            try folder.write(manifestText.replacing("sample", with: "sample-\(i)"), to: "app\(i)/capsule.json")
            try folder.write(prose(1_500_000, seed: 50), to: "app\(i)/shared")
            try folder.write(noise(600_000, seed: UInt64(60 + i)), to: "app\(i)/own")
            apps.append(folder.file("app\(i)"))
        }
        let stores = [try CapsuleStore(home: folder.home), try CapsuleStore(home: folder.home)]
        let failures = Mutex<[String]>([])
        let (first, second) = (apps[0], apps[1])
        DispatchGroupOfTwo.run(
            {
                for _ in 0..<3 { do { _ = try stores[0].pack(directory: first) } catch { failures.withLock { $0.append("\(error)") } } }
            },
            {
                for _ in 0..<3 { do { _ = try stores[1].pack(directory: second) } catch { failures.withLock { $0.append("\(error)") } } }
            })
        #expect(failures.withLock { $0 } == [])
        for store in stores + [try CapsuleStore(home: folder.home)] {
            let capsules = try store.capsules()
            #expect(capsules.map(\.name.description) == ["sample-0", "sample-1"])
            for capsule in capsules { try store.verifyContents(of: try store.capsule(capsule.digest).tree) }
        }
        #expect(try folder.names("home/capsules/tmp").isEmpty && folder.names("home/capsules/quarantine").isEmpty)
    }

    /// Only the pack's table is damaged: written anew from the same chunks it is the same pack, under the same name.
    @Test func aPackThatIsWrittenAnewUnderItsOwnName() throws {
        let folder = try TemporaryFolder()
        let store = try CapsuleStore(home: folder.home)
        let chunks = (0..<6).map { i in
            let bytes = noise(20_000, seed: UInt64(100 + i))
            return (ChunkReference(digest: Digest.of(bytes), length: bytes.count), bytes)
        }
        try store.addChunks(chunks)
        let pack = try #require(try folder.packs.first)
        try Self.flip(pack, at: try OpenFile(reading: pack).size() - 1)
        let report = try store.fsck(read: true)
        #expect(report.problems.map(\.kind) == [.packDamaged])
        try store.renewDamagedPacks(report)
        #expect(try folder.packs == [pack])
        #expect(try store.fsck(read: true).isClean)
        for store in [store, try CapsuleStore(home: folder.home)] {
            for (chunk, bytes) in chunks { #expect(try store.read(chunk: chunk) == bytes) }
        }
    }
}
