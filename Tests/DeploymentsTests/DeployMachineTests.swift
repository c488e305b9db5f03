import Deployments
import Testing

/// A world that does what the machine says, without any process: what serves, what `current` names, what the journal holds.
private struct World: Hashable {
    var old: Bool
    var new = false
    var current: String?
    var route: String?
    var seen: [DeployMachine.Step] = []
    var ended: RunState?
    var isOldAsked: Bool

    init(hasOld: Bool) {
        old = hasOld
        current = hasOld ? "old" : nil
        route = hasOld ? "old" : nil
        isOldAsked = hasOld
    }

    mutating func apply(_ step: DeployMachine.Step, _ machine: DeployMachine) {
        switch step {
        case .start: new = true
        case .switchOver:
            current = "new"
            route = "new"
        case .stopPrevious: old = false
        case .stopNew: new = false
        case .startPrevious:
            old = true
            route = "old"
        case .switchBack: current = isOldAsked ? "old" : nil
        case .commit: ended = .committed
        case .abandon: ended = machine.endState
        case .verify, .build, .stage, .checkHealth, .drainPrevious, .sweep: break
        }
    }
}

@Suite struct DeployMachineTests {
    typealias Step = DeployMachine.Step

    /// The steps of a run in which nothing, or only the given step, fails.
    private func steps(_ kind: DeployMachine.Kind, previous: Int?, overlap: Bool, failing: Step? = nil) -> (steps: [Step], state: RunState) {
        var machine = DeployMachine(kind: kind, generation: 2, previous: previous, overlap: overlap)
        var steps: [Step] = []
        var next = machine.handle(.begun)
        while let step = next {
            steps.append(step)
            next = machine.handle(step == failing ? .failed(step) : step == .build ? .built(overlap: overlap) : .done(step))
        }
        return (steps, machine.state)
    }

    @Test func theUsualCourses() {
        let build: [Step] = [.verify, .build, .stage], finish: [Step] = [.commit, .sweep]
        #expect(steps(.deploy, previous: nil, overlap: true).steps == build + [.start, .checkHealth, .switchOver] + finish)
        #expect(steps(.deploy, previous: 1, overlap: true).steps == build + [.start, .checkHealth, .switchOver, .drainPrevious, .stopPrevious] + finish)
        #expect(steps(.deploy, previous: 1, overlap: false).steps == build + [.stopPrevious, .start, .checkHealth, .switchOver] + finish)
        #expect(steps(.rollback, previous: 1, overlap: true).steps == [.start, .checkHealth, .switchOver, .drainPrevious, .stopPrevious] + finish)
        #expect(steps(.start, previous: 2, overlap: true).steps == [.start, .checkHealth, .switchOver] + finish)
        for kind in DeployMachine.Kind.allCases { #expect(steps(kind, previous: 1, overlap: true).state == .committed) }
    }

    @Test(arguments: [
        (Step.verify, true, [Step.verify, .abandon, .sweep], RunState.failed),
        (.build, true, [.verify, .build, .abandon, .sweep], .failed),
        (.stage, true, [.verify, .build, .stage, .abandon, .sweep], .failed),
        (.start, true, [.verify, .build, .stage, .start, .stopNew, .abandon, .sweep], .failed),
        (.checkHealth, true, [.verify, .build, .stage, .start, .checkHealth, .stopNew, .abandon, .sweep], .failed),
        (.checkHealth, false, [.verify, .build, .stage, .stopPrevious, .start, .checkHealth, .stopNew, .startPrevious, .abandon, .sweep], .rolledBack),
        (.switchOver, true, [.verify, .build, .stage, .start, .checkHealth, .switchOver, .stopNew, .switchBack, .abandon, .sweep], .rolledBack),
    ])
    func whatAFailureUndoes(_ failing: Step, _ overlap: Bool, _ expected: [Step], _ state: RunState) {
        let (steps, end) = steps(.deploy, previous: 1, overlap: overlap, failing: failing)
        #expect(steps == expected)
        #expect(end == state)
    }

    /// Every combination of one failure and one power cut, before and after every effect: the app is old or new, never
    /// neither, and what `current` names is what serves.
    @Test func neverNeither() {
        var courses = 0, cuts = 0
        for kind in DeployMachine.Kind.allCases {
            for overlap in [true, false] {
                for hasOld in kind == .rollback ? [true] : kind == .start ? [false] : [true, false] {
                    for failing in [nil] + Step.allCases.map(Optional.some) {
                        courses += 1
                        cuts += follow(kind, overlap: overlap, hasOld: hasOld, failing: failing)
                    }
                }
            }
        }
        #expect(courses == (2 + 1 + 1) * 2 * (Step.allCases.count + 1))
        #expect(cuts > 500)
        print("deploy machine: \(courses) courses, \(cuts) power cuts")
    }

    private func follow(_ kind: DeployMachine.Kind, overlap: Bool, hasOld: Bool, failing: Step?) -> Int {
        var machine = DeployMachine(kind: kind, generation: 2, previous: hasOld ? 1 : nil, overlap: overlap)
        var world = World(hasOld: hasOld)
        var cuts = 0
        let about = "\(kind) overlap \(overlap) old \(hasOld) failing \(failing.map(\.rawValue) ?? "-")"
        var next = machine.handle(.begun)
        var count = 0
        while let step = next {
            count += 1
            guard count < 40 else {
                Issue.record("\(about) does not end")
                return cuts
            }
            // The intent could not be written, so nothing happens.
            let isWritten = !(step == failing && (step == .commit || step == .abandon))
            if isWritten, step != .sweep, step != .commit, step != .abandon { world.seen.append(step) }
            cut(world, kind, hasOld: hasOld, about)
            // A failure may have done its effect in part.
            if isWritten, step != failing || step == .switchOver { world.apply(step, machine) }
            if hasOld, overlap, world.ended == nil { #expect(world.old && world.route == "old" || world.new && world.route == "new", "\(about) at \(step)") }
            cut(world, kind, hasOld: hasOld, about)
            cuts += 2
            next = machine.handle(step == failing ? .failed(step) : step == .build ? .built(overlap: overlap) : .done(step))
            // The route follows only a switch that succeeded.
            if step == failing, step == .switchOver { world.route = hasOld ? "old" : nil }
        }
        switch machine.state {
        case .committed: #expect(world.current == "new" && world.new && world.route == "new" && (!world.old || failing == .stopPrevious), "\(about)")
        case .failed, .rolledBack:
            #expect(world.current == (hasOld ? "old" : nil) || failing == .switchBack, "\(about)")
            #expect(world.old == hasOld || failing == .startPrevious, "\(about)")
            #expect(!world.new || failing == .stopNew, "\(about)")
            #expect(machine.state == machine.endState)
        default: #expect(failing == .commit || failing == .abandon, "\(about) ends \(machine.state)")
        }
        return cuts
    }

    /// The node dies here; its next life reads the journal.
    private func cut(_ before: World, _ kind: DeployMachine.Kind, hasOld: Bool, _ about: String) {
        var world = before
        (world.old, world.new, world.route) = (false, false, nil)
        if world.ended == nil {
            var machine = DeployMachine(kind: kind, generation: 2, previous: nil)
            var next: Step? = machine.handle(.resumed(seen: world.seen))
            var count = 0
            while let step = next, count < 20 {
                count += 1
                world.apply(step, machine)
                next = machine.handle(.done(step))
            }
            #expect(count < 20 && world.ended != nil, "\(about) after \(before.seen) is not settled")
        }
        let committed = world.ended == .committed
        #expect(world.current == (committed ? "new" : hasOld ? "old" : nil), "\(about) after \(before.seen): \(world)")
        // Nothing unhealthy is ever finished forward.
        if committed { #expect(before.seen.contains(.checkHealth), "\(about) after \(before.seen)") }
    }
}
