package import Glibc
public import MeshCore

/// What a folder holds, in canonical order: the input of a pack. Nothing is followed, nothing is opened but folders and the
/// two rule files.
public struct SourceTree: Sendable {
    public struct Item: Sendable, Hashable {
        public enum Kind: Sendable, Hashable {
            case file(size: Int64)
            case directory
            case link(target: String)
        }

        public let path: String
        /// 0644 or 0755 for a file, 0755 for a folder, 0777 for a link, whatever the umask was.
        public let mode: Int
        public let kind: Kind
        /// What tells an unchanged file: times of its content and of its metadata in nanoseconds since 1970, and the inode number.
        public let modified: Int64
        public let changed: Int64
        public let inode: UInt64
    }

    public struct ScanOptions: Sendable {
        /// Paths that may look like secrets, besides those in `.capsuleallow`; in the same syntax.
        public var allowSecrets: [String]
        /// The frozen list and `.capsuleignore`.
        public var applyIgnoreRules: Bool
        /// The manifest at the root belongs in the capsule's root document.
        public var skipRootManifest: Bool
        /// Names are looked at here; `scans` says whose content is to be looked at.
        public var scanSecrets: Bool

        public init(allowSecrets: [String] = [], applyIgnoreRules: Bool = true, skipRootManifest: Bool = true, scanSecrets: Bool = true) {
            self.allowSecrets = allowSecrets
            self.applyIgnoreRules = applyIgnoreRules
            self.skipRootManifest = skipRootManifest
            self.scanSecrets = scanSecrets
        }
    }

    /// Without a trailing slash.
    public let directory: String
    public let items: [Item]
    /// nil where no content is looked at.
    private let allowed: AllowedSecrets?

    /// - Throws: `path_invalid`, `name_not_utf8`, `kind_refused` (devices, sockets, pipes), `link_escapes`, `secret_found` (by
    ///   name), `ignore_invalid`, `tree_too_large`, and what reading the folder gives. All name the path.
    public static func scan(_ directory: String, kind: TreeKind, options: ScanOptions) throws(MeshError) -> SourceTree {
        var directory = directory
        while directory.utf8.count > 1, directory.utf8.last == UInt8(ascii: "/") { directory.removeLast() }
        let root = try SourceFolder(directory)
        let text = options.scanSecrets ? try root.ruleFile(AllowedSecrets.fileName, at: AllowedSecrets.fileName) : nil
        let allowed = options.scanSecrets ? try AllowedSecrets(file: text ?? [], paths: options.allowSecrets) : nil
        var walk = SourceWalk(kind: kind, options: options)
        let tree = SourceTree(directory: directory, items: try walk.items(of: root), allowed: allowed)
        for item in tree.items {
            guard case .file = item.kind, SecretScanner.isSecretName(item.path), tree.scans(item.path) else { continue }
            throw SecretScanner.error(item.path, what: "a file of secrets", line: nil)
        }
        return tree
    }

    /// Whether a file's content is to be looked through for secrets.
    public func scans(_ path: String) -> Bool { allowed.map { !$0.contains(path) } ?? false }

    /// Since 1970. What does not fit (years after 2262, which a file may well claim) is the nearest that does.
    package static func nanoseconds(_ time: timespec) -> Int64 {
        let (seconds, overflow) = Int64(time.tv_sec).multipliedReportingOverflow(by: 1_000_000_000)
        let nearest = time.tv_sec < 0 ? Int64.min : Int64.max
        if overflow { return nearest }
        let (sum, overflows) = seconds.addingReportingOverflow(Int64(time.tv_nsec))
        return overflows ? nearest : sum
    }
}
