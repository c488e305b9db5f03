/// A name glob: `*` stands for any run of characters, everything else for itself.
public struct Glob: Hashable, Sendable, CustomStringConvertible {
    public let description: String

    public init(_ pattern: String) { description = pattern }

    /// Whether it matches every name: stars and nothing else.
    public var matchesEverything: Bool { !description.isEmpty && description.utf8.allSatisfy { $0 == UInt8(ascii: "*") } }

    public func matches(_ text: String) -> Bool {
        let pattern = Array(description.utf8), subject = Array(text.utf8)
        var p = 0, s = 0, star = -1, mark = 0
        while s < subject.count {
            if p < pattern.count, pattern[p] == UInt8(ascii: "*") {
                star = p
                mark = s
                p += 1
            } else if p < pattern.count, pattern[p] == subject[s] {
                p += 1
                s += 1
            } else if star >= 0 {
                p = star + 1
                mark += 1
                s = mark
            } else {
                return false
            }
        }
        return pattern[p...].allSatisfy { $0 == UInt8(ascii: "*") }
    }

    /// Whether every name that `other` matches is matched by this glob. Sound, and exact for the shapes that grants use
    /// (a literal, `prefix*`, `*`): a star of `other` is matched by stars only.
    public func covers(_ other: Glob) -> Bool { matches(other.description) }
}
