internal import CapsuleFormat
internal import CapsuleStore
internal import MeshCore
internal import Signing

/// The shell around one `FetchPlan`: does what the plan asks, each request as a child task, and tells it what came.
struct PullSession: Sendable {
    let exchange: PeerExchange
    let plan: FetchPlan
    let only: KeyID?
    let progress: (@Sendable (Int64, Int64) -> Void)?

    private typealias VerifiedChunk = (ChunkReference, [UInt8])

    private enum Outcome: Sendable {
        case event(FetchPlan.Event, chunks: [(ChunkReference, [UInt8])])
        /// Something here failed: the disk, the store.
        case failure(MeshError)
        case listed
        case peersChanged
        case contacted
    }

    /// Peers come and go without a ring when they fail slowly; looked at this often at least.
    private static let lookAround = Duration.seconds(1)

    func run() async throws(MeshError) -> PeerExchange.PullResult {
        let started = ContinuousClock.now
        // What is here by the first comparison, and every batch that comes, must still be here when the capsule is listed.
        let store = exchange.store
        let hold = try await offEventLoops { () throws(MeshError) in try store.hold() }
        defer { hold.end() }
        let result: Result<FetchPlan, MeshError> = await withTaskGroup(of: Outcome.self) { group in
            var shell = Shell(plan: plan)
            defer { group.cancelAll() }
            exchange.events(NodeEvent(source: "exchange", type: "pull.started", data: ["capsule": JSONValue(plan.wanted)]))
            contactOthers(&group, &shell)
            watchPeers(&group)
            perform(shell.plan.handle(.peers(candidates)), &group, &shell)
            while let outcome = await group.next() {
                if Task.isCancelled { return .failure(await interrupted(shell)) }
                switch outcome {
                case .failure(let error): return .failure(error)
                case .listed: return .success(shell.plan)
                case .contacted: continue
                case .peersChanged:
                    watchPeers(&group)
                    contactOthers(&group, &shell)
                    perform(shell.plan.handle(.peers(candidates)), &group, &shell)
                case .event(let event, let chunks):
                    shell.verified += chunks
                    perform(await handled(event, &shell), &group, &shell)
                    if shell.isProgress(of: event) { shell.moved() }
                    report(&shell)
                }
                if shell.plan.isWaiting, shell.sinceMoved > exchange.patience { perform(shell.plan.handle(.impatient), &group, &shell) }
                if let failure = shell.failure { return .failure(failure) }
            }
            return .failure(await interrupted(shell))
        }
        let done = try result.get()
        await fetchReferrers(from: done.sources.isEmpty ? exchange.neighbours.connected : done.sources)
        let elapsed = ContinuousClock.now - started
        let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) / 1e18
        exchange.events(NodeEvent(source: "exchange", type: "pull.completed", data: [
            "capsule": JSONValue(plan.wanted), "bytesFetched": .integer(done.fetchedBytes), "bytesReused": .integer(done.listedBytes - done.missingBytes),
            "sources": .array(done.sources.map { .string($0.hex) }),
        ]))
        return PeerExchange.PullResult(digest: plan.wanted, bytesFetched: done.fetchedBytes, bytesReused: done.listedBytes - done.missingBytes,
                                       sources: done.sources, seconds: seconds)
    }

    /// Envelopes that refer to the capsule, from up to three peers. That one cannot give them does not fail the fetch.
    func fetchReferrers(from peers: [KeyID]) async {
        let store = exchange.store, wanted = plan.wanted
        for peer in peers.prefix(3) {
            guard let identity = try? exchange.identity, let client = try? await exchange.neighbours.client(for: .node(peer), identity: identity),
                  let documents = try? await client.referrers(of: wanted) else { continue }
            _ = try? await offEventLoops { () throws(MeshError) in
                let known = Set(try store.referrers(of: wanted))
                for document in documents where !known.contains(document) && (try? Envelope(parsing: document.bytes)) != nil {
                    try store.addReferrer(document, to: wanted)
                }
            }
        }
    }

    // MARK: The loop's state

    private struct Shell {
        var plan: FetchPlan
        var verified: [VerifiedChunk] = []
        var failure: MeshError?
        var tried: [PeerTable.Key: ContinuousClock.Instant] = [:]
        private var lastMoved = ContinuousClock.now
        private var lastReport: (at: ContinuousClock.Instant, bytes: Int64)?

        init(plan: FetchPlan) { self.plan = plan }

        var sinceMoved: Duration { .now - lastMoved }
        mutating func moved() { lastMoved = .now }

        func isProgress(of event: FetchPlan.Event) -> Bool {
            switch event {
            case .document(_, _, let bytes): bytes != nil
            case .missing, .committed: true
            case .chunks(_, _, let arrivals): arrivals.contains(.verified)
            case .peers, .have, .failed, .impatient: false
            }
        }

        /// Every quarter of a second, every twentieth of the bytes, and at the end.
        mutating func isReportDue() -> Bool {
            let isDue = lastReport.map { .now - $0.at > .milliseconds(250) || (plan.fetchedBytes - $0.bytes) * 20 > plan.missingBytes } ?? true
            guard isDue || plan.isEnded else { return false }
            lastReport = (.now, plan.fetchedBytes)
            return true
        }
    }

    private var candidates: [KeyID] {
        let connected = exchange.neighbours.connected
        return only.map { only in connected.filter { $0 == only } } ?? connected
    }

    /// Index and chunk list can be large: checking them is kept off the threads that async code shares.
    private func handled(_ event: FetchPlan.Event, _ shell: inout Shell) async -> [FetchPlan.Action] {
        guard case .document = event else { return shell.plan.handle(event) }
        let before = shell.plan
        let after: (plan: FetchPlan, actions: [FetchPlan.Action])? = try? await offEventLoops { () throws(MeshError) in
            var plan = before
            let actions = plan.handle(event)
            return (plan, actions)
        }
        guard let after else { return [] }
        shell.plan = after.plan
        return after.actions
    }

    private func report(_ shell: inout Shell) {
        guard shell.plan.listedBytes > 0, shell.isReportDue() else { return }
        progress?(shell.plan.fetchedBytes, shell.plan.missingBytes)
        exchange.events(NodeEvent(source: "exchange", type: "pull.progress", data: [
            "capsule": JSONValue(plan.wanted), "bytesFetched": .integer(shell.plan.fetchedBytes), "bytesMissing": .integer(shell.plan.missingBytes),
            "bytesReused": .integer(shell.plan.listedBytes - shell.plan.missingBytes), "sources": .array(shell.plan.sources.map { .string($0.hex) }),
        ]))
    }

    /// What was verified is made durable before the fetch is left.
    private func interrupted(_ shell: Shell) async -> MeshError {
        let store = exchange.store, chunks = shell.verified
        _ = try? await offEventLoops { () throws(MeshError) in try store.addChunks(chunks) }
        return MeshError(.pullInterrupted, "the fetch of \(plan.wanted) was interrupted", hint: "run the same command again; it goes on from there")
    }

    // MARK: Doing what the plan asks

    private func perform(_ actions: [FetchPlan.Action], _ group: inout TaskGroup<Outcome>, _ shell: inout Shell) {
        let exchange = exchange, wanted = plan.wanted
        for action in actions {
            switch action {
            case .ask(let peer, let request):
                group.addTask { await self.ask(peer, request) }
            case .compare(let list):
                group.addTask { await Self.here { () throws(MeshError) in .event(.missing(try Self.compare(list, exchange)), chunks: []) } }
            case .commit:
                let chunks = shell.verified
                shell.verified = []
                group.addTask {
                    await Self.here { () throws(MeshError) in
                        try exchange.store.addChunks(chunks)
                        return .event(.committed, chunks: [])
                    }
                }
            case .drop(let peer, let why):
                exchange.events(NodeEvent(source: "exchange", type: "pull.peer.dropped", data: ["capsule": JSONValue(wanted), "peer": .string(peer.hex), "why": .string(why)]))
            case .complete(let capsule):
                group.addTask {
                    await Self.here { () throws(MeshError) in
                        _ = try exchange.store.add(capsule, expecting: wanted, origin: .fetched)
                        return .listed
                    }
                }
            case .fail(let error): shell.failure = error
            }
        }
    }

    private static func here(_ body: @escaping @Sendable () throws(MeshError) -> Outcome) async -> Outcome {
        do throws(MeshError) { return try await offEventLoops(body) } catch { return .failure(error) }
    }

    /// What the store lacks, if there is room for it: half as much again for the work of storing, and a margin.
    private static func compare(_ list: [ChunkReference], _ exchange: PeerExchange) throws(MeshError) -> [ChunkReference] {
        let missing = try exchange.store.missing(list)
        let bytes = missing.reduce(Int64(0)) { $0 + Int64($1.length) }
        let needed = bytes + bytes / 8 + (16 << 20)
        let free = try Files.freeBytes(at: exchange.home.path)
        guard missing.isEmpty || free >= needed else {
            throw MeshError(.diskFull, "fetching needs \(needed >> 20) MiB, \(free >> 20) MiB are free at \(exchange.home.path)", hint: "free some space and run the same command again")
        }
        return missing
    }

    private func ask(_ peer: KeyID, _ request: FetchPlan.Request) async -> Outcome {
        do throws(MeshError) {
            let client = try await exchange.neighbours.client(for: .node(peer), identity: try exchange.identity)
            switch request {
            case .document(let document, let digest):
                let name = plan.release?.name.description ?? "capsule"
                return .event(.document(document, from: peer, try await client.blob(digest, ofCapsuleNamed: name, bytesMax: document.bytesMax)), chunks: [])
            case .have(let first, let digests):
                return .event(.have(peer, first: first, try await client.have(digests)), chunks: [])
            case .chunks(let batch, let wanted):
                let answers = try await client.chunks(wanted)
                let (arrivals, verified) = try await offEventLoops { () throws(MeshError) in Self.check(answers, wanted) }
                return .event(.chunks(batch: batch, from: peer, arrivals), chunks: verified)
            }
        } catch {
            if !Task.isCancelled { exchange.neighbours.failed(.node(peer), error, now: exchange.clock.now) }
            return .event(.failed(peer, request), chunks: [])
        }
    }

    private static func check(_ answers: [[UInt8]?], _ wanted: [ChunkReference]) -> ([FetchPlan.Arrival], [(ChunkReference, [UInt8])]) {
        var arrivals: [FetchPlan.Arrival] = []
        var verified: [(ChunkReference, [UInt8])] = []
        for (answer, chunk) in zip(answers, wanted) {
            guard let bytes = answer else {
                arrivals.append(.absent)
                continue
            }
            let isRight = bytes.count == chunk.length && Digest.of(bytes) == chunk.digest
            arrivals.append(isRight ? .verified : .wrong)
            if isRight { verified.append((chunk, bytes)) }
        }
        return (arrivals, verified)
    }

    // MARK: Looking for peers

    private func watchPeers(_ group: inout TaskGroup<Outcome>) {
        let bell = exchange.neighbours.changed
        let heard = bell.rings
        group.addTask {
            _ = await bell.wait(after: heard, upTo: Self.lookAround)
            return .peersChanged
        }
    }

    /// Peers that are not connected are said hello to, now and then while this fetch runs.
    private func contactOthers(_ group: inout TaskGroup<Outcome>, _ shell: inout Shell) {
        for (key, entry) in exchange.neighbours.entries where entry.state != .connected {
            if let only, key != .node(only) { continue }
            if let last = shell.tried[key], .now - last < .seconds(Limits.connectSecondsMax + 1) { continue }
            shell.tried[key] = .now
            group.addTask {
                _ = try? await exchange.contact(key)
                return .contacted
            }
        }
    }
}
