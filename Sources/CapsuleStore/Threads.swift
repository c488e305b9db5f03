internal import Glibc
internal import MeshCore
internal import Synchronization

/// Threads that live for one operation. Those of Dispatch are as few as the cores and shared with all that waits in the
/// process; a store that reads and syncs files for seconds must not be able to starve them.
struct Threads: ~Copyable {
    private var handles: [pthread_t] = []

    static let cores = min(16, ProcessorCount.here)

    private final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    mutating func start(_ body: @escaping @Sendable () -> Void) throws(MeshError) {
        var handle = pthread_t()
        let box = Unmanaged.passRetained(Body(body))
        let code = pthread_create(
            &handle, nil,
            { raw in
                if let raw { Unmanaged<Body>.fromOpaque(raw).takeRetainedValue().run() }
                return nil
            }, box.toOpaque())
        guard code == 0 else {
            box.release()
            throw Files.failure("start a thread for", "the store", code)
        }
        handles.append(handle)
    }

    /// Waits until all of them have ended.
    mutating func join() {
        for handle in handles { pthread_join(handle, nil) }
        handles = []
    }

    /// Gives the handles to someone who will join them.
    mutating func release() -> [pthread_t] {
        defer { handles = [] }
        return handles
    }

    private final class Round: Sendable {
        let next = Atomic(0)
        let failure = Mutex<(at: Int, error: MeshError)?>(nil)

        func run(_ count: Int, _ body: @Sendable (Int) throws(MeshError) -> Void) {
            while true {
                let i = next.add(1, ordering: .relaxed).oldValue
                guard i < count, failure.withLock({ $0 == nil }) else { return }
                do throws(MeshError) { try body(i) } catch {
                    failure.withLock { first in
                        if let known = first, known.at < i { return }
                        first = (i, error)
                    }
                }
            }
        }
    }

    /// Calls `body` for each of 0..<count, on all cores. The first failure by number is thrown; what was not begun by then is left.
    static func each(_ count: Int, _ body: @escaping @Sendable (Int) throws(MeshError) -> Void) throws(MeshError) {
        let round = Round()
        var threads = Threads()
        for _ in 1..<max(1, min(cores, count)) {
            // One thread fewer is slower, not wrong.
            do throws(MeshError) { try threads.start { round.run(count, body) } } catch { break }
        }
        round.run(count, body)
        threads.join()
        if let error = round.failure.withLock({ $0?.error }) { throw error }
    }
}
