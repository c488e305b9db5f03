import CapsuleFormat
import CapsuleStore
import MeshCore
import Testing

@Suite struct DiffTests {
    static func told(_ differences: [FileDifference]) -> [String] {
        differences.map { difference in
            let change = difference.change
            let what = switch difference.content {
            case .none: ""
            case .text(_, let added, let removed, let isCoarse): " +\(added) -\(removed)\(isCoarse ? " coarse" : "")"
            case .sizes(let old, let new, let why): " \(old.map(String.init) ?? "none")→\(new.map(String.init) ?? "none") \(why.rawValue)"
            }
            return "\(change.kind.rawValue) \(change.kind == .renamed ? "\(change.old?.path ?? "") → " : "")\(change.path)\(what)"
        }
    }

    static func unified(_ differences: [FileDifference]) -> String {
        differences.map { if case .text(let unified, _, _, _) = $0.content { unified } else { "" } }.joined()
    }

    /// Two versions of an app in one store.
    static func versions(_ folder: TemporaryFolder) throws -> (CapsuleStore, VerifiedCapsule, VerifiedCapsule) {
        let store = try CapsuleStore(home: folder.home)
        let app = try folder.writeApp()
        try folder.write("one\ntwo\nthree\n", to: "app/notes.txt")
        try folder.write("moves\n", to: "app/old.txt")
        try folder.write("goes\n", to: "app/gone.txt")
        try folder.write(noise(Limits.diffFileBytesMax + 1, seed: 3), to: "app/large.bin")
        let first = try store.pack(directory: app).capsule
        try folder.write("one\n2\nthree\nfour", to: "app/notes.txt")
        try shell("cd \(app) && mkdir new && mv old.txt new/name.txt && rm gone.txt && chmod +x gr\u{fc}n.txt && ln -sf noise.bin start")
        try folder.write("comes\n", to: "app/new/here.txt")
        try folder.write(noise(200_000, seed: 4), to: "app/noise.bin")
        try folder.write(noise(Limits.diffFileBytesMax + 2, seed: 5), to: "app/large.bin")
        try folder.write(Array("no\u{fffd}".utf8) + [0xff], to: "app/latin")
        try folder.write(manifestText.replacing("1.0.0", with: "1.1.0"), to: "app/capsule.json")
        return (store, first, try store.pack(directory: app).capsule)
    }

    @Test func everythingThatDiffers() throws {
        let folder = try TemporaryFolder()
        let (store, first, second) = try Self.versions(folder)
        let differences = try store.diff(first, second)
        #expect(Self.told(differences) == [
            "content capsule.json +2 -2", "removed gone.txt +0 -1", "mode gr\u{fc}n.txt", "content large.bin 1048577→1048578 large", "added latin none→6 binary", "added new", "added new/here.txt +1 -0",
            "renamed old.txt → new/name.txt", "content noise.bin 200000→200000 binary", "content notes.txt +2 -1", "target start",
        ])
        #expect(differences.map(\.addedLines).reduce(0, +) == 5 && differences.map(\.removedLines).reduce(0, +) == 4)
        #expect(Self.unified(differences).contains("--- a/notes.txt\n+++ b/notes.txt\n@@ -1,3 +1,4 @@\n one\n-two\n+2\n three\n+four\n\\ No newline at end of file\n"))
        #expect(Self.unified(differences).contains("-  \"version\": \"1.0.0\"\n+  \"version\": \"1.1.0\"\n"))
        #expect(try store.diff(second, second).isEmpty)
        // The other way round, added is removed.
        #expect(Self.told(try store.diff(second, first)).contains("added gone.txt +1 -0"))
    }

    /// Unpacked, patched, and compared with the second one unpacked.
    @Test(.enabled(if: (try? shell("patch --version").status) == 0, "SKIPPED: patch is not installed"))
    func theTextsPatchAnUnpackedCapsule() throws {
        let folder = try TemporaryFolder()
        let (store, first, second) = try Self.versions(folder)
        try store.restore(first.tree, manifest: first.manifest, to: folder.file("a"))
        try store.restore(second.tree, manifest: second.manifest, to: folder.file("b"))
        try folder.write(Self.unified(try store.diff(first, second)), to: "patch")
        #expect(try shell("cd \(folder.file("a")) && patch -p1 --fuzz=0 <../patch").status == 0)
        for path in ["capsule.json", "notes.txt", "new/here.txt"] { #expect(try shell("cmp \(folder.file("a"))/\(path) \(folder.file("b"))/\(path)").status == 0, "\(path)") }
        #expect(!Files.exists(folder.file("a/gone.txt")))
    }

    @Test func onePath() throws {
        let folder = try TemporaryFolder()
        let (store, first, second) = try Self.versions(folder)
        #expect(Self.told(try store.diff(first, second, path: "notes.txt")) == ["content notes.txt +2 -1"])
        for spelling in ["new", "./new/", "new/"] {
            #expect(Self.told(try store.diff(first, second, path: spelling)) == ["added new", "added new/here.txt +1 -0", "renamed old.txt → new/name.txt"], "\(spelling)")
        }
        #expect(Self.told(try store.diff(first, second, path: "old.txt")) == ["renamed old.txt → new/name.txt"])
        #expect(Self.told(try store.diff(first, second, path: "capsule.json")) == ["content capsule.json +2 -2"])
        #expect(try store.diff(first, second, path: ".").count == 11)
        #expect(try store.diff(first, second, path: "bin").isEmpty, "nothing differs there")
        #expect(code { _ = try store.diff(first, second, path: "nowhere") } == "file_not_found")
    }

    /// A build's output has no manifest, but may have a file of that name.
    @Test func treesWithoutManifests() throws {
        let folder = try TemporaryFolder()
        let store = try CapsuleStore(home: folder.home)
        let capsule = try store.pack(directory: try folder.writeApp()).capsule
        try folder.write("a\n", to: "out/one")
        let output = try store.storeTree(directory: folder.file("out"), kind: .app)
        let differences = try store.diff(capsule.tree, output, manifests: (capsule.manifest, nil))
        #expect(Self.told(differences).contains { $0.hasPrefix("removed capsule.json") } && Self.told(differences).contains("added one +1 -0"))
        #expect(!Self.told(try store.diff(capsule.tree, output)).contains { $0.contains("capsule.json") })
        try folder.write(capsule.manifest.json.prettyText, to: "out/capsule.json")
        let same = try store.storeTree(directory: folder.file("out"), kind: .app)
        #expect(!Self.told(try store.diff(capsule.tree, same, manifests: (capsule.manifest, nil))).contains { $0.contains("capsule.json") })
        #expect(Self.told(try store.diff(output, same)).count == 1)
    }

    /// Only what changed is read: the chunks of everything else may be gone.
    @Test func unchangedFilesAreNotRead() throws {
        let folder = try TemporaryFolder(), other = try TemporaryFolder()
        let store = try CapsuleStore(home: folder.home)
        let app = try folder.writeApp()
        let first = try store.pack(directory: app).capsule
        try folder.write("changed\n", to: "app/text.txt")
        let second = try store.pack(directory: app).capsule
        // A store with the two versions of one file and nothing else.
        let few = try CapsuleStore(home: other.home)
        let wanted = [first, second].flatMap { capsule in
            capsule.tree.index.position(of: "text.txt").map { Array(capsule.tree.chunks.chunks[capsule.tree.fileChunks[$0]]) } ?? []
        }
        try few.addChunks(try wanted.map { ($0, try store.read(chunk: $0)) })
        #expect(Self.told(try few.diff(first, second)) == Self.told(try store.diff(first, second)))
        let empty = try TemporaryFolder()
        #expect(code { _ = try CapsuleStore(home: empty.home).diff(first, second) } == "chunk_missing")
    }

    /// An answer has a bound: what is behind it is told by its size, and shown when asked for alone.
    @Test func theTextsAreBounded() throws {
        let folder = try TemporaryFolder()
        let store = try CapsuleStore(home: folder.home)
        for i in 0..<20 { try folder.write(prose(1_000_000, seed: i * 100_000), to: "new/\(i + 10)") }
        try folder.write("small\n", to: "new/99")
        try Files.makeDirectory(folder.file("old"))
        let old = try store.storeTree(directory: folder.file("old"), kind: .app), new = try store.storeTree(directory: folder.file("new"), kind: .app)
        let differences = try store.diff(old, new)
        let shown = differences.prefix { $0.addedLines > 0 }
        #expect(shown.count == 16 && Self.unified(differences).utf8.count <= Limits.diffTextBytesMax)
        #expect(differences.dropFirst(16).allSatisfy { if case .sizes(nil, _?, .rest) = $0.content { true } else { false } })
        #expect(Self.told(try store.diff(old, new, path: "99")) == ["added 99 +1 -0"])
    }
}

@Suite struct LineageTests {
    static func pack(_ store: CapsuleStore, _ folder: TemporaryFolder, _ name: String, parents: [Digest]) throws -> Digest {
        try folder.write(manifestText.replacing("sample", with: name), to: "\(name)/capsule.json")
        return try store.pack(directory: folder.file(name), options: CapsuleStore.PackOptions(parents: parents)).capsule.digest
    }

    @Test func ancestorsInOrder() throws {
        let folder = try TemporaryFolder()
        let store = try CapsuleStore(home: folder.home)
        let gone = Digest.of([9]), lost = Digest.of([8])
        let a = try Self.pack(store, folder, "a", parents: [lost])
        let b = try Self.pack(store, folder, "b", parents: [a])
        let c = try Self.pack(store, folder, "c", parents: [gone, a])
        let d = try Self.pack(store, folder, "d", parents: [c, b, a])
        let lineage = try store.lineage(of: d)
        #expect(lineage.members.map(\.digest) == [d, c, b, a] && lineage.members.map(\.generation) == [0, 1, 1, 1])
        #expect(lineage.members.map(\.id.name.description) == ["d", "c", "b", "a"] && lineage.members[0].parents == [c, b, a])
        #expect(lineage.missing.map(\.digest) == [gone, lost] && lineage.missing.allSatisfy { $0.generation == 2 } && !lineage.isCut)
        #expect(try store.lineage(of: b).members.map(\.digest) == [b, a])
        #expect(code { _ = try store.lineage(of: gone) } == "capsule_not_found")
    }

    @Test func aLongLineIsCut() throws {
        let folder = try TemporaryFolder()
        let store = try CapsuleStore(home: folder.home)
        // 64 parents each, none of them here: 1 + 160 × 63 + … is past the bound.
        var parents: [Digest] = []
        for i in 0..<160 {
            let strangers = (0..<63).map { Digest.of(Array("\(i) \($0)".utf8)) }
            try folder.write(manifestText, to: "app/capsule.json")
            parents = [try store.pack(directory: folder.file("app"), options: CapsuleStore.PackOptions(parents: parents + strangers)).capsule.digest]
        }
        let lineage = try store.lineage(of: parents[0])
        #expect(lineage.isCut && lineage.members.count + lineage.missing.count == Limits.lineageCapsulesMax)
    }

    /// A damaged root is a missing one; that of the capsule itself is told.
    @Test func damagedAncestors() throws {
        let folder = try TemporaryFolder()
        let parent: Digest, child: Digest
        do {
            let store = try CapsuleStore(home: folder.home)
            parent = try Self.pack(store, folder, "parent", parents: [])
        }
        let pack = try #require(try folder.packs.first)
        do { child = try Self.pack(try CapsuleStore(home: folder.home), folder, "child", parents: [parent]) }
        var bytes = try Files.read(pack, bytesMax: 1 << 20)
        for i in 0..<min(200, bytes.count / 2) { bytes[i] ^= 0x55 }
        try folder.write(bytes, to: String(pack.dropFirst(folder.path.count + 1)))
        let store = try CapsuleStore(home: folder.home)
        let lineage = try store.lineage(of: child)
        #expect(lineage.members.map(\.digest) == [child] && lineage.missing.map(\.digest) == [parent])
        #expect(try failure { _ = try store.lineage(of: parent) }.code.exit == .badData)
    }
}
