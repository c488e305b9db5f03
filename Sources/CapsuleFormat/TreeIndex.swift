public import MeshCore

/// All entries of a tree in canonical order: canonical JSON `{"entries":[{mode, path, sha256?, size?, target?, type}]}`.
/// See docs/formats/tree.md.
public struct TreeIndex: Sendable {
    public static let mediaType = "application/vnd.oursynth.capsule.index.v1+json"

    public let entries: [TreeEntry]
    public let kind: TreeKind

    /// - Throws: `index_invalid` for another order, a path that stands twice or lacks its folder, a mode or size that cannot
    ///   be; `path_invalid`; `link_escapes`. All carry the entry's JSON Pointer but those about a link.
    public init(entries: [TreeEntry], kind: TreeKind) throws(MeshError) {
        guard entries.count <= Limits.treeEntriesMax else {
            throw Self.invalid("it has \(entries.count) entries; at most \(Limits.treeEntriesMax) are read", nil)
        }
        var links = TreeLinks(kind: kind)
        // The folders above the entry before, outermost first: in pre-order no other can be a parent.
        var open: [String] = []
        var previous: String?
        for (i, entry) in entries.enumerated() {
            let path = entry.path
            if let problem = TreePath.problem(path) {
                throw MeshError(.pathInvalid, "the path “\(TreePath.printable(path))” \(problem)", hint: Self.hint, pointer: Self.pointer(i))
            }
            if let previous, !TreePath.precedes(previous, path) { throw Self.invalid("“\(TreePath.printable(path))” stands out of order or twice", i) }
            while let folder = open.last, !TreePath.isBelow(path, folder) { open.removeLast() }
            guard TreePath.parentLength(path) == open.last?.utf8.count else { throw Self.invalid("“\(TreePath.printable(path))” has no folder entry above it", i) }
            if let problem = Self.problem(entry) { throw Self.invalid("“\(TreePath.printable(path))” \(problem)", i) }
            switch entry.content {
            case .file: break
            case .directory: open.append(path)
            case .link(let target): try links.add(target, at: path)
            }
            previous = path
        }
        try links.finish()
        self.entries = entries
        self.kind = kind
    }

    private static func problem(_ entry: TreeEntry) -> String? {
        let modes = switch entry.content {
        case .file: (TreeEntry.plainMode, TreeEntry.executableMode)
        case .directory: (TreeEntry.directoryMode, TreeEntry.directoryMode)
        case .link: (TreeEntry.linkMode, TreeEntry.linkMode)
        }
        guard entry.mode == modes.0 || entry.mode == modes.1 else { return "has the mode \(entry.mode)" }
        guard case .file(let size, let sha256) = entry.content else { return nil }
        guard (0...Limits.fileBytesMax).contains(size) else { return "has the size \(size)" }
        return (size == 0) == (sha256 == nothing) ? nil : "has a digest that its size cannot have"
    }

    private static let nothing = Digest.of([])

    /// From the canonical JSON; any other bytes are refused.
    ///
    /// - Throws: as `init(entries:kind:)`.
    public init(parsing bytes: [UInt8], kind: TreeKind) throws(MeshError) {
        guard bytes.count <= Limits.indexBytesMax else { throw Self.invalid("it has \(bytes.count) bytes; at most \(Limits.indexBytesMax) are read", nil) }
        try self.init(entries: TreeIndexReader.entries(of: bytes), kind: kind)
    }

    public var bytes: [UInt8] {
        var out = TreeIndexText.opening
        out.reserveCapacity(entries.count * 180 + 16)
        for (i, entry) in entries.enumerated() {
            if i > 0 { out.append(UInt8(ascii: ",")) }
            TreeIndexText.write(entry, to: &out)
        }
        out += TreeIndexText.closing
        return out
    }

    public var digest: Digest { Digest.of(bytes) }
    public var fileCount: Int { entries.reduce(0) { if case .file = $1.content { $0 + 1 } else { $0 } } }
    /// The files' sizes together.
    public var byteCount: Int64 { entries.reduce(0) { if case .file(let size, _) = $1.content { $0 + size } else { $0 } } }

    /// Where `path` is in `entries`; nil where it is not. By halving: a tree has millions of entries.
    public func position(of path: String) -> Int? {
        var low = 0, high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if TreePath.precedes(entries[middle].path, path) { low = middle + 1 } else { high = middle }
        }
        return low < entries.count && TreePath.same(entries[low].path, path) ? low : nil
    }

    static let hint = "the capsule was damaged or written by a faulty program; get it again"
    static func pointer(_ entry: Int) -> String { "/entries/\(entry)" }

    static func invalid(_ why: String, _ entry: Int?) -> MeshError {
        MeshError(.indexInvalid, "the file index is not valid: \(why)", hint: hint, pointer: entry.map(pointer))
    }
}
