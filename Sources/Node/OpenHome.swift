public import Actions
public import MeshCore
internal import Synchronization

/// A home opened under its lock: its rooms and the log that hears them.
public struct OpenHome: Sendable {
    public let parts: NodeParts
    public let log: EventLog

    /// - Throws: `home_missing`, `home_in_use` (another process has it), and whatever keeps a room from opening.
    public init(_ home: HomeLayout, clock: any WallClock) throws(MeshError) {
        let relay = EventRelay()
        parts = try NodeParts(home: home, clock: clock, events: { relay.send($0) })
        let log = try EventLog(home: home, clock: clock)
        self.log = log
        relay.connect { log.append($0) }
    }

    /// Does an action here, without a running node. `onEvent` hears what it says on its way.
    public func call(_ name: String, _ params: JSONValue, onEvent: @escaping EventSink) async throws(MeshError) -> JSONValue {
        let registry = ActionRegistry.standard
        let log = log
        let context = ActionContext(parts: parts, emit: { event in
            if event.type != "progress" { log.append(event) }
            onEvent(event)
        })
        return try await registry.call(try registry.action(name), params, context: context)
    }
}

/// Rooms are made before the log that takes their events; what they say in between is kept for it.
private final class EventRelay: Sendable {
    private let state = Mutex<(sink: EventSink?, waiting: [NodeEvent])>((nil, []))

    func send(_ event: NodeEvent) {
        let sink: EventSink? = state.withLock { state in
            if state.sink == nil { state.waiting.append(event) }
            return state.sink
        }
        sink?(event)
    }

    func connect(_ sink: @escaping EventSink) {
        let waiting = state.withLock { state in
            state.sink = sink
            defer { state.waiting = [] }
            return state.waiting
        }
        for event in waiting { sink(event) }
    }
}
