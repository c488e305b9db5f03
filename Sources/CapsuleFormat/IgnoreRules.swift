internal import MeshCore

/// What is left out of a capsule: the frozen list, and the `.capsuleignore` files of a folder, in gitignore syntax and with
/// gitignore's precedence: the deepest file first, in it the last line first.
struct IgnoreRules: Sendable {
    static let fileName = ".capsuleignore"

    /// Never packed, whatever the rules say. Frozen: adding to it would change digests.
    private static let always = Set([".git", ".hg", ".svn", ".DS_Store", fileName, AllowedSecrets.fileName].map { Array($0.utf8) })

    static func isAlwaysIgnored(_ name: [UInt8]) -> Bool { name.first == UInt8(ascii: ".") && always.contains(name) }

    private struct Rule: Sendable {
        let negates: Bool
        let directoriesOnly: Bool
        /// Whether it is held against the last name of a path rather than all of it.
        let isName: Bool
        let pattern: PathPattern
    }

    private struct File: Sendable {
        /// How many bytes of a path are the file's own folder and the slash after it.
        let baseLength: Int
        let rules: [Rule]
    }

    private var files: [File] = []

    var isEmpty: Bool { files.isEmpty }

    /// Adds the file in `folder` (empty: the root), which is below those added before. `remove` takes it away again.
    ///
    /// - Throws: `ignore_invalid`.
    mutating func add(_ text: [UInt8], in folder: [UInt8]) throws(MeshError) {
        let rules = try RuleFile.lines(text, Self.fileName, in: folder).compactMap { Self.rule($0) }
        files.append(File(baseLength: folder.isEmpty ? 0 : folder.count + 1, rules: rules))
    }

    mutating func remove() { files.removeLast() }

    /// Whether this path itself is ignored. An ignored folder is never entered, so that what is below needs no answer.
    func ignores(_ path: [UInt8], isDirectory: Bool) -> Bool {
        guard !files.isEmpty else { return false }
        let nameStart = path.lastIndex(of: UInt8(ascii: "/")).map { $0 + 1 } ?? 0
        for file in files.reversed() {
            for rule in file.rules.reversed() where isDirectory || !rule.directoriesOnly {
                if rule.pattern.matches(path[(rule.isName ? nameStart : file.baseLength)...]) { return !rule.negates }
            }
        }
        return false
    }

    private static func rule(_ line: ArraySlice<UInt8>) -> Rule? {
        var line = line
        let negates = line.first == UInt8(ascii: "!")
        if negates { line.removeFirst() }
        let directoriesOnly = line.last == UInt8(ascii: "/")
        if directoriesOnly { line.removeLast() }
        let isName = !line.contains(UInt8(ascii: "/"))
        if line.first == UInt8(ascii: "/") { line.removeFirst() }
        guard !line.isEmpty, let pattern = PathPattern(Array(line)) else { return nil }
        return Rule(negates: negates, directoriesOnly: directoriesOnly, isName: isName, pattern: pattern)
    }
}

/// `.capsuleallow` and `--allow-secret`: the paths that may look like secrets. Each is a path from the root in gitignore's
/// pattern syntax; that of a folder stands for all in it.
struct AllowedSecrets: Sendable {
    static let fileName = ".capsuleallow"

    private var patterns: [PathPattern] = []
    /// As they were typed: a name with a `[` in it is also meant as that name.
    private var literals: Set<ArraySlice<UInt8>> = []

    /// - Throws: `ignore_invalid`.
    init(file text: [UInt8], paths: [String]) throws(MeshError) {
        for line in try RuleFile.lines(text, Self.fileName, in: []) { add(line) }
        for path in paths {
            let path = path.hasPrefix("./") ? path.dropFirst(2) : path[...]
            literals.insert(Array(path.utf8)[...])
            add(Array(path.utf8)[...])
        }
    }

    private mutating func add(_ line: ArraySlice<UInt8>) {
        var line = line
        if line.first == UInt8(ascii: "/") { line.removeFirst() }
        if line.last == UInt8(ascii: "/") { line.removeLast() }
        if !line.isEmpty, let pattern = PathPattern(Array(line)) { patterns.append(pattern) }
    }

    func contains(_ path: String) -> Bool {
        guard !patterns.isEmpty || !literals.isEmpty else { return false }
        let path = Array(path.utf8)
        return path.indices.contains { path[$0] == UInt8(ascii: "/") && matches(path[..<$0]) } || matches(path[...])
    }

    private func matches(_ path: ArraySlice<UInt8>) -> Bool { literals.contains(path) || patterns.contains { $0.matches(path) } }
}

/// The lines of a file of patterns, as git reads them.
enum RuleFile {
    /// Without empty lines, comments, the carriage return before a line's end and unescaped spaces at it.
    ///
    /// - Throws: `ignore_invalid` for more lines or longer ones than are read.
    static func lines(_ text: [UInt8], _ name: String, in folder: [UInt8]) throws(MeshError) -> [ArraySlice<UInt8>] {
        let mark: [UInt8] = [0xef, 0xbb, 0xbf]
        let text = text.starts(with: mark) ? text.dropFirst(mark.count) : text[...]
        let lines = text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        let place = TreePath.printable(String(decoding: folder + (folder.isEmpty ? [] : [UInt8(ascii: "/")]), as: UTF8.self) + name)
        guard lines.count <= Limits.ruleLinesMax else {
            throw MeshError(.ignoreInvalid, "\(place) has \(lines.count) lines; at most \(Limits.ruleLinesMax) are read", hint: "use patterns, e.g. *.o")
        }
        var out: [ArraySlice<UInt8>] = []
        for (i, line) in lines.enumerated() where !line.isEmpty && line.first != UInt8(ascii: "#") {
            guard line.count <= Limits.rulePatternBytesMax else {
                throw MeshError(.ignoreInvalid, "\(place), line \(i + 1), is longer than \(Limits.rulePatternBytesMax) bytes", hint: "shorten it")
            }
            let trimmed = withoutTrailingSpaces(line.last == UInt8(ascii: "\r") ? line.dropLast() : line)
            if !trimmed.isEmpty { out.append(trimmed) }
        }
        return out
    }

    private static func withoutTrailingSpaces(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var end: Int?
        var i = line.startIndex
        while i < line.endIndex {
            if line[i] == UInt8(ascii: " ") {
                if end == nil { end = i }
            } else {
                end = nil
                if line[i] == UInt8(ascii: "\\") { i += 1 }
            }
            i += 1
        }
        return end.map { line[..<$0] } ?? line
    }
}
