import CapsuleFormat
import CapsuleStore
import MeshCore
import Synchronization
import Testing

/// How far, how fast, how long still; told seldom, and never wrong at the end.
@Suite struct ProgressTests {
    /// A meter on a clock that is set by hand.
    private final class Told: Sendable {
        private let time = Mutex(Duration.zero)
        private let words = Mutex<[(at: Duration, progress: StoreProgress)]>([])

        func meter(files: Int, bytes: Int64) -> ProgressMeter {
            ProgressMeter(
                "pack", files: files, bytes: bytes, { progress in self.words.withLock { $0.append((self.time.withLock { $0 }, progress)) } },
                now: { self.time.withLock { $0 } })
        }

        func wait(_ duration: Duration) { time.withLock { $0 += duration } }
        var all: [(at: Duration, progress: StoreProgress)] { words.withLock { $0 } }
    }

    @Test func atMostTenTimesASecondAndFirstAndLastAlways() {
        let told = Told()
        let meter = told.meter(files: 3000, bytes: 3000)
        for _ in 0..<3000 {
            told.wait(.milliseconds(1))
            meter.add(files: 1, bytes: 1)
        }
        let all = told.all
        #expect(all.count == 31, "nothing, 29 times, all: \(all.count)")
        #expect(all.first?.progress == StoreProgress(phase: "pack", files: 0, bytes: 0, totalFiles: 3000, totalBytes: 3000))
        #expect(all.last?.progress.isDone == true && all.last?.progress.secondsLeft == 0)
        for (before, after) in zip(all, all.dropFirst().dropLast()) { #expect(after.at - before.at >= .milliseconds(100)) }
        // The end comes at once, however near the word before is.
        let quick = Told()
        let short = quick.meter(files: 2, bytes: 20)
        short.add(files: 1, bytes: 10)
        short.add(files: 1, bytes: 10)
        #expect(quick.all.map(\.progress.bytes) == [0, 20])
        short.add(files: 0, bytes: 0)
        #expect(quick.all.count == 2, "once")
        let nothing = Told()
        nothing.meter(files: 0, bytes: 0).add(files: 0, bytes: 0)
        #expect(nothing.all.map(\.progress.isDone) == [true])
    }

    @Test func rateAndTimeLeft() throws {
        let told = Told()
        let meter = told.meter(files: 1, bytes: 100_000_000)
        func work(_ steps: Int, _ bytes: Int64) {
            for _ in 0..<steps {
                told.wait(.milliseconds(100))
                meter.add(files: 0, bytes: bytes)
            }
        }
        work(4, 1_000_000)
        #expect(told.all.allSatisfy { $0.progress.bytesPerSecond == nil && $0.progress.secondsLeft == nil }, "half a second says nothing")
        work(26, 1_000_000)
        let steady = try #require(told.all.last?.progress)
        #expect(steady.bytes == 30_000_000 && steady.bytesPerSecond == 10_000_000 && steady.secondsLeft == 7)
        // Half as fast: seen after the window.
        work(50, 500_000)
        let slower = try #require(told.all.last?.progress)
        #expect(slower.bytes == 55_000_000 && slower.bytesPerSecond == 5_000_000 && slower.secondsLeft == 9)
        // Nothing at all for a while, then a little.
        told.wait(.seconds(20))
        meter.add(files: 0, bytes: 1_000_000)
        #expect(told.all.last?.progress.bytesPerSecond == 50_000 && told.all.last?.progress.secondsLeft == 880)
        told.wait(.seconds(20))
        meter.add(files: 0, bytes: 0)
        #expect(told.all.last?.progress.bytesPerSecond == 0 && told.all.last?.progress.secondsLeft == nil)
        meter.reach(bytes: 100_000_000)
        #expect(told.all.last?.progress.isDone == true && told.all.last?.progress.secondsLeft == 0)
    }

    @Test func whatTakesNoWorkIsNotFast() throws {
        let told = Told()
        let meter = told.meter(files: 1001, bytes: 1_010_000_000)
        meter.pass(files: 1000, bytes: 1_000_000_000)
        for _ in 0..<8 {
            told.wait(.milliseconds(100))
            meter.add(files: 0, bytes: 100_000)
        }
        let last = try #require(told.all.last?.progress)
        #expect(last.files == 1000 && last.bytes == 1_000_800_000 && last.bytesPerSecond == 1_000_000 && last.secondsLeft == 10)
    }

    /// Of what several threads count, nothing is lost and the end is the last word.
    @Test func severalThreads() {
        let told = Mutex<[StoreProgress]>([])
        let meter = ProgressMeter("verify", files: 40_000, bytes: 120_000) { progress in told.withLock { $0.append(progress) } }
        let work: @Sendable () -> Void = { for _ in 0..<20_000 { meter.add(files: 1, bytes: 3) } }
        DispatchGroupOfTwo.run(work, work)
        let all = told.withLock { $0 }
        #expect(all.last?.isDone == true && all.count { $0.isDone } == 1)
        for (before, after) in zip(all, all.dropFirst()) { #expect(before.bytes < after.bytes) }
    }

    @Test func everyLongOperationTells() throws {
        let folder = try TemporaryFolder(), other = try TemporaryFolder()
        let store = try CapsuleStore(home: folder.home)
        let app = try folder.writeApp()
        let told = Mutex<[StoreProgress]>([])
        let sink: StoreProgressSink = { progress in told.withLock { $0.append(progress) } }
        let capsule = try store.pack(directory: app, progress: sink).capsule
        try store.verifyContents(of: capsule.tree, progress: sink)
        try store.restore(capsule.tree, manifest: nil, to: folder.file("out"), progress: sink)
        try store.exportCaps(capsule.digest, to: folder.file("x.caps"), progress: sink)
        _ = try CapsuleStore(home: other.home).importLayout(path: folder.file("x.caps"), progress: sink)
        _ = try CapsuleStore.restoreLayout(path: folder.file("x.caps"), to: folder.file("straight"), progress: sink, accepting: { _ throws(MeshError) in })
        var phases: [String] = []
        for progress in told.withLock({ $0 }) {
            if progress.files == 0, progress.bytes == 0 { phases.append(progress.phase) }
            #expect(progress.phase == phases.last && progress.totalFiles == 7 && progress.bytes <= progress.totalBytes)
            if progress.isDone { phases.append("done") }
        }
        #expect(phases == ["pack", "verify", "restore", "export", "import", "restore"].flatMap { [$0, "done"] })
    }
}
