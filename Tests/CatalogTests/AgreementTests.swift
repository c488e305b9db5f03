@testable import Catalog
import MeshCore
import Signing
import Testing

/// Replicas and homes that hear the facts of random histories in random orders and parts end with the same.
@Suite struct AgreementTests {
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

    /// Two replicas that heard different things tell each other what they admitted, as over a wire, until nothing is new.
    @Test(arguments: [UInt64(5), 6]) func replicasThatExchangeAgree(_ seed: UInt64) throws {
        var random = SplitMix(seed: seed)
        for history in 0..<40 {
            let story = try Story.random(&random, length: 8 + random.below(30)).story, charter = story.charter
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
            let story = try Story.random(&random, length: 8 + random.below(30)).story, folder = try TemporaryFolder()
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
