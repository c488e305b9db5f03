public import CapsuleFormat
public import MeshCore

/// What differs at one path of two trees, with the lines where they can be shown.
public struct FileDifference: Sendable, Hashable {
    public enum Content: Sendable, Hashable {
        /// The entries say it all: folders, links, modes, files that moved.
        case none
        /// `unified` is what `patch -p1` takes; empty for an empty file that came or went. `isCoarse`: too much differs for a search
        /// for the shortest difference, so the texts are replaced between their common beginning and end.
        case text(unified: String, added: Int, removed: Int, isCoarse: Bool)
        /// The file's bytes on either side; nil where it is not.
        case sizes(old: Int64?, new: Int64?, why: Hidden)
    }

    /// Why no lines are shown.
    public enum Hidden: String, Sendable, CaseIterable {
        /// A zero byte, or not UTF-8.
        case binary
        /// More than `Limits.diffFileBytesMax` on one side.
        case large
        /// The differences before it have filled `Limits.diffTextBytesMax`; ask for this path alone.
        case rest
    }

    public let change: TreeDiff.Change
    public let content: Content

    public var addedLines: Int { if case .text(_, let added, _, _) = content { added } else { 0 } }
    public var removedLines: Int { if case .text(_, _, let removed, _) = content { removed } else { 0 } }
}

// Comparing what is stored.
extension CapsuleStore {
    private static let manifestPath = "capsule.json"

    /// Two capsules with their manifests; as `diff(_:_:manifests:path:)`.
    public func diff(_ old: VerifiedCapsule, _ new: VerifiedCapsule, path: String? = nil) throws(MeshError) -> [FileDifference] {
        try diff(old.tree, new.tree, manifests: (old.manifest, new.manifest), path: path)
    }

    /// The differences in canonical order of paths. Of the content only the chunks of changed files are read.
    ///
    /// - Parameters:
    ///   - manifests: of a side that is a capsule; compared as the file `capsule.json` that unpacking writes.
    ///   - path: only this file, or what is in this folder, on either side.
    /// - Throws: `file_not_found` where neither side has the path; `chunk_missing`, `chunk_corrupt`.
    public func diff(
        _ old: VerifiedTree, _ new: VerifiedTree, manifests: (old: Manifest?, new: Manifest?) = (nil, nil), path: String? = nil
    ) throws(MeshError) -> [FileDifference] {
        let before = DiffSide(old, manifests.old), after = DiffSide(new, manifests.new)
        var diff = TreeDiff(from: old.index, to: new.index, except: before.text == nil && after.text == nil ? nil : Self.manifestPath)
        if before.text != nil || after.text != nil, let change = Self.change(before.entry(Self.manifestPath), after.entry(Self.manifestPath)) {
            diff = diff.adding(change)
        }
        if let path = Self.plain(path) {
            guard before.entry(path) != nil || after.entry(path) != nil else {
                throw MeshError(.fileNotFound, "neither of the two has a file “\(path)”", hint: "leave the path out to see all that differs")
            }
            diff = diff.within(path)
        }
        var out: [FileDifference] = [], left = Limits.diffTextBytesMax
        for change in diff.changes {
            let content = try content(of: change, before, after, left)
            if case .text(let unified, _, _, _) = content { left -= unified.utf8.count }
            // Once full, it stays so: what is shown does not depend on how small a later file happens to be.
            if case .sizes(_, _, .rest) = content { left = -1 }
            out.append(FileDifference(change: change, content: content))
        }
        return out
    }

    /// One side of a comparison. The manifest is a file of it where the side is a capsule.
    private struct DiffSide {
        let tree: VerifiedTree
        /// The manifest as unpacking writes it.
        let text: [UInt8]?

        init(_ tree: VerifiedTree, _ manifest: Manifest?) {
            self.tree = tree
            text = manifest.map { Array($0.json.prettyText.utf8) }
        }

        func entry(_ path: String) -> TreeEntry? {
            if path == CapsuleStore.manifestPath, let text {
                return TreeEntry(path: path, mode: TreeEntry.plainMode, content: .file(size: Int64(text.count), sha256: Digest.of(text)))
            }
            return tree.index.position(of: path).map { tree.index.entries[$0] }
        }
    }

    private static func change(_ old: TreeEntry?, _ new: TreeEntry?) -> TreeDiff.Change? {
        switch (old, new) {
        case (nil, nil): nil
        case (let old?, nil): TreeDiff.Change(.removed, old, nil)
        case (nil, let new?): TreeDiff.Change(.added, nil, new)
        case (let old?, let new?):
            if case .file(_, let before) = old.content, case .file(_, let after) = new.content {
                before != after ? TreeDiff.Change(.content, old, new) : old.mode != new.mode ? TreeDiff.Change(.mode, old, new) : nil
            } else { TreeDiff.Change(.type, old, new) }
        }
    }

    /// As people write a path inside a tree: `./a/`, `a`; nil for all of it.
    private static func plain(_ path: String?) -> String? {
        guard let parts = path?.split(separator: "/").filter({ $0 != "." }), !parts.isEmpty else { return nil }
        return parts.joined(separator: "/")
    }

    private func content(of change: TreeDiff.Change, _ before: DiffSide, _ after: DiffSide, _ left: Int) throws(MeshError) -> FileDifference.Content {
        guard [.added, .removed, .content].contains(change.kind) else { return .none }
        func size(_ entry: TreeEntry?) -> Int64? { if case .file(let size, _) = entry?.content { size } else { nil } }
        let sizes = (old: size(change.old), new: size(change.new))
        guard sizes.old != nil || sizes.new != nil else { return .none }
        func hidden(_ why: FileDifference.Hidden) -> FileDifference.Content { .sizes(old: sizes.old, new: sizes.new, why: why) }
        guard max(sizes.old ?? 0, sizes.new ?? 0) <= Int64(Limits.diffFileBytesMax) else { return hidden(.large) }
        guard left >= 0 else { return hidden(.rest) }
        let old = try bytes(of: change.old, before), new = try bytes(of: change.new, after)
        guard Self.isText(old), Self.isText(new) else { return hidden(.binary) }
        let diff = LineDiff(old, new)
        let unified = diff.unified(old: change.old?.path, new: change.new?.path)
        guard unified.count <= left else { return hidden(.rest) }
        return .text(unified: String(decoding: unified, as: UTF8.self), added: diff.addedLines, removed: diff.removedLines, isCoarse: diff.isCoarse)
    }

    private func bytes(of entry: TreeEntry?, _ side: DiffSide) throws(MeshError) -> [UInt8] {
        guard let entry else { return [] }
        if entry.path == Self.manifestPath, let text = side.text { return text }
        return try readFile(side.tree, path: entry.path, bytesMax: Limits.diffFileBytesMax)
    }

    private static func isText(_ bytes: [UInt8]) -> Bool { !bytes.contains(0) && String(validating: bytes, as: UTF8.self) != nil }
}
