import CapsuleFormat
import CapsuleStore
import MeshCore
import Synchronization
import Testing

/// What is needed stays or is copied, once; all else goes.
@Suite struct GCPlanTests {
    private static let mega: Int64 = 1_000_000

    static func pack(_ id: Int64, live: Int64, of content: Int64 = 100, names: Int = 0) -> GCPlan.Pack {
        GCPlan.Pack(id: id, bytes: content * mega / 2, content: content * mega, live: live * mega, names: names)
    }

    @Test(arguments: [
        (Int64(0), 0, "deleted"), (0, 1, "rewritten"), (1, 0, "rewritten"), (49, 0, "rewritten"), (50, 0, "kept"), (100, 3, "kept"),
    ])
    func byHowMuchIsNeeded(live: Int64, names: Int, fate: String) {
        let pack = Self.pack(1, live: live, names: names), plan = GCPlan([pack])
        #expect((plan.deleted == [pack], plan.rewritten == [[pack]], plan.kept == [pack]) == (fate == "deleted", fate == "rewritten", fate == "kept"))
        #expect(plan.bytesFreed + plan.bytesKept == pack.bytes)
    }

    @Test func whatIsCopiedTogetherFillsAPack() {
        let packs = (1...20).map { Self.pack($0, live: 20) }, plan = GCPlan(packs)
        #expect(plan.rewritten.flatMap { $0 } == packs && plan.rewritten.map(\.count) == [6, 6, 6, 2])
        #expect(plan.bytesFreed == 20 * 40 * Self.mega)
    }

    @Test func smallPacksArePutTogetherOnceThereAreMany() {
        let few = (1...Int64(GCPlan.smallPacksMax)).map { Self.pack($0, live: 1, of: 1) }, large = Self.pack(0, live: 100)
        #expect(GCPlan(few + [large]).rewritten.isEmpty)
        let plan = GCPlan(few + [Self.pack(99, live: 1, of: 1), large])
        #expect(plan.rewritten.map(\.count) == [few.count + 1] && plan.kept == [large] && plan.bytesFreed == 0)
    }
}

@Suite struct GCTests {
    private struct Tomorrow: WallClock {
        var now: Milliseconds { SystemClock().now + 25 * 3_600_000 }
    }

    static func chunks(_ bytes: [UInt8]) -> [(ChunkReference, [UInt8])] {
        var start = 0
        return bytes.withUnsafeBytes { Chunker.cut($0) }.map { length in
            defer { start += length }
            let part = Array(bytes[start..<start + length])
            return (ChunkReference(digest: Digest.of(part), length: length), part)
        }
    }

    /// A capsule of which less than half of each of two packs is; in the first the rest follows it, in the second it is mixed.
    static func fetched(into store: CapsuleStore) throws -> VerifiedCapsule {
        let elsewhere = try TemporaryFolder()
        try elsewhere.write(manifestText.replacing("sample", with: "fetched"), to: "app/capsule.json")
        try elsewhere.write(noise(3_000_000, seed: 80), to: "app/a.bin")
        try elsewhere.write(prose(400_000, seed: 81), to: "app/b.txt")
        let source = try CapsuleStore(home: elsewhere.home)
        let capsule = try source.pack(directory: elsewhere.file("app")).capsule
        let list = try capsule.tree.chunks.chunks.map { ($0, try source.read(chunk: $0)) }, half = list.count / 2
        try store.addChunks(list[..<half] + chunks(noise(4_000_000, seed: 82)))
        let others = chunks(noise(5_000_000, seed: 83))
        var mixed: [(ChunkReference, [UInt8])] = []
        for i in 0..<max(list.count - half, others.count) {
            if half + i < list.count { mixed.append(list[half + i]) }
            if i < others.count { mixed.append(others[i]) }
        }
        try store.addChunks(mixed)
        let documents = UnverifiedCapsule(root: capsule.root.bytes, index: capsule.tree.index.bytes, chunks: capsule.tree.chunks.bytes)
        return try store.add(documents, expecting: capsule.digest, origin: .fetched)
    }

    static func size(_ folder: TemporaryFolder) throws -> Int64 { try folder.packs.reduce(0) { $0 + (try OpenFile(reading: $1).size()) } }

    static func requireWhole(_ store: CapsuleStore, _ capsules: VerifiedCapsule...) throws {
        let report = try store.fsck(read: true)
        #expect(report.isClean, "\(report.problems)")
        #expect(Set(try store.capsules().map(\.digest)) == Set(capsules.map(\.digest)))
        for capsule in capsules { try store.verifyContents(of: try store.capsule(capsule.digest).tree) }
    }

    @Test func aRemovedCapsuleGoesAndOthersStay() throws {
        let folder = try TemporaryFolder(), store = try CapsuleStore(home: folder.home)
        let app = try folder.writeApp()
        let first = try store.pack(directory: app).capsule
        try folder.write(noise(3_000_000, seed: 7), to: "app/more.bin")
        let second = try store.pack(directory: app).capsule
        #expect(try store.gc().packsDeleted == 0)
        try Self.requireWhole(store, first, second)

        try store.remove(capsule: second.digest)
        #expect(code { try store.remove(capsule: second.digest) } == "capsule_not_found")
        let before = try Self.size(folder), plan = try store.gc(dryRun: true)
        #expect(try Self.size(folder) == before && plan.packsDeleted == 1 && plan.bytesFreed > 2_900_000)
        let done = try store.gc()
        let after = try Self.size(folder)
        #expect(done.packsDeleted == plan.packsDeleted && done.bytesFreed == before - after)
        #expect(done.bytesKept == after && done.bytesFreed > 2_900_000)
        try Self.requireWhole(store, first)
        // An index that is made anew has forgotten it as well.
        try Self.requireTheSameFromPacksAndJournal(folder)
        let again = try CapsuleStore(home: folder.home)
        try Self.requireWhole(again, first)
        // And it can come back.
        #expect(try again.pack(directory: app).capsule.digest == second.digest)
        try Self.requireWhole(again, first, second)
    }

    /// In a copy of the home, so that the test's own store can stay open.
    private static func requireTheSameFromPacksAndJournal(_ folder: TemporaryFolder) throws {
        try shell("mkdir -p \(folder.file("copy")) && cp -a \(folder.file("home"))/. \(folder.file("copy"))/")
        let home = HomeLayout(path: folder.file("copy"))
        try CapsuleStore.rebuildIndex(home: home)
        #expect(try CapsuleStore(home: home).capsules().map(\.digest) == CapsuleStore(home: folder.home).capsules().map(\.digest))
    }

    @Test func whatAnInterruptedFetchLeftIsKeptForADay() throws {
        let folder = try TemporaryFolder(), garbage = Self.chunks(noise(1_000_000, seed: 91))
        do {
            let store = try CapsuleStore(home: folder.home)
            try store.addChunks(garbage)
            #expect(try store.gc().bytesFreed == 0 && store.has(garbage.map(\.0.digest)).allSatisfy { $0 })
        }
        let tomorrow = try CapsuleStore(home: folder.home, clock: Tomorrow())
        #expect(try tomorrow.gc().packsDeleted == 1)
        #expect(try folder.packs.isEmpty && !tomorrow.has(garbage.map(\.0.digest)).contains(true))
        try tomorrow.addChunks(garbage)
        #expect(try CapsuleStore(home: folder.home).gc(all: true).packsDeleted == 1)
    }

    @Test func packsOfWhichLittleIsNeededAreWrittenAnew() throws {
        let folder = try TemporaryFolder(), store = try CapsuleStore(home: folder.home)
        let capsule = try Self.fetched(into: store)
        let report = try store.gc(all: true)
        #expect(report.packsRewritten == 2 && report.bytesFreed > 8_500_000 && report.damaged.isEmpty)
        try Self.requireWhole(store, capsule)
        #expect(try store.gc(all: true).bytesFreed == 0)
    }

    @Test func manySmallPacksBecomeOne() throws {
        let folder = try TemporaryFolder(), store = try CapsuleStore(home: folder.home)
        var capsules: [VerifiedCapsule] = []
        for n in 0..<40 {
            try folder.write(manifestText.replacing("sample", with: "sample\(n)"), to: "app\(n)/capsule.json")
            try folder.write("file \(n)", to: "app\(n)/a.txt")
            capsules.append(try store.pack(directory: folder.file("app\(n)")).capsule)
        }
        #expect(try store.gc().packsRewritten == 40 && folder.packs.count == 1)
        for capsule in capsules { try store.verifyContents(of: try store.capsule(capsule.digest).tree) }
        #expect(try store.fsck(read: true).isClean)
    }

    @Test func buildOutputsThatNobodyNeedsGo() throws {
        let folder = try TemporaryFolder(), store = try CapsuleStore(home: folder.home)
        try folder.write(noise(500_000, seed: 3), to: "out/a")
        try folder.write(noise(500_000, seed: 4), to: "other/b")
        let kept = try store.storeTree(directory: folder.file("out"), kind: .app), gone = try store.storeTree(directory: folder.file("other"), kind: .app)
        #expect(try store.gc(all: true).outputs == [])
        #expect(try store.gc(keeping: [kept.index.digest], all: true).outputs == [gone.index.digest])
        #expect(code { _ = try store.tree(index: gone.index.digest) } == "tree_not_found")
        try store.verifyContents(of: try store.tree(index: kept.index.digest))
    }

    // MARK: Who waits for whom

    @Test func neverWhileSomethingIsOnItsWayAndNeverTwo() throws {
        let folder = try TemporaryFolder()
        let store = try CapsuleStore(home: folder.home), other = try CapsuleStore(home: folder.home)
        let garbage = Self.chunks(noise(1_000_000, seed: 94)).map(\.0.digest)
        try other.addChunks(Self.chunks(noise(1_000_000, seed: 94)))
        let hold = try other.hold()
        #expect(code { _ = try store.gc(all: true, patience: .zero) } == "store_busy")
        #expect(try store.gc(dryRun: true, all: true).packsDeleted == 1, "asking is always possible")
        hold.end()
        let codes = Mutex<[String]>([])
        _ = try store.gc(all: true, progress: { _ in codes.withLock { $0.append(code { _ = try other.gc(all: true, patience: .zero) }) } })
        #expect(codes.withLock { !$0.isEmpty && $0.allSatisfy { $0 == "gc_running" } })
        #expect(try !other.has(garbage).contains(true))
    }

    /// Places that were looked up before the chunks moved: packs that are open are read to their end, others looked up again.
    @Test func whoReadsGoesOn() throws {
        let folder = try TemporaryFolder(), store = try CapsuleStore(home: folder.home)
        let capsule = try Self.fetched(into: store)
        try store.exportCaps(capsule.digest, to: folder.file("before.caps"))
        let reading = try CapsuleStore(home: folder.home)
        let reports = Mutex<[GCReport]>([])
        try reading.exportCaps(capsule.digest, to: folder.file("after.caps")) { _ in
            guard reports.withLock({ $0.isEmpty }), let report = try? store.gc(all: true) else { return }
            reports.withLock { $0.append(report) }
        }
        #expect(reports.withLock { $0.map(\.packsRewritten) } == [2])
        #expect(try shell("cmp \(folder.file("before.caps")) \(folder.file("after.caps"))").status == 0)
        #expect(try folder.names("home/capsules/quarantine").isEmpty)
    }

    // MARK: Damage

    @Test func whatNobodyCanTellIsNotCollected() throws {
        let folder = try TemporaryFolder(), store = try CapsuleStore(home: folder.home)
        let capsule = try store.pack(directory: try folder.writeApp()).capsule
        let pack = try folder.packs[0], frames = try PackFooter.read(pack).frames.reduce(0) { $0 + $1.bytes }
        for offset in stride(from: 0, to: frames, by: 50) { try DamageTests.flip(pack, at: Int64(offset)) }
        let error = try failure { _ = try CapsuleStore(home: folder.home).gc(all: true) }
        #expect(error.code.name == "store_damaged" && error.hint.contains("--repair"))
        #expect(try folder.packs.count == 1)
        try store.remove(capsule: capsule.digest)
        #expect(try store.gc(all: true).packsDeleted == 1)
    }

    /// The pack that named a document is gone, but its pieces lie in another: packing again must name it again.
    @Test func aDocumentIsNamedAgainWhenItsPackIsGone() throws {
        let folder = try TemporaryFolder()
        let app = try folder.writeApp()
        let capsule = try CapsuleStore(home: folder.home).pack(directory: app).capsule
        // The document's pieces in a pack of their own, which names nothing.
        let documents = [capsule.root.bytes, capsule.tree.index.bytes, capsule.tree.chunks.bytes].map { (ChunkReference(digest: Digest.of($0), length: $0.count), $0) }
        try shell("mv \(try folder.packs[0]) \(folder.file("away"))")
        do {
            let store = try CapsuleStore(home: folder.home)
            try store.addChunks(documents)
            #expect(try store.pack(directory: app).capsule.digest == capsule.digest)
        }
        try CapsuleStore.rebuildIndex(home: folder.home)
        try Self.requireWhole(try CapsuleStore(home: folder.home), capsule)
    }
}
