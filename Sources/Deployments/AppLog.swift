internal import Glibc
package import MeshCore
internal import Synchronization

/// What a deployment's processes wrote: `<time> g<generation> <line>`, in `log`, with a few older files beside it.
/// A log that cannot be written (a full disk) loses lines and never stops an app.
package final class AppLog: Sendable {
    package let path: String
    private let clock: any WallClock
    private let bytesMax: Int64
    private let isWriting = Mutex(false)

    package init(path: String, clock: any WallClock, bytesMax: Int64 = Limits.appLogBytesMax) {
        self.path = path
        self.clock = clock
        self.bytesMax = bytesMax
    }

    package func write(_ lines: [String], generation: Int) {
        guard !lines.isEmpty else { return }
        let stamp = clock.now.rfc3339Milliseconds
        let text = lines.map { "\(stamp) g\(generation) \($0)\n" }.joined()
        isWriting.withLock { _ in try? append(Array(text.utf8)) }
    }

    private func append(_ bytes: [UInt8]) throws(MeshError) {
        let size: Int64
        do {
            let file = try OpenFile(appending: path, mode: 0o600)
            try file.write(bytes)
            size = try file.size()
        }
        guard size >= bytesMax else { return }
        for number in (1..<Limits.appLogFilesKept).reversed() where Files.exists("\(path).\(number)") {
            try Files.rename("\(path).\(number)", "\(path).\(number + 1)")
        }
        try Files.rename(path, path + ".1")
    }

    /// The last lines, oldest first; none where nothing was ever written.
    package func tail(_ count: Int) throws(MeshError) -> [String] {
        var lines: [String] = []
        for name in [path] + (1...Limits.appLogFilesKept).map({ "\(path).\($0)" }) where lines.count < count && Files.exists(name) {
            lines = try Self.tail(of: name, count - lines.count) + lines
        }
        return lines
    }

    /// Reads backwards only as far as needed.
    private static func tail(of path: String, _ count: Int) throws(MeshError) -> [String] {
        let file = try OpenFile(reading: path)
        var start = try file.size()
        var bytes: [UInt8] = []
        var newlines = 0
        while start > 0, newlines <= count {
            let block = Int(min(start, 64 * 1024))
            start -= Int64(block)
            let more = try file.read(count: block, at: start)
            newlines += more.count { $0 == UInt8(ascii: "\n") }
            bytes = more + bytes
        }
        let lines = bytes.split(separator: UInt8(ascii: "\n")).suffix(count)
        return lines.map { String(decoding: $0, as: UTF8.self) }
    }
}

/// Cuts a stream of bytes into lines; a line longer than the limit is cut there.
package struct LineSplitter: Sendable {
    private var rest: [UInt8] = []
    private let bytesMax: Int

    package init(bytesMax: Int = Limits.appLogLineBytesMax) { self.bytesMax = bytesMax }

    package mutating func add(_ bytes: [UInt8]) -> [String] {
        var lines: [String] = []
        for byte in bytes {
            if byte == UInt8(ascii: "\n") {
                lines.append(take())
            } else {
                rest.append(byte)
                if rest.count >= bytesMax { lines.append(take()) }
            }
        }
        return lines
    }

    /// What came after the last line end.
    package mutating func finish() -> [String] { rest.isEmpty ? [] : [take()] }

    private mutating func take() -> String {
        defer { rest.removeAll(keepingCapacity: true) }
        let end = rest.last == UInt8(ascii: "\r") ? rest.count - 1 : rest.count
        return String(decoding: rest[..<end], as: UTF8.self)
    }
}

extension Milliseconds {
    /// `2026-11-24T03:10:00.123Z`
    var rfc3339Milliseconds: String {
        let part = String(((self % 1000) + 1000) % 1000)
        return "\(rfc3339.dropLast()).\(String(repeating: "0", count: 3 - part.utf8.count))\(part)Z"
    }
}
