internal import Dispatch
internal import MeshCore
internal import Synchronization

/// A piece of work that either a thread of the pool does, or whoever needs the result first: waiting for it can therefore
/// never starve the pool it waits for.
final class SharedWork<Output: Sendable>: Sendable {
    private enum State: Sendable {
        case waiting(@Sendable () throws(MeshError) -> Output)
        case running
        case done(Result<Output, MeshError>)
        case dropped
    }

    private let state: Mutex<State>
    private let finished = DispatchSemaphore(value: 0)

    init(_ body: @escaping @Sendable () throws(MeshError) -> Output) {
        state = Mutex(.waiting(body))
        DispatchQueue.global().async { self.runIfWaiting() }
    }

    /// The result; call it once. Does the work itself if nobody has begun.
    func result() throws(MeshError) -> Output {
        runIfWaiting()
        finished.wait()
        guard case .done(let result) = state.withLock({ $0 }) else {
            throw MeshError(.inputOutput, "the work was given up before its result was asked for")
        }
        return try result.get()
    }

    /// Gives the work up if nobody has begun it; its result is an error from then on.
    func drop() {
        let dropped = state.withLock {
            guard case .waiting = $0 else { return false }
            $0 = .dropped
            return true
        }
        if dropped { finished.signal() }
    }

    private func runIfWaiting() {
        let body: (@Sendable () throws(MeshError) -> Output)? = state.withLock {
            guard case .waiting(let body) = $0 else { return nil }
            $0 = .running
            return body
        }
        guard let body else { return }
        let result: Result<Output, MeshError>
        do throws(MeshError) { result = .success(try body()) } catch { result = .failure(error) }
        state.withLock { $0 = .done(result) }
        finished.signal()
    }
}
