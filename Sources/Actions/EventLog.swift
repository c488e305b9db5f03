public import MeshCore
internal import Synchronization

/// An event as the node keeps it: numbered, stamped, and chained to the one before.
public struct StoredEvent: Sendable, Hashable {
    /// Position in the log, from 1.
    public let seq: Int
    public let at: Milliseconds
    public let event: NodeEvent

    /// `{data, id, source, ts, type}`
    public func json(epoch: String) -> JSONValue {
        ["id": .string("\(epoch)-\(seq)"), "ts": .integer(at), "source": .string(event.source), "type": .string(event.type), "data": event.data]
    }
}

/// The append-only log of everything that happened on this node: `state/events.jsonl`, one canonical JSON object a line,
/// each with the SHA-256 of the line before, so that a changed or missing line shows.
///
/// Appends are not synced one by one: a power cut may cost the newest lines, and opening drops a torn one.
public final class EventLog: Sendable {
    /// How much of the past is kept in memory for followers that come back.
    static let replayMax = 4096
    private static let tailBytesMax: Int64 = 1 << 20

    /// Names this log in event ids: another log's numbers are not continued by accident.
    public let epoch: String
    private let clock: any WallClock
    private let state: Mutex<State>
    private let followers = Followers()

    private struct State: ~Copyable {
        let file: OpenFile
        var seq: Int
        var last: Digest?
        var recent: [StoredEvent] = []
    }

    /// - Parameter continues: false where this log and the one that it was copied from may go on side by side: then it gets
    ///   another epoch, so that nobody takes the one's events for the other's.
    public init(home: HomeLayout, clock: any WallClock, continues: Bool = true) throws(MeshError) {
        let path = home.state + "/events.jsonl"
        let tail = try Self.readTail(path)
        self.clock = clock
        let file = try OpenFile(appending: path, mode: 0o600)
        if tail.torn { try file.write([UInt8(ascii: "\n")]) }
        epoch = (continues ? tail.epoch : nil) ?? Hex.encode((0..<4).map { _ in UInt8.random(in: 0...255) })
        state = Mutex(State(file: file, seq: tail.events.last?.seq ?? 0, last: tail.last, recent: tail.events))
    }

    /// Appends; a full disk loses the event on disk but never the work that it tells of.
    public func append(_ event: NodeEvent) {
        let at = clock.now
        state.withLock { state in
            state.seq += 1
            let stored = StoredEvent(seq: state.seq, at: at, event: event)
            var line = stored.json(epoch: epoch).object ?? [:]
            line["prev"] = state.last.map(JSONValue.init) ?? .null
            let bytes = JSONValue.object(line).canonicalBytes
            if (try? state.file.write(bytes + [UInt8(ascii: "\n")])) != nil { state.last = Digest.of(bytes) }
            state.recent.append(stored)
            if state.recent.count > Self.replayMax { state.recent.removeFirst(Self.replayMax / 4) }
        }
        followers.tell()
    }

    public var lastSeq: Int { state.withLock { $0.seq } }

    /// The events after `seq`; nil when some of them are no longer kept, so that a follower can be told instead of missing them.
    public func events(after seq: Int) -> [StoredEvent]? {
        state.withLock { state in
            guard seq <= state.seq else { return nil }
            guard let oldest = state.recent.first?.seq else { return seq == state.seq ? [] : nil }
            guard seq >= oldest - 1 else { return nil }
            return Array(state.recent.dropFirst(seq - oldest + 1))
        }
    }

    public var recent: [StoredEvent] { state.withLock { $0.recent } }

    /// The newest events of a home's log as they are followed, without opening it for writing.
    public static func recent(in home: HomeLayout) throws(MeshError) -> [(type: String, document: JSONValue)] {
        let tail = try readTail(home.state + "/events.jsonl")
        return tail.events.map { ($0.event.type, $0.json(epoch: tail.epoch ?? "")) }
    }

    /// A signal whenever something was appended; read what with `events(after:)`. Ends when its reader stops.
    public func signals() -> AsyncStream<Void> { followers.signals() }

    private static func readTail(_ path: String) throws(MeshError) -> (epoch: String?, events: [StoredEvent], last: Digest?, torn: Bool) {
        guard Files.exists(path) else { return (nil, [], nil, false) }
        let file = try OpenFile(reading: path)
        let size = try file.size(), start = max(0, size - tailBytesMax)
        let bytes = try file.read(count: Int(size - start), at: start)
        var events: [StoredEvent] = [], epoch: String?, last: Digest?
        for line in bytes.split(separator: UInt8(ascii: "\n")) {
            // The first line of the tail may be cut, and a power cut may have torn one: neither parses, and neither is kept.
            guard let value = try? JSONValue.parseCanonical(Array(line)), let id = value["id"]?.string, let at = value["ts"]?.integer,
                  let source = value["source"]?.string, let type = value["type"]?.string, let data = value["data"],
                  let dash = id.lastIndex(of: "-"), let seq = Int(id[id.index(after: dash)...]) else { continue }
            epoch = String(id[..<dash])
            events.append(StoredEvent(seq: seq, at: at, event: NodeEvent(source: source, type: type, data: data)))
            last = Digest.of(Array(line))
        }
        return (epoch, Array(events.suffix(replayMax)), last, bytes.last.map { $0 != UInt8(ascii: "\n") } ?? false)
    }
}
