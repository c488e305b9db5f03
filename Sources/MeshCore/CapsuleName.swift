/// A capsule's name: the slug of its id. 1–63 of `a-z 0-9 -`, beginning with a letter, not ending with a dash, so that
/// it is at once a DNS label, an OCI repository name and a file name.
public struct CapsuleName: Hashable, Sendable, Comparable, CustomStringConvertible {
    public let description: String

    public init(parsing text: some StringProtocol) throws(MeshError) {
        let bytes = Array(text.utf8)
        let allowed = bytes.allSatisfy { (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2d }
        guard allowed, let first = bytes.first, let last = bytes.last, (0x61...0x7a).contains(first), last != 0x2d, bytes.count <= 63 else {
            throw MeshError(.nameInvalid, "“\(text)” is not a capsule name",
                            hint: "1–63 of a-z, 0-9 and -, beginning with a letter and not ending with -")
        }
        description = String(text)
    }

    public static func < (a: CapsuleName, b: CapsuleName) -> Bool { a.description.utf8.lexicographicallyPrecedes(b.description.utf8) }
}

/// `urn:oursynth:app:<slug>@<semver>`
public struct CapsuleID: Hashable, Sendable, CustomStringConvertible {
    public let name: CapsuleName
    public let version: SemanticVersion
    private static let prefix = "urn:oursynth:app:"

    public init(name: CapsuleName, version: SemanticVersion) {
        self.name = name
        self.version = version
    }

    public init(parsing text: String) throws(MeshError) {
        guard text.hasPrefix(Self.prefix), let at = text.firstIndex(of: "@") else {
            throw MeshError(.nameInvalid, "“\(text)” is not a capsule id", hint: "write \(Self.prefix)<name>@<version>")
        }
        name = try CapsuleName(parsing: text[text.index(text.startIndex, offsetBy: Self.prefix.count)..<at])
        version = try SemanticVersion(parsing: String(text[text.index(after: at)...]))
    }

    public var description: String { "\(Self.prefix)\(name)@\(version)" }
}

/// What a person writes where a capsule is meant: a digest or a prefix of one, a name, a name and version, a name and
/// channel, or a path (has a `/` or ends in `.caps`).
public enum Reference: Hashable, Sendable, CustomStringConvertible {
    case digest(Digest)
    /// At least 8 hexadecimal digits.
    case digestPrefix(String)
    case name(CapsuleName)
    case version(CapsuleName, SemanticVersion)
    case channel(CapsuleName, String)
    case path(String)

    public init(parsing text: String) throws(MeshError) {
        func invalid() -> MeshError {
            MeshError(.referenceInvalid, "“\(text)” names no capsule",
                      hint: "write sha256:…, NAME, NAME@1.2.0, NAME@CHANNEL or a path to a .caps file (with a / or ending in .caps)")
        }
        if text.hasPrefix("sha256:") {
            let hex = String(text.dropFirst(7))
            if let digest = Digest(hex: hex) { self = .digest(digest); return }
            guard (8..<64).contains(hex.utf8.count), hex.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }) else { throw invalid() }
            self = .digestPrefix(hex)
        } else if text.contains("/") || text.hasSuffix(".caps") {
            self = .path(text)
        } else {
            let parts = text.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
            guard let first = parts.first, let name = try? CapsuleName(parsing: first) else { throw invalid() }
            guard parts.count == 2 else { self = .name(name); return }
            if let version = try? SemanticVersion(parsing: String(parts[1])) {
                self = .version(name, version)
            } else if let channel = try? CapsuleName(parsing: parts[1]) {
                self = .channel(name, channel.description)
            } else { throw invalid() }
        }
    }

    public var description: String {
        switch self {
        case .digest(let digest): digest.description
        case .digestPrefix(let hex): "sha256:\(hex)…"
        case .name(let name): name.description
        case .version(let name, let version): "\(name)@\(version)"
        case .channel(let name, let channel): "\(name)@\(channel)"
        case .path(let path): path
        }
    }
}
