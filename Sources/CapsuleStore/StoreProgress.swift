internal import Synchronization

/// How far a long operation is. Totals are known from its start.
public struct StoreProgress: Sendable, Hashable {
    /// `pack`, `restore`, `verify`, `import`, `fsck`, `export` (whose bytes count twice: the content is read twice).
    public let phase: String
    public let files: Int
    public let bytes: Int64
    public let totalFiles: Int
    public let totalBytes: Int64
    /// Over the last seconds; nil at the beginning. Content that need not be read counts as done, not as fast.
    public let bytesPerSecond: Int64?
    /// Until all bytes are done if it goes on like this, rounded up; nil where that cannot be said, 0 at the end.
    public let secondsLeft: Int?

    public init(
        phase: String, files: Int, bytes: Int64, totalFiles: Int, totalBytes: Int64, bytesPerSecond: Int64? = nil, secondsLeft: Int? = nil
    ) {
        self.phase = phase
        self.files = files
        self.bytes = bytes
        self.totalFiles = totalFiles
        self.totalBytes = totalBytes
        self.bytesPerSecond = bytesPerSecond
        self.secondsLeft = secondsLeft
    }

    public var isDone: Bool { files == totalFiles && bytes == totalBytes }
}

/// Called by one thread at a time, at most ten times a second and for what was not told before: first with nothing done, last
/// with all of it, if all of it was done.
public typealias StoreProgressSink = @Sendable (StoreProgress) -> Void

/// How fast it went over the last seconds.
package struct ProgressRate: Sendable {
    /// Long enough that a large file among small ones does not make it jump.
    private static let window = Duration.seconds(5)
    /// Over less than this, chance says more than the work.
    private static let spanMin = Duration.milliseconds(500)

    /// Oldest first; the first one is as old as the window, or the beginning.
    private var samples: [(at: Duration, bytes: Int64)] = []

    package init() {}

    /// Bytes per second after `bytes` in all at `time`; nil while too little time has passed. Times never go back.
    package mutating func add(_ bytes: Int64, at time: Duration) -> Int64? {
        samples.append((time, bytes))
        while samples.count > 2, time - samples[1].at >= Self.window { samples.removeFirst() }
        let span = time - samples[0].at
        guard span >= Self.spanMin else { return nil }
        let seconds = Double(span.components.seconds) + Double(span.components.attoseconds) / 1e18
        return Int64((Double(bytes - samples[0].bytes) / seconds).rounded())
    }
}

/// Adds up what several threads did and tells it.
package final class ProgressMeter: Sendable {
    private struct State {
        var files = 0
        var bytes: Int64 = 0
        /// Of these, what took no work.
        var passedBytes: Int64 = 0
        var rate = ProgressRate()
        var toldAt = Duration.zero
        var isDone = false
        var count = 0
    }

    private static let interval = Duration.milliseconds(100)

    private let phase: String
    private let totalFiles: Int
    private let totalBytes: Int64
    private let sink: StoreProgressSink?
    private let now: @Sendable () -> Duration
    private let state: Mutex<State>
    /// The number of what was told last, so that of two threads the later word is the last one.
    private let told = Mutex(0)

    /// Tells at once that nothing is done. `now` never goes back; a machine that sleeps does not work, so it may stand still then.
    package init(_ phase: String, files: Int, bytes: Int64, _ sink: StoreProgressSink?, now: @escaping @Sendable () -> Duration = monotonic) {
        self.phase = phase
        totalFiles = files
        totalBytes = bytes
        self.sink = sink
        self.now = now
        var state = State(toldAt: now())
        _ = state.rate.add(0, at: state.toldAt)
        state.isDone = files == 0 && bytes == 0
        self.state = Mutex(state)
        sink?(StoreProgress(phase: phase, files: 0, bytes: 0, totalFiles: files, totalBytes: bytes, secondsLeft: state.isDone ? 0 : nil))
    }

    package static let monotonic: @Sendable () -> Duration = {
        let start = SuspendingClock.now
        return { SuspendingClock.now - start }
    }()

    package func add(files: Int, bytes: Int64) {
        change { state in
            state.files += files
            state.bytes += bytes
        }
    }

    /// What is done without any work.
    package func pass(files: Int, bytes: Int64) {
        change { state in
            state.files += files
            state.bytes += bytes
            state.passedBytes += bytes
        }
    }

    /// So many bytes are done in all; the files are done together, when all bytes are.
    package func reach(bytes: Int64) {
        change { state in
            state.bytes = bytes
            if bytes == totalBytes { state.files = totalFiles }
        }
    }

    private func change(_ body: (inout State) -> Void) {
        guard let sink else { return }
        let word: (progress: StoreProgress, number: Int)? = state.withLock { state in
            body(&state)
            let isDone = state.files == totalFiles && state.bytes == totalBytes
            let time = now()
            guard !state.isDone, isDone || time - state.toldAt >= Self.interval else { return nil }
            state.isDone = isDone
            state.toldAt = time
            state.count += 1
            let rate = state.rate.add(state.bytes - state.passedBytes, at: time)
            let left = totalBytes - state.bytes
            let progress = StoreProgress(
                phase: phase, files: state.files, bytes: state.bytes, totalFiles: totalFiles, totalBytes: totalBytes, bytesPerSecond: rate,
                secondsLeft: isDone ? 0 : rate.flatMap { $0 > 0 ? Int((left + $0 - 1) / $0) : nil })
            return (progress, state.count)
        }
        guard let word else { return }
        told.withLock { last in
            guard word.number > last else { return }
            last = word.number
            sink(word.progress)
        }
    }
}
