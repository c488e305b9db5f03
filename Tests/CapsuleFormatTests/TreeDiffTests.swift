import CapsuleFormat
import MeshCore
import Testing

@Suite struct TreeDiffTests {
    static func file(_ path: String, _ text: String, mode: Int = 0o644) -> TreeEntry {
        TreeEntry(path: path, mode: mode, content: .file(size: Int64(text.utf8.count), sha256: Digest.of(Array(text.utf8))))
    }
    static func folder(_ path: String) -> TreeEntry { TreeEntry(path: path, mode: 0o755, content: .directory) }
    static func link(_ path: String, _ target: String) -> TreeEntry { TreeEntry(path: path, mode: 0o777, content: .link(target: target)) }
    static func tree(_ entries: [TreeEntry]) throws -> TreeIndex { try TreeIndex(entries: entries, kind: .app) }

    static func told(_ diff: TreeDiff) -> [String] {
        diff.changes.map { change in
            "\(change.kind.rawValue) \(change.kind == .renamed ? "\(change.old?.path ?? "") → " : "")\(change.path)\(change.isModeChanged ? " +mode" : "")"
        }
    }

    @Test func everyKind() throws {
        let old = try Self.tree([
            Self.folder("bin"), Self.file("bin/old-name", "moved"), Self.file("bin/run", "x", mode: 0o755), Self.file("both", "1"), Self.file("gone", "gone"),
            Self.folder("kind"), Self.link("link", "both"), Self.file("mode", "m"), Self.file("same", "s"), Self.link("stays", "same"),
        ])
        let new = try Self.tree([
            Self.folder("bin"), Self.file("bin/run", "x2", mode: 0o644), Self.file("both", "2"), Self.file("fresh", "fresh"), Self.file("kind", "now a file"),
            Self.link("link", "same"), Self.file("mode", "m", mode: 0o755), Self.file("moved-here", "moved", mode: 0o755), Self.file("same", "s"), Self.link("stays", "same"),
        ])
        let diff = TreeDiff(from: old, to: new)
        #expect(Self.told(diff) == [
            "content bin/run +mode", "content both", "added fresh", "removed gone", "type kind", "target link", "mode mode +mode", "renamed bin/old-name → moved-here +mode",
        ])
        #expect(diff.counts.total == 8 && TreeDiff.Kind.allCases.allSatisfy { diff.counts[$0] == ($0 == .content ? 2 : 1) })
        #expect(diff.counts.bytes == 1 + 0 + 5 - 4 + 10)
        #expect(Self.told(TreeDiff(from: old, to: new, findsRenames: false)).contains("removed bin/old-name"))
        #expect(TreeDiff(from: old, to: old).changes.isEmpty)
        #expect(Self.told(diff.within("bin")) == ["content bin/run +mode", "renamed bin/old-name → moved-here +mode"])
        #expect(Self.told(diff.within("moved-here")) == ["renamed bin/old-name → moved-here +mode"])
        #expect(diff.within("bi").changes.isEmpty && diff.within("bin/run/x").changes.isEmpty)
        #expect(Self.told(TreeDiff(from: old, to: new, except: "gone")).contains("removed gone") == false)
    }

    @Test func renamesPairOffInOrderAndByName() throws {
        let old = try Self.tree([Self.file("1", "t"), Self.file("2", "t"), Self.folder("a"), Self.file("a/LICENSE", "t"), Self.file("empty", "")])
        let new = try Self.tree([Self.folder("b"), Self.file("b/3", "t"), Self.file("b/4", "t"), Self.file("b/5", "t"), Self.file("b/6", "t"), Self.file("b/LICENSE", "t"), Self.file("void", "")])
        #expect(Self.told(TreeDiff(from: old, to: new)) == [
            "removed a", "added b", "renamed 1 → b/3", "renamed 2 → b/4", "added b/5", "added b/6", "renamed a/LICENSE → b/LICENSE", "removed empty", "added void",
        ])
        #expect(TreeDiff(from: old, to: new).counts[.added] == 3, "folders are not counted")
    }

    /// Names are bytes: what is equal under normalisation is two files.
    @Test func twoSpellingsAreTwoFiles() throws {
        let old = try Self.tree([Self.file("gru\u{308}n", "a")]), new = try Self.tree([Self.file("gr\u{fc}n", "b")])
        #expect(TreeDiff(from: old, to: new).changes.map(\.kind) == [.removed, .added])
    }

    /// Applied to the first tree, the changes give the second.
    @Test func changesMakeTheSecondTree() throws {
        var dice = Dice(state: 4)
        func random() throws -> TreeIndex {
            var entries: [TreeEntry] = []
            for name in ["a", "b", "c", "d"] {
                switch Int.random(in: 0..<6, using: &dice) {
                case 0: break
                case 1: entries.append(Self.link(name, ["x", "y"].randomElement(using: &dice) ?? ""))
                case 2, 3:
                    entries.append(Self.folder(name))
                    for inner in ["1", "2"] where Bool.random(using: &dice) { entries.append(Self.file("\(name)/\(inner)", "\(Int.random(in: 0..<4, using: &dice))")) }
                default: entries.append(Self.file(name, "\(Int.random(in: 0..<4, using: &dice))", mode: Bool.random(using: &dice) ? 0o644 : 0o755))
                }
            }
            return try Self.tree(entries)
        }
        for _ in 0..<5000 {
            let old = try random(), new = try random()
            var entries = Set(old.entries)
            for change in TreeDiff(from: old, to: new).changes {
                if let gone = change.old { #expect(entries.remove(gone) != nil) }
                if let come = change.new { #expect(entries.insert(come).inserted) }
            }
            #expect(entries == Set(new.entries))
        }
    }
}
