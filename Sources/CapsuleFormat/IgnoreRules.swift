internal import MeshCore

/// `.capsuleignore`: gitignore syntax (git-scm.com/docs/gitignore), one file at the root of the folder.
struct IgnoreRules: Sendable {
    /// Never packed, whatever the rules say. Frozen: adding to it would change digests.
    static let always: Set<String> = [".git", ".hg", ".svn", ".DS_Store", ".capsuleignore", ".capsuleallow"]

    private struct Rule: Sendable {
        let negates: Bool
        let directoriesOnly: Bool
        /// Path parts to match from the root; a part `**` stands for any number of folders.
        let parts: [[UInt8]]
    }

    private let rules: [Rule]

    /// - Throws: `ignore_invalid` for more than 10,000 lines.
    init(_ text: [UInt8]) throws(MeshError) {
        let lines = text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        guard lines.count <= 10_000 else { throw MeshError(.ignoreInvalid, ".capsuleignore has \(lines.count) lines; at most 10,000 are read") }
        rules = lines.compactMap { Self.rule(Array($0)) }
    }

    private static func rule(_ line: [UInt8]) -> Rule? {
        var line = line
        if line.last == UInt8(ascii: "\r") { line.removeLast() }
        while line.last == UInt8(ascii: " "), line.dropLast().last != UInt8(ascii: "\\") { line.removeLast() }
        guard let first = line.first, first != UInt8(ascii: "#") else { return nil }
        let negates = first == UInt8(ascii: "!")
        if negates { line.removeFirst() }
        let directoriesOnly = line.last == UInt8(ascii: "/")
        if directoriesOnly { line.removeLast() }
        guard !line.isEmpty else { return nil }
        let anchored = line.contains(UInt8(ascii: "/"))
        if line.first == UInt8(ascii: "/") { line.removeFirst() }
        var parts = line.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map(Array.init)
        if !anchored { parts.insert(Array("**".utf8), at: 0) }
        return Rule(negates: negates, directoriesOnly: directoriesOnly, parts: parts)
    }

    /// Whether this path itself is ignored; the walk never enters an ignored folder, so what is below needs no answer.
    func ignores(_ path: String, isDirectory: Bool) -> Bool {
        guard !rules.isEmpty else { return false }
        let parts = path.utf8.split(separator: UInt8(ascii: "/")).map(Array.init)
        for rule in rules.reversed() where !(rule.directoriesOnly && !isDirectory) && Self.matches(rule.parts[...], parts[...]) { return !rule.negates }
        return false
    }

    private static func matches(_ pattern: ArraySlice<[UInt8]>, _ path: ArraySlice<[UInt8]>) -> Bool {
        guard let head = pattern.first else { return path.isEmpty }
        if head.elementsEqual("**".utf8) {
            // A trailing /** matches everything inside, so at least one part.
            if pattern.count == 1 { return !path.isEmpty }
            for start in path.startIndex...path.endIndex where matches(pattern.dropFirst(), path[start...]) { return true }
            return false
        }
        guard let first = path.first, GlobPart.matches(head[...], first[...]) else { return false }
        return matches(pattern.dropFirst(), path.dropFirst())
    }
}

/// fnmatch(3) for one path part: `*`, `?`, `[a-z]`, `[!a]`, and `\` before a character that stands for itself.
enum GlobPart {
    static func matches(_ pattern: ArraySlice<UInt8>, _ text: ArraySlice<UInt8>) -> Bool {
        var pattern = pattern, text = text
        var retry: (pattern: ArraySlice<UInt8>, text: ArraySlice<UInt8>)?
        while true {
            if let head = pattern.first, head == UInt8(ascii: "*") {
                pattern = pattern.drop { $0 == UInt8(ascii: "*") }
                retry = (pattern, text)
                continue
            }
            if text.isEmpty, pattern.isEmpty { return true }
            if let character = text.first, let rest = one(pattern, character) {
                pattern = rest
                text = text.dropFirst()
                continue
            }
            guard let again = retry, !again.text.isEmpty else { return false }
            retry = (again.pattern, again.text.dropFirst())
            pattern = again.pattern
            text = again.text.dropFirst()
        }
    }

    /// What follows in the pattern once its first element has matched `character`; nil when it does not.
    private static func one(_ pattern: ArraySlice<UInt8>, _ character: UInt8) -> ArraySlice<UInt8>? {
        guard let head = pattern.first else { return nil }
        switch head {
        case UInt8(ascii: "?"): return pattern.dropFirst()
        case UInt8(ascii: "\\"):
            guard pattern.dropFirst().first == character else { return nil }
            return pattern.dropFirst(2)
        case UInt8(ascii: "["): return bracket(pattern, character)
        default: return head == character ? pattern.dropFirst() : nil
        }
    }

    private static func bracket(_ pattern: ArraySlice<UInt8>, _ character: UInt8) -> ArraySlice<UInt8>? {
        var rest = pattern.dropFirst()
        let negates = rest.first == UInt8(ascii: "!") || rest.first == UInt8(ascii: "^")
        if negates { rest = rest.dropFirst() }
        var matched = false, isFirst = true
        while let low = rest.first, isFirst || low != UInt8(ascii: "]") {
            isFirst = false
            rest = rest.dropFirst()
            if rest.first == UInt8(ascii: "-"), let high = rest.dropFirst().first, high != UInt8(ascii: "]") {
                matched = matched || (low <= high && (low...high).contains(character))
                rest = rest.dropFirst(2)
            } else {
                matched = matched || low == character
            }
        }
        guard rest.first == UInt8(ascii: "]"), matched != negates else { return nil }
        return rest.dropFirst()
    }
}
