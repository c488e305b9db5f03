/// A version by Semantic Versioning 2.0.0, compared by its precedence rules (§11); build metadata does not take part.
public struct SemanticVersion: Hashable, Sendable, Comparable, CustomStringConvertible {
    public let major: Int, minor: Int, patch: Int
    public let prerelease: [String]
    public let build: [String]

    public init(parsing text: String) throws(MeshError) {
        func invalid() -> MeshError {
            MeshError(.versionInvalid, "“\(text)” is not a semantic version", hint: "write MAJOR.MINOR.PATCH, e.g. 1.0.0 or 2.1.0-rc.1 (semver.org)")
        }
        guard text.utf8.count <= Limits.versionBytesMax else { throw invalid() }
        let plus = text.split(separator: "+", maxSplits: 1, omittingEmptySubsequences: false)
        let dash = plus[0].split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        let core = dash[0].split(separator: ".", omittingEmptySubsequences: false)
        guard core.count == 3 else { throw invalid() }
        var numbers: [Int] = []
        for part in core {
            guard Self.isNumeric(part), let number = Int(part) else { throw invalid() }
            numbers.append(number)
        }
        (major, minor, patch) = (numbers[0], numbers[1], numbers[2])
        prerelease = dash.count == 2 ? dash[1].split(separator: ".", omittingEmptySubsequences: false).map(String.init) : []
        build = plus.count == 2 ? plus[1].split(separator: ".", omittingEmptySubsequences: false).map(String.init) : []
        for part in prerelease where !Self.isIdentifier(part) || (Self.isDigits(part) && !Self.isNumeric(part[...])) { throw invalid() }
        for part in build where !Self.isIdentifier(part) { throw invalid() }
    }

    public var description: String {
        "\(major).\(minor).\(patch)" + (prerelease.isEmpty ? "" : "-" + prerelease.joined(separator: "."))
            + (build.isEmpty ? "" : "+" + build.joined(separator: "."))
    }

    public static func < (a: SemanticVersion, b: SemanticVersion) -> Bool {
        if (a.major, a.minor, a.patch) != (b.major, b.minor, b.patch) { return (a.major, a.minor, a.patch) < (b.major, b.minor, b.patch) }
        if a.prerelease.isEmpty || b.prerelease.isEmpty { return !a.prerelease.isEmpty && b.prerelease.isEmpty }
        for (x, y) in zip(a.prerelease, b.prerelease) where x != y {
            switch (isDigits(x), isDigits(y)) {
            case (true, true): return x.utf8.count != y.utf8.count ? x.utf8.count < y.utf8.count : x < y
            case (true, false): return true
            case (false, true): return false
            case (false, false): return x.utf8.lexicographicallyPrecedes(y.utf8)
            }
        }
        return a.prerelease.count < b.prerelease.count
    }

    private static func isDigits(_ text: some StringProtocol) -> Bool { !text.isEmpty && text.utf8.allSatisfy { (0x30...0x39).contains($0) } }
    private static func isNumeric(_ text: Substring) -> Bool { isDigits(text) && (text.utf8.count == 1 || text.utf8.first != 0x30) }
    private static func isIdentifier(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0) || $0 == 0x2d }
    }
}
