internal import MeshCore

/// What differs between two trees, by their indexes alone.
public struct TreeDiff: Sendable, Hashable {
    /// The first that holds, from the top.
    public enum Kind: String, Sendable, CaseIterable {
        case added, removed
        /// A file with the same content under another path; its mode may differ as well.
        case renamed
        /// File, folder or link became another of these.
        case type
        /// A file's bytes; its mode may differ as well.
        case content
        /// Where a link points.
        case target
        /// Whether a file is executable, and nothing else.
        case mode
    }

    public struct Change: Sendable, Hashable {
        public let kind: Kind
        /// nil where it was added.
        public let old: TreeEntry?
        /// nil where it was removed.
        public let new: TreeEntry?

        package init(_ kind: Kind, _ old: TreeEntry?, _ new: TreeEntry?) {
            self.kind = kind
            self.old = old
            self.new = new
        }

        /// The new path; the old one of what was removed.
        public var path: String { (new ?? old)?.path ?? "" }
        /// Whether a file that is on both sides became executable, or is so no longer.
        public var isModeChanged: Bool {
            guard case .file = old?.content, case .file = new?.content else { return false }
            return old?.mode != new?.mode
        }
    }

    /// Files and links; folders are not counted.
    public struct Counts: Sendable, Hashable {
        public private(set) var byKind: [Kind: Int] = [:]
        /// What the files of the second tree have more (or less) than those of the first.
        public private(set) var bytes: Int64 = 0

        public subscript(kind: Kind) -> Int { byKind[kind] ?? 0 }
        public var total: Int { byKind.values.reduce(0, +) }

        mutating func add(_ change: Change) {
            if case .file(let size, _) = change.old?.content { bytes -= size }
            if case .file(let size, _) = change.new?.content { bytes += size }
            let isFolder = change.new?.isDirectory ?? true && change.old?.isDirectory ?? true
            if !isFolder { byKind[change.kind, default: 0] += 1 }
        }
    }

    /// In canonical order of their paths.
    public let changes: [Change]

    /// - Parameters:
    ///   - findsRenames: a removed file and an added one with the same digest are one renamed file. Each is part of one rename;
    ///     those with the same name in another folder go together first. Empty files are no evidence of anything.
    ///   - except: a path that is left out on both sides.
    public init(from old: TreeIndex, to new: TreeIndex, findsRenames: Bool = true, except: String? = nil) {
        var changes = Self.merge(old.entries, new.entries, except)
        if findsRenames { Self.joinRenames(&changes) }
        self.changes = changes
    }

    private init(_ changes: some Sequence<Change>) { self.changes = Array(changes) }

    /// Only what concerns `path` itself, what is below it, and what was moved into or out of it.
    public func within(_ path: String) -> TreeDiff {
        TreeDiff(changes.filter { change in
            [change.old, change.new].contains { entry in entry.map { TreePath.same($0.path, path) || TreePath.isBelow($0.path, path) } ?? false }
        })
    }

    /// With one change more, in its place.
    package func adding(_ change: Change) -> TreeDiff {
        let place = changes.firstIndex { TreePath.precedes(change.path, $0.path) } ?? changes.count
        return TreeDiff(changes[..<place] + [change] + changes[place...])
    }

    public var counts: Counts {
        var counts = Counts()
        for change in changes { counts.add(change) }
        return counts
    }

    private static func merge(_ a: [TreeEntry], _ b: [TreeEntry], _ except: String?) -> [Change] {
        var out: [Change] = []
        var i = 0, j = 0
        while i < a.count || j < b.count {
            if i < a.count, let except, TreePath.same(a[i].path, except) { i += 1; continue }
            if j < b.count, let except, TreePath.same(b[j].path, except) { j += 1; continue }
            if j == b.count || (i < a.count && TreePath.precedes(a[i].path, b[j].path)) {
                out.append(Change(.removed, a[i], nil))
                i += 1
            } else if i == a.count || TreePath.precedes(b[j].path, a[i].path) {
                out.append(Change(.added, nil, b[j]))
                j += 1
            } else {
                if let kind = kind(a[i], b[j]) { out.append(Change(kind, a[i], b[j])) }
                i += 1
                j += 1
            }
        }
        return out
    }

    private static func kind(_ old: TreeEntry, _ new: TreeEntry) -> Kind? {
        switch (old.content, new.content) {
        case (.file(_, let before), .file(_, let after)): before != after ? .content : old.mode != new.mode ? .mode : nil
        case (.directory, .directory): nil
        case (.link(let before), .link(let after)): TreePath.same(before, after) ? nil : .target
        default: .type
        }
    }

    private struct Moved: Hashable {
        let digest: Digest
        /// The bytes of the last part of the path; nil stands for any.
        let name: [UInt8]?
    }

    private static func digest(_ entry: TreeEntry?) -> Digest? {
        if let entry, case .file(let size, let digest) = entry.content, size > 0 { digest } else { nil }
    }

    private static func joinRenames(_ changes: inout [Change]) {
        func lastPart(_ entry: TreeEntry?) -> [UInt8] {
            let path = Array((entry?.path ?? "").utf8)
            return Array(path[((path.lastIndex(of: UInt8(ascii: "/")) ?? -1) + 1)...])
        }
        let removed = changes.indices.filter { changes[$0].kind == .removed && digest(changes[$0].old) != nil }
        let added = changes.indices.filter { changes[$0].kind == .added && digest(changes[$0].new) != nil }
        if removed.isEmpty || added.isEmpty { return }
        var partner: [Int: Int] = [:], taken: Set<Int> = []
        for byName in [true, false] {
            // The last is taken first, so that they go in order.
            var sources: [Moved: [Int]] = [:]
            for i in removed.reversed() where !taken.contains(i) {
                if let digest = digest(changes[i].old) { sources[Moved(digest: digest, name: byName ? lastPart(changes[i].old) : nil), default: []].append(i) }
            }
            for j in added where partner[j] == nil {
                guard let digest = digest(changes[j].new) else { continue }
                if let i = sources[Moved(digest: digest, name: byName ? lastPart(changes[j].new) : nil)]?.popLast() {
                    partner[j] = i
                    taken.insert(i)
                }
            }
        }
        changes = changes.indices.compactMap { i in
            if taken.contains(i) { return nil }
            return partner[i].map { Change(.renamed, changes[$0].old, changes[i].new) } ?? changes[i]
        }
    }
}
