internal import Glibc
package import MeshCore
internal import Synchronization

/// One line of a deployment's journal.
package enum JournalEntry: Sendable, Hashable {
    /// Everything before it, added up.
    case snapshot(DeploymentRecord)
    case begun(DeploymentRecord.Pending)
    /// Written before the step is done; `stage` names the output that it restores.
    case step(DeployMachine.Step, output: Digest?)
    case ended(RunState, Failure?, at: Milliseconds)
    case wanted(DeploymentRecord.Wanted)

    package var json: JSONValue {
        switch self {
        case .snapshot(let record): return ["entry": "snapshot", "record": record.json]
        case .begun(let run): return ["entry": "begun", "run": run.json]
        case .step(let step, let output):
            var object: [String: JSONValue] = ["entry": "step", "step": .string(step.rawValue)]
            object["output"] = output.map { JSONValue($0) }
            return .object(object)
        case .ended(let state, let failure, let at):
            var object: [String: JSONValue] = ["entry": "ended", "state": .string(state.rawValue), "at": .integer(at)]
            object["failure"] = failure?.json
            return .object(object)
        case .wanted(let wanted): return ["entry": "wanted", "wanted": .string(wanted.rawValue)]
        }
    }

    package init(_ json: JSONValue) throws(MeshError) {
        var reader = try FieldReader(json)
        switch try reader.string("entry") {
        case "snapshot": self = .snapshot(try DeploymentRecord(try reader.required("record")))
        case "begun": self = .begun(try DeploymentRecord.Pending(try reader.required("run")))
        case "step": self = .step(try reader.choice("step"), output: reader.optional("output") == nil ? nil : try reader.digest("output"))
        case "ended":
            let failure = try reader.optional("failure").map { (item) throws(MeshError) in try Failure(item) }
            self = .ended(try reader.choice("state"), failure, at: Int64(try reader.integer("at")))
        case "wanted": self = .wanted(try reader.choice("wanted"))
        case let other: throw reader.invalid("entry", "“\(other)” is not known")
        }
        try reader.finish()
    }
}

/// The journal of one deployment: JSON lines `{"sum": first 16 hex digits of the entry's SHA-256, "is": entry}`, each on
/// the disk before `append` returns. A last line that a crash cut short is dropped; damage anywhere else is an error,
/// because what follows it would be guesswork.
package final class Journal: Sendable {
    private struct State {
        var bytes: Int64
        var entries: Int
    }

    package let path: String
    private let state: Mutex<State>

    /// Reads what is there; a missing file is an empty journal.
    /// - Throws: `deployment_journal_corrupt`
    package static func open(_ path: String) throws(MeshError) -> (journal: Journal, record: DeploymentRecord) {
        let content = Files.exists(path) ? try Files.read(path, bytesMax: Limits.deploymentJournalBytesMax) : []
        var record = DeploymentRecord()
        var good = 0, entries = 0, start = 0
        while start < content.count {
            let newline = content[start...].firstIndex(of: UInt8(ascii: "\n"))
            let entry: JournalEntry
            do throws(MeshError) {
                guard let newline else { break }
                entry = try Self.entry(Array(content[start..<newline]))
            } catch {
                if newline == content.count - 1 { break }
                throw Self.corrupt(path, "line \(entries + 1): \(error.message)")
            }
            do throws(MeshError) { try record.apply(entry) } catch { throw Self.corrupt(path, "line \(entries + 1): \(error.message)") }
            entries += 1
            start = (newline ?? content.count) + 1
            good = start
        }
        return (Journal(path: path, state: State(bytes: Int64(good), entries: entries)), record)
    }

    /// What a damaged journal says before the damage.
    package static func readable(_ path: String) -> DeploymentRecord {
        var record = DeploymentRecord()
        let content = (try? Files.read(path, bytesMax: Limits.deploymentJournalBytesMax)) ?? []
        for line in content.split(separator: UInt8(ascii: "\n")) {
            guard let entry = try? entry(Array(line)), (try? record.apply(entry)) != nil else { break }
        }
        return record
    }

    private init(path: String, state: State) {
        self.path = path
        self.state = Mutex(state)
    }

    /// Durable when it returns. After a failure (a full disk) nothing of it remains.
    package func append(_ entry: JournalEntry) throws(MeshError) {
        try state.withLock { (state) throws(MeshError) in
            let line = Self.line(entry)
            let isNew = !Files.exists(path)
            let file = try OpenFile(appending: path, mode: 0o600)
            // What an earlier write left behind when it failed would spoil the line that is written now.
            let size = try file.size()
            guard size >= state.bytes else { throw Self.corrupt(path, "it is shorter than it was") }
            if size != state.bytes {
                guard ftruncate(file.descriptor, off_t(state.bytes)) == 0 else { throw Files.failure("shorten", path) }
            }
            try file.write(line)
            try file.sync()
            if isNew { try Files.syncDirectory(Files.parent(of: path)) }
            state.bytes += Int64(line.count)
            state.entries += 1
        }
    }

    /// Replaces a long journal by one line.
    package func compact(to record: DeploymentRecord) throws(MeshError) {
        try state.withLock { (state) throws(MeshError) in
            guard state.entries > Limits.deploymentJournalEntriesMax else { return }
            let line = Self.line(.snapshot(record))
            try Files.writeDurably(line, to: path, mode: 0o600)
            state = State(bytes: Int64(line.count), entries: 1)
        }
    }

    private static func line(_ entry: JournalEntry) -> [UInt8] {
        let json = entry.json
        return JSONValue.object(["is": json, "sum": .string(sum(json))]).canonicalBytes + [UInt8(ascii: "\n")]
    }

    private static func entry(_ line: [UInt8]) throws(MeshError) -> JournalEntry {
        var reader = try FieldReader(JSONValue.parse(line, bytesMax: Limits.deploymentJournalBytesMax))
        let json = try reader.required("is"), sum = try reader.string("sum")
        try reader.finish()
        guard sum == Self.sum(json) else { throw MeshError(.deploymentJournalCorrupt, "its checksum is wrong") }
        return try JournalEntry(json)
    }

    private static func sum(_ json: JSONValue) -> String { String(Digest.of(json.canonicalBytes).hex.prefix(16)) }

    private static func corrupt(_ path: String, _ why: String) -> MeshError {
        MeshError(.deploymentJournalCorrupt, "the journal \(path) is damaged: \(why)",
                  hint: "check the disk; restore the file from a backup, or move it away and deploy again (the data folder stays)")
    }
}
