@testable import Catalog
import MeshCore
import Signing
import TestSupport
import Testing

/// The catalog in use is kept up to date fact by fact; whatever came in whatever order, it shows what the naive fold over the same facts
/// shows.
@Suite struct IncrementalTests {
    static let names = ["site-a", "site-b", "tool"]

    /// More than `AdmissionLawTests.history`: channels, successors, final withdrawals, raised limits, roots that change.
    static func history(_ random: inout SplitMix, length: Int) throws -> (story: Story, charters: [[UInt8]]) {
        let story = Story(root: random.key()), scopes = [["*"], ["site-*"], ["site-a"], ["tool", "site-b"]]
        var people = (0..<6).map { _ in story.author(random.key()) }, charters: [[UInt8]] = []
        for _ in 0..<length {
            let author = random.below(3) == 0 ? story.ruler : random.pick(people), last = author.said.map(\.seq).max() ?? 0
            let seq = last > 0 && random.below(4) == 0 ? 1 + random.below(last) : last + 1
            let name = random.pick(names), content = random.pick(["x", "y", "z"])
            switch random.below(16) {
            case 0..<5: try author.grant(random.pick(Role.allCases), to: random.pick(people), scope: random.pick(scopes), seq: seq)
            case 5, 6:
                let whom = random.pick(people), own = whom.said
                try author.revoke(whom, keep: own.isEmpty ? nil : random.pick(own).id, seq: seq)
            case 7: try author.withdraw(name, of: content, security: random.below(2) == 0)
            case 8: try author.handOver(to: random.pick(people.filter { $0.id != author.id }), seq: seq)
            case 9, 10: try author.set(random.pick(["stable", "beta"]), of: name, to: content, epoch: random.below(2), ver: 1 + random.below(3), seq: seq)
            case 11: try author.say("grant", about: random.pick(people).id, ["role": "member", "seqMax": .integer(Int64(4096 + random.below(10)))], seq: seq)
            case 12: try author.say("note", about: capsule(content), seq: random.below(2) == 0 ? seq : 4096 + random.below(8))
            default: try author.release(name, random.pick(["1.0.0", "1.1.0"]), of: content, seq: seq)
            }
            if random.below(40) == 0 { people.append(story.author(random.key())) }
        }
        if random.below(3) == 0 {
            let heir = random.key(), said = story.ruler.said
            charters.append(try story.charter.next(roots: [heir.publicKey], threshold: 1, keep: said.isEmpty ? [:] : [story.root.publicKey: random.pick(said).id], signedBy: [story.root, heir]))
            if random.below(2) == 0 { charters.append(try story.charter.next(roots: [random.key().publicKey, story.root.publicKey], threshold: 1, signedBy: [story.root])) }
        }
        return (story, charters)
    }

    static func expectSame(_ catalog: Catalog, _ view: CatalogView, _ set: AdmittedSet, _ label: String) throws {
        #expect(try catalog.factIDs() == set.admitted.keys.sorted(), "\(label)")
        #expect(catalog.root == MerkleTrie.root(set.admitted.keys.sorted()), "\(label)")
        #expect(try catalog.releases(matching: nil) == view.releases, "\(label)")
        #expect(try catalog.channels(matching: nil) == view.channels, "\(label)")
        #expect(try Set(catalog.withdrawals(matching: nil)) == Set(view.withdrawals), "\(label)")
        let kept = catalog.authorities.revocations, wanted = view.authorities.revocations
        #expect(kept.kept == wanted.kept && kept.decided == wanted.decided && kept.successors == wanted.successors, "\(label)")
        #expect(catalog.authorities.equivocators == view.authorities.equivocators, "\(label)")
        #expect(catalog.authorities.grants.byKey.mapValues(Set.init) == view.grants.byKey.mapValues(Set.init), "\(label)")
        #expect(try catalog.verify().problems == [], "\(label)")
    }

    @Test(arguments: UInt64(1)...12) func sameAsTheNaiveFold(_ seed: UInt64) throws {
        var random = SplitMix(seed: seed), seen = (channels: 0, revoked: 0, successors: 0, doubled: 0, rotated: 0)
        for history in 0..<8 {
            let (story, charters) = try Self.history(&random, length: 30 + random.below(60)), folder = try TemporaryFolder()
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
            try Self.expectSame(catalog, view, set, label)
            // And from the disk.
            try Self.expectSame(try Catalog(home: HomeLayout(path: folder.path + "/a"), clock: FixedClock()), view, set, label + ", reopened")
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
