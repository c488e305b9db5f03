import CapsuleFormat
import CapsuleStore
import MeshCore
import Synchronization
import Testing

/// The index held against what the journal promised.
@Suite struct IndexCheckTests {
    private static func sql(_ folder: TemporaryFolder, _ statement: String) throws {
        let done = try shell("python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.argv[2])' \(folder.file("home/capsules/index.sqlite")) \"\(statement)\"")
        try #require(done.status == 0, "\(done.output)")
    }

    @Test(.enabled(if: (try? shell("python3 --version").status) == 0, "SKIPPED: python3 is not installed"), arguments: [
        "UPDATE referrers SET capsule = 'x' || substr(capsule, 2)", "UPDATE referrers SET digest = 'x' || substr(digest, 2)",
        "UPDATE referrers SET envelope = replace(envelope, 'a', 'b')", "DELETE FROM referrers",
        "UPDATE trees SET tree = 'x' || substr(tree, 2)", "UPDATE trees SET chunks = 'x' || substr(chunks, 2)", "DELETE FROM trees",
        "DELETE FROM capsules", "DELETE FROM names", "UPDATE packs SET content = content + 1", "UPDATE pieces SET length = length + 1",
        "DROP TRIGGER chunk_gone", "INSERT INTO chunks VALUES (1, 2, 3, 4, 99, 0, 10, 0, 5)",
    ])
    func whatIsNotAsPromisedIsFoundAndMended(statement: String) throws {
        let folder = try TemporaryFolder()
        try folder.write(noise(50_000, seed: 3), to: "out/a")
        do {
            let store = try CapsuleStore(home: folder.home)
            try store.addReferrer(try sampleReferrer(), to: try store.pack(directory: try folder.writeApp()).capsule.digest)
            _ = try store.storeTree(directory: folder.file("out"), kind: .app)
            #expect(try store.fsck(read: true).isClean)
        }
        try Self.sql(folder, statement)
        #expect(try !CapsuleStore(home: folder.home).fsck(read: false).isClean)
        try CapsuleStore.rebuildIndex(home: folder.home)
        #expect(try CapsuleStore(home: folder.home).fsck(read: true).isClean)
    }

    /// A bit that rots in what a table is makes columns of other kinds, with nothing in them.
    @Test(.enabled(if: (try? shell("python3 --version").status) == 0, "SKIPPED: python3 is not installed"), arguments: [("pieces", "digest TEXT"), ("blobs", "bytes INTEGER"), ("packs", "digest TEXT")])
    func anotherTableIsAnError(table: String, column: String) throws {
        let folder = try TemporaryFolder()
        _ = try CapsuleStore(home: folder.home).pack(directory: try folder.writeApp())
        let rotten = column.dropLast(2) + "," + column.suffix(1)
        try Self.sql(folder, "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = replace(sql, '\(column)', '\(rotten)') WHERE name = '\(table)'")
        var isFound = false
        do { isFound = try !CapsuleStore(home: folder.home).fsck(read: false).isClean } catch { isFound = error.code.name == "store_index_damaged" }
        #expect(isFound)
        try CapsuleStore.rebuildIndex(home: folder.home)
        #expect(try CapsuleStore(home: folder.home).fsck(read: true).isClean)
    }

    /// A bit that rots in a column's name, of one letter and of more: no statement that names it can be made.
    @Test(.enabled(if: (try? shell("python3 --version").status) == 0, "SKIPPED: python3 is not installed"), arguments: [
        ("blobs", "base TEXT"), ("chunks", "b INTEGER"), ("packs", "content INTEGER"), ("capsules", "sum TEXT"), ("journal", "bytes INTEGER"), ("generation", "value INTEGER"),
    ])
    func anotherColumnIsAnError(table: String, column: String) throws {
        let folder = try TemporaryFolder()
        _ = try CapsuleStore(home: folder.home).pack(directory: try folder.writeApp())
        let rest = column.dropFirst()
        try Self.sql(folder, "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = replace(sql, '\(column)', CAST(x'e3' AS TEXT) || '\(rest)') WHERE name = '\(table)'")
        var isFound = false
        do { isFound = try !CapsuleStore(home: folder.home).fsck(read: false).isClean } catch { isFound = error.code.name == "store_index_damaged" }
        #expect(isFound)
        try CapsuleStore.rebuildIndex(home: folder.home)
        #expect(try CapsuleStore(home: folder.home).fsck(read: true).isClean)
    }

    /// A row that is shown to people as it is.
    @Test(.enabled(if: (try? shell("python3 --version").status) == 0, "SKIPPED: python3 is not installed"), arguments: [
        "digest = 'x' || substr(digest, 2)", "name = 'other'", "version = '9.9.9'", "bytes = bytes + 1", "files = x'00'", "added = NULL OR 7",
    ])
    func aRottenRowIsNotListed(change: String) throws {
        let folder = try TemporaryFolder()
        _ = try CapsuleStore(home: folder.home).pack(directory: try folder.writeApp())
        try Self.sql(folder, "UPDATE capsules SET \(change)")
        let store = try CapsuleStore(home: folder.home)
        #expect(code { _ = try store.capsules() } == "store_index_damaged")
        #expect(code { _ = try store.fsck(read: false) } == "store_index_damaged")
    }

    /// What lost its bytes is no fault of the index, and no index made anew could list it.
    @Test func aCapsuleThatLostItsContentIsNotMissed() throws {
        let folder = try TemporaryFolder(), elsewhere = try TemporaryFolder()
        let app = try folder.writeApp(), source = try CapsuleStore(home: elsewhere.home)
        let capsule = try source.pack(directory: app).capsule
        do {
            let store = try CapsuleStore(home: folder.home)
            try store.addChunks(try capsule.tree.chunks.chunks.map { ($0, try source.read(chunk: $0)) })
            let content = try #require(try folder.packs.first)
            // Documents alone are in the second one.
            _ = try store.pack(directory: app)
            try Files.remove(content)
        }
        try CapsuleStore.rebuildIndex(home: folder.home)
        let store = try CapsuleStore(home: folder.home)
        let report = try store.fsck(read: true)
        #expect(try store.capsules().isEmpty && report.isClean, "\(report.problems)")
    }

    /// What a collection moves would seem to be lost.
    @Test func besideACheckNothingIsCollected() throws {
        let folder = try TemporaryFolder(), store = try CapsuleStore(home: folder.home), other = try CapsuleStore(home: folder.home)
        _ = try store.pack(directory: try folder.writeApp())
        let codes = Mutex<Set<String>>([])
        let report = try store.fsck(read: true, progress: { _ in _ = codes.withLock { $0.insert(code { _ = try other.gc(all: true, patience: .zero) }) } })
        #expect(report.isClean && codes.withLock { $0 } == ["store_busy"])
    }

    /// A check that goes on beside packing does not take what is just being listed for a fault.
    @Test func besidePackingNothingIsFound() throws {
        let folder = try TemporaryFolder()
        for n in 0..<40 {
            try folder.write(manifestText.replacing("sample", with: "sample\(n)"), to: "app\(n)/capsule.json")
            try folder.write("file \(n)", to: "app\(n)/a.txt")
        }
        let packing = try CapsuleStore(home: folder.home), checking = try CapsuleStore(home: folder.home)
        let isDone = Mutex(false), problems = Mutex<[String]>([])
        DispatchGroupOfTwo.run(
            {
                for n in 0..<40 {
                    do {
                        let digest = try packing.pack(directory: folder.file("app\(n)")).capsule.digest
                        try packing.addReferrer(try sampleReferrer("\(n)"), to: digest)
                        if n % 3 == 0 { try packing.remove(capsule: digest) }
                    } catch { problems.withLock { $0.append("\(error)") } }
                }
                isDone.withLock { $0 = true }
            },
            {
                while !isDone.withLock({ $0 }) {
                    do { let found = try checking.fsck(read: false).problems; problems.withLock { $0 += found.map(\.detail) } } catch {
                        problems.withLock { $0.append("\(error)") }
                    }
                }
            })
        #expect(problems.withLock { $0 } == [])
        #expect(try checking.fsck(read: true).isClean)
    }
}
