@testable import Catalog
import MeshCore
import Signing
import Testing

/// Admission is a pure function of what was offered: random histories, offered in random orders and parts.
@Suite struct AdmissionLawTests {
    static let histories = 16, ordersOfEach = 12

    /// Five people, honest and not, and whatever they may say: grants and revocations in all directions, several facts at one place.
    static func history(_ random: inout SplitMix) throws -> Story {
        let story = Story(root: random.key())
        let scopes = [["*"], ["site-*"], ["site-a"], ["tool", "site-b"]]
        var people: [Author] = []
        for _ in 0..<5 { people.append(story.author(random.key())) }
        for _ in 0..<(8 + random.below(18)) {
            let author = random.below(3) == 0 ? story.ruler : random.pick(people)
            let last = author.said.map(\.seq).max() ?? 0
            // Mostly the next place, often one that is taken.
            let seq = last > 0 && random.below(3) == 0 ? 1 + random.below(last) : last + 1
            switch random.below(10) {
            case 0..<5: try author.grant(random.pick(Role.allCases), to: random.pick(people), scope: random.pick(scopes), seq: seq)
            case 5:
                let whom = random.pick(people), own = whom.said
                try author.revoke(whom, keep: own.isEmpty ? nil : random.pick(own).id, seq: seq)
            case 6: try author.say("withdraw", about: capsule(random.pick(["x", "y"])), ["name": "site-a"], seq: seq)
            case 7: try author.say("weather-report", about: capsule(random.pick(["x", "y", "z"])), seq: seq)
            default: try author.release(random.pick(["site-a", "site-b", "tool"]), random.pick(["1.0.0", "2.0.0-rc.1"]), of: random.pick(["x", "y", "z"]), seq: seq)
            }
        }
        return story
    }

    /// Everything that a set is and shows. What waits is not part of it: a fact that two others outdid is dropped by whoever knew
    /// its author then, and still waits where the author was never known.
    struct Outcome: Equatable {
        let admitted: [Digest]
        let revoked: Set<Digest>
        let releases: [Catalog.Release]
        let roles: [Digest: [Role: [Glob]]]

        init(_ set: AdmittedSet, _ story: Story) {
            let view = CatalogView(set, charter: story.charter)
            admitted = set.admitted.keys.sorted()
            revoked = view.revoked
            releases = view.releases
            let keys = Set(story.facts.map(\.author.id.digest))
            roles = Dictionary(uniqueKeysWithValues: keys.map { ($0, view.roles(of: $0)) })
        }
    }

    /// Non-empty parts, in order.
    static func parts(_ facts: [Fact], _ random: inout SplitMix) -> [[Fact]] {
        var parts: [[Fact]] = [], rest = facts[...]
        while !rest.isEmpty {
            let count = 1 + random.below(max(1, rest.count * 2 / 3))
            parts.append(Array(rest.prefix(count)))
            rest = rest.dropFirst(count)
        }
        return parts
    }

    @Test(arguments: [UInt64(1), 2, 3, 4]) func orderAndPartsAreNothing(_ seed: UInt64) throws {
        var random = SplitMix(seed: seed)
        var admitted = 0, waiting = 0, revoked = 0, contested = 0, places = 0
        for history in 0..<Self.histories {
            let story = try Self.history(&random)
            let whole = story.admitted, expected = Outcome(whole, story)
            admitted += whole.admitted.count
            waiting += whole.waiting.count
            revoked += expected.revoked.count
            contested += expected.releases.count { $0.contested }
            places += Set(whole.admitted.values.map { Place(author: $0.author, seq: $0.seq) }).count
            for order in 0..<Self.ordersOfEach {
                let label = "seed \(seed), history \(history), order \(order)"
                let shuffled = story.facts.shuffled(using: &random)
                // Commutative: another order.
                let reordered = AdmittedSet(offered: shuffled, charter: story.charter)
                #expect(Outcome(reordered, story) == expected && Set(reordered.waiting) == Set(whole.waiting), "\(label)")
                // Associative: in parts.
                let parts = Self.parts(shuffled, &random)
                let folded = AdmissionTests.fold(parts, story.charter)
                #expect(Outcome(folded, story) == expected, "\(label), parts of \(parts.map(\.count))")
                // Idempotent: some of it once more.
                let some = Array(shuffled.suffix(random.below(shuffled.count + 1)))
                let again = AdmissionTests.fold([Array(folded.admitted.values), some + folded.waiting], story.charter)
                #expect(again.admitted.keys.sorted() == expected.admitted, "\(label)")
            }
        }
        // The histories are worth it: all that the laws are about is in them.
        #expect(admitted > places && waiting > 0 && revoked > 0 && contested > 0, "seed \(seed)")
    }

    struct Place: Hashable {
        let author: PublicKey
        let seq: Int
    }

    /// Two replicas that heard different things tell each other what they admitted, as over a wire, until nothing is new.
    @Test(arguments: [UInt64(5), 6]) func replicasThatExchangeAgree(_ seed: UInt64) throws {
        var random = SplitMix(seed: seed)
        for history in 0..<40 {
            let story = try Self.history(&random), charter = story.charter
            let union = AdmissionTests.ids(story.admitted.admitted.values)
            var sets: [AdmittedSet] = []
            for _ in 0..<2 {
                let heard = story.facts.filter { _ in random.below(2) == 0 }
                sets.append(AdmittedSet(offered: heard.shuffled(using: &random), charter: charter))
            }
            // Nothing may be lost between the two.
            let unheard = story.facts.filter { fact in !sets.contains { set in set.admitted[fact.id] != nil || set.waiting.contains(fact) } }
            sets[0] = AdmissionTests.fold([Array(sets[0].admitted.values) + sets[0].waiting, unheard], charter)
            var rounds = 0
            while sets[0].admitted.keys != sets[1].admitted.keys, rounds < 10 {
                let told = sets.map { Array($0.admitted.values) }
                let offered: [[Fact]] = [told[0] + sets[0].waiting + told[1], told[1] + sets[1].waiting + told[0]]
                sets = offered.map { AdmittedSet(offered: $0, charter: charter) }
                rounds += 1
            }
            for set in sets { #expect(AdmissionTests.ids(set.admitted.values) == union, "seed \(seed), history \(history), \(rounds) rounds") }
        }
    }

    /// The same in homes, with their databases, opened anew in between.
    @Test(arguments: [UInt64(7), 8]) func homesAgree(_ seed: UInt64) throws {
        var random = SplitMix(seed: seed)
        for history in 0..<4 {
            let story = try Self.history(&random), folder = try TemporaryFolder()
            let expected = story.admitted, ids = AdmissionTests.ids(expected.admitted.values)
            let view = CatalogView(expected, charter: story.charter)
            for home in ["a", "b"] {
                let label = "seed \(seed), history \(history), home \(home)"
                var catalog = try folder.catalog(home, story.charter)
                // What waits is not kept over a restart, so that it is offered again at the end.
                for part in Self.parts(story.facts.shuffled(using: &random), &random) {
                    _ = try catalog.admit(part.map(\.envelope))
                    if random.below(2) == 0 { catalog = try Catalog(home: HomeLayout(path: "\(folder.path)/\(home)"), clock: FixedClock()) }
                }
                _ = try catalog.admit(story.facts.map(\.envelope))
                #expect(try catalog.factIDs() == ids, "\(label)")
                #expect(catalog.root == MerkleTrie.root(ids) && catalog.count == ids.count, "\(label)")
                #expect(try catalog.releases(matching: nil) == view.releases, "\(label)")
                let reopened = try Catalog(home: HomeLayout(path: "\(folder.path)/\(home)"), clock: FixedClock())
                #expect(reopened.root == catalog.root, "\(label)")
            }
        }
    }
}
