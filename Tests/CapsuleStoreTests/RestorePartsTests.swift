import CapsuleFormat
import CapsuleStore
import Glibc
import MeshCore
import Testing

/// Parts of a tree, holes in files, and straight from a file into a folder.
@Suite struct RestorePartsTests {
    /// Paths with their kinds, in the order of their bytes.
    static func listed(_ folder: String) throws -> [String] {
        try shell("cd '\(folder)' && find . -mindepth 1 -printf '%P %y\\n' | LC_ALL=C sort").output.split(separator: "\n").map(String.init)
    }

    @Test func onlyWhatWasAskedFor() throws {
        let folder = try TemporaryFolder()
        let store = try CapsuleStore(home: folder.home)
        let capsule = try store.pack(directory: try folder.writeApp()).capsule
        try store.exportCaps(capsule.digest, to: folder.file("x.caps"))
        let wishes: [(paths: [String], found: [String], files: Int)] = [
            (["bin"], ["bin d", "bin/run.sh f", "bin/text l"], 1),
            (["bin/run.sh"], ["bin d", "bin/run.sh f"], 1),
            (["nothing/inside/"], ["nothing d", "nothing/inside d"], 0),
            (["empty", "start", "empty"], ["empty f", "start l"], 1),
            (["capsule.json"], ["capsule.json f"], 0),
            (["bin/text", "bin", "\u{65e5}\u{672c}/\u{1f680} .txt"], ["bin d", "bin/run.sh f", "bin/text l", "\u{65e5}\u{672c} d", "\u{65e5}\u{672c}/\u{1f680} .txt f"], 2),
            (["gru\u{308}n.txt"], ["gru\u{308}n.txt f"], 1),
        ]
        for (i, wish) in wishes.enumerated() {
            let fromStore = folder.file("store\(i)"), straight = folder.file("straight\(i)")
            let done = try store.restore(capsule.tree, manifest: capsule.manifest, to: fromStore, paths: wish.paths)
            let other = try CapsuleStore.restoreLayout(path: folder.file("x.caps"), to: straight, paths: wish.paths, accepting: { _ throws(MeshError) in })
            #expect(done.files == wish.files && other.files == wish.files && done.bytes == other.bytes, "\(wish.paths)")
            #expect(try Self.listed(fromStore) == wish.found.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }, "\(wish.paths)")
            #expect(try shell("diff -r --no-dereference '\(fromStore)' '\(straight)'").status == 0, "\(wish.paths)")
            #expect(try shell("cd '\(fromStore)' && find . -printf '%Ts\\n' | sort -u").output == "315532800\n")
        }
        for path in ["bi", "bin/run", "nothing/inside/x", "../app", "/bin", "", "gr\u{fc}n.txt "] {
            let error = try failure { try store.restore(capsule.tree, manifest: nil, to: folder.file("out"), paths: ["empty", path]) }
            #expect(error.code.name == "file_not_found" && error.message.contains("“\(path)”"), "\(error)")
            #expect(code { _ = try CapsuleStore.restoreLayout(path: folder.file("x.caps"), to: folder.file("out"), paths: [path], accepting: { _ throws(MeshError) in }) } == "file_not_found")
            #expect(!Files.exists(folder.file("out")))
        }
        // The manifest is no file of a plain tree.
        #expect(code { try store.restore(capsule.tree, manifest: nil, to: folder.file("out"), paths: ["capsule.json"]) } == "file_not_found")
    }

    @Test func onlyTheirChunksAreRead() throws {
        let folder = try TemporaryFolder()
        let store = try CapsuleStore(home: folder.home)
        let capsule = try store.pack(directory: try folder.writeApp()).capsule
        let pack = try #require(try folder.packs.first)
        let bytes = try Files.read(pack, bytesMax: 1 << 24), needle = noise(200_000, seed: 2)[5000..<5032]
        try DamageTests.flip(pack, at: Int64(try #require(bytes.indices.first { bytes[$0...].starts(with: needle) })))
        try store.restore(capsule.tree, manifest: nil, to: folder.file("some"), paths: ["text.txt", "bin"])
        #expect(try Files.read(folder.file("some/text.txt"), bytesMax: 1 << 20) == prose(300_000, seed: 1))
        #expect(code { try store.restore(capsule.tree, manifest: nil, to: folder.file("all"), paths: ["bin", "noise.bin"]) } == "chunk_corrupt")
        #expect(!Files.exists(folder.file("all")))
    }

    /// Runs of zeros around the length from which they are left out, at every place in a file.
    @Test func zerosBecomeHoles() throws {
        let folder = try TemporaryFolder()
        func zeros(_ count: Int) -> [UInt8] { [UInt8](repeating: 0, count: count) }
        var files: [(name: String, content: [UInt8])] = [
            ("all", zeros(1 << 20)), ("all-odd", zeros((1 << 20) + 1)), ("short", zeros(65_535)), ("just", zeros(65_536)), ("one", zeros(1)),
            ("end", noise(100_000, seed: 90) + zeros(700_000)), ("start", zeros(700_000) + noise(100_000, seed: 91)),
            ("middle", noise(70_001, seed: 92) + zeros(500_003) + noise(3, seed: 93) + zeros(200_000) + [1]),
            ("apart", (0..<20).flatMap { zeros(40_000) + [UInt8($0 + 1)] }),
        ]
        // Within one chunk, so that the run itself is what decides: at its start, at its end and between.
        for count in [65_535, 65_536, 65_537, 100_000] {
            files += [("a\(count)", [7] + zeros(count)), ("b\(count)", zeros(count) + [7]), ("c\(count)", [7, 0, 8] + zeros(count) + [9, 0])]
        }
        try folder.write(manifestText, to: "app/capsule.json")
        for file in files { try folder.write(file.content, to: "app/" + file.name) }
        let store = try CapsuleStore(home: folder.home)
        let capsule = try store.pack(directory: folder.file("app")).capsule
        try store.exportCaps(capsule.digest, to: folder.file("x.caps"))
        try store.restore(capsule.tree, manifest: nil, to: folder.file("out"))
        _ = try CapsuleStore.restoreLayout(path: folder.file("x.caps"), to: folder.file("straight"), accepting: { _ throws(MeshError) in })
        for out in ["out", "straight"] {
            for file in files {
                #expect(try Files.read(folder.file("\(out)/\(file.name)"), bytesMax: 4 << 20) == file.content, "\(out)/\(file.name)")
            }
            func blocks(_ name: String) throws -> Int { try #require(Int(try shell("stat -c %b \(folder.file("\(out)/\(name)"))").output.dropLast())) }
            // 512 bytes each; what is left is what lies beside the zeros, and a few blocks that these share.
            #expect(try blocks("all") == 0 && blocks("just") == 0, "\(out)")
            #expect(try blocks("end") < 300_000 / 512 && blocks("start") < 300_000 / 512 && blocks("middle") < 400_000 / 512, "\(out)")
        }
    }

    @Test func straightFromAFile() throws {
        let folder = try TemporaryFolder()
        let app = try folder.writeApp()
        try folder.write(prose(3_000_000, seed: 94), to: "app/zz/large")
        let store = try CapsuleStore(home: folder.home)
        let capsule = try store.pack(directory: app).capsule
        let document = try sampleReferrer()
        try store.addReferrer(document, to: capsule.digest)
        try store.exportCaps(capsule.digest, to: folder.file("x.caps"))
        try shell("mkdir \(folder.file("layout")) && zstd -dcq < \(folder.file("x.caps")) | tar -x -C \(folder.file("layout"))")
        for (i, path) in ["x.caps", "layout"].enumerated() {
            let done = try CapsuleStore.restoreLayout(path: folder.file(path), to: folder.file("a/out\(i)"), accepting: { _ throws(MeshError) in })
            #expect(done.capsule.digest == capsule.digest && done.referrers == [document] && done.files == 8 && done.bytes == capsule.tree.index.byteCount)
            #expect(try shell("diff -r --no-dereference -x capsule.json \(app) \(folder.file("a/out\(i)"))").status == 0, "\(path)")
            #expect(try shell("cd \(folder.file("a/out\(i)")) && stat -c %a bin/run.sh empty && find . -printf '%Ts\\n' | sort -u").output == "755\n644\n315532800\n")
        }
        let other = try TemporaryFolder()
        #expect(try CapsuleStore(home: other.home).pack(directory: folder.file("a/out0")).capsule.digest == capsule.digest)
        // Asked before anything is made; what it says is what is said.
        let refused = code {
            _ = try CapsuleStore.restoreLayout(path: folder.file("x.caps"), to: folder.file("b/out"), accepting: { archive throws(MeshError) in
                #expect(archive.referrers == [document] && !Files.exists(folder.file("b")))
                throw MeshError(.inputOutput, "no")
            })
        }
        #expect(refused == "input_output" && !Files.exists(folder.file("b")))
        #expect(code { _ = try CapsuleStore.restoreLayout(path: folder.file("x.caps"), to: app, accepting: { _ throws(MeshError) in }) } == "folder_not_empty")
    }

    /// A damaged store gives what is whole, and names the rest.
    @Test func whatIsWholeComesOutOfADamagedStore() throws {
        let folder = try TemporaryFolder(), store = try CapsuleStore(home: folder.home)
        let capsule = try store.pack(directory: try folder.writeApp()).capsule
        let pack = try folder.packs[0], bytes = try Files.read(pack, bytesMax: 1 << 24), needle = noise(200_000, seed: 2)[5000..<5032]
        try DamageTests.flip(pack, at: Int64(try #require(bytes.indices.first { bytes[$0...].starts(with: needle) })))
        let damaged = try CapsuleStore(home: folder.home)
        #expect(code { try damaged.restore(capsule.tree, manifest: capsule.manifest, to: folder.file("none")) } == "chunk_corrupt")
        let done = try damaged.restore(capsule.tree, manifest: capsule.manifest, to: folder.file("out"), intactOnly: true)
        #expect(done.lost == ["noise.bin"] && done.files == capsule.tree.index.fileCount - 1)
        #expect(!Files.exists(folder.file("out/noise.bin")) && Files.exists(folder.file("out/bin/run.sh")))
        try shell("rm \(folder.file("app/noise.bin"))")
        #expect(try shell("diff -r --exclude=capsule.json \(folder.file("app")) \(folder.file("out"))").status == 0)
    }

    /// Whatever byte of a file is wrong, nothing is left, also when only something else was asked for.
    @Test func aDamagedFileLeavesNothing() throws {
        let folder = try TemporaryFolder()
        let store = try CapsuleStore(home: folder.home)
        let capsule = try store.pack(directory: try folder.writeApp()).capsule
        try store.exportCaps(capsule.digest, to: folder.file("x.caps"))
        try shell("mkdir \(folder.file("layout")) && zstd -dcq < \(folder.file("x.caps")) | tar -x -C \(folder.file("layout"))")
        let good = try Files.read(folder.file("x.caps"), bytesMax: 1 << 24)
        for offset in [5, good.count / 4, good.count / 2, good.count - 30] {
            var bad = good
            bad[offset] ^= 1
            try folder.write(bad, to: "bad.caps")
            let error = try failure { _ = try CapsuleStore.restoreLayout(path: folder.file("bad.caps"), to: folder.file("x/out"), accepting: { _ throws(MeshError) in }) }
            #expect(error.code.exit == .badData && !Files.exists(folder.file("x")), "byte \(offset): \(error)")
        }
        // In a layout nothing but the content itself says that it is wrong. files.tar is the largest of its blobs.
        let blobs = folder.file("layout/blobs/sha256")
        let tar = try #require(try shell("ls -S \(blobs)").output.split(separator: "\n").first)
        let content = try Files.read("\(blobs)/\(tar)", bytesMax: 1 << 24), size = Int64(content.count)
        let needle = noise(200_000, seed: 2)[150_000..<150_032]
        let inNoise = try #require(content.indices.first { content[$0...].starts(with: needle) })
        // A header, the content of a file that is not asked for, the zeros at the end.
        for offset in [3, Int64(inNoise), size - 1] {
            try DamageTests.flip("\(blobs)/\(tar)", at: offset)
            for paths in [[], ["empty"]] {
                let error = try failure { _ = try CapsuleStore.restoreLayout(path: folder.file("layout"), to: folder.file("x/out"), paths: paths, accepting: { _ throws(MeshError) in }) }
                #expect(error.code.exit == .badData && !Files.exists(folder.file("x")), "byte \(offset): \(error)")
            }
            try DamageTests.flip("\(blobs)/\(tar)", at: offset)
        }
        let done = try CapsuleStore.restoreLayout(path: folder.file("layout"), to: folder.file("x/out"), paths: ["empty"], accepting: { _ throws(MeshError) in })
        #expect(try done.capsule.digest == capsule.digest && Self.listed(folder.file("x/out")) == ["empty f"])
    }
}
