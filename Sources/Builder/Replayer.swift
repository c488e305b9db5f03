public import CapsuleStore
public import MeshCore
public import Signing
internal import CapsuleFormat
internal import Synchronization

/// Replays a capsule's manifest: its files, its steps, a sandbox that tells them nothing about the machine, and so the
/// same output on every machine with the same toolchain.
public final class Replayer: Sendable {
    public struct BuildResult: Sendable, Hashable {
        public let capsule: Digest
        /// Digest of the index of the output tree: the result, by which two builders compare.
        public let output: Digest
        /// Whether an earlier build of the same input answered.
        public let cached: Bool
        /// SHA-256 of the signed provenance's envelope, which is kept as a referrer of the capsule.
        public let provenance: Digest
        public let seconds: Double
        /// Path of the build's log; empty where nothing was run.
        public let log: String
    }

    private let store: CapsuleStore
    private let key: SigningKey
    private let clock: any WallClock
    private let events: EventSink
    private let tools: SandboxTools
    private let records: BuildRecords
    private let slots: BuildSlots
    private let started = Atomic<Int>(0)
    private let isPrepared = Mutex(false)

    public init(home: HomeLayout, store: CapsuleStore, key: SigningKey, clock: any WallClock, events: @escaping EventSink,
                tools: SandboxTools = SandboxTools()) {
        self.store = store
        self.key = key
        self.clock = clock
        self.events = events
        self.tools = tools
        records = BuildRecords(home)
        // Each build uses one CPU.
        slots = BuildSlots(HostToolchain.processors)
    }

    /// Starts an empty sandbox; `sandbox_unavailable`, with what to do about it, when that does not work here.
    public static func checkSandbox(tools: SandboxTools = SandboxTools()) throws(MeshError) {
        try SandboxProbe.run(tools)
    }

    /// The capsule's output, from an earlier build of the same input or built now. The capsule must be in the store.
    ///
    /// - Throws: `capsule_not_found`; `step_failed` with the step's last lines in `details`; `build_limit_exceeded`,
    ///   `output_missing`, `output_invalid`; `sandbox_unavailable`, `toolchain_unknown`, `inputs_unavailable`;
    ///   `build_cancelled` when the task is cancelled, after the sandbox has ended.
    public func build(_ capsule: Digest) async throws(MeshError) -> BuildResult {
        let start = Monotonic.milliseconds()
        let verified = try await offEventLoops { [store] () throws(MeshError) in try store.capsule(capsule) }
        guard let build = verified.manifest.build else {
            return try await offEventLoops { () throws(MeshError) in try self.take(verified, since: start) }
        }
        guard build.inputs.isEmpty else {
            throw MeshError(.inputsUnavailable,
                            "\(verified.manifest.id) builds with other capsules (build.inputs), which this node cannot mount",
                            hint: "put what they hold into the capsule's folder and leave out build.inputs")
        }
        let plan = BuildPlan(build, of: verified.manifest)
        if let known = try await offEventLoops({ () throws(MeshError) in try self.known(verified, since: start) }) { return known }

        try await slots.enter()
        defer { slots.leave() }
        let cancel = try WakeFlag()
        let result: Result<BuildResult, MeshError> = await withTaskCancellationHandler {
            do throws(MeshError) {
                return .success(try await offEventLoops { () throws(MeshError) in
                    try self.replay(verified, plan, cancel: cancel, since: start)
                })
            } catch { return .failure(error) }
        } onCancel: { cancel.raise() }
        return try result.get()
    }

    /// What builds of these capsules made. What is recorded of others is forgotten with `forgetting`.
    public func outputs(of capsules: Set<Digest>, forgetting: Bool) throws(MeshError) -> Set<Digest> {
        try records.outputs(of: capsules, forgetting: forgetting)
    }

    // MARK: - Without a sandbox

    private func input(_ capsule: VerifiedCapsule) throws(MeshError) -> BuildInput {
        let toolchain = capsule.manifest.build == nil ? nil : try HostToolchain.read()
        return BuildInput(capsule: capsule.digest, toolchain: toolchain, target: HostToolchain.target)
    }

    /// A capsule without steps is its own output.
    private func take(_ capsule: VerifiedCapsule, since start: Int64) throws(MeshError) -> BuildResult {
        let output = capsule.root.index
        let provenance = try attest(try input(capsule), of: capsule, output: output)
        return BuildResult(capsule: capsule.digest, output: output, cached: false, provenance: provenance,
                           seconds: Self.seconds(since: start), log: "")
    }

    private func known(_ capsule: VerifiedCapsule, since start: Int64) throws(MeshError) -> BuildResult? {
        guard let known = records.result(for: try input(capsule).digest), (try? store.tree(index: known.output)) != nil else { return nil }
        let result = BuildResult(capsule: capsule.digest, output: known.output, cached: true, provenance: known.provenance,
                                 seconds: Self.seconds(since: start), log: known.log)
        say("build.finished", [:], result)
        return result
    }

    /// Signs what was done and keeps it beside the capsule.
    private func attest(_ input: BuildInput, of capsule: VerifiedCapsule, output: Digest) throws(MeshError) -> Digest {
        let statement = Provenance.statement(input, of: capsule.manifest, output: output, by: key.publicKey.id)
        let envelope = Envelope.sign(payload: statement.bytes, payloadType: Statement.payloadType, with: key).bytes
        try store.addReferrer(ReferrerDocument(bytes: envelope, artifactType: Statement.payloadType), to: capsule.digest)
        return Digest.of(envelope)
    }

    private static func seconds(since start: Int64) -> Double { Double(Monotonic.milliseconds() - start) / 1000 }

    // MARK: - In the sandbox

    private struct StoreContent: ContentSource {
        let store: CapsuleStore
        func read(chunk: ChunkReference) throws(MeshError) -> [UInt8] { try store.read(chunk: chunk) }
    }

    private func replay(_ capsule: VerifiedCapsule, _ plan: BuildPlan, cancel: WakeFlag,
                        since start: Int64) throws(MeshError) -> BuildResult {
        let input = try input(capsule)
        try prepare()
        let id = records.newID(at: clock.now, capsule: capsule.digest)
        let told: [String: JSONValue] = ["build": .string(id), "capsule": JSONValue(capsule.digest)]
        do throws(MeshError) {
            let log = try BuildLog(creating: records.logPath(id), bytesMax: plan.bounds.logBytes) { [events] lines in
                let data = told.merging(["lines": .array(lines.map(JSONValue.string))]) { $1 }
                events(NodeEvent(source: "builder", type: "build.log", data: .object(data)))
            }
            let id = capsule.manifest.id
            say("build.started", told, ["name": .string(id.name.description), "version": .string(id.version.description),
                                        "steps": JSONValue(plan.steps.count)])
            let (output, hold) = try run(capsule, plan, log: log, cancel: cancel, told)
            // Until it is recorded nobody knows that the output is needed.
            defer { hold.end() }
            let provenance = try attest(input, of: capsule, output: output)
            try records.record(BuildRecords.Result(input: input.digest, capsule: capsule.digest, output: output, provenance: provenance, log: log.path))
            let result = BuildResult(capsule: capsule.digest, output: output, cached: false, provenance: provenance,
                                     seconds: Self.seconds(since: start), log: log.path)
            say("build.finished", told, result)
            return result
        } catch {
            say("build.failed", told, ["error": error.json])
            throw error
        }
    }

    private func prepare() throws(MeshError) {
        try isPrepared.withLock { (done) throws(MeshError) in
            if !done { try records.prepare() }
            done = true
        }
        try records.dropOldLogs()
    }

    private func run(_ capsule: VerifiedCapsule, _ plan: BuildPlan, log: BuildLog, cancel: WakeFlag,
                     _ told: [String: JSONValue]) throws(MeshError) -> (output: Digest, hold: StoreHold) {
        func place(_ step: Int) -> [String: JSONValue] {
            ["step": JSONValue(step + 1), "of": JSONValue(plan.steps.count), "command": .string(plan.steps[step])]
        }
        var stepStart: Int64 = 0
        let observer = SandboxSession.Observer(
            started: { step in
                stepStart = Monotonic.milliseconds()
                self.say("build.step.started", told, place(step))
            },
            ended: { step, code in
                let how: [String: JSONValue] = ["exitCode": JSONValue(code), "milliseconds": .integer(Monotonic.milliseconds() - stepStart)]
                self.say(code == 0 ? "build.step.finished" : "build.step.failed", told, place(step).merging(how) { $1 })
            })
        let cpu = ChildProcess.allowedCPU(started.add(1, ordering: .relaxed).oldValue)
        let session = try SandboxSession(plan, tools: tools, cpu: cpu, log: log, cancel: cancel, observer: observer)
        let outcome = try session.run { (give) throws(MeshError) in
            try CanonicalTar.write(capsule.tree, content: StoreContent(store: self.store), to: give)
        }
        switch outcome {
        case .finished(let build):
            let hold = try store.hold()
            let tree = try OutputTree(plan.outDir, in: build, bytesMax: plan.bounds.outputBytes).store(in: store)
            return (tree.index.digest, hold)
        case .stepFailed(let step, let code): throw Self.failure(of: step, code, plan, log)
        case .sourcesRefused(let code):
            throw MeshError(.buildLimitExceeded, "the sources could not be unpacked in the sandbox (tar ended with \(code))",
                            hint: "they must fit into build.limits.memoryBytes, which is \(plan.bounds.memoryBytes)", details: log.tail)
        }
    }

    private static func failure(of step: Int, _ code: Int, _ plan: BuildPlan, _ log: BuildLog) -> MeshError {
        // A shell reports a program that a signal ended as 128 + the signal.
        let how = code > 128 ? "was ended by signal \(code - 128)" : "ended with exit code \(code)"
        let command = plan.steps[step], shown = command.count > 200 ? command.prefix(200) + "…" : command[...]
        let whole = "the whole log is in \(log.path)"
        let what = "step \(step + 1) of \(plan.steps.count) \(how): \(shown)"
        guard NetworkHint.applies(to: log.tail) else { return MeshError(.stepFailed, what, hint: whole, details: log.tail) }
        return MeshError(.buildNeedsNetwork, what, hint: "\(NetworkHint.text); \(whole)", details: log.tail)
    }

    // MARK: - Events

    private func say(_ type: String, _ told: [String: JSONValue], _ more: [String: JSONValue]) {
        events(NodeEvent(source: "builder", type: type, data: .object(told.merging(more) { $1 })))
    }

    private func say(_ type: String, _ told: [String: JSONValue], _ result: BuildResult) {
        say(type, told, ["capsule": JSONValue(result.capsule), "output": JSONValue(result.output), "cached": .bool(result.cached),
                         "milliseconds": .integer(Int64(result.seconds * 1000))])
    }
}
