public import MeshCore

/// Looks for what must never travel: private keys, tokens of well-known services, `.env` files.
///
/// Fed with a file's content in pieces while it is read for packing, so it costs one look for a few rare byte strings.
public struct SecretScanner: Sendable {
    struct Pattern: Sendable {
        let name: String
        /// A string that every match begins with or contains, to be searched for.
        let anchor: [UInt8]
        /// What must follow the anchor: a class of characters, how many at least.
        let follows: @Sendable (UInt8) -> Bool
        let count: Int
    }

    private static func alphanumeric(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte) }
    private static func token(_ byte: UInt8) -> Bool { alphanumeric(byte) || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "-") }
    private static func upper(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) }

    static let patterns: [Pattern] = [
        Pattern(name: "a private key", anchor: Array("PRIVATE KEY-----".utf8), follows: { $0 == 0x0a || $0 == 0x0d || $0 == UInt8(ascii: "\\") }, count: 1),
        Pattern(name: "an AWS access key", anchor: Array("AKIA".utf8), follows: upper, count: 16),
        Pattern(name: "a GitHub token", anchor: Array("ghp_".utf8), follows: alphanumeric, count: 36),
        Pattern(name: "a GitHub token", anchor: Array("github_pat_".utf8), follows: token, count: 40),
        Pattern(name: "a GitLab token", anchor: Array("glpat-".utf8), follows: token, count: 20),
        Pattern(name: "a Slack token", anchor: Array("xoxb-".utf8), follows: token, count: 20),
        Pattern(name: "a Slack token", anchor: Array("xoxp-".utf8), follows: token, count: 20),
        Pattern(name: "a Google API key", anchor: Array("AIza".utf8), follows: token, count: 35),
        Pattern(name: "an npm token", anchor: Array("npm_".utf8), follows: alphanumeric, count: 36),
        Pattern(name: "a PyPI token", anchor: Array("pypi-AgEIcHlwaS5vcmc".utf8), follows: token, count: 40),
        Pattern(name: "a Stripe key", anchor: Array("sk_live_".utf8), follows: alphanumeric, count: 20),
    ]
    /// The longest anchor and what must follow it, so that a match across two pieces is seen.
    private static let overlap = 128
    /// Tokens are looked for in text only: a compiled program holds such strings by chance and by design.
    private static let textProbeBytes = 8192

    private var line = 1
    private var carried: [UInt8] = []
    private var isText: Bool?

    public init() {}

    /// What was found, and in which line (from 1). `isLast`: nothing of the file comes after these bytes.
    public mutating func scan(_ bytes: UnsafeRawBufferPointer, isLast: Bool) -> (what: String, line: Int)? {
        if isText == nil { isText = bytes.prefix(Self.textProbeBytes).allSatisfy { $0 != 0 } }
        if carried.isEmpty, isLast { return find(bytes) }
        let joined = carried + Array(bytes)
        if let found = joined.withUnsafeBytes({ find($0) }) { return found }
        let keep = isLast ? 0 : min(Self.overlap, joined.count)
        line += joined.dropLast(keep).reduce(0) { $1 == 0x0a ? $0 + 1 : $0 }
        carried = Array(joined.suffix(keep))
        return nil
    }

    private func find(_ bytes: UnsafeRawBufferPointer) -> (what: String, line: Int)? {
        guard isText == true else { return nil }
        for pattern in Self.patterns {
            var start = 0
            while let at = bytes.firstOccurrence(of: pattern.anchor, from: start) {
                let after = at + pattern.anchor.count
                start = at + 1
                guard after + pattern.count <= bytes.count, bytes[after..<after + pattern.count].allSatisfy(pattern.follows) else { continue }
                // A word that goes on to the left is another word.
                if at > 0, pattern.anchor[0] != UInt8(ascii: "P"), Self.token(bytes[at - 1]) { continue }
                return (pattern.name, line + bytes[..<at].reduce(0) { $1 == 0x0a ? $0 + 1 : $0 })
            }
        }
        return nil
    }

    /// Whether the name alone says that a file holds secrets.
    public static func isSecretName(_ path: String) -> Bool {
        let name = path.split(separator: "/").last ?? ""
        guard name == ".env" || name.hasPrefix(".env.") else { return false }
        return ![".example", ".sample", ".template", ".dist"].contains { name.hasSuffix($0) }
    }

    public static func error(_ path: String, what: String, line: Int?) -> MeshError {
        MeshError(.secretFound, "\(TreePath.printable(path))\(line.map { ", line \($0)," } ?? "") looks like \(what)",
                  hint: "take it out, or list the path in .capsuleallow (or --allow-secret \(TreePath.printable(path))) if everyone may have it")
    }
}
