internal import Glibc

/// A text and where its lines end.
struct LineText: Sendable, Hashable {
    private let bytes: [UInt8]
    /// For each line, the place behind its last byte.
    private let ends: [Int]

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
        var ends: [Int] = []
        bytes.withUnsafeBytes { raw in
            for i in raw.indices where raw[i] == UInt8(ascii: "\n") { ends.append(i + 1) }
        }
        if ends.last ?? 0 < bytes.count { ends.append(bytes.count) }
        self.ends = ends
    }

    var count: Int { ends.count }

    private func range(_ line: Int) -> Range<Int> { (line == 0 ? 0 : ends[line - 1])..<ends[line] }

    /// Writes a line behind its mark; one without a line feed gets the remark that diff and patch agreed on.
    func write(_ line: Int, after mark: UInt8, to out: inout [UInt8]) {
        let line = bytes[range(line)]
        out.append(mark)
        out.append(contentsOf: line)
        if line.last != UInt8(ascii: "\n") { out.append(contentsOf: "\n\\ No newline at end of file\n".utf8) }
    }

    /// A number for each line, counted by first appearance: two lines have the same one when their bytes are the same, the line
    /// feed included.
    static func names(_ old: LineText, _ new: LineText) -> (old: [Int32], new: [Int32]) {
        old.bytes.withUnsafeBytes { oldBytes in
            new.bytes.withUnsafeBytes { newBytes in
                var table: [Line: Int32] = [:]
                func names(_ text: LineText, _ raw: UnsafeRawBufferPointer) -> [Int32] {
                    text.ends.indices.map { i in
                        let line = Line(bytes: UnsafeRawBufferPointer(rebasing: raw[text.range(i)]))
                        let name = table[line] ?? Int32(table.count)
                        table[line] = name
                        return name
                    }
                }
                return (names(old, oldBytes), names(new, newBytes))
            }
        }
    }

    /// One line in place; lives no longer than the two pointers above.
    private struct Line: Hashable {
        let bytes: UnsafeRawBufferPointer

        static func == (a: Line, b: Line) -> Bool {
            guard a.bytes.count == b.bytes.count, let x = a.bytes.baseAddress, let y = b.bytes.baseAddress else { return a.bytes.count == b.bytes.count }
            return memcmp(x, y, a.bytes.count) == 0
        }

        func hash(into hasher: inout Hasher) { hasher.combine(bytes: bytes) }
    }
}
