public import MeshCore

/// Whether links may leave the tree: never in an app, anywhere in a root file system (a toolchain).
public enum TreeKind: String, Sendable, CaseIterable { case app, rootfs }

/// One thing in a tree: a file, a folder or a symbolic link. Paths are relative, without a trailing slash.
public struct TreeEntry: Sendable, Hashable {
    public enum Content: Sendable, Hashable {
        case file(size: Int64, sha256: Digest)
        case directory
        case link(target: String)
    }

    public static let plainMode = 0o644, executableMode = 0o755, directoryMode = 0o755, linkMode = 0o777

    public let path: String
    /// 0644 or 0755 for a file, 0755 for a folder, 0777 for a link.
    public let mode: Int
    public let content: Content

    public init(path: String, mode: Int, content: Content) {
        self.path = path
        self.mode = mode
        self.content = content
    }

    public var isDirectory: Bool { content == .directory }
}
