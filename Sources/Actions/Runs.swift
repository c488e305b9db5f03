public import MeshCore
internal import Synchronization

/// A long action under way or ended: what `GET /oai/runs/ID` shows.
public struct Run: Sendable {
    public enum State: Sendable {
        case running
        case finished(JSONValue)
        case failed(MeshError)
    }

    public let id: String
    public let action: String
    public let startedAt: Milliseconds
    public let state: State

    public var json: JSONValue {
        var out: [String: JSONValue] = ["runId": .string(id), "action": .string(action), "startedAt": .integer(startedAt)]
        switch state {
        case .running: out["status"] = "running"
        case .finished(let result):
            out["status"] = "finished"
            out["result"] = result
        case .failed(let error):
            out["status"] = "failed"
            out["error"] = error.json
        }
        return .object(out)
    }
}

/// The runs of this process, newest last. It owns their tasks: `cancelAll` ends every one of them.
public final class RunTable: Sendable {
    /// How many ended runs can still be asked about.
    static let kept = 1000
    /// A second of a long action's progress is worth a handful of events, not one for each chunk.
    static let progressMilliseconds: Milliseconds = 200

    private struct Row {
        let action: String
        let startedAt: Milliseconds
        var state = Run.State.running
        var task: Task<Void, Never>?
        var hasEnded: Bool { if case .running = state { false } else { true } }
    }

    private struct Table {
        var rows: [String: Row] = [:]
        var order: [String] = []
        var next = 0
    }

    private let table = Mutex(Table())
    private let clock: any WallClock
    private let prefix: String

    public init(clock: any WallClock) {
        self.clock = clock
        prefix = Hex.encode((0..<4).map { _ in UInt8.random(in: 0...255) })
    }

    /// Starts an action and returns its run's id at once. Everything it says carries the id as `data.run`.
    public func start(_ action: Action, _ params: JSONValue, registry: ActionRegistry, parts: NodeParts, log: EventLog) -> String {
        let startedAt = clock.now
        let id = table.withLock { table in
            table.next += 1
            let id = "run-\(prefix)-\(table.next)"
            table.rows[id] = Row(action: action.name, startedAt: startedAt)
            table.order.append(id)
            // The oldest that has ended: one that goes on keeps its task, by which it can be cancelled.
            if table.order.count > Self.kept, let oldest = table.order.firstIndex(where: { table.rows[$0]?.hasEnded ?? true }) {
                table.rows.removeValue(forKey: table.order.remove(at: oldest))
            }
            return id
        }
        let emit = Self.tagged(id, clock: clock) { log.append($0) }
        let task = Task {
            let state: Run.State
            do throws(MeshError) {
                state = .finished(try await registry.call(action, params, context: ActionContext(parts: parts, emit: emit)))
            } catch { state = .failed(error) }
            self.table.withLock { $0.rows[id]?.state = state; $0.rows[id]?.task = nil }
            log.append(NodeEvent(source: action.name, type: "run.ended", data: ["run": .string(id)]))
        }
        table.withLock { table in
            if case .running? = table.rows[id]?.state { table.rows[id]?.task = task }
        }
        return id
    }

    public func run(_ id: String) -> Run? {
        table.withLock { table in
            table.rows[id].map { Run(id: id, action: $0.action, startedAt: $0.startedAt, state: $0.state) }
        }
    }

    /// False when there is no such run or it has ended.
    public func cancel(_ id: String) -> Bool {
        let task = table.withLock { $0.rows[id]?.task }
        task?.cancel()
        return task != nil
    }

    public func cancelAll() {
        for task in table.withLock({ $0.rows.values.compactMap(\.task) }) { task.cancel() }
    }

    private static func tagged(_ id: String, clock: any WallClock, _ sink: @escaping EventSink) -> EventSink {
        let last = LastProgress()
        return { event in
            if event.type == "progress" {
                let now = clock.now
                guard last.at.withLock({ at in
                    guard now - at >= progressMilliseconds || now < at else { return false }
                    at = now
                    return true
                }) else { return }
            }
            var data = event.data.object ?? ["value": event.data]
            data["run"] = .string(id)
            sink(NodeEvent(source: event.source, type: event.type, data: .object(data)))
        }
    }

    private final class LastProgress: Sendable { let at = Mutex<Milliseconds>(0) }
}
