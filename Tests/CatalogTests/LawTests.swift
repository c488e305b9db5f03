@testable import Catalog
import Foundation
import MeshCore
import Signing
import Testing

/// What holds of every set of facts, tried on random ones: parts of random histories, in random orders and groupings. Each law has as
/// many cases as LAW_CASES says, over eight seeds; `scripts/test` runs 100,000 of each in an optimised build.
@Suite struct LawTests {
    static let casesOfEach = max(1, (ProcessInfo.processInfo.environment["LAW_CASES"].flatMap { Int($0) } ?? 400) / seeds.count)
    static let seeds: [UInt64] = [1, 2, 3, 4, 5, 6, 7, 8]

    /// A history of which many parts are taken.
    private struct Pool {
        let facts: [Fact]
        let charter: Charter
        /// The root's revocations of each key, with various last facts to keep, at places of their own.
        let revocations: [(of: Digest, keep: Digest?, fact: Fact)]

        init(_ random: inout SplitMix) throws {
            let (story, charters) = try Story.random(&random, length: 28 + random.below(20))
            charter = story.charter.adding(charters)
            facts = story.facts
            var revocations: [(Digest, Digest?, Fact)] = []
            for author in Dictionary(grouping: facts, by: \.author).values where author[0].author != story.root.publicKey {
                guard let key = author[0].author.subject else { continue }
                for keep in [nil, random.pick(author).id, random.pick(author).id] {
                    var body: [String: JSONValue] = ["reason": "lost"]
                    if let keep { body["keep"] = .string(keep.hex) }
                    revocations.append((key, keep, try story.ruler.say("revoke", about: key, body, seq: 5000 + revocations.count)))
                }
            }
            self.revocations = revocations
        }

        /// Some of it, in some order.
        func part(_ random: inout SplitMix) -> [Fact] { Array(facts.shuffled(using: &random).prefix(facts.count / 3 + random.below(facts.count * 2 / 3))) }
        func set(_ facts: [Fact]) -> AdmittedSet { AdmittedSet(offered: facts, charter: charter) }
        func shown(_ facts: [Fact]) -> Shown { shown(set(facts)) }
        func shown(_ set: AdmittedSet) -> Shown { Shown(set, charter: charter) }
        /// What two replicas know together.
        func merge(_ a: AdmittedSet, _ b: AdmittedSet) -> AdmittedSet { set([a, b].flatMap { Array($0.admitted.values) + $0.waiting }) }
    }

    /// `casesOfEach` times, with a new history now and then.
    private func each(_ seed: UInt64, _ body: (Pool, inout SplitMix, String) throws -> Void) throws {
        var random = SplitMix(seed: seed), pool = try Pool(&random)
        for i in 0..<Self.casesOfEach {
            if i % 40 == 39 { pool = try Pool(&random) }
            try body(pool, &random, "seed \(seed), case \(i)")
        }
    }

    @Test(arguments: seeds) func mergingIsCommutative(_ seed: UInt64) throws {
        var seen = (admitted: 0, doubled: 0, waiting: 0, contested: 0, revoked: 0)
        try each(seed) { pool, random, label in
            let a = pool.set(pool.part(&random)), b = pool.set(pool.part(&random)), ab = pool.merge(a, b), shown = pool.shown(ab)
            #expect(shown == pool.shown(pool.merge(b, a)), "\(label)")
            seen = (seen.admitted + shown.admitted.count, seen.doubled + shown.equivocators.count, seen.waiting + ab.waiting.count,
                    seen.contested + shown.releases.count(where: \.contested), seen.revoked + shown.kept.count)
        }
        // The histories are worth it: all that the laws are about is in them, where there are many.
        #expect(Self.casesOfEach < 1000 || (seen.admitted > Self.casesOfEach && seen.doubled > 0 && seen.waiting > 0 && seen.contested > 0 && seen.revoked > 0), "seed \(seed): \(seen)")
    }

    @Test(arguments: seeds) func mergingIsAssociative(_ seed: UInt64) throws {
        try each(seed) { pool, random, label in
            let a = pool.set(pool.part(&random)), b = pool.set(pool.part(&random)), c = pool.set(pool.part(&random))
            #expect(pool.shown(pool.merge(pool.merge(a, b), c)) == pool.shown(pool.merge(a, pool.merge(b, c))), "\(label)")
        }
    }

    @Test(arguments: seeds) func mergingIsIdempotent(_ seed: UInt64) throws {
        try each(seed) { pool, random, label in
            let part = pool.part(&random), set = pool.set(part), shown = pool.shown(set)
            #expect(pool.shown(pool.merge(set, set)) == shown, "\(label)")
            // What it was made of, once more.
            #expect(pool.shown(pool.merge(set, pool.set(Array(part.suffix(random.below(part.count + 1)))))) == shown, "\(label)")
        }
    }

    /// In any order and any parts, offered all at once or bit by bit.
    @Test(arguments: seeds) func viewsDoNotDependOnTheOrder(_ seed: UInt64) throws {
        try each(seed) { pool, random, label in
            let part = pool.part(&random), shown = pool.shown(part)
            #expect(pool.shown(part.shuffled(using: &random)) == shown, "\(label)")
            let folded = AdmissionTests.fold(AgreementTests.parts(part.shuffled(using: &random), &random), pool.charter)
            #expect(pool.shown(folded) == shown, "\(label), in parts")
        }
    }

    /// Whom a root has revoked stays revoked, whatever else is said: nothing of its counts beyond the chain that was kept, nothing that did
    /// not count without the revocation, and no role comes back.
    @Test(arguments: seeds) func revocationIsMonotone(_ seed: UInt64) throws {
        var narrowed = 0
        try each(seed) { pool, random, label in
            guard let (key, keep, fact) = pool.revocations.randomElement(using: &random) else { return }
            let part = pool.part(&random), before = CatalogView(pool.set(part), charter: pool.charter)
            let set = pool.set(part + [fact]), after = CatalogView(set, charter: pool.charter), byID = set.admitted
            // A root that was dropped revokes nobody after the fact that was kept of it; one that is a root cannot be revoked.
            guard after.authorities.revocations.counts(fact), !pool.charter.roots.contains(where: { $0.subject == key }) else { return }
            #expect(after.revoked.contains(key) && after.roles(of: key).isEmpty, "\(label)")
            var chain: Set<Digest> = [], next = keep
            while let id = next, let fact = byID[id], fact.author.subject == key, chain.insert(id).inserted { next = fact.prev }
            for fact in byID.values where fact.author.subject == key && after.authorities.revocations.counts(fact) {
                #expect(chain.contains(fact.id) && before.authorities.revocations.counts(fact), "\(label)")
            }
            narrowed += byID.values.count { $0.author.subject == key && before.authorities.revocations.counts($0) && !after.authorities.revocations.counts($0) }
        }
        #expect(narrowed > 0 || Self.casesOfEach < 1000)
    }

    /// What a node acted on is the least that it will act on, for as long as that counts, however the news comes in.
    @Test(arguments: seeds) func pinsNeverRegress(_ seed: UInt64) throws {
        struct Place: Hashable { let name: CapsuleName, channel: String }
        var random = SplitMix(seed: seed), pool = try Pool(&random), done = 0, moved = 0, held = 0
        while done < Self.casesOfEach {
            if random.below(8) == 0 { pool = try Pool(&random) }
            let part = pool.part(&random)
            var known = 0, pins: [Place: ChannelPin] = [:]
            while known < part.count {
                known = min(part.count, known + 1 + random.below(6))
                let set = pool.set(Array(part.prefix(known))), view = CatalogView(set, charter: pool.charter)
                let channels = Dictionary(uniqueKeysWithValues: view.channels.map { (Place(name: $0.name, channel: $0.channel), $0) })
                for place in Set(channels.keys).union(pins.keys) {
                    let pin = pins[place], fact = pin.flatMap { set.admitted[$0.fact] }
                    let counts = fact.map { view.authorities.revocations.counts($0) && view.authorities.mayPublish(place.name, $0.author) }
                    let state: ChannelDecision.PinState = counts.map { $0 ? .counts : .lapsed } ?? .unknown
                    if pin != nil { done += 1 }
                    switch ChannelDecision(channels[place], pin: pin, state: state, isStale: random.below(8) == 0) {
                    case .keep: held += pin == nil ? 0 : 1
                    case .move(let channel):
                        if let pin {
                            moved += 1
                            #expect((channel.epoch, channel.ver) > (pin.epoch, pin.ver) || counts == false, "seed \(seed), case \(done)")
                        }
                        #expect(channel.trouble == nil && !view.withdrawals.contains { $0.capsule == channel.capsule && $0.name == channel.name }, "seed \(seed), case \(done)")
                        pins[place] = ChannelPin(channel)
                    }
                }
            }
        }
        // Few cases can do without one of them.
        #expect(held > 0 && (moved > 0 || Self.casesOfEach < 1000), "seed \(seed)")
    }
}
