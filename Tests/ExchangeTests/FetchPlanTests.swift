import CapsuleFormat
import Exchange
import MeshCore
import Signing
import Testing

/// A capsule without content: the plan never sees a chunk's bytes.
private struct Sample {
    let root: CapsuleRoot
    let index: TreeIndex
    let chunks: ChunkList

    init(chunks count: Int, length: Int = 32_768) throws {
        let references = (0..<count).map { ChunkReference(digest: Digest.of(Array("chunk \($0)".utf8)), length: length) }
        let entries = count == 0 ? [] : [TreeEntry(path: "data", mode: TreeEntry.plainMode, content: .file(size: Int64(count * length), sha256: Digest.of([7])))]
        index = try TreeIndex(entries: entries, kind: .app)
        chunks = ChunkList(references)
        let manifest = try Manifest(["id": "urn:oursynth:app:sample@1.0.0", "name": "Sample", "version": "1.0.0", "app": ["framework": "static"]])
        root = CapsuleRoot(manifest: manifest, index: index.digest, chunks: chunks.digest)
    }

    func bytes(_ document: FetchPlan.Document) -> [UInt8] {
        switch document {
        case .root: root.bytes
        case .index: index.bytes
        case .chunks: chunks.bytes
        }
    }
}

/// Peers, store and network of a fetch, in memory, one event at a time in an order that a seed decides.
private struct World {
    struct Peer {
        var hasDocuments = true
        var has: Set<Digest>
        var requestsUntilDeath = Int.max
        var liesOften = false
        var forgetsOften = false
        var asked = 0
        var gave = 0
    }

    let sample: Sample
    var peers: [KeyID: Peer] = [:]
    var order: [KeyID] = []
    var stored: Set<Digest> = []
    var random: SeededRandom
    var verified: Set<Digest> = []
    var committed: [Digest] = []
    var dropped: [KeyID] = []
    var bytesAsked = 0
    var failure: MeshError?
    var isComplete = false
    private var network: [(KeyID, FetchPlan.Request)] = []
    private var waiting: [FetchPlan.Event] = []

    init(_ sample: Sample, seed: UInt64 = 1) {
        self.sample = sample
        random = SeededRandom(seed)
    }

    mutating func add(_ peer: Peer) -> KeyID {
        var id = KeyID(hex: Digest.of(Array("peer \(order.count)".utf8)).hex)
        while id == nil { id = SigningKey.generate().publicKey.id }
        guard let id else { return order[0] }
        peers[id] = peer
        order.append(id)
        return id
    }

    var everything: Set<Digest> { Set(sample.chunks.chunks.map(\.digest)) }

    /// Until the plan ends. Everything a plan must never do is checked here.
    mutating func run(_ plan: inout FetchPlan, sourceLocation: SourceLocation = #_sourceLocation) {
        perform(plan.handle(.peers(order)), sourceLocation)
        var steps = 0
        while !plan.isEnded, steps < 100_000 {
            steps += 1
            let event: FetchPlan.Event
            if plan.isWaiting {
                #expect(network.isEmpty && waiting.isEmpty, sourceLocation: sourceLocation)
                event = .impatient
            } else if !waiting.isEmpty, network.isEmpty || random.next() % 3 == 0 {
                event = waiting.removeFirst()
            } else if !network.isEmpty {
                let (peer, request) = network.remove(at: Int(random.next() % UInt64(network.count)))
                event = answer(peer, request)
            } else {
                Issue.record("the plan waits for something that was never asked", sourceLocation: sourceLocation)
                return
            }
            perform(plan.handle(event), sourceLocation)
            for peer in order {
                let underWay = network.count { if case .chunks = $0.1 { $0.0 == peer } else { false } }
                #expect(underWay <= Limits.fetchWindowPerPeer, sourceLocation: sourceLocation)
            }
        }
        #expect(plan.isEnded, "no end after \(steps) steps", sourceLocation: sourceLocation)
    }

    private mutating func perform(_ actions: [FetchPlan.Action], _ sourceLocation: SourceLocation) {
        for action in actions {
            switch action {
            case .ask(let peer, let request):
                #expect(!dropped.contains(peer), "a dropped peer was asked", sourceLocation: sourceLocation)
                peers[peer]?.asked += 1
                if case .chunks(_, let chunks) = request {
                    #expect((1...Limits.chunksPerRequestMax).contains(chunks.count), sourceLocation: sourceLocation)
                    #expect(chunks.reduce(0) { $0 + $1.length } <= Limits.frameBytesMax, sourceLocation: sourceLocation)
                    #expect(chunks.allSatisfy { !verified.contains($0.digest) && !stored.contains($0.digest) }, "fetched twice", sourceLocation: sourceLocation)
                    bytesAsked += chunks.reduce(0) { $0 + $1.length }
                }
                network.append((peer, request))
            case .compare(let list):
                #expect(Set(list.map(\.digest)).count == list.count, sourceLocation: sourceLocation)
                waiting.append(.missing(list.filter { !stored.contains($0.digest) }))
            case .commit:
                let new = verified.subtracting(committed)
                #expect(!new.isEmpty, "an empty commit", sourceLocation: sourceLocation)
                committed += new
                waiting.append(.committed)
            case .drop(let peer, _): dropped.append(peer)
            case .complete(let capsule):
                isComplete = true
                #expect(throws: Never.self, sourceLocation: sourceLocation) { try capsule.verified(as: sample.root.digest) }
                #expect(stored.union(committed) == everything, "complete without all chunks", sourceLocation: sourceLocation)
            case .fail(let error): failure = error
            }
        }
    }

    private mutating func answer(_ id: KeyID, _ request: FetchPlan.Request) -> FetchPlan.Event {
        guard var peer = peers[id], peer.requestsUntilDeath > 0 else { return .failed(id, request) }
        peer.requestsUntilDeath -= 1
        defer { peers[id] = peer }
        switch request {
        case .document(let document, _):
            return .document(document, from: id, peer.hasDocuments ? sample.bytes(document) : nil)
        case .have(let first, let digests):
            return .have(id, first: first, digests.map { peer.has.contains($0) })
        case .chunks(let batch, let chunks):
            let arrivals = chunks.map { chunk -> FetchPlan.Arrival in
                if peer.liesOften, random.next() % 4 == 0 { return .wrong }
                if peer.forgetsOften, random.next() % 2 == 0 { return .absent }
                return peer.has.contains(chunk.digest) ? .verified : .absent
            }
            for (chunk, arrival) in zip(chunks, arrivals) where arrival == .verified {
                verified.insert(chunk.digest)
                peer.gave += 1
            }
            return .chunks(batch: batch, from: id, arrivals)
        }
    }
}

private struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 | 1 }

    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }
}

@Suite struct FetchPlanTests {
    @Test(arguments: [0, 1, 31, 33, 2000])
    func onePeerGivesEverythingOnce(_ count: Int) throws {
        var world = World(try Sample(chunks: count))
        let peer = world.add(.init(has: world.everything))
        var plan = FetchPlan(wanted: world.sample.root.digest, release: nil)
        world.run(&plan)
        #expect(world.isComplete)
        #expect(world.bytesAsked == count * 32_768)
        #expect(plan.fetchedBytes == Int64(count * 32_768))
        #expect(plan.sources == (count == 0 ? [] : [peer]))
    }

    @Test func threePeersShareTheLoad() throws {
        var world = World(try Sample(chunks: 3000))
        let ids = (0..<3).map { _ in world.add(.init(has: world.everything)) }
        var plan = FetchPlan(wanted: world.sample.root.digest, release: nil)
        world.run(&plan)
        #expect(world.isComplete)
        for id in ids { #expect((500...2000).contains(world.peers[id]?.gave ?? 0)) }
    }

    @Test func whatIsHereIsNotFetchedAgain() throws {
        var world = World(try Sample(chunks: 1000))
        _ = world.add(.init(has: world.everything))
        world.stored = Set(world.sample.chunks.chunks.prefix(700).map(\.digest))
        var plan = FetchPlan(wanted: world.sample.root.digest, release: nil)
        world.run(&plan)
        #expect(world.isComplete)
        #expect(world.bytesAsked == 300 * 32_768)
        #expect(plan.listedBytes - plan.missingBytes == 700 * 32_768)
    }

    @Test func aDyingPeersBatchesMoveOn() throws {
        var world = World(try Sample(chunks: 2000))
        let dying = world.add(.init(has: world.everything, requestsUntilDeath: 12))
        _ = world.add(.init(has: world.everything))
        var plan = FetchPlan(wanted: world.sample.root.digest, release: nil)
        world.run(&plan)
        #expect(world.isComplete)
        #expect(world.dropped.isEmpty)
        #expect((world.peers[dying]?.gave ?? 0) > 0)
        // What was under way to it, and nothing more, was asked for twice.
        #expect(world.bytesAsked <= 2000 * 32_768 + Limits.fetchWindowPerPeer * Limits.frameBytesMax)
    }

    @Test func aLiarIsDroppedAndTheOthersFinish() throws {
        var world = World(try Sample(chunks: 2000))
        let liar = world.add(.init(has: world.everything, liesOften: true))
        let honest = world.add(.init(has: world.everything))
        var plan = FetchPlan(wanted: world.sample.root.digest, release: nil)
        world.run(&plan)
        #expect(world.isComplete)
        #expect(world.dropped == [liar])
        #expect(plan.sources.contains(honest))
    }

    @Test func partialHoldersServeWhatTheyHave() throws {
        var world = World(try Sample(chunks: 900))
        let list = world.sample.chunks.chunks.map(\.digest)
        let parts = [Set(list[..<300]), Set(list[250..<650]), Set(list[600...])].map { world.add(.init(hasDocuments: false, has: $0)) }
        _ = world.add(.init(has: []))
        var plan = FetchPlan(wanted: world.sample.root.digest, release: nil)
        world.run(&plan)
        #expect(world.isComplete)
        #expect(Set(plan.sources) == Set(parts))
    }

    @Test func chunksThatNobodyHasEndTheFetchAndTheRestIsKept() throws {
        var world = World(try Sample(chunks: 100))
        _ = world.add(.init(has: Set(world.sample.chunks.chunks.prefix(60).map(\.digest))))
        var plan = FetchPlan(wanted: world.sample.root.digest, release: nil)
        world.run(&plan)
        #expect(!world.isComplete)
        #expect(world.failure?.code == .noSource)
        #expect(world.failure?.message == "40 of 100 chunks are with no reachable peer")
        #expect(world.committed.count == 60)
    }

    @Test func withoutPeersItWaitsAndThenSaysSo() throws {
        var world = World(try Sample(chunks: 1))
        var plan = FetchPlan(wanted: world.sample.root.digest, release: nil)
        world.run(&plan)
        #expect(world.failure?.code == .noSource)
    }

    @Test(arguments: FetchPlan.Document.allCases)
    func aForgedDocumentDropsItsPeer(_ forged: FetchPlan.Document) throws {
        let sample = try Sample(chunks: 3), other = try Sample(chunks: 4)
        let peer = SigningKey.generate().publicKey.id
        var plan = FetchPlan(wanted: sample.root.digest, release: nil)
        var actions = plan.handle(.peers([peer]))
        var dropped: [KeyID] = []
        for document in FetchPlan.Document.allCases {
            guard dropped.isEmpty else { break }
            #expect(actions.contains { if case .ask(peer, .document(document, _)) = $0 { true } else { false } } || document == .chunks)
            actions = plan.handle(.document(document, from: peer, document == forged ? other.bytes(document) : sample.bytes(document)))
            if document == forged {
                for case .drop(let id, _) in actions { dropped.append(id) }
            }
        }
        #expect(dropped == [peer])
        #expect(!plan.isEnded)
    }

    @Test func aCapsuleThatIsNotWhatTheReleaseSaysIsRefused() throws {
        let sample = try Sample(chunks: 1)
        let peer = SigningKey.generate().publicKey.id
        let release = CapsuleID(name: try CapsuleName(parsing: "other"), version: try SemanticVersion(parsing: "1.0.0"))
        var plan = FetchPlan(wanted: sample.root.digest, release: release)
        _ = plan.handle(.peers([peer]))
        let actions = plan.handle(.document(.root, from: peer, sample.root.bytes))
        #expect(actions.contains { if case .fail(let error) = $0 { error.code == .releaseMismatch } else { false } })
        #expect(plan.isEnded)
    }

    /// 500 worlds with peers that hold parts, die, lie and forget. A fetch completes exactly when honest, living peers hold all.
    @Test func anyMixOfPeers() throws {
        for seed in 1...500 as ClosedRange<UInt64> {
            var random = SeededRandom(seed)
            let sample = try Sample(chunks: Int(random.next() % 120), length: Int(random.next() % 131_072) + 1)
            var world = World(sample, seed: seed)
            var honest: Set<Digest> = []
            var isDocumented = false
            for _ in 0 ..< Int(random.next() % 6) {
                let kind = random.next() % 4
                let has = world.everything.filter { _ in random.next() % 3 != 0 }
                var peer = World.Peer(hasDocuments: random.next() % 2 == 0, has: random.next() % 3 == 0 ? world.everything : has)
                switch kind {
                case 0: peer.requestsUntilDeath = Int(random.next() % 8)
                case 1: peer.liesOften = true
                case 2: peer.forgetsOften = true
                default:
                    honest.formUnion(peer.has)
                    isDocumented = isDocumented || peer.hasDocuments
                }
                _ = world.add(peer)
            }
            world.stored = world.everything.filter { _ in random.next() % 5 == 0 }
            var plan = FetchPlan(wanted: sample.root.digest, release: nil)
            world.run(&plan)
            if isDocumented, honest.union(world.stored) == world.everything { #expect(world.isComplete, "seed \(seed)") }
            #expect(world.isComplete != (world.failure != nil), "seed \(seed)")
            #expect(Set(world.committed) == world.verified, "seed \(seed)")
            #expect(Set(world.committed).count == world.committed.count, "seed \(seed)")
            #expect(world.dropped.allSatisfy { world.peers[$0]?.liesOften == true || world.peers[$0]?.forgetsOften == true }, "seed \(seed)")
        }
    }
}
