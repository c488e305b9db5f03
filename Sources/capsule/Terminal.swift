internal import Glibc
internal import MeshCore
internal import Synchronization

/// What the person sees: answers on standard output, everything else on standard error, colours only on a terminal.
enum Terminal {
    static let errorIsTerminal = isatty(2) == 1 && getenv("NO_COLOR") == nil

    static func print(_ text: String) {
        write(1, text + "\n")
    }

    static func note(_ text: String) {
        Progress.clear()
        write(2, text + "\n")
    }

    static func warn(_ error: MeshError) {
        note(style("warning:", "33") + " \(error.message)" + (error.hint.isEmpty ? "" : "\n  \(error.hint)"))
    }

    static func fail(_ error: MeshError, json: Bool) -> Never {
        Progress.clear()
        if json {
            print(JSONValue.object(["error": error.json]).prettyText.trimmedNewline)
        } else {
            var text = style("error:", "31") + " \(error.message) [\(error.code.name)]"
            for line in error.details { text += "\n  | \(line)" }
            if !error.hint.isEmpty { text += "\n  \(error.hint)" }
            write(2, text + "\n")
        }
        exit(error.code.exit.rawValue)
    }

    static func style(_ text: String, _ code: String) -> String {
        errorIsTerminal ? "\u{1b}[\(code)m\(text)\u{1b}[0m" : text
    }

    /// `1.4 MB`: decimal units, as disks and networks are sold.
    static func bytes(_ count: Int64) -> String {
        var value = Double(count), unit = "B"
        for next in ["kB", "MB", "GB", "TB"] where value >= 1000 {
            value /= 1000
            unit = next
        }
        if unit == "B" { return "\(count) B" }
        let tenths = Int((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10) \(unit)"
    }

    /// Columns as wide as their widest cell.
    static func table(_ rows: [[String]]) {
        guard let columns = rows.map(\.count).max() else { return }
        let widths = (0..<columns).map { column in rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0 }
        for row in rows {
            var line = ""
            for (i, cell) in row.enumerated() {
                line += cell
                if i + 1 < row.count { line += String(repeating: " ", count: widths[i] - cell.count + 2) }
            }
            print(line)
        }
    }

    private static func write(_ descriptor: Int32, _ text: String) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 else { return }
            bytes = bytes.dropFirst(count)
        }
    }
}

/// One line that is rewritten while something long goes on.
enum Progress {
    private static let shown = Mutex(false)

    static func show(_ text: String) {
        shown.withLock { shown in
            let line = "\r\u{1b}[K" + text
            _ = line.withCString { write(2, $0, strlen($0)) }
            shown = true
        }
    }

    static func clear() {
        shown.withLock { shown in
            guard shown else { return }
            _ = "\r\u{1b}[K".withCString { write(2, $0, strlen($0)) }
            shown = false
        }
    }

    /// What an event says about how far things are; nil for events that say nothing about it.
    static func line(for event: NodeEvent) -> String? {
        let data = event.data
        switch event.type {
        case "progress":
            let done = data["bytes"]?.integer ?? 0, total = data["totalBytes"]?.integer ?? 0
            let phase = data["phase"]?.string ?? "working"
            guard total > 0 else { return "\(phase): \(Terminal.bytes(done))" }
            let rate = data["bytesPerSecond"]?.integer.map { ", \(Terminal.bytes($0))/s" } ?? ""
            let left = data["secondsLeft"]?.integer.map { ", \($0 / 60):\($0 % 60 < 10 ? "0" : "")\($0 % 60) left" } ?? ""
            return "\(phase): \(Terminal.bytes(done)) of \(Terminal.bytes(total)) (\(min(100, done * 100 / total)) %)" + rate + left
        case "build.step.started": return "step: \(data["step"]?.string ?? data["command"]?.string ?? "")"
        case "deploy.state": return "deploy: \(data["state"]?.string ?? "")"
        default: return nil
        }
    }
}

extension String {
    var trimmedNewline: String { hasSuffix("\n") ? String(dropLast()) : self }
}
