internal import Builder
internal import CapsuleFormat
internal import CapsuleStore
internal import MeshCore

/// Carries out the steps that `DeployMachine` asks for: each is in the journal before it is done.
struct DeploymentRunner {
    private let parts: DeploymentParts
    private let serving: Serving
    private let slot: DeploymentSlot
    private let run: DeploymentRecord.Pending
    private var machine: DeployMachine
    private var output: Digest?
    private var new: Backend?
    private let old: Backend?
    private var failure: MeshError?

    /// The slot's turn must be held.
    init(_ run: DeploymentRecord.Pending, overlap: Bool, parts: DeploymentParts, serving: Serving, slot: DeploymentSlot) {
        (self.run, self.parts, self.serving, self.slot) = (run, parts, serving, slot)
        machine = DeployMachine(kind: run.kind, generation: run.generation, previous: slot.backend == nil ? nil : run.previous, overlap: overlap)
        output = run.output
        old = slot.backend
    }

    /// - Throws: why the run did not commit, after everything was undone.
    mutating func begin() async throws(MeshError) {
        try serving.checkGoesOn()
        try await slot.write(.begun(run))
        say("deploy.started", ["kind": .string(run.kind.rawValue)])
        try await drive(machine.handle(.begun))
    }

    /// Finishes or undoes what an earlier life of the node left open.
    mutating func resume() async throws(MeshError) {
        failure = MeshError(.deployInterrupted, "the node ended in the middle of this deploy", hint: "what served before serves again; deploy again")
        say("deploy.resumed", ["steps": .array(run.steps.map { .string($0.rawValue) })])
        try await drive(machine.handle(.resumed(seen: run.steps)))
    }

    private mutating func drive(_ first: DeployMachine.Step?) async throws(MeshError) {
        slot.set(running: machine.state)
        defer { slot.set(running: nil) }
        var next = first
        while let step = next {
            let state = machine.state
            do throws(MeshError) {
                if Self.canBeCancelled.contains(step) { try serving.checkGoesOn() }
                try await writeDown(step)
                next = machine.handle(try await perform(step))
            } catch {
                // Once the new one serves, only a commit that could not be written down is a failure.
                if state != .committed, state != .switched || step == .commit { failure = failure ?? error }
                next = machine.handle(.failed(step))
            }
            if machine.state != state { reached(machine.state) }
        }
        if machine.state != .committed, let failure { throw failure }
    }

    private static let canBeCancelled: Set<DeployMachine.Step> = [.verify, .build, .stage, .start, .checkHealth]

    private func writeDown(_ step: DeployMachine.Step) async throws(MeshError) {
        switch step {
        case .commit: try await slot.write(.ended(.committed, nil, at: parts.clock.now))
        case .abandon: try await slot.write(.ended(machine.endState, failure.map(Failure.init), at: parts.clock.now))
        case .sweep: break
        default: try await slot.write(.step(step, output: step == .stage ? output : nil))
        }
        say("deploy.step", ["step": .string(step.rawValue)])
    }

    private mutating func perform(_ step: DeployMachine.Step) async throws(MeshError) -> DeployMachine.Event {
        switch step {
        case .verify:
            try await offEventLoops { [parts, run] () throws(MeshError) in try parts.store.verifyContents(of: try parts.store.capsule(run.capsule).tree) }
        case .build:
            let plan = try ServicePlan(try await manifest())
            output = try await serving.untilEnd { [parts, run] () async throws(MeshError) in try await parts.replayer.build(run.capsule).output }
            return .built(overlap: plan.overlap)
        case .stage: try await stage()
        case .start:
            guard let output else { throw MeshError(.deploymentJournalCorrupt, "the output of generation \(run.generation) is not known") }
            let backend = try await parts.makeBackend(run.generation, capsule: run.capsule, output: output, in: slot)
            new = backend
            try backend.app?.start()
        case .checkHealth:
            guard let app = new?.app else { break }
            let plan = try ServicePlan(try await manifest())
            let check = HealthCheck(plan: plan.health, app: app, client: serving.client) { [serving] () throws(MeshError) in try serving.checkGoesOn() }
            try await check.wait()
        case .switchOver:
            try await slot.point(to: run.generation)
            guard let new else { break }
            new.app?.keepRunning()
            slot.set(backend: new)
            parts.routes.set(slot.key, .serving(new))
        case .drainPrevious: await old?.drain(seconds: Limits.drainSecondsMax)
        case .stopPrevious:
            if machine.state != .switched {
                parts.routes.set(slot.key, .changing)
                await old?.drain(seconds: Limits.drainSecondsMax)
            }
            await old?.app?.stop()
        case .commit, .abandon: break
        case .stopNew:
            await new?.app?.stop()
            new = nil
        case .startPrevious: await parts.serveCurrent(of: slot)
        case .switchBack: try await slot.point(to: slot.record.current)
        case .sweep: try await slot.sweep()
        }
        return .done(step)
    }

    private func stage() async throws(MeshError) {
        guard let output else { throw MeshError(.deploymentJournalCorrupt, "the output of generation \(run.generation) is not known") }
        try await offEventLoops { [parts, slot, run] () throws(MeshError) in
            let folder = slot.folder.generation(run.generation)
            try Files.makeDirectory(slot.folder.generations)
            try Files.removeTree(folder)
            _ = try parts.store.restore(try parts.store.tree(index: output), manifest: nil, to: folder)
            try Files.syncFileSystem(holding: slot.folder.generations)
        }
    }

    private func manifest() async throws(MeshError) -> Manifest {
        try await offEventLoops { [parts, run] () throws(MeshError) in try parts.store.capsule(run.capsule).manifest }
    }

    private func reached(_ state: RunState) {
        slot.set(running: state)
        say("deploy.state", ["state": .string(state.rawValue)])
        switch state {
        case .committed: say("deploy.committed", ["state": .string(state.rawValue)])
        case .failed, .rolledBack: say("deploy.failed", ["state": .string(state.rawValue), "error": failure?.json ?? .null])
        default: break
        }
    }

    private func say(_ type: String, _ more: [String: JSONValue]) {
        let about: [String: JSONValue] = ["run": .string(run.run), "capsule": JSONValue(run.capsule), "generation": JSONValue(run.generation)]
        parts.say(type, slot.key, about.merging(more) { $1 })
    }
}
