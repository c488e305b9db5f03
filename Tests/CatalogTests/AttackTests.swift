@testable import Catalog
import Dispatch
import Foundation
import MeshCore
import Signing
import Synchronization
import Testing

/// What attackers try, and what comes of it: the table of docs/threat-model.md, a test for each row.
@Suite struct AttackTests {
    private static func people() throws -> (story: Story, alice: Author, bob: Author) {
        let story = Story(), alice = try story.newcomer([.publisher], scope: ["site-*"]), bob = try story.newcomer([.publisher], scope: ["site-*"])
        for (i, content) in ["a", "b", "c"].enumerated() { try alice.release("site-a", "1.\(i).0", of: content) }
        return (story, alice, bob)
    }

    private static let name = (try? CapsuleName(parsing: "site-a")) ?? { fatalError("a name") }()

    /// A peer tells of an older state only.
    @Test func rollback() throws {
        let (story, alice, _) = try Self.people(), folder = try TemporaryFolder()
        try alice.set("stable", of: "site-a", to: "a", ver: 1)
        let old = story.facts
        try alice.set("stable", of: "site-a", to: "b", ver: 2)
        let catalog = try folder.catalog("home", story.charter)
        _ = try catalog.admit(story.facts.map(\.envelope))
        #expect(try catalog.follow(Self.name, channel: "stable")?.capsule == capsule("b"))
        // Hearing the old facts again takes nothing away.
        _ = try catalog.admit(old.map(\.envelope))
        #expect(try catalog.follow(Self.name, channel: "stable")?.capsule == capsule("b"))
        // Nor does an older catalog under the same pins: what was acted on stays until the news is back.
        let pin = try #require(try catalog.decide(Self.name, channel: "stable").pin)
        let other = try folder.catalog("other", story.charter)
        _ = try other.admit(old.map(\.envelope))
        try other.table.save(pin)
        let held = try #require(try other.follow(Self.name, channel: "stable"))
        #expect(held.capsule == capsule("b") && held.held == .unheard)
        _ = try other.admit(story.facts.map(\.envelope))
        #expect(try other.follow(Self.name, channel: "stable")?.held == nil)
    }

    /// News is withheld. Nobody can tell that from silence, so a channel says for how long its word is good.
    @Test func freeze() throws {
        let (story, alice, _) = try Self.people(), folder = try TemporaryFolder(), catalog = try folder.catalog("home", story.charter)
        _ = try catalog.admit(story.facts.map(\.envelope))
        let until = FixedClock().now + 1000
        _ = try catalog.set("stable", of: Self.name, to: capsule("a"), until: until, by: alice.key)
        let channel = try #require(try catalog.channels(matching: Glob("site-a")).first)
        #expect(channel.until == until && channel.trouble == nil)
        #expect(try catalog.follow(Self.name, channel: "stable")?.capsule == capsule("a"))
        // Silent for longer: what runs goes on, and the node says why it holds; word that is as old moves it nowhere.
        let late = try Catalog(home: HomeLayout(path: folder.path + "/home"), clock: FixedClock(now: until + 1))
        let held = try #require(try late.follow(Self.name, channel: "stable"))
        #expect(held.capsule == capsule("a") && held.held == .stale)
        _ = try late.set("stable", of: Self.name, to: capsule("b"), until: until, by: alice.key)
        #expect(try #require(try late.follow(Self.name, channel: "stable")).capsule == capsule("a"))
        // Fresh word ends it.
        _ = try late.set("stable", of: Self.name, to: capsule("c"), until: until + 1000, by: alice.key)
        let moved = try #require(try late.follow(Self.name, channel: "stable"))
        #expect(moved.capsule == capsule("c") && moved.held == nil)
    }

    /// A name from one release, a content from another, a channel from a third.
    @Test func mixAndMatch() throws {
        let (story, alice, bob) = try Self.people(), stranger = try story.newcomer([.publisher], scope: ["tool"])
        try stranger.release("tool", of: "evil")
        // Their content under our name; our channel to their content.
        try stranger.release("site-a", "9.0.0", of: "evil")
        try alice.set("stable", of: "site-a", to: "evil", ver: 1)
        #expect(!story.view.listed.contains { $0.hasPrefix("site-a@9") } && story.view.channels.first?.trouble == .unreleased)
        // Another content for a version that is there.
        try bob.release("site-a", "1.2.0", of: "evil")
        #expect(story.view.listed.filter { $0.hasPrefix("site-a@1.2.0") } == ["site-a@1.2.0?", "site-a@1.2.0?"])
        try alice.set("stable", of: "site-a", to: "c", ver: 2)
        #expect(story.view.channels.first?.trouble == .unreleased, "a contested release is none to follow")
    }

    /// The same words in ever new envelopes: signed again, wrapped anew, with other key ids beside the signature.
    @Test func endlessReenveloping() throws {
        let (story, _, _) = try Self.people(), folder = try TemporaryFolder(), catalog = try folder.catalog("home", story.charter)
        _ = try catalog.admit(story.facts.map(\.envelope))
        let (root, count) = (catalog.root, catalog.count), fact = try #require(story.facts.last)
        let text = String(decoding: fact.envelope, as: UTF8.self)
        for i in 0..<200 {
            let admission = try catalog.admit([Array(text.replacing(fact.author.id.hex, with: "nobody-\(i)").utf8)])
            #expect(admission.admitted.isEmpty && admission.known == 1)
        }
        #expect(catalog.root == root && catalog.count == count && catalog.waitingCount == 0)
    }

    @Test func replayIntoAnotherMesh() throws {
        let (story, _, _) = try Self.people(), other = Story(root: story.root), folder = try TemporaryFolder()
        // The same root, another mesh: its first charter differs.
        let foreign = Charter.create(root: .generate())
        let catalog = try folder.catalog("home", foreign)
        let admission = try catalog.admit(story.facts.map(\.envelope))
        #expect(admission.admitted.isEmpty && admission.refused.count == story.facts.count && admission.refused.allSatisfy { $0.code.name == "fact_foreign" })
        #expect(other.mesh == story.mesh && catalog.count == 0)
    }

    @Test func aGrantOutsideOfItsScopeAndTooDeep() throws {
        let story = Story()
        var holder = story.ruler, chain: [Author] = []
        for depth in 1...5 {
            let next = story.author()
            try holder.grant(.grantor, to: next)
            try holder.grant(.publisher, to: next, scope: ["site-*"])
            try next.release("site-\(depth)", of: "\(depth)")
            chain.append(next)
            holder = next
        }
        #expect(story.view.listed == (1...4).map { "site-\($0)@1.0.0" }, "four links at most")
        let outside = story.author()
        try chain[0].grant(.publisher, to: outside, scope: ["tool"])
        try chain[0].grant(.publisher, to: outside, scope: ["*"])
        try chain[0].grant(.builder, to: outside)
        try outside.release("tool", of: "t")
        #expect(!story.view.listed.contains("tool@1.0.0") && story.view.roles(of: outside.id).isEmpty)
    }

    @Test func aRevokedGrantor() throws {
        let story = Story(), grantor = try story.newcomer([.grantor, .publisher], scope: ["site-*"])
        let honest = try story.newcomer([.publisher], scope: ["site-a"], by: grantor), last = try #require(grantor.said.last)
        try honest.release("site-a", of: "a")
        let thiefs = try story.newcomer([.publisher], scope: ["site-b"], by: grantor)
        try thiefs.release("site-b", of: "b")
        try story.ruler.revoke(grantor, keep: last.id)
        #expect(story.view.listed == ["site-a@1.0.0"], "what was granted before still holds")
        // It grants on, and revokes who stands above it.
        let late = try story.newcomer([.publisher], scope: ["site-c"], by: grantor)
        try late.release("site-c", of: "c")
        try grantor.revoke(story.ruler)
        try grantor.revoke(honest)
        #expect(story.view.listed == ["site-a@1.0.0"] && !story.view.roles(of: honest.id).isEmpty)
    }

    /// Dated years ahead or back: clocks decide nothing.
    @Test func lyingClocks() throws {
        let (story, alice, bob) = try Self.people()
        let envelope = { (author: Author, at: Milliseconds, ver: Int, content: String) -> [UInt8] in
            let last = author.said.max { $0.seq < $1.seq }
            return Fact.sign(kind: "channel", subject: capsule(content), body: ["name": "site-a", "channel": "stable", "epoch": 0, "ver": JSONValue(ver)], mesh: story.mesh, seq: (last?.seq ?? 0) + 1, prev: last?.id, at: at, by: author.key)
        }
        story.add(try Fact(parsing: envelope(alice, 4_000_000_000_000, 1, "a"), mesh: story.mesh))
        story.add(try Fact(parsing: envelope(bob, 1, 2, "b"), mesh: story.mesh))
        #expect(story.view.channels.first?.capsule == capsule("b"))
    }

    /// JUNK_FACTS: `scripts/test` offers a million in an optimised build.
    private static let junkFacts = ProcessInfo.processInfo.environment["JUNK_FACTS"].flatMap { Int($0) } ?? 12_000

    /// One member says as much as it can, and strangers more: others go on, and what it takes is bounded.
    @Test func aFloodOfJunk() throws {
        let (story, alice, bob) = try Self.people(), folder = try TemporaryFolder(), catalog = try folder.catalog("home", story.charter)
        _ = try catalog.admit(story.facts.map(\.envelope))
        let start = catalog.count, own = bob.said.count, mesh = story.mesh, key = bob.key
        // All its places many times over, and beyond; each place holds two at most.
        let places = Limits.factSequenceMax + 50, batch = Limits.factsPerMessageMax
        var honest = 0
        for first in stride(from: 0, to: Self.junkFacts, by: batch) {
            let some = Mutex<[[UInt8]]>([])
            DispatchQueue.concurrentPerform(iterations: 16) { part in
                let made = stride(from: first + part, to: min(first + batch, Self.junkFacts), by: 16).map { i in
                    Fact.sign(kind: "junk", subject: Digest.of(Array("\(i)".utf8)), body: [:], mesh: mesh, seq: 1 + i % places, prev: i % places == 0 ? nil : Digest.of([]), at: 0, by: key)
                }
                some.withLock { $0 += made }
            }
            _ = try catalog.admit(some.withLock { $0 }, from: bob.key.publicKey.id)
            #expect(catalog.count <= start + honest - own + 2 * Limits.factSequenceMax && catalog.waitingCount <= Limits.limboFactsPerPeerMax)
            // Meanwhile everybody else says and hears what they like.
            let content = "meanwhile \(first)"
            _ = try catalog.publish(kind: "release", subject: capsule(content), body: ["name": "site-a", "version": .string("3.\(first).0")], by: alice.key)
            honest += 1
            #expect(try catalog.resolve(Self.name, version: nil)?.capsule == capsule(content))
        }
        #expect(catalog.authors[bob.id]?.facts ?? 0 <= 2 * Limits.factSequenceMax)
        let disk = try ["", "-wal"].reduce(Int64(0)) { sum, ending in
            let path = HomeLayout(path: folder.path + "/home").catalogDatabase + ending
            return sum + (Files.exists(path) ? try OpenFile(reading: path).size() : 0)
        }
        #expect(disk < 64 << 20, "\(disk) bytes")
        // Strangers' facts wait, so many for each who brings them.
        for _ in 0..<3 {
            let stranger = SigningKey.generate()
            let facts = (1...700).map { Fact.sign(kind: "junk", subject: capsule("\($0)"), body: [:], mesh: story.mesh, seq: $0, prev: $0 == 1 ? nil : Digest.of([]), at: 0, by: stranger) }
            _ = try catalog.admit(facts, from: bob.key.publicKey.id)
        }
        #expect(catalog.waitingCount <= Limits.limboFactsPerPeerMax)
        // Everybody else is heard as before, another's waiting facts too.
        let newcomer = story.author(), early = try newcomer.say("note", about: capsule("n"))
        #expect(try catalog.admit([early.envelope], from: alice.key.publicKey.id).waiting == 1)
        _ = try catalog.publish(kind: "release", subject: capsule("d"), body: ["name": "site-a", "version": "9.0.0"], by: alice.key)
        #expect(try catalog.resolve(Self.name, version: nil)?.capsule == capsule("d"))
        #expect(try catalog.admit([try story.ruler.grant(.member, to: newcomer).envelope]).admitted.count == 2)
    }
}
