internal import Synchronization

/// Who wants to hear that something changed: a stream of signals for each reader, several changes may come as one.
///
/// Never `tell` while holding a lock that a reader's end could want: a stream that ends is told so under the lock of its
/// task, and whoever is told something has that lock taken, so that two locks would be taken in both orders.
public final class Followers: Sendable {
    private let table = Mutex<(rows: [Int: AsyncStream<Void>.Continuation], next: Int)>(([:], 0))

    public init() {}

    /// Ends when its reader stops.
    public func signals() -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let id = table.withLock { table in
            table.next += 1
            table.rows[table.next] = continuation
            return table.next
        }
        continuation.onTermination = { [weak self] _ in self?.table.withLock { _ = $0.rows.removeValue(forKey: id) } }
        return stream
    }

    public func tell() {
        let followers = table.withLock { Array($0.rows.values) }
        for follower in followers { follower.yield() }
    }
}
