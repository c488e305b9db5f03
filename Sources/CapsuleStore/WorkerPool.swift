internal import Dispatch
internal import Glibc
internal import MeshCore
internal import Synchronization

/// A value that one thread makes and another waits for, once.
final class Promise<Value: Sendable>: Sendable {
    private let result = Mutex<Result<Value, MeshError>?>(nil)
    private let made = DispatchSemaphore(value: 0)

    func fulfil(_ body: () throws(MeshError) -> Value) {
        let outcome: Result<Value, MeshError>
        do throws(MeshError) { outcome = .success(try body()) } catch { outcome = .failure(error) }
        result.withLock { $0 = outcome }
        made.signal()
    }

    func wait() throws(MeshError) -> Value {
        made.wait()
        guard let outcome = result.withLock({ $0 }) else { throw MeshError(.inputOutput, "work was waited for that was never done") }
        return try outcome.get()
    }
}

/// Threads that do jobs in the order they come, urgent ones first. Jobs never wait for other jobs, and whoever submits them
/// bounds how many there are.
final class WorkerPool: Sendable {
    typealias Job = @Sendable () -> Void

    private final class Queue: Sendable {
        struct State {
            var urgent: [Job] = []
            var normal: [Job] = []
            var isClosed = false
        }
        let state = Mutex(State())
        let available = DispatchSemaphore(value: 0)

        func run() {
            while true {
                available.wait()
                let job: Job? = state.withLock { state in
                    if state.isClosed { return nil }
                    if !state.urgent.isEmpty { return state.urgent.removeFirst() }
                    return state.normal.isEmpty ? nil : state.normal.removeFirst()
                }
                guard let job else { return }
                job()
            }
        }
    }

    private let queue = Queue()
    private let handles = Mutex<[pthread_t]>([])

    init(threads count: Int) throws(MeshError) {
        let queue = queue
        var threads = Threads()
        var failure: MeshError?
        for _ in 0..<count where failure == nil {
            do throws(MeshError) { try threads.start { queue.run() } } catch { failure = error }
        }
        let started = threads.release()
        handles.withLock { $0 = started }
        guard let failure else { return }
        close()
        throw failure
    }

    deinit { close() }

    func submit(urgent: Bool = false, _ job: @escaping Job) {
        queue.state.withLock { if urgent { $0.urgent.append(job) } else { $0.normal.append(job) } }
        queue.available.signal()
    }

    /// Drops what nobody has begun and waits for the rest.
    func close() {
        queue.state.withLock { $0 = Queue.State(isClosed: true) }
        let handles = handles.withLock { handles in
            defer { handles = [] }
            return handles
        }
        for _ in handles { queue.available.signal() }
        for handle in handles { pthread_join(handle, nil) }
    }
}

/// Jobs of a pool that are done one at a time, in the order they come. None of them waits: each hands on to the next.
final class InOrder: Sendable {
    private let state = Mutex<(waiting: [WorkerPool.Job], isRunning: Bool)>(([], false))

    func submit(to pool: WorkerPool, _ job: @escaping WorkerPool.Job) {
        let isFirst = state.withLock { state in
            state.waiting.append(job)
            defer { state.isRunning = true }
            return !state.isRunning
        }
        if isFirst { pool.submit(urgent: true) { self.runNext(on: pool) } }
    }

    private func runNext(on pool: WorkerPool) {
        let job = state.withLock { $0.waiting.removeFirst() }
        job()
        let hasMore = state.withLock { state in
            state.isRunning = !state.waiting.isEmpty
            return state.isRunning
        }
        if hasMore { pool.submit(urgent: true) { self.runNext(on: pool) } }
    }
}

/// Memory that one thread fills and another reads.
final class SharedBuffer: @unchecked Sendable {  // proof: handed on through a Promise or a queue, and left alone by the thread that handed it on
    let bytes: UnsafeMutableRawBufferPointer

    init(_ count: Int) { bytes = .allocate(byteCount: count, alignment: 64) }
    deinit { bytes.deallocate() }

    func prefix(_ count: Int) -> UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: bytes[..<count]) }
}

/// Buffers of one size, used again and again: fresh memory costs a page fault for every 4 KiB.
final class BufferPool: Sendable {
    private let free = Mutex<[SharedBuffer]>([])
    private let bytes: Int

    init(bytes: Int) { self.bytes = bytes }

    func take() -> SharedBuffer { free.withLock { $0.popLast() } ?? SharedBuffer(bytes) }
    func give(_ buffer: SharedBuffer) { free.withLock { $0.append(buffer) } }
}
