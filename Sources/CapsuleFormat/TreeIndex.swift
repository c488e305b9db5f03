public import MeshCore

/// All entries of a tree in canonical order: canonical JSON `{"entries":[{mode, path, sha256?, size?, target?, type}]}`.
public struct TreeIndex: Sendable {
    public static let mediaType = "application/vnd.oursynth.capsule.index.v1+json"

    public let entries: [TreeEntry]
    public let kind: TreeKind

    /// Checks order, parents, paths, modes and links: `index_invalid`, `path_invalid`, `link_escapes`.
    public init(entries: [TreeEntry], kind: TreeKind) throws(MeshError) {
        guard entries.count <= Limits.treeEntriesMax else { throw Self.invalid("it has \(entries.count) entries; at most \(Limits.treeEntriesMax) are read") }
        var directories: Set<Substring> = []
        var previous: String?
        for entry in entries {
            let path = entry.path
            try TreePath.check(path)
            guard previous.map({ TreePath.precedes($0, path) }) ?? true else { throw Self.invalid("“\(path)” stands out of order or twice") }
            if let parent = TreePath.parent(of: path), !directories.contains(parent) { throw Self.invalid("“\(path)” has no folder entry above it") }
            guard path.utf8.count != 12 || !path.utf8.elementsEqual("capsule.json".utf8) || kind == .rootfs || entry.isDirectory else {
                throw Self.invalid("capsule.json belongs in the root, not in the index")
            }
            try Self.check(entry, kind)
            if entry.isDirectory { directories.insert(path[...]) }
            previous = path
        }
        self.entries = entries
        self.kind = kind
    }

    private static func check(_ entry: TreeEntry, _ kind: TreeKind) throws(MeshError) {
        let modeIsRight = switch entry.content {
        case .file: entry.mode == TreeEntry.plainMode || entry.mode == TreeEntry.executableMode
        case .directory: entry.mode == TreeEntry.directoryMode
        case .link: entry.mode == TreeEntry.linkMode
        }
        guard modeIsRight else { throw invalid("“\(entry.path)” has the mode \(String(entry.mode, radix: 8))") }
        switch entry.content {
        case .file(let size, let sha256):
            guard (0...Limits.fileBytesMax).contains(size) else { throw invalid("“\(entry.path)” has the size \(size)") }
            guard size > 0 || sha256 == Digest.of([]) else { throw invalid("“\(entry.path)” is empty and has another digest than nothing") }
        case .directory: break
        case .link(let target): try TreePath.check(target: target, of: entry.path, kind: kind)
        }
    }

    /// From the canonical JSON; any other bytes are refused.
    public init(parsing bytes: [UInt8], kind: TreeKind) throws(MeshError) {
        var reader = try FieldReader(JSONValue.parseCanonical(bytes, bytesMax: Limits.indexBytesMax))
        var entries: [TreeEntry] = []
        for (i, item) in try reader.array("entries").enumerated() { entries.append(try Self.entry(item, i)) }
        try reader.finish()
        try self.init(entries: entries, kind: kind)
    }

    private static func entry(_ item: JSONValue, _ i: Int) throws(MeshError) -> TreeEntry {
        var reader = try FieldReader(item, at: "/entries/\(i)")
        let path = try reader.string("path"), mode = try reader.integer("mode"), type = try reader.string("type")
        let content: TreeEntry.Content
        switch type {
        case "f":
            guard let sha256 = Digest(hex: try reader.string("sha256")) else { throw reader.invalid("sha256", "not 64 lower-case hexadecimal digits") }
            content = .file(size: Int64(try reader.integer("size")), sha256: sha256)
        case "d": content = .directory
        case "l": content = .link(target: try reader.string("target"))
        default: throw reader.invalid("type", "must be f, d or l")
        }
        try reader.finish()
        return TreeEntry(path: path, mode: mode, content: content)
    }

    public var bytes: [UInt8] {
        var out = Array("{\"entries\":[".utf8)
        out.reserveCapacity(entries.count * 180)
        for (i, entry) in entries.enumerated() {
            if i > 0 { out.append(UInt8(ascii: ",")) }
            out.append(contentsOf: "{\"mode\":\(entry.mode),\"path\":".utf8)
            out.append(contentsOf: JSONValue.string(entry.path).canonicalBytes)
            switch entry.content {
            case .file(let size, let sha256): out.append(contentsOf: ",\"sha256\":\"\(sha256.hex)\",\"size\":\(size),\"type\":\"f\"}".utf8)
            case .directory: out.append(contentsOf: ",\"type\":\"d\"}".utf8)
            case .link(let target):
                out.append(contentsOf: ",\"target\":".utf8)
                out.append(contentsOf: JSONValue.string(target).canonicalBytes)
                out.append(contentsOf: ",\"type\":\"l\"}".utf8)
            }
        }
        out.append(contentsOf: "]}".utf8)
        return out
    }

    public var digest: Digest { Digest.of(bytes) }
    public var fileCount: Int { entries.reduce(0) { if case .file = $1.content { $0 + 1 } else { $0 } } }
    /// The files' sizes together.
    public var byteCount: Int64 { entries.reduce(0) { if case .file(let size, _) = $1.content { $0 + size } else { $0 } } }

    private static func invalid(_ why: String) -> MeshError {
        MeshError(.indexInvalid, "the file index is not valid: \(why)", hint: "the capsule was damaged or written by a faulty program; fetch it again")
    }
}
