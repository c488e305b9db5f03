import CapsuleFormat
import CapsuleStore
import Glibc
import MeshCore
import Synchronization
import Testing

@Suite struct PackRestoreTests {
    @Test func roundTrip() throws {
        let folder = try TemporaryFolder()
        let app = try folder.writeApp()
        let store = try CapsuleStore(home: folder.home)
        let packed = try store.pack(directory: app)
        #expect(packed.files == 7)
        #expect(packed.bytes == packed.capsule.tree.index.byteCount)
        #expect(packed.newBytes == packed.bytes)
        let done = try store.restore(packed.capsule.tree, manifest: packed.capsule.manifest, to: folder.file("out"))
        #expect(done.files == 7 && done.bytes == packed.bytes)
        // The manifest's spelling may differ; nothing else does.
        let difference = try shell("diff -r --no-dereference -x capsule.json \(app) \(folder.file("out"))")
        #expect(difference.status == 0, "\(difference.output)")
        #expect(try Manifest(parsing: Files.read(folder.file("out/capsule.json"), bytesMax: 1 << 20)) == packed.capsule.manifest)
        #expect(
            try shell("cd \(folder.file("out")) && stat -c '%a %F %n' bin/run.sh empty nothing/inside start && readlink start bin/text")
                .output == """
                    755 regular file bin/run.sh
                    644 regular empty file empty
                    755 directory nothing/inside
                    777 symbolic link start
                    bin/run.sh
                    ../text.txt

                    """)
        #expect(try shell("cd \(folder.file("out")) && find . -printf '%Ts\\n' | sort -u").output == "315532800\n")
        // Again, from what was unpacked, in another store.
        let other = try TemporaryFolder()
        let again = try CapsuleStore(home: other.home).pack(directory: folder.file("out"))
        #expect(again.capsule.digest == packed.capsule.digest)
        #expect(try store.contains(capsule: packed.capsule.digest) && store.capsule(packed.capsule.digest).digest == packed.capsule.digest)
        #expect(try folder.names("home/capsules/tmp").isEmpty)
    }

    @Test func onlyTheFilesDecideTheDigest() throws {
        let folder = try TemporaryFolder(), other = try TemporaryFolder()
        let app = try folder.writeApp(), twin = try other.writeApp("elsewhere/twin")
        let digest = try CapsuleStore(home: folder.home).pack(directory: app).capsule.digest
        try shell(
            "touch -d 2001-02-03 \(twin)/* && chmod 600 \(twin)/text.txt \(twin)/capsule.json && chmod 710 \(twin)/bin/run.sh && chmod 700 \(twin)/nothing"
        )
        if getuid() == 0 { try #require(try shell("chown -R 1234:1234 \(twin)").status == 0) }
        let store = try CapsuleStore(home: other.home)
        #expect(try store.pack(directory: twin + "/").capsule.digest == digest)
        try other.write("gr\u{fc}m\n", to: "elsewhere/twin/gr\u{fc}n.txt")
        #expect(try store.pack(directory: twin).capsule.digest != digest, "one byte")
        try other.write("gr\u{fc}n\n", to: "elsewhere/twin/gr\u{fc}n.txt")
        #expect(try store.pack(directory: twin).capsule.digest == digest)
        try #require(chmod(twin + "/empty", 0o755) == 0)
        #expect(try store.pack(directory: twin).capsule.digest != digest, "an execute bit")
    }

    @Test func whatIsKnownIsNotStoredAgain() throws {
        let folder = try TemporaryFolder()
        let app = try folder.writeApp()
        let store = try CapsuleStore(home: folder.home)
        let first = try store.pack(directory: app)
        let packs = try folder.packs
        #expect(packs.count == 1)
        let again = try store.pack(directory: app)
        #expect(again.capsule.digest == first.capsule.digest && again.newBytes == 0)
        #expect(try folder.packs == packs)
        // The same file under two names is one set of chunks.
        try folder.write(noise(200_000, seed: 2), to: "app/copy.bin")
        #expect(try store.pack(directory: app).newBytes == 0)
        // A change in the middle of a file costs the chunks around it.
        var changed = prose(300_000, seed: 1)
        changed[150_000] ^= 1
        try folder.write(changed, to: "app/text.txt")
        let third = try store.pack(directory: app)
        #expect(third.newBytes > 0 && third.newBytes <= 2 * 131_072)
        #expect(try store.capsules().count == 3)
        let sizes = try folder.packs.map { try OpenFile(reading: $0).size() }
        #expect(sizes.reduce(0, +) < 700_000)
    }

    /// Over several read shares, frames and threads: cut as the chunker cuts the whole file.
    @Test func largeFiles() throws {
        let folder = try TemporaryFolder()
        let big = prose(5_000_000, seed: 9) + noise(700_000, seed: 10)
        try folder.write(manifestText, to: "app/capsule.json")
        try folder.write(noise(10, seed: 1), to: "app/a")
        try folder.write(big, to: "app/big")
        for i in 0..<700 { try folder.write("file \(i)", to: "app/many/\(i % 7)/\(i)") }
        let store = try CapsuleStore(home: folder.home)
        let seen = Mutex<[StoreProgress]>([])
        let packed = try store.pack(directory: folder.file("app"), progress: { progress in seen.withLock { $0.append(progress) } })
        #expect(packed.files == 702)
        let tree = packed.capsule.tree
        let entry = try #require(tree.index.entries.firstIndex { $0.path == "big" })
        #expect(tree.chunks.chunks[tree.fileChunks[entry]].map(\.length) == big.withUnsafeBytes { Chunker.cut($0) })
        #expect(tree.index.entries[entry].content == .file(size: Int64(big.count), sha256: Digest.of(big)))
        #expect(try store.readFile(tree, path: "big", bytesMax: big.count) == big)
        let told = seen.withLock { $0 }
        #expect(told.first == StoreProgress(phase: "pack", files: 0, bytes: 0, totalFiles: 702, totalBytes: packed.bytes))
        let last = try #require(told.last)
        #expect(last.isDone && last.files == 702 && last.bytes == packed.bytes && last.secondsLeft == 0 && told.count { $0.isDone } == 1)
        try store.verifyContents(of: tree)
        try store.restore(tree, manifest: nil, to: folder.file("out"))
        #expect(try shell("diff -r -x capsule.json \(folder.file("app")) \(folder.file("out"))").status == 0)
        #expect(!Files.exists(folder.file("out/capsule.json")))
        // Text shrinks, noise does not grow.
        #expect(try folder.packs.map { try OpenFile(reading: $0).size() }.reduce(0, +) < 2_000_000)
        for pack in try folder.packs { #expect(try shell("zstd -tq < \(pack)").status == 0) }
    }

    @Test func packsAreNamedByTheirContent() throws {
        let folder = try TemporaryFolder()
        let store = try CapsuleStore(home: folder.home)
        _ = try store.pack(directory: try folder.writeApp())
        for pack in try folder.packs {
            #expect(try shell("sha256sum < \(pack)").output.hasPrefix(String(try #require(pack.split(separator: "/").last).dropLast(5))))
        }
    }

    @Test func whatCannotBePacked() throws {
        let folder = try TemporaryFolder()
        let store = try CapsuleStore(home: folder.home)
        #expect(code { _ = try store.pack(directory: folder.file("nowhere")) } == "file_not_found")
        try folder.write("x", to: "bare/file")
        let missing = try failure { _ = try store.pack(directory: folder.file("bare")) }
        #expect(missing.code.name == "manifest_missing" && missing.message.contains("capsule.json") && !missing.hint.isEmpty)
        let app = try folder.writeApp()
        try folder.write("-----BEGIN PRIVATE KEY-----\nMC4CAQ\n", to: "app/deep/server.pem")
        let secret = try failure { _ = try store.pack(directory: app) }
        #expect(secret.code.name == "secret_found" && secret.message.contains("deep/server.pem"))
        #expect(try store.capsules().isEmpty && folder.names("home/capsules/tmp").isEmpty)
        #expect(try store.pack(directory: app, options: CapsuleStore.PackOptions(allowSecrets: ["deep/server.pem"])).files == 8)
        // A secret far inside a large file too.
        try folder.write(prose(3_000_000, seed: 11) + Array("\n-----BEGIN PRIVATE KEY-----\nMC4CAQ\n".utf8), to: "app/deep/log.txt")
        let far = try failure { _ = try store.pack(directory: app, options: CapsuleStore.PackOptions(allowSecrets: ["deep/server.pem"])) }
        #expect(far.message.contains("deep/log.txt, line"))
        // And one that a program carries: its key's own text is what tells it from a program that knows the words.
        try folder.write("x", to: "app/deep/log.txt")
        let key = Array("\n-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n".utf8)
        for size in [100, 3_000_000] {
            try folder.write([0x7f, 0x45, 0x4c, 0x46, 0] + noise(size, seed: 13) + key, to: "app/deep/program")
            let carried = try failure { _ = try store.pack(directory: app, options: CapsuleStore.PackOptions(allowSecrets: ["deep/server.pem"])) }
            #expect(carried.code.name == "secret_found" && carried.message.contains("deep/program"), "\(size)")
        }
    }

    @Test func evidenceAndParents() throws {
        let folder = try TemporaryFolder()
        let store = try CapsuleStore(home: folder.home)
        let digest = Digest.of(Array("the bill\n".utf8))
        let manifest = manifestText.dropLast() + #", "attestations": [{"type": "sbom", "sha256": "\#(digest.hex)", "meta": {}}]}"#
        let app = try folder.writeApp(manifest: String(manifest))
        #expect(code { _ = try store.pack(directory: app) } == "attestation_missing")
        try folder.write("the bill\n", to: "app/sbom.json")
        let first = try store.pack(directory: app).capsule
        let second = try store.pack(directory: app, options: CapsuleStore.PackOptions(parents: [first.digest, first.digest])).capsule
        #expect(second.manifest.parents == [first.digest] && second.digest != first.digest)
        #expect(second.root.index == first.root.index)
    }

    @Test func aFileThatChangesWhileItIsRead() throws {
        let folder = try TemporaryFolder()
        let app = try folder.writeApp()
        try folder.write(prose(4_300_000, seed: 12), to: "app/growing.log")
        let store = try CapsuleStore(home: folder.home)
        let isDone = Atomic(false)
        let target = folder.file("app/growing.log")
        // Touched for as long as the pack runs: between scan and read, or between two parts.
        let outcome = Mutex("")
        DispatchGroupOfTwo.run(
            {
                while !isDone.load(ordering: .relaxed) {
                    utimensat(AT_FDCWD, target, [timespec(tv_sec: .random(in: 0...1_000_000), tv_nsec: 0), timespec()], 0)
                }
            },
            {
                outcome.withLock { $0 = code { _ = try store.pack(directory: app) } }
                isDone.store(true, ordering: .relaxed)
            })
        #expect(outcome.withLock { $0 } == "source_changed")
        #expect(try store.capsules().isEmpty && folder.names("home/capsules/tmp").isEmpty)
        #expect(try store.pack(directory: app).files == 8)
    }

    @Test func plainTrees() throws {
        let folder = try TemporaryFolder()
        try folder.write("x", to: "out/index.html")
        try folder.write("KEY=1", to: "out/.env")
        try folder.write("kept", to: "out/.git/config")
        let store = try CapsuleStore(home: folder.home)
        let tree = try store.storeTree(directory: folder.file("out"), kind: .app)
        #expect(tree.index.entries.map(\.path) == [".env", ".git", ".git/config", "index.html"])
        let read = try CapsuleStore(home: folder.home).tree(index: tree.index.digest)
        #expect(read.index.entries == tree.index.entries && read.chunks.chunks == tree.chunks.chunks)
        try store.restore(read, manifest: nil, to: folder.file("back"))
        #expect(try shell("diff -r \(folder.file("out")) \(folder.file("back"))").status == 0)
        #expect(code { _ = try store.tree(index: Digest.of([1])) } == "tree_not_found")
        // A capsule's own files are a tree too.
        let capsule = try store.pack(directory: try folder.writeApp()).capsule
        #expect(try store.tree(index: capsule.root.index).chunks.chunks == capsule.tree.chunks.chunks)
        // Nothing in it at all.
        try Files.makeDirectory(folder.file("void"))
        try store.restore(try store.storeTree(directory: folder.file("void"), kind: .app), manifest: nil, to: folder.file("void2"))
        #expect(try folder.names("void2").isEmpty)
    }

    @Test func aRestoreGoesIntoANewOrEmptyFolderOnly() throws {
        let folder = try TemporaryFolder()
        let store = try CapsuleStore(home: folder.home)
        let capsule = try store.pack(directory: try folder.writeApp()).capsule
        try folder.write("mine", to: "full/file")
        let error = try failure { try store.restore(capsule.tree, manifest: nil, to: folder.file("full")) }
        #expect(error.code.name == "folder_not_empty" && error.code.exit == .cannotCreate)
        #expect(code { try store.restore(capsule.tree, manifest: nil, to: folder.file("full/file")) } == "folder_not_empty")
        #expect(try folder.names("full") == ["file"])
        try #require(mkdir(folder.file("hollow"), 0o700) == 0)
        try #require(symlink("hollow", folder.file("door")) == 0)
        try store.restore(capsule.tree, manifest: nil, to: folder.file("door"))
        #expect(try folder.names("hollow").count == 9, "through a link to an empty folder")
        #expect(try shell("stat -c %a \(folder.file("hollow"))").output == "700\n")
        try store.restore(capsule.tree, manifest: nil, to: folder.file("a/b/c/"))
        #expect(try folder.names("a/b/c").count == 9)
        #expect(try folder.names("").filter { $0.hasPrefix(".") }.isEmpty)
    }

    @Test func whatACrashedRestoreLeftIsCleared() throws {
        let folder = try TemporaryFolder()
        let store = try CapsuleStore(home: folder.home)
        let capsule = try store.pack(directory: try folder.writeApp()).capsule
        try folder.write("half", to: ".out.unpack-1-1/file")
        try folder.write("half", to: ".other.unpack-1-1/file")
        try store.restore(capsule.tree, manifest: nil, to: folder.file("out"))
        #expect(try folder.names("").filter { $0.hasPrefix(".") } == [".other.unpack-1-1"])
    }
}
