package import MeshCore

/// What a deployment's journal adds up to: the durable truth about one app in one environment.
package struct DeploymentRecord: Sendable, Hashable {
    package struct Generation: Sendable, Hashable {
        package let number: Int
        package let run: String
        package let capsule: Digest
        package let output: Digest
        /// It was rolled back from: never a target unless a person names it.
        package var isBad: Bool
    }

    /// A run that has begun and not ended.
    package struct Pending: Sendable, Hashable {
        package let run: String
        package let kind: DeployMachine.Kind
        package let capsule: Digest
        package let generation: Int
        package let previous: Int?
        package var output: Digest?
        package var steps: [DeployMachine.Step]

        package init(run: String, kind: DeployMachine.Kind, capsule: Digest, generation: Int, previous: Int?, output: Digest?, steps: [DeployMachine.Step]) {
            (self.run, self.kind, self.capsule, self.generation) = (run, kind, capsule, generation)
            (self.previous, self.output, self.steps) = (previous, output, steps)
        }
    }

    package struct Ended: Sendable, Hashable {
        package let run: String
        package let capsule: Digest
        package let generation: Int
        package let state: RunState
        package let failure: Failure?
        package let at: Milliseconds
    }

    package enum Wanted: String, Sendable, Hashable, CaseIterable { case running, stopped }

    /// By number, lowest first.
    package private(set) var generations: [Generation] = []
    package private(set) var current: Int?
    /// Generations in the order in which they became current, the present one last.
    package private(set) var history: [Int] = []
    /// The highest number ever given; numbers are not used twice.
    package private(set) var last = 0
    package private(set) var wanted = Wanted.running
    package private(set) var pending: Pending?
    package private(set) var lastEnded: Ended?

    package init() {}

    package func generation(_ number: Int) -> Generation? { generations.first { $0.number == number } }
    package var currentGeneration: Generation? { current.flatMap { generation($0) } }

    /// Where a rollback goes unless told: the one that was current before and was not itself rolled back from.
    package var rollbackTarget: Int? {
        history.last { number in number != current && generation(number)?.isBad == false }
    }

    package mutating func apply(_ entry: JournalEntry) throws(MeshError) {
        switch entry {
        case .snapshot(let record): self = record
        case .begun(let pending):
            guard self.pending == nil else { throw Self.contradiction("a run begins before the one before it ended") }
            self.pending = pending
            last = max(last, pending.generation)
        case .step(let step, let output):
            guard pending != nil else { throw Self.contradiction("a step of no run") }
            pending?.steps.append(step)
            if let output { pending?.output = output }
        case .ended(let state, let failure, let at):
            guard let pending else { throw Self.contradiction("an end of no run") }
            lastEnded = Ended(run: pending.run, capsule: pending.capsule, generation: pending.generation, state: state, failure: failure, at: at)
            self.pending = nil
            if state == .committed { try commit(pending) }
        case .wanted(let wanted): self.wanted = wanted
        }
    }

    private mutating func commit(_ run: Pending) throws(MeshError) {
        if run.kind == .deploy {
            guard let output = run.output else { throw Self.contradiction("a deploy without an output") }
            generations.append(Generation(number: run.generation, run: run.run, capsule: run.capsule, output: output, isBad: false))
        } else {
            guard let index = generations.firstIndex(where: { $0.number == run.generation }) else { throw Self.contradiction("no generation \(run.generation)") }
            generations[index].isBad = false
        }
        if run.kind == .rollback, let index = generations.firstIndex(where: { $0.number == current }), generations[index].number != run.generation {
            generations[index].isBad = true
        }
        current = run.generation
        wanted = .running
        history.removeAll { $0 == run.generation }
        history.append(run.generation)
        if run.kind == .deploy { retain() }
    }

    /// Keeps the current generation and the last good ones before it.
    private mutating func retain() {
        let previous = history.reversed().filter { number in number != current && generation(number)?.isBad == false }
        let kept = Set(previous.prefix(Limits.previousGenerationsKept) + [current].compactMap(\.self))
        generations.removeAll { !kept.contains($0.number) }
        history.removeAll { !kept.contains($0) }
    }

    private static func contradiction(_ what: String) -> MeshError {
        MeshError(.deploymentJournalCorrupt, "the journal contradicts itself: \(what)")
    }
}

/// A `MeshError` as the journal keeps it.
package struct Failure: Sendable, Hashable {
    package let code: String
    package let exit: Int32
    package let message: String
    package let hint: String
    package let details: [String]

    package init(_ error: MeshError) {
        (code, exit, message, hint, details) = (error.code.name, error.code.exit.rawValue, error.message, error.hint, error.details)
    }

    package var error: MeshError {
        MeshError(ErrorCode(code, ExitStatus(rawValue: exit) ?? .unavailable), message, hint: hint, details: details)
    }
}

// MARK: - JSON

extension DeploymentRecord {
    package var json: JSONValue {
        var object: [String: JSONValue] = [
            "generations": .array(generations.map(\.json)), "history": .array(history.map { JSONValue($0) }), "last": JSONValue(last), "wanted": .string(wanted.rawValue),
        ]
        object["current"] = current.map { JSONValue($0) }
        object["pending"] = pending?.json
        object["lastEnded"] = lastEnded?.json
        return .object(object)
    }

    package init(_ json: JSONValue, at pointer: String = "") throws(MeshError) {
        var reader = try FieldReader(json, at: pointer)
        for item in try reader.array("generations") { generations.append(try Generation(item)) }
        for item in try reader.array("history") {
            guard let number = item.integer else { throw reader.invalid("history", "not numbers") }
            history.append(Int(number))
        }
        last = try reader.integer("last")
        wanted = try reader.choice("wanted")
        current = try reader.integerIfPresent("current")
        if let item = reader.optional("pending") { pending = try Pending(item) }
        if let item = reader.optional("lastEnded") { lastEnded = try Ended(item) }
        try reader.finish()
    }
}

extension DeploymentRecord.Generation {
    var json: JSONValue {
        ["number": JSONValue(number), "run": .string(run), "capsule": JSONValue(capsule), "output": JSONValue(output), "bad": .bool(isBad)]
    }

    init(_ json: JSONValue) throws(MeshError) {
        var reader = try FieldReader(json)
        number = try reader.integer("number")
        run = try reader.string("run")
        capsule = try reader.digest("capsule")
        output = try reader.digest("output")
        isBad = try reader.bool("bad")
        try reader.finish()
    }
}

extension DeploymentRecord.Pending {
    package var json: JSONValue {
        var object: [String: JSONValue] = [
            "run": .string(run), "kind": .string(kind.rawValue), "capsule": JSONValue(capsule), "generation": JSONValue(generation),
            "steps": .array(steps.map { .string($0.rawValue) }),
        ]
        object["previous"] = previous.map { JSONValue($0) }
        object["output"] = output.map { JSONValue($0) }
        return .object(object)
    }

    package init(_ json: JSONValue) throws(MeshError) {
        var reader = try FieldReader(json)
        run = try reader.string("run")
        kind = try reader.choice("kind")
        capsule = try reader.digest("capsule")
        generation = try reader.integer("generation")
        previous = try reader.integerIfPresent("previous")
        output = reader.optional("output") == nil ? nil : try reader.digest("output")
        var steps: [DeployMachine.Step] = []
        for name in try reader.strings("steps") {
            guard let step = DeployMachine.Step(rawValue: name) else { throw reader.invalid("steps", "“\(name)” is not a step") }
            steps.append(step)
        }
        self.steps = steps
        try reader.finish()
    }
}

extension DeploymentRecord.Ended {
    var json: JSONValue {
        var object: [String: JSONValue] = [
            "run": .string(run), "capsule": JSONValue(capsule), "generation": JSONValue(generation), "state": .string(state.rawValue), "at": .integer(at),
        ]
        object["failure"] = failure?.json
        return .object(object)
    }

    init(_ json: JSONValue) throws(MeshError) {
        var reader = try FieldReader(json)
        run = try reader.string("run")
        capsule = try reader.digest("capsule")
        generation = try reader.integer("generation")
        state = try reader.choice("state")
        failure = try reader.optional("failure").map { (item) throws(MeshError) in try Failure(item) }
        at = Int64(try reader.integer("at"))
        try reader.finish()
    }
}

extension Failure {
    package var json: JSONValue {
        ["code": .string(code), "exit": JSONValue(Int(exit)), "message": .string(message), "hint": .string(hint), "details": .array(details.map(JSONValue.string))]
    }

    package init(_ json: JSONValue) throws(MeshError) {
        var reader = try FieldReader(json)
        code = try reader.string("code")
        exit = Int32(clamping: try reader.integer("exit"))
        message = try reader.string("message")
        hint = try reader.string("hint")
        details = try reader.strings("details")
        try reader.finish()
    }
}

extension FieldReader {
    mutating func choice<C: RawRepresentable>(_ key: String) throws(MeshError) -> C where C.RawValue == String {
        let text = try string(key)
        guard let value = C(rawValue: text) else { throw invalid(key, "“\(text)” is not known") }
        return value
    }
}
