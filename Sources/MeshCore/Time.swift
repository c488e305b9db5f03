internal import Glibc

/// Milliseconds since 1970-01-01T00:00:00Z.
public typealias Milliseconds = Int64

/// The wall clock, which a simulation replaces. It is shown to people; no merge ever depends on it.
public protocol WallClock: Sendable {
    var now: Milliseconds { get }
}

public struct SystemClock: WallClock {
    public init() {}

    public var now: Milliseconds {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}

extension Milliseconds {
    /// RFC 3339 in UTC, whole seconds: `2026-11-24T03:10:00Z`.
    public var rfc3339: String {
        var seconds = time_t(self / 1000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
        return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))T\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))Z"
    }
}
