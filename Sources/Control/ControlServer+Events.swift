internal import Actions
internal import HTTPTypes
internal import Hummingbird
internal import MeshCore
internal import NIOCore

extension ControlServer {
    /// How long a quiet stream waits before it says that it is still there.
    private static let quietSecondsMax = 15

    /// `GET /oai/events?types=a,b&after=ID` as server-sent events (HTML Living Standard §9.2): the past since `after` or
    /// `Last-Event-ID`, then what happens. With a run, only its events, from its beginning to its end.
    func events(_ request: Request, run: String? = nil) -> Response {
        let types = request.uri.queryParameters["types"].map { Set($0.split(separator: ",").map(String.init)) }
        let asked = request.headers[.lastEventID] ?? request.uri.queryParameters["after"].map(String.init)
        let log = self.log, runs = self.runs
        var position: Int, reset = false
        if let asked {
            let known = parse(asked).flatMap { log.events(after: $0) == nil ? nil : $0 }
            position = known ?? log.lastSeq
            reset = known == nil
        } else {
            position = run == nil ? log.lastSeq : (log.recent.first?.seq ?? 1) - 1
        }
        let start = position, isReset = reset
        let body = ResponseBody { writer in
            var position = start
            try await writer.write(ByteBuffer(string: "retry: 1000\n\n"))
            if isReset { try await writer.write(ByteBuffer(string: Self.resetEvent(log, position))) }
            let signals = merge(log.signals(), quiet: Self.quietSecondsMax)
            var iterator = signals.makeAsyncIterator()
            while true {
                let ended = run.map { id in runs.run(id).map { if case .running = $0.state { false } else { true } } ?? true } ?? false
                if let fresh = log.events(after: position) {
                    var text = ""
                    for stored in fresh {
                        position = stored.seq
                        if let types, !types.contains(stored.event.type) { continue }
                        if let run, stored.event.data["run"]?.string != run { continue }
                        text += "id: \(log.epoch)-\(stored.seq)\nevent: \(stored.event.type)\ndata: \(stored.json(epoch: log.epoch).canonicalText)\n\n"
                    }
                    if !text.isEmpty { try await writer.write(ByteBuffer(string: text)) }
                } else {
                    position = log.lastSeq
                    try await writer.write(ByteBuffer(string: Self.resetEvent(log, position)))
                }
                if ended { break }
                guard let signal = await iterator.next() else { break }
                if signal == .quiet { try await writer.write(ByteBuffer(string: ": still here\n\n")) }
            }
            try await writer.finish(nil)
        }
        return Response(status: .ok, headers: [.contentType: "text/event-stream", .cacheControl: "no-store"], body: body)
    }

    private func parse(_ id: String) -> Int? {
        guard let dash = id.lastIndex(of: "-"), id[..<dash] == log.epoch else { return nil }
        return Int(id[id.index(after: dash)...])
    }

    private static func resetEvent(_ log: EventLog, _ position: Int) -> String {
        "id: \(log.epoch)-\(position)\nevent: stream.reset\ndata: {\"reason\":\"the events asked for are no longer kept\"}\n\n"
    }
}

private enum Signal { case news, quiet }

/// News as it comes, and a sign of life when there was none for `quiet` seconds. Ends with the connection's task.
private func merge(_ news: AsyncStream<Void>, quiet seconds: Int) -> AsyncStream<Signal> {
    AsyncStream(bufferingPolicy: .bufferingNewest(2)) { continuation in
        let task = Task {
            await withDiscardingTaskGroup { group in
                group.addTask { for await _ in news { continuation.yield(.news) } }
                group.addTask {
                    while !Task.isCancelled {
                        try? await Task.sleep(for: .seconds(seconds))
                        continuation.yield(.quiet)
                    }
                }
            }
            continuation.finish()
        }
        continuation.onTermination = { _ in task.cancel() }
    }
}
