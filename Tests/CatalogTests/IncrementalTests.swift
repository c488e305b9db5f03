@testable import Catalog
import MeshCore
import Signing
import TestSupport
import Testing

/// The catalog in use is kept up to date fact by fact; whatever came in whatever order, it shows what the naive fold over the same facts
/// shows.
@Suite struct IncrementalTests {
    static func expectSame(_ catalog: Catalog, _ set: AdmittedSet, _ view: CatalogView, _ label: String) throws {
        #expect(try Shown(catalog) == Shown(set, view), "\(label)")
        #expect(catalog.root == MerkleTrie.root(set.admitted.keys.sorted()), "\(label)")
        #expect(catalog.authorities.revocations.successors == view.authorities.revocations.successors, "\(label)")
    }

    @Test(arguments: UInt64(1)...12) func sameAsTheNaiveFold(_ seed: UInt64) throws {
        var random = SplitMix(seed: seed), seen = (channels: 0, revoked: 0, successors: 0, doubled: 0, rotated: 0)
        for history in 0..<8 {
            let (story, charters) = try Story.random(&random, length: 30 + random.below(60)), folder = try TemporaryFolder()
            let catalog = try folder.catalog("a", story.charter), full = story.charter.adding(charters)
            var rest = story.facts.shuffled(using: &random)[...], given: [Fact] = [], isRotated = false
            while !rest.isEmpty {
                let part = Array(rest.prefix(1 + random.below(20)))
                rest = rest.dropFirst(part.count)
                // Some of it twice.
                _ = try catalog.admit((part + given.suffix(2)).map(\.envelope))
                given += part
                if !isRotated, random.below(5) == 0 || rest.isEmpty {
                    _ = try catalog.adopt(charters: charters)
                    isRotated = true
                }
                if random.below(3) == 0 { _ = try catalog.releases(matching: nil) }
            }
            let set = AdmittedSet(offered: story.facts, charter: full), view = CatalogView(set, charter: full), label = "seed \(seed), history \(history)"
            // Where a grant was outdone after others had built on it, what is here depends on what was held back; it is offered again, as
            // peers do, until nothing changes.
            var before: Digest?, rounds = 0
            while before != catalog.root {
                rounds += 1
                try #require(rounds <= 20, "\(label): it never ends")
                before = catalog.root
                _ = try catalog.admit(story.facts.map(\.envelope))
            }
            try Self.expectSame(catalog, set, view, label)
            #expect(try catalog.verify().problems == [], "\(label)")
            // And from the disk.
            try Self.expectSame(try Catalog(home: HomeLayout(path: folder.path + "/a"), clock: FixedClock()), set, view, label + ", reopened")
            seen.channels += view.channels.count
            seen.revoked += view.revoked.count
            seen.successors += view.authorities.revocations.successors.count
            seen.doubled += view.authorities.equivocators.count
            seen.rotated += full.version > 1 ? 1 : 0
        }
        #expect(seen.channels > 0 && seen.revoked > 0 && seen.successors > 0 && seen.doubled > 0, "seed \(seed): \(seen)")
    }

    /// What an earlier version of the program kept is taken in.
    @Test func anEarlierCatalogIsTakenIn() throws {
        let story = Story(), alice = try story.newcomer([.publisher], scope: ["site"]), folder = try TemporaryFolder()
        try alice.release("site")
        let home = try folder.home("a")
        try Files.writeDurably(story.charter.bytes, to: home.charter)
        let rows = story.facts.map { "INSERT INTO fact VALUES (x'\($0.id.hex)', x'\(Hex.encode($0.envelope))');" }.joined(separator: "\n")
        try Files.writeDurably(Array("""
            PRAGMA journal_mode = WAL;
            CREATE TABLE fact (id BLOB PRIMARY KEY, envelope BLOB NOT NULL) WITHOUT ROWID;
            CREATE TABLE charter (one INTEGER PRIMARY KEY CHECK (one = 1), bytes BLOB NOT NULL);
            INSERT INTO charter VALUES (1, x'\(Hex.encode(story.charter.bytes))');
            \(rows)
            """.utf8), to: folder.path + "/old.sql")
        let script = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(open(sys.argv[2]).read())"
        try #require(try Shell.run("python3", ["-c", script, home.catalogDatabase, folder.path + "/old.sql"]).succeeded)
        for _ in 0..<2 {
            let catalog = try Catalog(home: home, clock: FixedClock())
            #expect(catalog.count == story.facts.count && catalog.root == MerkleTrie.root(story.facts.map(\.id).sorted()))
            #expect(try catalog.releases(matching: nil).map(\.name.description) == ["site"])
        }
    }
}
