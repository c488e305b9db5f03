public import MeshCore

/// What turns one text into another, line by line: a shortest list of deletions and insertions (E. Myers, "An O(ND) Difference
/// Algorithm and Its Variations", Algorithmica 1986, the linear-space variant of §4b), and its unified form.
///
/// A line is what ends in a line feed, or the rest. Texts are bytes; nothing is decoded.
public struct LineDiff: Sendable, Hashable {
    /// The lines `old` (counted from 0) become the lines `new`; one of the two may be empty, and never both.
    public struct Change: Sendable, Hashable {
        public let old: Range<Int>
        public let new: Range<Int>
    }

    /// In order, none touching the next.
    public let changes: [Change]
    /// The search for the shortest list was given up: everything between the lines that begin and end both texts is replaced.
    public let isCoarse: Bool

    private let old: LineText
    private let new: LineText

    /// - Parameter stepsMax: bounds the work. It grows with the size of the texts times the number of lines that differ.
    public init(_ old: [UInt8], _ new: [UInt8], stepsMax: Int = Limits.lineDiffStepsMax) {
        self.old = LineText(old)
        self.new = LineText(new)
        let names = LineText.names(self.old, self.new)
        var search = LineSearch(names.old, names.new, stepsMax: stepsMax)
        isCoarse = !search.run()
        changes = search.changes()
    }

    public var removedLines: Int { changes.reduce(0) { $0 + $1.old.count } }
    public var addedLines: Int { changes.reduce(0) { $0 + $1.new.count } }

    /// The unified format (POSIX `diff -u`), which `patch` takes; empty where nothing differs. No times: the same texts make the
    /// same bytes. A name that is nil is that of a text which does not exist there (`/dev/null`).
    public func unified(old oldName: String?, new newName: String?, context: Int = 3) -> [UInt8] {
        if changes.isEmpty { return [] }
        var out = Array("--- \(Self.header(oldName, "a/"))\n+++ \(Self.header(newName, "b/"))\n".utf8)
        var first = 0
        while first < changes.count {
            var last = first
            while last + 1 < changes.count, changes[last + 1].old.lowerBound - changes[last].old.upperBound <= 2 * context { last += 1 }
            write(changes[first...last], context, to: &out)
            first = last + 1
        }
        return out
    }

    private func write(_ hunk: ArraySlice<Change>, _ context: Int, to out: inout [UInt8]) {
        guard let first = hunk.first, let last = hunk.last else { return }
        let before = min(context, first.old.lowerBound), after = min(context, old.count - last.old.upperBound)
        let oldLines = first.old.lowerBound - before..<last.old.upperBound + after
        let newLines = first.new.lowerBound - before..<last.new.upperBound + after
        out += "@@ -\(Self.place(oldLines)) +\(Self.place(newLines)) @@\n".utf8
        var line = oldLines.lowerBound
        for change in hunk {
            for i in line..<change.old.lowerBound { old.write(i, after: UInt8(ascii: " "), to: &out) }
            for i in change.old { old.write(i, after: UInt8(ascii: "-"), to: &out) }
            for i in change.new { new.write(i, after: UInt8(ascii: "+"), to: &out) }
            line = change.old.upperBound
        }
        for i in line..<oldLines.upperBound { old.write(i, after: UInt8(ascii: " "), to: &out) }
    }

    /// `FIRST,COUNT` counted from 1; a single line leaves the count out, no line is said with the one before it.
    private static func place(_ lines: Range<Int>) -> String {
        switch lines.count {
        case 0: "\(lines.lowerBound),0"
        case 1: "\(lines.lowerBound + 1)"
        default: "\(lines.lowerBound + 1),\(lines.count)"
        }
    }

    /// As git writes names: in quotes where a quote or backslash would mislead `patch`, with a tab after one that has spaces.
    private static func header(_ name: String?, _ prefix: String) -> String {
        guard let name else { return "/dev/null" }
        let path = prefix + name
        if path.utf8.contains(where: { $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\\") }) {
            return "\"" + path.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
        }
        return path.utf8.contains(UInt8(ascii: " ")) ? path + "\t" : path
    }
}

/// Finds which lines stay. Lines are numbers here: two have the same number when they are equal.
private struct LineSearch {
    private let old: [Int32], new: [Int32]
    private var isRemoved: [Bool], isAdded: [Bool]
    /// What all lines before and behind which both texts share leave between them.
    private let oldMiddle: Range<Int>, newMiddle: Range<Int>
    private var stepsLeft: Int

    init(_ old: [Int32], _ new: [Int32], stepsMax: Int) {
        (self.old, self.new) = (old, new)
        isRemoved = [Bool](repeating: false, count: old.count)
        isAdded = [Bool](repeating: false, count: new.count)
        stepsLeft = stepsMax
        let shorter = min(old.count, new.count)
        var start = 0, end = 0
        while start < shorter, old[start] == new[start] { start += 1 }
        while end < shorter - start, old[old.count - 1 - end] == new[new.count - 1 - end] { end += 1 }
        oldMiddle = start..<old.count - end
        newMiddle = start..<new.count - end
    }

    /// False when the steps ran out; then all of the middle is replaced.
    mutating func run() -> Bool {
        // A line that the other side lacks cannot stay: without such lines the search is for the same answer in far less.
        let oldNumbers = Set(old[oldMiddle]), newNumbers = Set(new[newMiddle])
        let oldShared = oldMiddle.filter { newNumbers.contains(old[$0]) }, newShared = newMiddle.filter { oldNumbers.contains(new[$0]) }
        for i in oldMiddle { isRemoved[i] = true }
        for i in newMiddle { isAdded[i] = true }
        var box = EditSearch(oldShared.map { old[$0] }, newShared.map { new[$0] }, stepsMax: stepsLeft)
        guard box.run() else { return false }
        for (i, line) in oldShared.enumerated() { isRemoved[line] = box.isRemoved[i] }
        for (i, line) in newShared.enumerated() { isAdded[line] = box.isAdded[i] }
        return true
    }

    func changes() -> [LineDiff.Change] {
        var out: [(old: Range<Int>, new: Range<Int>)] = []
        var i = 0, j = 0
        while i < old.count || j < new.count {
            let start = (i, j)
            while i < old.count, isRemoved[i] { i += 1 }
            while j < new.count, isAdded[j] { j += 1 }
            if start != (i, j) { out.append((start.0..<i, start.1..<j)) }
            i += 1
            j += 1
        }
        slide(&out)
        return out.map { LineDiff.Change(old: $0.old, new: $0.new) }
    }

    /// Of equally short answers the one that people find easier to read: a pure insertion or deletion as far down as it goes, so
    /// that a new function shows its own closing brace and not that of the one before. Two that meet become one.
    private func slide(_ changes: inout [(old: Range<Int>, new: Range<Int>)]) {
        var out: [(old: Range<Int>, new: Range<Int>)] = []
        for change in changes.reversed() {
            var change = change
            let next = out.last ?? (old.count..<old.count, new.count..<new.count)
            while change.old.isEmpty, change.new.upperBound < next.new.lowerBound, new[change.new.lowerBound] == new[change.new.upperBound] {
                change = (Self.down(change.old), Self.down(change.new))
            }
            while change.new.isEmpty, change.old.upperBound < next.old.lowerBound, old[change.old.lowerBound] == old[change.old.upperBound] {
                change = (Self.down(change.old), Self.down(change.new))
            }
            if !out.isEmpty, change.old.upperBound == next.old.lowerBound {
                out[out.count - 1] = (change.old.lowerBound..<next.old.upperBound, change.new.lowerBound..<next.new.upperBound)
            } else {
                out.append(change)
            }
        }
        changes = out.reversed()
    }

    private static func down(_ lines: Range<Int>) -> Range<Int> { lines.lowerBound + 1..<lines.upperBound + 1 }
}
