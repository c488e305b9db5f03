/// How far a run came (docs/deployments.md).
package enum RunState: String, Sendable, CaseIterable, Hashable {
    case fetched, verified, built, staged, started, healthy, switched, committed, rolledBack, failed
}

/// The course of one run as a value: an event goes in, the next step comes out. It does nothing itself; whoever drives it
/// writes each step down before doing it, so that after a crash the steps seen say what to finish or to undo.
///
/// The old generation serves until `switchOver`, unless the capsule forbids two at once. Up to there every failure leads
/// back to the old one; from there on every failure leads forward, because the new one was healthy.
package struct DeployMachine: Sendable, Hashable {
    package enum Kind: String, Sendable, CaseIterable, Hashable {
        /// A new generation from a capsule.
        case deploy
        /// Back to a generation that is still there.
        case rollback
        /// The current generation again, after it was stopped.
        case start
    }

    package enum Step: String, Sendable, CaseIterable, Hashable {
        case verify, build, stage, start, checkHealth, switchOver, drainPrevious, stopPrevious, commit
        case stopNew, startPrevious, switchBack, abandon
        case sweep
    }

    package enum Event: Sendable, Hashable {
        case begun
        case done(Step)
        /// The build is done, and the capsule says whether its new version may run beside the old one.
        case built(overlap: Bool)
        case failed(Step)
        /// The node starts again and finds these steps of an unfinished run; no process of it runs any more.
        case resumed(seen: [Step])
    }

    package let kind: Kind
    package let generation: Int
    /// The generation that serves when the run begins.
    package let previous: Int?
    package private(set) var state: RunState = .fetched
    private var overlap: Bool
    private var previousStopped = false
    private var switchTried = false

    package init(kind: Kind, generation: Int, previous: Int?, overlap: Bool = true) {
        self.kind = kind
        self.generation = generation
        self.previous = previous == generation ? nil : previous
        self.overlap = overlap
    }

    /// What a run that did not commit ends as: `rolledBack` where something that served was taken away and given back.
    package var endState: RunState { previousStopped || switchTried ? .rolledBack : .failed }

    /// The next step, or nil when the run is over.
    package mutating func handle(_ event: Event) -> Step? {
        switch event {
        case .begun:
            guard kind != .deploy else { return .verify }
            state = .staged
            return makeRoom()
        case .built(let overlap):
            self.overlap = overlap
            return after(.build)
        case .done(let step): return after(step)
        case .failed(let step): return afterFailure(of: step)
        case .resumed(let seen): return resume(seen)
        }
    }

    private mutating func after(_ step: Step) -> Step? {
        switch step {
        case .verify:
            state = .verified
            return .build
        case .build:
            state = .built
            return .stage
        case .stage:
            state = .staged
            return makeRoom()
        case .start:
            state = .started
            return .checkHealth
        case .checkHealth:
            state = .healthy
            return switchOver()
        case .switchOver:
            state = .switched
            return previous == nil || previousStopped ? .commit : .drainPrevious
        case .drainPrevious: return .stopPrevious
        case .stopPrevious: return state == .switched ? .commit : .start
        case .commit:
            state = .committed
            return .sweep
        case .stopNew: return previousStopped ? .startPrevious : afterPreviousServes()
        case .startPrevious: return afterPreviousServes()
        case .switchBack: return .abandon
        case .abandon:
            state = endState
            return .sweep
        case .sweep: return nil
        }
    }

    private mutating func afterFailure(of step: Step) -> Step? {
        switch step {
        case .verify, .build, .stage: .abandon
        case .start, .checkHealth, .switchOver: .stopNew
        case .stopPrevious where state != .switched: .startPrevious
        // Unrecorded, the run stays open in the journal: the next start or request finishes it.
        case .commit, .abandon: nil
        // The rest is cleaning up; what is left over does no harm and is tried again.
        case .drainPrevious, .stopPrevious, .stopNew, .startPrevious, .switchBack, .sweep: after(step)
        }
    }

    private mutating func makeRoom() -> Step {
        guard !overlap, previous != nil else { return .start }
        previousStopped = true
        return .stopPrevious
    }

    private mutating func switchOver() -> Step {
        switchTried = true
        return .switchOver
    }

    private func afterPreviousServes() -> Step { switchTried ? .switchBack : .abandon }

    private mutating func resume(_ seen: [Step]) -> Step {
        switchTried = seen.contains(.switchOver)
        let undoing = seen.contains(.stopNew) || seen.contains(.startPrevious) || seen.contains(.switchBack) || seen.contains(.abandon)
        previousStopped = seen.contains(.stopPrevious)
        guard switchTried, !undoing else { return afterPreviousServes() }
        state = .healthy
        // Whatever still served ended with the node.
        previousStopped = true
        return switchOver()
    }
}
