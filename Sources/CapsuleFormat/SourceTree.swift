internal import Glibc
public import MeshCore

/// What a folder holds, in canonical order: the input of a pack. Nothing is followed, nothing is opened but folders.
public struct SourceTree: Sendable {
    public struct Item: Sendable, Hashable {
        public enum Kind: Sendable, Hashable {
            case file(size: Int64)
            case directory
            case link(target: String)
        }

        public let path: String
        public let mode: Int
        public let kind: Kind
        /// What tells an unchanged file: nanoseconds since 1970 and the inode number.
        public let modified: Int64
        public let changed: Int64
        public let inode: UInt64
    }

    public struct ScanOptions: Sendable {
        /// Paths that may look like secrets, besides those in `.capsuleallow`.
        public var allowSecrets: [String] = []
        /// The frozen list and `.capsuleignore`.
        public var applyIgnoreRules = true
        /// The manifest at the root belongs in the capsule's root document.
        public var skipRootManifest = true
        public var scanSecrets = true

        public init(allowSecrets: [String] = [], applyIgnoreRules: Bool = true, skipRootManifest: Bool = true, scanSecrets: Bool = true) {
            self.allowSecrets = allowSecrets
            self.applyIgnoreRules = applyIgnoreRules
            self.skipRootManifest = skipRootManifest
            self.scanSecrets = scanSecrets
        }
    }

    public let directory: String
    public let items: [Item]
    private let allowed: [Glob]
    private let scansSecrets: Bool

    /// - Throws: `path_invalid`, `name_not_utf8`, `kind_refused` (devices, sockets, pipes), `link_escapes`, `secret_found` (by
    ///   name), `tree_too_large`, and what reading the folder gives.
    public static func scan(_ directory: String, kind: TreeKind, options: ScanOptions) throws(MeshError) -> SourceTree {
        var walk = Walk(directory: directory, kind: kind, options: options)
        if options.applyIgnoreRules, Files.exists(directory + "/.capsuleignore") {
            walk.rules = try IgnoreRules(Files.read(directory + "/.capsuleignore", bytesMax: 1 << 20))
        }
        var allowed = options.allowSecrets.map { Glob($0.hasPrefix("./") ? String($0.dropFirst(2)) : $0) }
        if options.scanSecrets, Files.exists(directory + "/.capsuleallow") {
            let text = String(decoding: try Files.read(directory + "/.capsuleallow", bytesMax: 1 << 20), as: UTF8.self)
            allowed += text.split(separator: "\n").map { $0.hasSuffix("\r") ? $0.dropLast() : $0 }.filter { !$0.isEmpty && !$0.hasPrefix("#") }.map { Glob(String($0)) }
        }
        try walk.enter("", depth: 0)
        let tree = SourceTree(directory: directory, items: walk.items, allowed: allowed, scansSecrets: options.scanSecrets)
        for item in tree.items where SecretScanner.isSecretName(item.path) && tree.scans(item.path) {
            throw SecretScanner.error(item.path, what: "a file of secrets", line: nil)
        }
        return tree
    }

    /// Whether a file's content is to be looked through for secrets.
    public func scans(_ path: String) -> Bool { scansSecrets && !allowed.contains { $0.matches(path) } }

    private struct Walk {
        let directory: String
        let kind: TreeKind
        let options: ScanOptions
        var rules: IgnoreRules?
        var items: [Item] = []

        mutating func enter(_ path: String, depth: Int) throws(MeshError) {
            let full = path.isEmpty ? directory : directory + "/" + path
            for name in try names(full, path) {
                let child = path.isEmpty ? name : path + "/" + name
                if options.applyIgnoreRules, IgnoreRules.always.contains(name) { continue }
                if options.skipRootManifest, child == "capsule.json" { continue }
                try add(child, depth: depth)
            }
        }

        private mutating func add(_ path: String, depth: Int) throws(MeshError) {
            let full = directory + "/" + path
            var info = stat()
            guard lstat(full, &info) == 0 else { throw Files.failure("look at", full) }
            let type = info.st_mode & S_IFMT
            if let rules, rules.ignores(path, isDirectory: type == S_IFDIR) { return }
            try TreePath.check(path)
            guard items.count < Limits.treeEntriesMax else {
                throw MeshError(.treeTooLarge, "\(directory) holds more than \(Limits.treeEntriesMax) files and folders", hint: "list what need not travel in .capsuleignore")
            }
            let itemKind: Item.Kind, mode: Int
            switch type {
            case S_IFREG:
                guard info.st_size <= Limits.fileBytesMax else { throw MeshError(.treeTooLarge, "\(full) has \(info.st_size) bytes; at most \(Limits.fileBytesMax) are packed") }
                itemKind = .file(size: Int64(info.st_size))
                mode = info.st_mode & 0o111 != 0 ? TreeEntry.executableMode : TreeEntry.plainMode
            case S_IFDIR: (itemKind, mode) = (.directory, TreeEntry.directoryMode)
            case S_IFLNK:
                let target = try target(of: full, path)
                try TreePath.check(target: target, of: path, kind: kind)
                (itemKind, mode) = (.link(target: target), TreeEntry.linkMode)
            default:
                throw MeshError(.kindRefused, "\(TreePath.printable(path)) is a device, socket or pipe", hint: "remove it, or list it in .capsuleignore")
            }
            items.append(Item(path: path, mode: mode, kind: itemKind, modified: Self.nanoseconds(info.st_mtim), changed: Self.nanoseconds(info.st_ctim), inode: UInt64(info.st_ino)))
            if itemKind == .directory { try enter(path, depth: depth + 1) }
        }

        /// Raw names, checked to be UTF-8, in byte order.
        private func names(_ full: String, _ path: String) throws(MeshError) -> [String] {
            let descriptor = open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (path.isEmpty ? 0 : O_NOFOLLOW))
            guard descriptor >= 0 else { throw Files.failure("read the folder", full) }
            guard let handle = fdopendir(descriptor) else {
                close(descriptor)
                throw Files.failure("read the folder", full)
            }
            defer { closedir(handle) }
            var out: [String] = []
            while let entry = readdir(handle) {
                let raw = withUnsafePointer(to: &entry.pointee.d_name) { $0.withMemoryRebound(to: UInt8.self, capacity: 256) { Array(UnsafeBufferPointer(start: $0, count: strnlen($0, 256))) } }
                guard let name = String(validating: raw, as: UTF8.self) else {
                    throw MeshError(.nameNotUTF8, "a name in \(TreePath.printable(path.isEmpty ? directory : path)) is not UTF-8: \(TreePath.printable(String(decoding: raw, as: UTF8.self)))", hint: "rename it; other machines could not spell it")
                }
                if name != ".", name != ".." { out.append(name) }
            }
            return out.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        }

        private func target(of full: String, _ path: String) throws(MeshError) -> String {
            var buffer = [CChar](repeating: 0, count: Limits.pathBytesMax + 1)
            let count = readlink(full, &buffer, buffer.count)
            guard count >= 0 else { throw Files.failure("read the link", full) }
            guard let target = String(validating: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self) else {
                throw MeshError(.nameNotUTF8, "the link \(TreePath.printable(path)) has a target that is not UTF-8", hint: "change the link")
            }
            return target
        }

        private static func nanoseconds(_ time: timespec) -> Int64 { Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec) }
    }
}

private func strnlen(_ start: UnsafePointer<UInt8>, _ max: Int) -> Int {
    var count = 0
    while count < max, start[count] != 0 { count += 1 }
    return count
}
