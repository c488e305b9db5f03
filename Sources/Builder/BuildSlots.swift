package import MeshCore
internal import Synchronization

/// How many sandboxes run at once; whoever comes later waits in order, and may give up waiting.
package final class BuildSlots: Sendable {
    private struct Waiting {
        let number: Int
        let continuation: CheckedContinuation<Bool, Never>
    }

    private struct State {
        var free: Int
        var next = 0
        var queue: [Waiting] = []
        /// Gave up before they stood in the queue.
        var gone: Set<Int> = []
    }

    private let state: Mutex<State>

    package init(_ count: Int) { state = Mutex(State(free: count)) }

    /// - Throws: `build_cancelled` when the task is cancelled while it waits. Each return is owed one `leave`.
    package func enter() async throws(MeshError) {
        let number = state.withLock { state in
            state.next += 1
            return state.next
        }
        let entered = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let answer: Bool? = state.withLock { state in
                    if state.gone.remove(number) != nil { return false }
                    if state.free > 0 {
                        state.free -= 1
                        return true
                    }
                    state.queue.append(Waiting(number: number, continuation: continuation))
                    return nil
                }
                if let answer { continuation.resume(returning: answer) }
            }
        } onCancel: {
            let waiting = state.withLock { state -> Waiting? in
                guard let place = state.queue.firstIndex(where: { $0.number == number }) else {
                    state.gone.insert(number)
                    return nil
                }
                return state.queue.remove(at: place)
            }
            waiting?.continuation.resume(returning: false)
        }
        // A cancellation that came after the entry left its number behind.
        state.withLock { _ = $0.gone.remove(number) }
        guard entered else {
            throw MeshError(.buildCancelled, "the build was cancelled before it started", hint: "run it again when it is wanted")
        }
    }

    package func leave() {
        let next = state.withLock { state -> Waiting? in
            guard !state.queue.isEmpty else {
                state.free += 1
                return nil
            }
            return state.queue.removeFirst()
        }
        next?.continuation.resume(returning: true)
    }
}
