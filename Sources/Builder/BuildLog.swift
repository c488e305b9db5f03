internal import MeshCore

/// What a build prints: kept whole in a file, by lines for those who watch, and its end for the message of a failure.
/// Used by one thread.
final class BuildLog {
    let path: String
    private let file: OpenFile
    private let bytesMax: Int
    private let onLines: ([String]) -> Void
    private var byteCount = 0
    private var unfinished: [UInt8] = []
    /// Of the step that runs, newest last.
    private(set) var tail: [String] = []

    init(creating path: String, bytesMax: Int, onLines: @escaping ([String]) -> Void) throws(MeshError) {
        file = try OpenFile(creating: path)
        self.path = path
        self.bytesMax = bytesMax
        self.onLines = onLines
    }

    /// A line of the builder itself: where a step begins.
    func heading(_ text: String) throws(MeshError) {
        try finishLine()
        try file.write(Array("== \(text)\n".utf8))
        tail = []
    }

    /// false: the build has printed more than it may; the rest is not kept.
    func append(_ bytes: ArraySlice<UInt8>) throws(MeshError) -> Bool {
        let kept = bytes.prefix(bytesMax - byteCount)
        byteCount += kept.count
        try file.write(Array(kept))
        var lines: [String] = []
        for byte in kept {
            if byte == UInt8(ascii: "\n") || unfinished.count >= Limits.buildLogLineBytesMax {
                lines.append(takeLine())
                if byte == UInt8(ascii: "\n") { continue }
            }
            unfinished.append(byte)
        }
        show(lines)
        return kept.count == bytes.count
    }

    /// Ends a line that the last writer left open.
    func finishLine() throws(MeshError) {
        guard !unfinished.isEmpty else { return }
        try file.write([UInt8(ascii: "\n")])
        show([takeLine()])
    }

    private func takeLine() -> String {
        defer { unfinished = [] }
        // No control sequence of a build reaches the terminal of whoever reads it.
        let text = String(decoding: unfinished, as: UTF8.self)
        let shown = text.unicodeScalars.filter { $0 == "\t" || !($0.value < 0x20 || (0x7f..<0xa0).contains($0.value)) }
        return String(String.UnicodeScalarView(shown))
    }

    private func show(_ lines: [String]) {
        guard !lines.isEmpty else { return }
        tail = Array((tail + lines.suffix(Limits.failureLogLines)).suffix(Limits.failureLogLines))
        onLines(lines)
    }
}
