/// Something that happened: `source` is the room or action that says it, `type` a dotted name (`build.step.started`),
/// `data` what belongs to it. The node numbers, stamps and keeps them; rooms only say them.
public struct NodeEvent: Sendable, Hashable {
    public let source: String
    public let type: String
    public let data: JSONValue

    public init(source: String, type: String, data: JSONValue) {
        self.source = source
        self.type = type
        self.data = data
    }
}

/// Where a room says what happens in it. Must not block.
public typealias EventSink = @Sendable (NodeEvent) -> Void
