internal import Actions
internal import Glibc
internal import MeshCore
internal import ServiceLifecycle

/// Collects garbage by itself before the disk is full.
struct Housekeeping: Service {
    let home: OpenHome

    private static let interval = Duration.seconds(600)
    /// A collection that freed nothing is not tried again at every look.
    private static let pause = Duration.seconds(6 * 3600)

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            var last: ContinuousClock.Instant?
            while true {
                if Self.isFilling(home.parts.home.capsules), last.map({ .now - $0 > Self.pause }) ?? true {
                    last = .now
                    await collect()
                }
                try await Task.sleep(for: Self.interval)
            }
        }
    }

    private func collect() async {
        do throws(MeshError) {
            let report = try await home.call("store.gc", [:], onEvent: { _ in })
            home.log.append(NodeEvent(source: "store.gc", type: "gc.finished", data: report))
        } catch {
            home.log.append(NodeEvent(source: "store.gc", type: "gc.failed", data: ["error": error.json]))
        }
    }

    /// As people without privileges see the disk: what is reserved for root does not count as free.
    static func isFilling(_ path: String) -> Bool {
        var info = statvfs()
        guard statvfs(path, &info) == 0 else { return false }
        let used = info.f_blocks - info.f_bfree, usable = used + info.f_bavail
        return usable > 0 && used * 100 >= usable * UInt(Limits.gcDiskPercent)
    }
}
