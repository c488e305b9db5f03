public import Builder
internal import CapsuleFormat
public import CapsuleStore
public import MeshCore
internal import Synchronization

/// What runs on this node: deploys, serves, watches, rolls back and stops (docs/deployments.md).
public final class DeploymentManager: Sendable {
    /// One app in one environment, as it is now or as a request left it.
    public struct Run: Sendable {
        /// H(capsule, app, environment, configuration): the same request has the same id.
        public let id: String
        public let capsule: Digest
        public let app: CapsuleName
        public let environment: DeploymentEnvironment
        /// `committed` while it serves; `stopped`; `restarting` after its process ended by itself; `down` where it should
        /// serve and does not (the node is not up, or `error` says why); the state of a run under way; `failed` or
        /// `rolledBack` for one that did not succeed.
        public let state: String
        /// Counts up with each deploy; 0 before the first succeeded.
        public let generation: Int
        /// Where it answers; nil while nothing does.
        public let url: String?
        public let output: Digest?
        public let error: MeshError?
    }

    let parts: DeploymentParts
    private let serving = Mutex<Serving?>(nil)
    private let slots = Mutex<[DeploymentKey: DeploymentSlot]>([:])

    public init(home: HomeLayout, store: CapsuleStore, replayer: Replayer, clock: any WallClock, events: @escaping EventSink) {
        parts = DeploymentParts(home: home, store: store, replayer: replayer, clock: clock, events: events)
    }

    /// Verifies, builds, starts and switches to a capsule of the store; what served before serves until the new one is
    /// healthy. The request that made what serves now is answered with it; after a `stop` it starts it again.
    ///
    /// - Parameter app: the capsule's name unless given.
    /// - Throws: `confirmation_required` for prod; `capsule_not_runnable`, `deployment_unsupported`; what building throws;
    ///   `unhealthy` with the last log lines; `deploy_cancelled`, `deploy_interrupted`; `deployments_not_running`.
    public func deploy(_ capsule: Digest, app: CapsuleName?, environment: DeploymentEnvironment) async throws(MeshError) -> Run {
        guard environment != .prod else {
            throw MeshError(.confirmationRequired, "a deploy to prod needs the confirmation of a person, and this node cannot take one yet", hint: "deploy to dev or staging")
        }
        let serving = try requireServing()
        let manifest = try await offEventLoops { [parts] () throws(MeshError) in try parts.store.capsule(capsule).manifest }
        // What could never run must not cost a build first.
        _ = try ServicePlan(manifest)
        let key = DeploymentKey(app: app ?? manifest.id.name, environment: environment)
        let slot = try makeSlot(key)
        let id = Self.runID(capsule, key)
        return try await slot.turn.take { () async throws(MeshError) in
            try await self.settle(slot, serving)
            if let current = slot.record.currentGeneration, current.run == id {
                if slot.record.wanted == .stopped {
                    try await self.start(current, in: slot, serving)
                    return try self.run(of: slot)
                }
                if self.serves(slot) { return try self.run(of: slot) }
            }
            let run = DeploymentRecord.Pending(run: id, kind: .deploy, capsule: capsule, generation: slot.record.last + 1, previous: slot.record.current, output: nil, steps: [])
            var runner = DeploymentRunner(run, overlap: true, parts: self.parts, serving: serving, slot: slot)
            try await runner.begin()
            return try self.run(of: slot)
        }
    }

    /// The capsules and build outputs of every generation that can be started or rolled back to, and of runs that have begun.
    public func held() async throws(MeshError) -> (capsules: Set<Digest>, outputs: Set<Digest>) {
        try await offEventLoops { [self] () throws(MeshError) in
            var capsules: Set<Digest> = [], outputs: Set<Digest> = []
            for key in try keysOnDisk() {
                guard let record = try slot(key)?.record else { continue }
                for generation in record.generations {
                    capsules.insert(generation.capsule)
                    outputs.insert(generation.output)
                }
                if let pending = record.pending {
                    capsules.insert(pending.capsule)
                    if let output = pending.output { outputs.insert(output) }
                }
            }
            return (capsules, outputs)
        }
    }

    /// Every app of every environment, the current generation of each; where none ever succeeded, the last attempt.
    public func list() async throws(MeshError) -> [Run] {
        try await offEventLoops { [self] () throws(MeshError) in
            var runs: [Run] = []
            for key in try keysOnDisk() {
                do throws(MeshError) {
                    if let slot = try slot(key), let run = describe(slot) { runs.append(run) }
                } catch where error.code == .deploymentJournalCorrupt {
                    // One damaged journal must not hide the others; what it still says is shown with the damage.
                    let record = Journal.readable(DeploymentFolder(key, home: parts.home).journal)
                    guard let run = Self.describe(record, key, damage: error) else { throw error }
                    runs.append(run)
                }
            }
            return runs
        }
    }

    /// The last lines that the app wrote, oldest first, each with its time and generation.
    public func logs(_ app: CapsuleName, _ environment: DeploymentEnvironment, lines: Int) async throws(MeshError) -> [String] {
        let count = min(max(lines, 0), Limits.appLogLinesPerAnswerMax)
        let slot = try require(DeploymentKey(app: app, environment: environment))
        return try await offEventLoops { () throws(MeshError) in try slot.log.tail(count) }
    }

    /// Switches to an earlier generation that is still kept, healthy first, like a deploy.
    ///
    /// - Parameter to: the generation that served before the current one, unless given.
    public func rollback(_ app: CapsuleName, _ environment: DeploymentEnvironment, to number: Int?) async throws(MeshError) -> Run {
        let serving = try requireServing()
        let slot = try require(DeploymentKey(app: app, environment: environment))
        return try await slot.turn.take { () async throws(MeshError) in
            try await self.settle(slot, serving)
            let record = slot.record
            guard let target = (number ?? record.rollbackTarget).flatMap({ record.generation($0) }) else {
                let kept = record.generations.map { String($0.number) }.joined(separator: ", ")
                throw MeshError(.generationNotFound, number.map { "\(slot.key) has no generation \($0) any more" } ?? "\(slot.key) has no earlier generation to go back to",
                                hint: kept.isEmpty ? "nothing was deployed yet" : "kept: \(kept); deploy an older capsule instead")
            }
            guard target.number != record.current || record.wanted == .stopped || !self.serves(slot) else { return try self.run(of: slot) }
            if target.number == record.current {
                try await self.start(target, in: slot, serving)
            } else {
                let run = DeploymentRecord.Pending(run: target.run, kind: .rollback, capsule: target.capsule, generation: target.number, previous: record.current, output: target.output, steps: [])
                var runner = DeploymentRunner(run, overlap: try await self.overlap(target.capsule), parts: self.parts, serving: serving, slot: slot)
                try await runner.begin()
            }
            return try self.run(of: slot)
        }
    }

    /// Stops the app and keeps it stopped, over restarts of the node too; data and generations stay.
    public func stop(_ app: CapsuleName, _ environment: DeploymentEnvironment) async throws(MeshError) -> Run {
        let slot = try require(DeploymentKey(app: app, environment: environment))
        return try await slot.turn.take { () async throws(MeshError) in
            if let serving = self.serving.withLock({ $0 }) { try await self.settle(slot, serving) }
            guard slot.record.current != nil else {
                throw MeshError(.deploymentNotFound, "\(slot.key) never came to run", hint: "`capsule ps` lists what does")
            }
            guard slot.record.wanted != .stopped else { return try self.run(of: slot) }
            try await slot.write(.wanted(.stopped))
            self.parts.routes.set(slot.key, .stopped)
            if let backend = slot.backend {
                await backend.drain(seconds: Limits.drainSecondsMax)
                await backend.app?.stop()
            }
            slot.set(backend: nil)
            self.parts.say("app.stopped", slot.key, ["generation": JSONValue(slot.record.current ?? 0)])
            return try self.run(of: slot)
        }
    }

    /// Serves the front port and everything that should run, until cancelled; then stops the processes in order. What ran
    /// is started again by the next `run`.
    ///
    /// - Parameter onReady: given the front's port once it is open and all that should run has been started.
    /// - Throws: `front_port_busy`, `front_not_loopback`.
    public func run(front: (host: String, port: Int), onReady: @escaping @Sendable (Int) -> Void) async throws(MeshError) {
        guard FrontServer.isLoopback(front.host) else {
            throw MeshError(.frontNotLoopback, "the front would listen on \(front.host)", hint: "apps are served to this machine only: --front 127.0.0.1:8080")
        }
        let serving = Serving()
        let isFirst = self.serving.withLock { present in
            guard present == nil else { return false }
            present = serving
            return true
        }
        guard isFirst else {
            await serving.close()
            throw MeshError(.frontFailed, "the deployments of this node are served already")
        }
        let result = await serve(front, serving, onReady)
        await shutDown(serving)
        try result.get()
    }

    private func serve(_ front: (host: String, port: Int), _ serving: Serving, _ onReady: @escaping @Sendable (Int) -> Void) async -> Result<Void, MeshError> {
        let server = FrontServer(routes: parts.routes, client: serving.client)
        let (listening, opened) = AsyncStream.makeStream(of: Int.self, bufferingPolicy: .bufferingNewest(1))
        return await withTaskGroup(of: Result<Void, MeshError>?.self) { group in
            group.addTask {
                defer { opened.finish() }
                do throws(MeshError) {
                    try await server.run(host: front.host, port: front.port) { opened.yield($0) }
                    return .success(())
                } catch { return .failure(error) }
            }
            group.addTask {
                for await port in listening {
                    serving.opened(port: port)
                    await self.startAll(serving)
                    onReady(port)
                }
                return nil
            }
            for await case let result? in group {
                group.cancelAll()
                return result
            }
            return .success(())
        }
    }

    private func startAll(_ serving: Serving) async {
        for key in (try? keysOnDisk()) ?? [] {
            let slot: DeploymentSlot
            do throws(MeshError) {
                guard let there = try self.slot(key) else { continue }
                slot = there
            } catch {
                parts.say("app.failed", key, ["error": error.json])
                parts.routes.set(key, .broken(error.message))
                continue
            }
            await slot.turn.take {
                guard !serving.isEnding else { return }
                do throws(MeshError) { try await self.settle(slot, serving) } catch { self.parts.say("app.failed", key, ["error": error.json]) }
                try? await slot.sweep()
                guard slot.record.current != nil, slot.backend == nil else { return }
                if slot.record.wanted == .stopped { return self.parts.routes.set(key, .stopped) }
                await self.parts.serveCurrent(of: slot)
            }
        }
    }

    private func shutDown(_ serving: Serving) async {
        serving.end()
        let all = slots.withLock { $0.values.sorted { $0.key < $1.key } }
        await withTaskGroup(of: Void.self) { group in
            for slot in all {
                group.addTask {
                    await slot.turn.take {
                        self.parts.routes.set(slot.key, nil)
                        await slot.backend?.app?.stop()
                        slot.set(backend: nil)
                    }
                }
            }
        }
        await serving.close()
        self.serving.withLock { $0 = nil }
    }

    // MARK: - Slots

    private func requireServing() throws(MeshError) -> Serving {
        guard let serving = serving.withLock({ $0 }), serving.port != nil, !serving.isEnding else {
            throw MeshError(.deploymentsNotRunning, "nothing is deployed while the node is not up", hint: "start it: `capsule up`")
        }
        return serving
    }

    /// A run that a crash or a full disk left open is brought to its end before anything else happens.
    private func settle(_ slot: DeploymentSlot, _ serving: Serving) async throws(MeshError) {
        guard let pending = slot.record.pending else { return }
        var runner = DeploymentRunner(pending, overlap: true, parts: parts, serving: serving, slot: slot)
        do throws(MeshError) { try await runner.resume() } catch {
            guard slot.record.pending == nil else { throw error }
        }
    }

    private func start(_ generation: DeploymentRecord.Generation, in slot: DeploymentSlot, _ serving: Serving) async throws(MeshError) {
        // What is left of a process that ended by itself.
        await slot.backend?.app?.stop()
        slot.set(backend: nil)
        let run = DeploymentRecord.Pending(run: generation.run, kind: .start, capsule: generation.capsule, generation: generation.number, previous: generation.number,
                                           output: generation.output, steps: [])
        var runner = DeploymentRunner(run, overlap: true, parts: parts, serving: serving, slot: slot)
        try await runner.begin()
    }

    private func overlap(_ capsule: Digest) async throws(MeshError) -> Bool {
        try await offEventLoops { [parts] () throws(MeshError) in try ServicePlan(try parts.store.capsule(capsule).manifest).overlap }
    }

    private func serves(_ slot: DeploymentSlot) -> Bool {
        guard let backend = slot.backend else { return false }
        return backend.app.map { $0.phase == .running } ?? true
    }

    private func require(_ key: DeploymentKey) throws(MeshError) -> DeploymentSlot {
        guard let slot = try slot(key) else {
            throw MeshError(.deploymentNotFound, "\(key.app) was never deployed to \(key.environment.rawValue)", hint: "`capsule ps` lists what was")
        }
        return slot
    }

    /// The slot, if it was ever deployed to.
    private func slot(_ key: DeploymentKey) throws(MeshError) -> DeploymentSlot? {
        guard Files.exists(DeploymentFolder(key, home: parts.home).journal) else { return slots.withLock { $0[key] } }
        return try openSlot(key)
    }

    private func makeSlot(_ key: DeploymentKey) throws(MeshError) -> DeploymentSlot {
        if let slot = try slot(key) { return slot }
        guard try keysOnDisk().count < Limits.deploymentsMax else {
            throw MeshError(.deploymentsFull, "\(Limits.deploymentsMax) deployments are on this node", hint: "remove the folder of one that is stopped from \(parts.home.deployments)")
        }
        return try openSlot(key)
    }

    private func openSlot(_ key: DeploymentKey) throws(MeshError) -> DeploymentSlot {
        try slots.withLock { (slots) throws(MeshError) in
            if let slot = slots[key] { return slot }
            let slot = try DeploymentSlot(key, home: parts.home, clock: parts.clock)
            slots[key] = slot
            return slot
        }
    }

    private func keysOnDisk() throws(MeshError) -> [DeploymentKey] {
        guard Files.isDirectory(parts.home.deployments) else { return [] }
        var keys: [DeploymentKey] = []
        for name in try Files.names(in: parts.home.deployments) {
            guard let app = try? CapsuleName(parsing: name) else { continue }
            for environment in DeploymentEnvironment.allCases {
                let key = DeploymentKey(app: app, environment: environment)
                if Files.exists(DeploymentFolder(key, home: parts.home).journal) { keys.append(key) }
            }
        }
        return keys.sorted()
    }

    // MARK: - Descriptions

    /// The same request is the same run. There is no configuration beside the capsule's own, which its digest covers; the empty one has its
    /// place in the digest, so that ids stay comparable.
    private static func runID(_ capsule: Digest, _ key: DeploymentKey) -> String {
        let request: JSONValue = ["app": .string(key.app.description), "capsule": JSONValue(capsule), "config": [:], "env": .string(key.environment.rawValue)]
        return String(Digest.of(request.canonicalBytes).hex.prefix(32))
    }

    private func run(of slot: DeploymentSlot) throws(MeshError) -> Run {
        guard let run = describe(slot) else { throw MeshError(.deploymentNotFound, "nothing was ever deployed to \(slot.key)", hint: "`capsule ps` lists what was") }
        return run
    }

    private static func describe(_ record: DeploymentRecord, _ key: DeploymentKey, damage: MeshError) -> Run? {
        if let current = record.currentGeneration {
            return Run(id: current.run, capsule: current.capsule, app: key.app, environment: key.environment, state: "down", generation: current.number, url: nil,
                       output: current.output, error: damage)
        }
        guard let (run, capsule) = record.pending.map({ ($0.run, $0.capsule) }) ?? record.lastEnded.map({ ($0.run, $0.capsule) }) else { return nil }
        return Run(id: run, capsule: capsule, app: key.app, environment: key.environment, state: "down", generation: 0, url: nil, output: nil, error: damage)
    }

    private func describe(_ slot: DeploymentSlot) -> Run? {
        let record = slot.record, key = slot.key
        if let current = record.currentGeneration {
            let backend = slot.backend
            let state = if record.wanted == .stopped { "stopped" } else if let app = backend?.app, app.phase != .running { "restarting" } else {
                backend == nil ? "down" : RunState.committed.rawValue
            }
            let port = serving.withLock { $0?.port }
            return Run(id: current.run, capsule: current.capsule, app: key.app, environment: key.environment, state: state, generation: current.number,
                       url: backend == nil ? nil : port.map { "http://\(key.host):\($0)/" }, output: current.output, error: slot.trouble)
        }
        if let pending = record.pending {
            return Run(id: pending.run, capsule: pending.capsule, app: key.app, environment: key.environment, state: (slot.running ?? .fetched).rawValue, generation: 0,
                       url: nil, output: pending.output, error: nil)
        }
        guard let ended = record.lastEnded else { return nil }
        return Run(id: ended.run, capsule: ended.capsule, app: key.app, environment: key.environment, state: ended.state.rawValue, generation: 0, url: nil, output: nil,
                   error: ended.failure?.error)
    }
}
