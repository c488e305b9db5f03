internal import Synchronization

/// How far a long operation is. Totals are known from its start.
public struct StoreProgress: Sendable, Hashable {
    /// `pack`, `restore`, `verify`, `import`, `export` (whose bytes count twice: the content is read twice).
    public let phase: String
    public let files: Int
    public let bytes: Int64
    public let totalFiles: Int
    public let totalBytes: Int64

    public init(phase: String, files: Int, bytes: Int64, totalFiles: Int, totalBytes: Int64) {
        self.phase = phase
        self.files = files
        self.bytes = bytes
        self.totalFiles = totalFiles
        self.totalBytes = totalBytes
    }
}

public typealias StoreProgressSink = @Sendable (StoreProgress) -> Void

/// Adds up what several threads did, and tells it at most ten times a second and at the end.
final class ProgressMeter: Sendable {
    private struct State {
        var files = 0
        var bytes: Int64 = 0
        var told = ContinuousClock.now
    }

    private let phase: String
    private let totalFiles: Int
    private let totalBytes: Int64
    private let sink: StoreProgressSink?
    private let state = Mutex(State())

    init(_ phase: String, files: Int, bytes: Int64, _ sink: StoreProgressSink?) {
        self.phase = phase
        totalFiles = files
        totalBytes = bytes
        self.sink = sink
    }

    func add(files: Int, bytes: Int64) {
        guard let sink else { return }
        let progress: StoreProgress? = state.withLock { state in
            state.files += files
            state.bytes += bytes
            let isDone = state.files == totalFiles && state.bytes == totalBytes
            guard isDone || .now - state.told > .milliseconds(100) else { return nil }
            state.told = .now
            return StoreProgress(phase: phase, files: state.files, bytes: state.bytes, totalFiles: totalFiles, totalBytes: totalBytes)
        }
        if let progress { sink(progress) }
    }
}
