@testable import Catalog
import MeshCore
import Signing
import Testing

/// A member of the mesh that means harm, or whoever has stolen its key: it speaks as the exchange is spoken, and lies.
final class SimulatedLiar {
    enum Lie: CaseIterable { case fork, withhold, replay, lyingRoots, flood, noise }

    let key: SigningKey
    private let story: Story
    private let author: Author
    /// What it has heard, or signed.
    private var known: [Fact] = []
    /// What it signed and gave to somebody.
    private(set) var delivered: [Fact] = []
    private var seq: Int
    private let foreign: [[UInt8]]
    /// A stranger's facts, more than may wait.
    private var crowd: [[UInt8]] = []
    private(set) var lies: [Lie: Int] = [:]

    init(_ author: Author, _ random: inout SplitMix) {
        (story, self.author, key) = (author.story, author, author.key)
        seq = author.said.map(\.seq).max() ?? 0
        let elsewhere = Story(root: random.key()), stranger = random.key()
        foreign = [try? elsewhere.ruler.release("site-0"), try? elsewhere.ruler.release("tool")].compactMap { $0?.envelope }
        for seq in 1...(Limits.limboFactsPerPeerMax + 100) {
            crowd.append(Fact.sign(kind: "junk", subject: Digest.of([UInt8(truncatingIfNeeded: seq)]), body: [:], mesh: story.mesh, seq: seq, prev: seq == 1 ? nil : Digest.of([]), at: .max / 2_000, by: stranger))
        }
    }

    private func sign(_ kind: String, _ content: String, _ body: [String: JSONValue], at seq: Int) throws -> Fact {
        try Fact(parsing: Fact.sign(kind: kind, subject: capsule(content), body: body, mesh: story.mesh, seq: seq, prev: seq == 1 ? nil : known.last?.id ?? Digest.of([]), at: 1, by: key), mesh: story.mesh)
    }

    private func give(_ facts: [Fact], to victim: SimulatedReplica) throws {
        delivered += facts
        known += facts
        try victim.admit(facts.map(\.envelope), from: key.publicKey.id)
    }

    /// Meets an honest node, which hears it as it hears anybody. Nothing that it does may take anything away.
    func meet(_ victim: SimulatedReplica, _ number: Int, _ random: inout SplitMix) throws {
        let lie = random.pick(Lie.allCases), catalog = victim.catalog, before = Set(try catalog.factIDs())
        lies[lie, default: 0] += 1
        switch lie {
        case .fork:
            // Other words at the same place for everybody, three of them in all.
            let place = random.below(3) == 0 ? max(1, seq) : seq + 1
            seq = max(seq, place)
            let content = "forked \(number % 3)", name = random.pick(["site-0", "site-1", "tool"])
            try give([
                try sign("release", content, ["name": .string(name), "version": "9.0.0"], at: place),
                try sign("channel", content, ["name": .string(name), "channel": "stable", "epoch": 0, "ver": JSONValue(900 + number)], at: place + 1),
            ], to: victim)
            seq += 1
            return
        case .withhold:
            // Says that it has all, and gives a part of what it is asked for, altered or another's.
            let ids = known.map(\.id) + (0..<random.below(20)).map { _ in Digest.of([UInt8(truncatingIfNeeded: random.next())]) }
            var session = Reconciliation.Session(try catalog.factIDs())
            let answer = Reconciliation.answer(try Reconciliation.Question(parsing: session.first.bytes), ids, root: Digest.of([1]))
            guard case .differ(let wanted, _) = (try? session.take(Reconciliation.Answer(parsing: answer.bytes))) ?? .list else { break }
            let have = Dictionary(known.map { (session.key.id(of: $0.id), $0) }, uniquingKeysWith: { a, _ in a })
            let given = wanted.filter { _ in random.below(2) == 0 }.compactMap { have[$0] }
            try victim.admit(given.map(\.envelope), from: key.publicKey.id)
            return
        case .replay:
            // Old charters, old facts, those of another mesh.
            #expect(try !catalog.adopt(charters: [story.charter.envelopes[0]]))
            let old = known.shuffled(using: &random).prefix(20).map(\.envelope) + foreign
            let admission = try catalog.admit(old.shuffled(using: &random), from: key.publicKey.id)
            #expect(admission.refused.count == foreign.count && admission.refused.allSatisfy { $0.code.name == "fact_foreign" })
            return
        case .lyingRoots:
            var session = Reconciliation.Session(try catalog.factIDs())
            var sums = RatelessSketch((0..<40).map { _ in random.next() }, key: session.key, count: 80).symbols
            if random.below(2) == 0 { sums = sums.map { var sum = $0; sum.count = random.below(2) == 0 ? 1 : -1; return sum } }
            sums.append(RatelessSketch.Symbol())
            _ = try? session.take(Reconciliation.Answer(root: Digest.of([9]), count: random.below(1 << 40), from: 0, symbols: sums))
            _ = try? catalog.answer(Reconciliation.Question(key: session.key, from: 0, wanted: 1 + random.below(200), counts: (0..<random.below(512)).map { _ in Int64(bitPattern: random.next()) }))
        case .flood:
            let admission = try catalog.admit(crowd, from: key.publicKey.id)
            #expect(admission.admitted.isEmpty && admission.waiting <= Limits.limboFactsPerPeerMax)
        case .noise:
            let bytes = (0..<(1 + random.below(400))).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            _ = try? Reconciliation.Question(parsing: bytes)
            _ = try? Reconciliation.Answer(parsing: bytes)
            _ = try? Reconciliation.Exchange(parsing: bytes)
            #expect(try catalog.admit([bytes]).refused.count == 1)
            // A fact that is altered is none. The key id beside a signature is a hint: with another one it is the same fact.
            if var altered = known.randomElement(using: &random)?.envelope {
                altered[random.below(altered.count)] ^= 1
                let admission = try catalog.admit([altered])
                #expect(admission.admitted.allSatisfy { fact in known.contains { $0.id == fact.id } || fact.author != key.publicKey })
                return
            }
        }
        #expect(try Set(catalog.factIDs()) == before, "\(lie) changed something")
    }

    /// Hears what an honest node says.
    func hear(_ facts: some Sequence<Fact>) { known += facts }
}
