import CapsuleFormat
import Glibc
import MeshCore
import Testing

/// The same numbers on every run (SplitMix64).
struct Dice: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

@Suite struct LineDiffTests {
    static func text(_ lines: [String]) -> [UInt8] { Array(lines.map { $0 + "\n" }.joined().utf8) }
    static func unified(_ a: String, _ b: String, context: Int = 3) -> String {
        String(decoding: LineDiff(Array(a.utf8), Array(b.utf8)).unified(old: "f", new: "f", context: context), as: UTF8.self)
    }

    /// A text of few different lines, and another that is the first with some of them changed, or has nothing to do with it.
    static func pair(_ dice: inout Dice, lines linesMax: Int) -> ([UInt8], [UInt8]) {
        let words = ["", "a", "b", "}", "  return", "\u{e9}", "- x", "+ y", "@@ -1 +1 @@", "--- a", "\\ No newline at end of file", "\r", "\0"]
        func lines(_ count: Int, _ dice: inout Dice) -> [[UInt8]] { (0..<count).map { _ in Array((words.randomElement(using: &dice) ?? "").utf8) } }
        func join(_ lines: [[UInt8]], _ dice: inout Dice) -> [UInt8] {
            var out: [UInt8] = lines.flatMap { (line: [UInt8]) -> [UInt8] in line + [0x0a] }
            if !out.isEmpty, Int.random(in: 0..<4, using: &dice) == 0 { out.removeLast() }
            return out
        }
        let first = lines(Int.random(in: 0...linesMax, using: &dice), &dice)
        var second = Int.random(in: 0..<5, using: &dice) == 0 ? lines(Int.random(in: 0...linesMax, using: &dice), &dice) : first
        for _ in 0..<Int.random(in: 0...5, using: &dice) {
            let place = Int.random(in: 0...second.count, using: &dice)
            if Bool.random(using: &dice) { second.insert(lines(1, &dice)[0], at: place) } else if place < second.count { second.remove(at: place) }
        }
        return (join(first, &dice), join(second, &dice))
    }

    /// What `patch` does, for one file: every hunk where it says, and every line of it as it stands.
    static func apply(_ patch: [UInt8], to old: [UInt8]) throws -> [UInt8] {
        func lines(_ text: [UInt8]) -> [[UInt8]] {
            var out: [[UInt8]] = [], start = 0
            for (i, byte) in text.enumerated() where byte == 0x0a || i == text.count - 1 {
                out.append(Array(text[start...i]))
                start = i + 1
            }
            return out
        }
        if patch.isEmpty { return old }
        var source = lines(old)[...], out: [[UInt8]] = [], rest = lines(patch).dropFirst(2), done = 0
        while let header = rest.popFirst() {
            let numbers = String(decoding: header, as: UTF8.self).split(whereSeparator: { !$0.isNumber && $0 != "," })
            let parts = try numbers.prefix(2).map { try $0.split(separator: ",").map { try #require(Int($0)) } }
            var oldLeft = parts[0].count == 2 ? parts[0][1] : 1, newLeft = parts[1].count == 2 ? parts[1][1] : 1
            let start = oldLeft == 0 ? parts[0][0] : parts[0][0] - 1
            out += source.prefix(start - done)
            source = source.dropFirst(start - done)
            done = start
            try #require(out.count == (newLeft == 0 ? parts[1][0] : parts[1][0] - 1))
            while oldLeft > 0 || newLeft > 0 || rest.first?.first == UInt8(ascii: "\\") {
                let next = rest.popFirst()
                var line = try #require(next)
                let mark = line.removeFirst()
                if rest.first?.first == UInt8(ascii: "\\") {
                    rest.removeFirst()
                    line.removeLast()
                }
                if mark != UInt8(ascii: "+") {
                    let kept = source.popFirst()
                    try #require(kept == line)
                    (oldLeft, done) = (oldLeft - 1, done + 1)
                }
                if mark != UInt8(ascii: "-") {
                    out.append(line)
                    newLeft -= 1
                }
            }
            try #require(oldLeft == 0 && newLeft == 0)
        }
        return Array((out + source).joined())
    }

    @Test func hunks() {
        let ten = (1...10).map { "\($0)\n" }.joined()
        #expect(Self.unified(ten, ten) == "")
        #expect(Self.unified(ten, ten.replacing("5\n", with: "five\n")) == "--- a/f\n+++ b/f\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n")
        #expect(Self.unified("", "a\n") == "--- a/f\n+++ b/f\n@@ -0,0 +1 @@\n+a\n")
        #expect(Self.unified("a\n", "") == "--- a/f\n+++ b/f\n@@ -1 +0,0 @@\n-a\n")
        #expect(Self.unified("a\nb\n", "a\nb") == "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n a\n-b\n+b\n\\ No newline at end of file\n")
        #expect(Self.unified("a\nb", "x\nb") == "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n-a\n+x\n b\n\\ No newline at end of file\n")
        #expect(Self.unified(ten, ten + "11\n", context: 0) == "--- a/f\n+++ b/f\n@@ -10,0 +11 @@\n+11\n")
        // Six lines between two changes: one hunk. Seven: two.
        #expect(Self.unified(ten, "one\n2\n3\n4\n5\n6\n7\neight\n9\n10\n").count { $0 == "@" } == 4)
        #expect(Self.unified(ten, "one\n2\n3\n4\n5\n6\n7\n8\nnine\n10\n").count { $0 == "@" } == 8)
    }

    @Test func names() {
        func header(_ old: String?, _ new: String?) -> [Substring] {
            String(decoding: LineDiff([1], [2]).unified(old: old, new: new), as: UTF8.self).split(separator: "\n").prefix(2).map { $0 }
        }
        #expect(header(nil, "x") == ["--- /dev/null", "+++ b/x"])
        #expect(header("d/y", nil) == ["--- a/d/y", "+++ /dev/null"])
        #expect(header("a b", "a b") == ["--- a/a b\t", "+++ b/a b\t"])
        #expect(header("a\"\\", "ä") == ["--- \"a/a\\\"\\\\\"", "+++ b/ä"])
    }

    /// A new function shows its own closing brace.
    @Test func insertionsReadWell() {
        let old = "f() {\n  1\n}\n\ng() {\n  2\n}\n"
        #expect(Self.unified(old, "f() {\n  1\n}\n\nh() {\n  3\n}\n\ng() {\n  2\n}\n").hasSuffix(" }\n \n+h() {\n+  3\n+}\n+\n g() {\n   2\n }\n"))
        #expect(Self.unified("a\nb\nb\nb\nc\n", "a\nb\nb\nb\nb\nc\n").hasSuffix(" b\n b\n b\n+b\n c\n"))
        #expect(Self.unified("a\nb\nb\nb\nc\n", "a\nb\nc\n").hasSuffix(" a\n b\n-b\n-b\n c\n"))
    }

    @Test func everyDifferenceLeadsToTheSecondText() throws {
        var dice = Dice(state: 1)
        for round in 0..<100_000 {
            let (a, b) = Self.pair(&dice, lines: 10)
            let diff = LineDiff(a, b)
            let applied = try Self.apply(diff.unified(old: "f", new: "f", context: round % 5), to: a)
            let isApart = zip(diff.changes, diff.changes.dropFirst()).allSatisfy { $0.old.upperBound < $1.old.lowerBound && $0.new.upperBound < $1.new.lowerBound }
            // Asked for only where it fails: the macro takes longer than the work.
            if applied != b || !isApart || diff.isCoarse || diff.changes.isEmpty != (a == b) { Issue.record("round \(round): \(a) to \(b)") }
        }
    }

    /// GNU patch gets the second text out of ours, and GNU diff finds nothing shorter.
    @Test(.enabled(if: (try? shell("diff --version && patch --version").status) == 0, "SKIPPED: diff and patch are not installed"))
    func agreesWithDiffAndPatch() throws {
        let folder = try TemporaryFolder()
        for name in ["a", "b", "c"] { try Files.makeDirectory(folder.file(name)) }
        var dice = Dice(state: 2), patch: [UInt8] = [], lines = 0
        let odd = ["with space", "q\"uote", "back\\slash", "ü"]
        for round in 0..<600 {
            let name = round < odd.count ? odd[round] : "\(round)"
            let (a, b) = Self.pair(&dice, lines: 40)
            for (side, bytes) in [("a", a), ("b", b), ("c", a)] {
                let file = try #require(fopen(folder.file("\(side)/\(name)"), "w"))
                fwrite(bytes, 1, bytes.count, file)
                fclose(file)
            }
            let diff = LineDiff(a, b)
            patch += diff.unified(old: name, new: name)
            lines += diff.addedLines + diff.removedLines
        }
        try Files.writeDurably(patch, to: folder.file("patch"))
        let applied = try shell("cd \(folder.path)/c && patch --binary --fuzz=0 -p1 <../patch")
        #expect(applied.status == 0 && !applied.output.contains("offset") && !applied.output.contains("ignored"), "\(applied.output.suffix(2000))")
        let same = try shell("diff -r \(folder.path)/b \(folder.path)/c")
        #expect(same.status == 0, "\(same.output.prefix(2000))")
        let shortest = try shell("cd \(folder.path) && for f in a/*; do diff -ad \"$f\" \"b/${f#a/}\"; done | grep -ac '^[<>]'")
        #expect(shortest.output == "\(lines)\n")
    }

    @Test(.enabled(if: (try? shell("patch --version").status) == 0, "SKIPPED: patch is not installed"))
    func addedAndRemovedFilesArePatched() throws {
        let folder = try TemporaryFolder()
        let old = Array("one\ntwo\n".utf8), new = Array("three".utf8)
        _ = try folder.write(old, to: "gone")
        let patch = LineDiff(old, []).unified(old: "gone", new: nil) + LineDiff([], new).unified(old: nil, new: "new")
        _ = try folder.write(patch, to: "patch")
        #expect(try shell("cd \(folder.path) && patch -p1 <patch").status == 0)
        #expect(try !Files.exists(folder.file("gone")) && Files.read(folder.file("new"), bytesMax: 100) == new)
    }

    @Test func workIsBounded() throws {
        // Nothing unique to either side, so that only the search itself can tell them apart.
        var dice = Dice(state: 3)
        let a = (0..<1000).map { _ in "\(Int.random(in: 0..<40, using: &dice))" }, b = (0..<1000).map { _ in "\(Int.random(in: 0..<40, using: &dice))" }
        let old = Self.text(["same"] + a + ["end"]), new = Self.text(["same"] + b + ["end"])
        let coarse = LineDiff(old, new, stepsMax: 10_000)
        #expect(coarse.isCoarse && coarse.changes.count == 1 && coarse.removedLines == 1000 && coarse.addedLines == 1000)
        #expect(try Self.apply(coarse.unified(old: "f", new: "f"), to: old) == new)
        let fine = LineDiff(old, new, stepsMax: 1 << 24)
        #expect(!fine.isCoarse && fine.removedLines < 1000)
        #expect(try Self.apply(fine.unified(old: "f", new: "f"), to: old) == new)
        // Texts without a line in common need no search.
        let others = LineDiff(Self.text((0..<10_000).map { "a\($0)" }), Self.text((0..<10_000).map { "b\($0)" }))
        #expect(!others.isCoarse && others.changes.count == 1)
        // The longest texts that are compared, with nothing but line feeds.
        let feeds = LineDiff([UInt8](repeating: 0x0a, count: 1 << 20), [UInt8](repeating: 0x0a, count: 1 << 19))
        #expect(feeds.changes.count == 1 && feeds.removedLines == 1 << 19)
    }
}
