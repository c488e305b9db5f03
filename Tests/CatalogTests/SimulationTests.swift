@testable import Catalog
import Foundation
import MeshCore
import Signing
import Testing

/// Eight replicas that are cut off from each other, restart, lose power inside a transaction, carry files and meet two liars: those who are
/// honest end with the same facts and see the same, and none of them ever goes back. Seeded: a failure is made again by its seed.
///
/// SIMULATION_SEEDS=200-299 tries others, or again one that failed; SIMULATION_FACTS is how many facts there are in each.
@Suite struct SimulationTests {
    private static let environment = ProcessInfo.processInfo.environment
    static let facts = environment["SIMULATION_FACTS"].flatMap { Int($0) } ?? 160
    static let seeds: [UInt64] = {
        let ends = (environment["SIMULATION_SEEDS"] ?? "").split(separator: "-").compactMap { UInt64($0) }
        guard let first = ends.first, let last = ends.last, first <= last else { return Array(100...103) }
        return Array(first...last)
    }()

    private static let replicaCount = 8

    private struct World {
        var random: SplitMix
        let replicas: [SimulatedReplica]
        let liars: [SimulatedLiar]
        /// Replicas of the same part hear each other.
        var part = [Int](repeating: 0, count: replicaCount)
        var exchanged = 0, partitions = 0, restarts = 0, files = 0

        /// As two nodes do it: charters, sums, facts; every message as bytes.
        mutating func exchange(_ a: Int, _ b: Int) throws {
            let asking = replicas[a], answering = replicas[b]
            if !asking.catalog.charter.isSame(as: answering.catalog.charter) {
                _ = try asking.catalog.adopt(charters: answering.catalog.charter.envelopes)
                _ = try answering.catalog.adopt(charters: asking.catalog.charter.envelopes)
            }
            guard asking.catalog.root != answering.catalog.root else { return }
            exchanged += 1
            var seed: [UInt8] = []
            for _ in 0..<16 { seed.append(UInt8(truncatingIfNeeded: random.next())) }
            var session = Reconciliation.Session(try asking.catalog.factIDs(), key: try #require(SessionKey(seed)))
            var question = session.first
            while true {
                let answer = try answering.catalog.answer(Reconciliation.Question(parsing: question.bytes))
                switch try session.take(Reconciliation.Answer(parsing: answer.bytes)) {
                case .ask(let more): question = more
                case .list: Issue.record("sums that do not tell"); return
                case .differ(let wanted, let extra):
                    let message = try Reconciliation.Exchange(parsing: Reconciliation.Exchange(key: session.key, wanted: wanted, given: try asking.catalog.facts(extra)).bytes)
                    let found = try answering.catalog.facts(message.wanted, under: message.key)
                    #expect(found.count == wanted.count)
                    try answering.admit(message.given)
                    try asking.admit(found)
                    return
                }
            }
        }

        /// One thing that happens. A power cut ends what it cuts.
        mutating func step(_ unsaid: inout ArraySlice<Fact>, _ charters: inout [[UInt8]], _ folder: TemporaryFolder) throws {
            let at = random.below(replicaCount), replica = replicas[at]
            switch random.below(24) {
            case 0..<6:
                for _ in 0..<(1 + random.below(max(1, SimulationTests.facts / 80))) {
                    guard let fact = unsaid.popFirst() else { break }
                    try replica.tell(fact)
                }
            case 6..<12:
                let other = random.below(replicaCount)
                if at != other, part[at] == part[other] { try exchange(at, other) }
            case 12, 13:
                partitions += 1
                part = (0..<replicaCount).map { _ in random.below(1 + random.below(4)) }
            case 14:
                restarts += 1
                try replica.restart()
            case 15: replica.fails = random.pick(SimulatedReplica.Moment.allCases)
            case 16:
                // A stick from one to another, whoever hears whom.
                guard random.below(3) == 0 else { return }
                files += 1
                let path = folder.path + "/stick-\(files)", other = random.below(replicaCount)
                _ = try FactFile.write(replica.catalog, to: path)
                _ = try FactFile.read(path, into: replicas[other].catalog)
                try Files.remove(path)
            case 17: if !charters.isEmpty, unsaid.count < SimulationTests.facts / 2 { _ = try replica.catalog.adopt(charters: [charters.removeFirst()]) }
            case 18..<21:
                // Mostly one that can be acted on.
                let sound = try replica.catalog.channels(matching: nil).filter { $0.trouble == nil }
                if let channel = sound.randomElement(using: &random), random.below(4) > 0 { try replica.follow(channel.name, channel.channel) } else {
                    try replica.follow(CapsuleName(parsing: random.pick(HistoryMix.work.names)), random.pick(["stable", "beta"]))
                }
            default: try random.pick(liars).meet(replica, at, &random)
            }
        }
    }

    @Test(arguments: seeds) func honestReplicasAgree(_ seed: UInt64) throws {
        var random = SplitMix(seed: seed)
        let (story, charters) = try Story.random(&random, length: Self.facts, .work), folder = try TemporaryFolder()
        // Two who may publish are liars; they are known early.
        let liars = [story.author(random.key()), story.author(random.key())]
        let grants = try liars.map { try story.ruler.grant(.publisher, to: $0, scope: ["*"]) }
        let replicas = try (0..<Self.replicaCount).map { number in
            let offset = Milliseconds(random.below(100 * 31_557_600) - 50 * 31_557_600) * 1000
            return try SimulatedReplica(folder, "r\(number)", story.charter, clock: FixedClock(now: FixedClock().now + offset))
        }
        var world = World(random: random, replicas: replicas, liars: liars.map { SimulatedLiar($0, &random) })
        var unsaid = (grants + story.facts.dropLast(grants.count))[...], uncharted = charters
        while !unsaid.isEmpty || world.partitions < 50 {
            let heard = unsaid
            do { try world.step(&unsaid, &uncharted, folder) } catch is SimulatedReplica.PowerCut {}
            for liar in world.liars { liar.hear(heard.prefix(heard.count - unsaid.count)) }
            // Strangers' facts wait in bounded number: of two liars, and of those whom nobody names.
            for replica in replicas { #expect(replica.catalog.waitingCount <= 3 * Limits.limboFactsPerPeerMax, "seed \(seed)") }
        }
        // All hear all again, until nothing changes.
        world.part = [Int](repeating: 0, count: Self.replicaCount)
        for charter in uncharted { _ = try replicas[0].catalog.adopt(charters: [charter]) }
        let delivered = world.liars.flatMap(\.delivered)
        var before: [Digest] = [], rounds = 0
        for replica in replicas { replica.fails = nil }
        while before != replicas.map({ $0.catalog.root }) {
            rounds += 1
            try #require(rounds <= 20, "seed \(seed): they never agree")
            before = replicas.map { $0.catalog.root }
            for replica in replicas { try replica.tellAgain() }
            // What a liar said and a power cut undid, or what waited then, is told again by whoever has it.
            try replicas[0].admit(delivered.map(\.envelope))
            for i in 0..<Self.replicaCount { for j in 0..<Self.replicaCount where i != j { try world.exchange(i, j) } }
        }
        let full = story.charter.adding(charters), set = AdmittedSet(offered: story.facts + delivered, charter: full), view = CatalogView(set, charter: full)
        for replica in replicas {
            #expect(replica.catalog.charter.isSame(as: full), "seed \(seed), \(replica.name)")
            try IncrementalTests.expectSame(replica.catalog, set, view, "seed \(seed), \(replica.name)")
        }
        #expect(try replicas[0].catalog.verify().problems == [], "seed \(seed)")
        let lies = world.liars.reduce(0) { $0 + $1.lies.values.reduce(0, +) }
        #expect(world.exchanged > 20 && world.restarts > 0 && world.files > 0 && lies > 20 && !delivered.isEmpty, "seed \(seed)")
        #expect(replicas.contains { $0.cuts > 0 } && replicas.contains { !$0.acted.isEmpty }, "seed \(seed)")
    }
}
