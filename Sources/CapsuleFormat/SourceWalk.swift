internal import Glibc
internal import MeshCore

/// The walk through a folder: canonical order, ignore rules, refusals.
struct SourceWalk {
    private let kind: TreeKind
    private let options: SourceTree.ScanOptions
    private var rules = IgnoreRules()
    private var links: TreeLinks
    private var items: [SourceTree.Item] = []

    init(kind: TreeKind, options: SourceTree.ScanOptions) {
        self.kind = kind
        self.options = options
        links = TreeLinks(kind: kind)
    }

    mutating func items(of root: SourceFolder) throws(MeshError) -> [SourceTree.Item] {
        try enter(root, [])
        try links.finish()
        return items
    }

    private mutating func enter(_ folder: SourceFolder, _ path: [UInt8]) throws(MeshError) {
        let names = try folder.names()
        let prefix = path.isEmpty ? [] : path + [UInt8(ascii: "/")]
        let ownRules = options.applyIgnoreRules && names.contains(Self.ignoreFileName) ? try folder.ruleFile(IgnoreRules.fileName, at: Self.shown(prefix + Self.ignoreFileName)) : nil
        if let ownRules { try rules.add(ownRules, in: path) }
        for name in names {
            if options.applyIgnoreRules, IgnoreRules.isAlwaysIgnored(name) { continue }
            if options.skipRootManifest, path.isEmpty, name == Self.manifestName { continue }
            try add(name, in: folder, path: prefix + name)
        }
        if ownRules != nil { rules.remove() }
    }

    private static let ignoreFileName = Array(IgnoreRules.fileName.utf8), manifestName = Array("capsule.json".utf8)

    private mutating func add(_ name: [UInt8], in folder: SourceFolder, path raw: [UInt8]) throws(MeshError) {
        let info = try folder.look(at: name, path: Self.shown(raw))
        let type = info.st_mode & S_IFMT
        if rules.ignores(raw, isDirectory: type == S_IFDIR) { return }
        guard let path = String(validating: raw, as: UTF8.self) else {
            throw MeshError(.nameNotUTF8, "the name of \(Self.shown(raw)) is not UTF-8", hint: "rename it; other machines could not spell it")
        }
        try TreePath.check(path)
        guard items.count < Limits.treeEntriesMax else {
            throw MeshError(.treeTooLarge, "the folder holds more than \(Limits.treeEntriesMax) files and folders, “\(path)” among them",
                            hint: "list what need not travel in .capsuleignore")
        }
        let itemKind: SourceTree.Item.Kind, mode: Int
        switch type {
        case S_IFREG:
            guard info.st_size <= Limits.fileBytesMax else {
                throw MeshError(.treeTooLarge, "“\(path)” has \(info.st_size) bytes; at most \(Limits.fileBytesMax) are packed", hint: "split it, or list it in .capsuleignore")
            }
            itemKind = .file(size: Int64(info.st_size))
            mode = info.st_mode & 0o111 != 0 ? TreeEntry.executableMode : TreeEntry.plainMode
        case S_IFDIR: (itemKind, mode) = (.directory, TreeEntry.directoryMode)
        case S_IFLNK:
            let target = try target(of: name, in: folder, path)
            try links.add(target, at: path)
            (itemKind, mode) = (.link(target: target), TreeEntry.linkMode)
        default:
            throw MeshError(.kindRefused, "“\(path)” is \(Self.description(of: type))", hint: "remove it, or list it in .capsuleignore")
        }
        items.append(SourceTree.Item(path: path, mode: mode, kind: itemKind, modified: SourceTree.nanoseconds(info.st_mtim),
                                     changed: SourceTree.nanoseconds(info.st_ctim), inode: UInt64(info.st_ino)))
        if itemKind == .directory { try enter(SourceFolder(name, in: folder, path: path), raw) }
    }

    private func target(of name: [UInt8], in folder: SourceFolder, _ path: String) throws(MeshError) -> String {
        guard let target = String(validating: try folder.target(of: name, path: path), as: UTF8.self) else {
            throw MeshError(.nameNotUTF8, "the link “\(path)” has a target that is not UTF-8", hint: "change the link; other machines could not spell it")
        }
        return target
    }

    private static func description(of type: mode_t) -> String {
        switch type {
        case S_IFIFO: "a pipe"
        case S_IFSOCK: "a socket"
        case S_IFBLK, S_IFCHR: "a device"
        default: "neither a file nor a folder nor a link"
        }
    }

    private static func shown(_ path: [UInt8]) -> String { "“\(TreePath.printable(String(decoding: path, as: UTF8.self)))”" }
}
