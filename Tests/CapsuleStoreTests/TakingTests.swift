import CapsuleFormat
import CapsuleStore
import Glibc
import MeshCore
import Signing
import Testing

func sampleReferrer(_ text: String = "one") throws -> ReferrerDocument {
    let statement = Statement(subjects: [.init(name: nil, digest: Digest.of([]))], predicateType: "urn:test", predicate: ["n": .string(text)])
    let envelope = Envelope.sign(
        payload: statement.bytes, payloadType: Statement.payloadType, with: try #require(SigningKey(seed: [UInt8](repeating: 7, count: 32))))
    return ReferrerDocument(bytes: envelope.bytes, artifactType: Statement.payloadType)
}

/// What comes from files and peers.
@Suite struct TakingTests {
    @Test func exportAndImport() throws {
        let folder = try TemporaryFolder(), other = try TemporaryFolder()
        let store = try CapsuleStore(home: folder.home)
        let capsule = try store.pack(directory: try folder.writeApp()).capsule
        let kept = try sampleReferrer("kept"), extra = try sampleReferrer("extra")
        try store.addReferrer(kept, to: capsule.digest)
        let file = folder.file("x.caps")
        try store.exportCaps(capsule.digest, extraReferrers: [extra], to: file)
        #expect(try store.referrers(of: capsule.digest) == [kept])

        let second = try CapsuleStore(home: other.home)
        let imported = try second.importLayout(path: file)
        #expect(imported.digest == capsule.digest)
        let listed = try #require(try second.capsules().first)
        #expect(listed.digest == capsule.digest && listed.origin == .imported && listed.files == 7)
        #expect(Set(try second.referrers(of: capsule.digest)) == [kept, extra])
        try second.verifyContents(of: imported.tree)
        try second.exportCaps(capsule.digest, to: other.file("y.caps"))
        #expect(try shell("cmp \(file) \(other.file("y.caps"))").status == 0, "the file is a function of what is in it")
        // A layout folder, as other tools make it.
        try shell("mkdir \(other.file("layout")) && zstd -dcq < \(file) | tar -x -C \(other.file("layout"))")
        let third = try TemporaryFolder()
        #expect(try CapsuleStore(home: third.home).importLayout(path: other.file("layout")).digest == capsule.digest)
        // Twice is once; and what was packed here stays packed here.
        _ = try store.importLayout(path: file)
        #expect(try store.capsules().map(\.origin) == [.packed])
        #expect(try folder.packs.count == 1)
        _ = try second.pack(directory: folder.file("app"))
        #expect(try second.capsules().map(\.origin) == [.packed])
    }

    @Test func aDamagedFileIsNotListed() throws {
        let folder = try TemporaryFolder(), other = try TemporaryFolder()
        let store = try CapsuleStore(home: folder.home)
        let capsule = try store.pack(directory: try folder.writeApp()).capsule
        try store.exportCaps(capsule.digest, to: folder.file("x.caps"))
        let good = try Files.read(folder.file("x.caps"), bytesMax: 1 << 24)
        let second = try CapsuleStore(home: other.home)
        for offset in [5, good.count / 4, good.count / 2, good.count - 30] {
            var bad = good
            bad[offset] ^= 1
            try folder.write(bad, to: "bad.caps")
            #expect(try failure { _ = try second.importLayout(path: folder.file("bad.caps")) }.code.exit == .badData, "byte \(offset)")
        }
        try folder.write(Array(good[..<(good.count / 2)]), to: "bad.caps")
        #expect(try failure { _ = try second.importLayout(path: folder.file("bad.caps")) }.code.exit == .badData)
        #expect(try second.capsules().isEmpty && other.names("home/capsules/tmp").isEmpty)
        _ = try second.importLayout(path: folder.file("x.caps"))
        #expect(try second.capsules().count == 1)
    }

    /// As a fetch does it: documents, what is missing, chunks in batches, then the listing.
    @Test func chunkByChunk() throws {
        let folder = try TemporaryFolder(), other = try TemporaryFolder()
        let source = try CapsuleStore(home: folder.home), store = try CapsuleStore(home: other.home)
        let capsule = try source.pack(directory: try folder.writeApp()).capsule
        let unverified = UnverifiedCapsule(
            root: try source.blob(capsule.digest), index: try source.blob(capsule.root.index), chunks: try source.blob(capsule.root.chunks))
        let list = capsule.tree.chunks.chunks
        #expect(code { _ = try source.blob(Digest.of([1, 2])) } == "blob_not_found")
        #expect(try store.missing(list + list).count == Set(list).count)
        #expect(code { try store.add(unverified, expecting: capsule.digest, origin: .fetched) } == "chunk_missing")
        let half = list.count / 2
        try store.addChunks(try list[..<half].map { ($0, try source.read(chunk: $0)) })
        let left = try store.missing(list)
        #expect(!left.isEmpty && left.count < list.count)
        // One wrong chunk, and nothing of the batch is taken.
        var batch = try left.map { ($0, try source.read(chunk: $0)) }
        batch[batch.count - 1].1[0] ^= 1
        #expect(code { try store.addChunks(batch) } == "chunk_corrupt")
        #expect(try store.missing(list) == left)
        batch[batch.count - 1].1[0] ^= 1
        try store.addChunks(batch + batch)
        #expect(try store.missing(list).isEmpty && store.has(list.map(\.digest)).allSatisfy { $0 })
        #expect(try store.capsules().isEmpty, "not listed before all of it was checked")
        #expect(code { try store.add(unverified, expecting: Digest.of([3]), origin: .fetched) } == "capsule_mismatch")
        #expect(try store.add(unverified, expecting: capsule.digest, origin: .fetched).digest == capsule.digest)
        #expect(try CapsuleStore(home: other.home).capsules().map(\.origin) == [.fetched])
        try store.restore(try store.capsule(capsule.digest).tree, manifest: nil, to: other.file("out"))
        #expect(try shell("diff -r --no-dereference -x capsule.json \(folder.file("app")) \(other.file("out"))").status == 0)
    }

    /// Good chunks that make another file than the index says.
    @Test func anIndexThatLies() throws {
        let folder = try TemporaryFolder()
        let store = try CapsuleStore(home: folder.home)
        let parts = [noise(131_072, seed: 70), noise(1000, seed: 71)]
        let list = ChunkList(parts.map { ChunkReference(digest: Digest.of($0), length: $0.count) })
        try store.addChunks(zip(list.chunks, parts).map { ($0, $1) })
        let index = try TreeIndex(
            entries: [TreeEntry(path: "file", mode: 0o644, content: .file(size: 132_072, sha256: Digest.of([9])))], kind: .app)
        let root = CapsuleRoot(manifest: try Manifest(parsing: Array(manifestText.utf8)), index: index.digest, chunks: list.digest)
        let capsule = UnverifiedCapsule(root: root.bytes, index: index.bytes, chunks: list.bytes)
        #expect(code { try store.add(capsule, expecting: root.digest, origin: .fetched) } == "file_mismatch")
        #expect(try store.capsules().isEmpty)
    }

    @Test func documentsOverTheInlineSizeAreCut() throws {
        let folder = try TemporaryFolder()
        try folder.write(manifestText, to: "app/capsule.json")
        for i in 0..<1500 { try folder.write("\(i)", to: "app/f/\(i)-a-name-that-makes-the-index-long") }
        let store = try CapsuleStore(home: folder.home)
        let capsule = try store.pack(directory: folder.file("app")).capsule
        let index = try store.blob(capsule.root.index)
        #expect(index.count > 200_000 && index == capsule.tree.index.bytes)
        let before = try folder.packs.map { try OpenFile(reading: $0).size() }.reduce(0, +)
        try folder.write("changed", to: "app/f/700-a-name-that-makes-the-index-long")
        let second = try store.pack(directory: folder.file("app")).capsule
        #expect(try store.blob(second.root.index) == second.tree.index.bytes)
        let added = try folder.packs.map { try OpenFile(reading: $0).size() }.reduce(0, +) - before
        #expect(added < before / 3, "\(added) of \(before)")
    }

    @Test func referrers() throws {
        let folder = try TemporaryFolder()
        let store = try CapsuleStore(home: folder.home)
        let digest = try store.pack(directory: try folder.writeApp()).capsule.digest
        let document = try sampleReferrer()
        #expect(code { try store.addReferrer(document, to: Digest.of([1])) } == "capsule_not_found")
        #expect(
            try failure { try store.addReferrer(ReferrerDocument(bytes: [1, 2], artifactType: "a/b"), to: digest) }.code.exit == .badData)
        for _ in 0..<2 { try store.addReferrer(document, to: digest) }
        try store.addReferrer(try sampleReferrer("two"), to: digest)
        #expect(try CapsuleStore(home: folder.home).referrers(of: digest).count == 2)
        #expect(try Files.read(folder.home.roots, bytesMax: 1 << 20).count { $0 == 0x0a } == 3)
    }

    @Test func whatIsAskedFor() throws {
        let folder = try TemporaryFolder()
        let store = try CapsuleStore(home: folder.home)
        let capsule = try store.pack(directory: try folder.writeApp()).capsule
        #expect(try store.capsules(withPrefix: String(capsule.digest.hex.prefix(8))) == [capsule.digest])
        #expect(try store.capsules(withPrefix: "ffffffff").isEmpty && store.capsules(withPrefix: "%").isEmpty)
        let error = try failure { _ = try store.capsule(Digest.of([5])) }
        #expect(error.code.name == "capsule_not_found" && error.code.exit == .unavailable)
        #expect(try store.readFile(capsule.tree, path: "gr\u{fc}n.txt", bytesMax: 10) == Array("gr\u{fc}n\n".utf8))
        #expect(try store.readFile(capsule.tree, path: "gru\u{308}n.txt", bytesMax: 10) == Array("gru\u{308}n\n".utf8))
        #expect(code { _ = try store.readFile(capsule.tree, path: "bin", bytesMax: 10) } == "file_not_found")
        #expect(code { _ = try store.readFile(capsule.tree, path: "text.txt", bytesMax: 10) } == "file_too_large")
        #expect(code { _ = try store.read(chunk: ChunkReference(digest: Digest.of([1]), length: 1)) } == "chunk_missing")
        let chunk = capsule.tree.chunks.chunks[0]
        #expect(code { _ = try store.read(chunk: ChunkReference(digest: chunk.digest, length: chunk.length + 1)) } == "chunk_missing")
        #expect(try store.read(chunk: chunk).count == chunk.length, "a wrong question does no harm to the chunk")
    }

    /// Every chunk and file of it holds; but packed anywhere else the same files would be another capsule.
    @Test func aCapsuleThatIsCutOtherwise() throws {
        let folder = try TemporaryFolder()
        let store = try CapsuleStore(home: folder.home)
        let content = noise(100_000, seed: 21)
        func capsule(_ lengths: [Int]) throws -> (UnverifiedCapsule, Digest) {
            var chunks: [(ChunkReference, [UInt8])] = [], start = 0
            for length in lengths {
                let bytes = Array(content[start..<start + length])
                chunks.append((ChunkReference(digest: Digest.of(bytes), length: length), bytes))
                start += length
            }
            try store.addChunks(chunks)
            let entry = TreeEntry(path: "noise", mode: TreeEntry.plainMode, content: .file(size: Int64(content.count), sha256: Digest.of(content)))
            let index = try TreeIndex(entries: [entry], kind: .app), list = ChunkList(chunks.map(\.0))
            let root = CapsuleRoot(manifest: try Manifest(parsing: Array(manifestText.utf8)), index: Digest.of(index.bytes), chunks: Digest.of(list.bytes))
            return (UnverifiedCapsule(root: root.bytes, index: index.bytes, chunks: list.bytes), Digest.of(root.bytes))
        }
        let right = content.withUnsafeBytes { Chunker.cut($0) }
        #expect(right.count > 2)
        var late = right, joined = right
        late[0] += 1
        late[1] -= 1
        joined[0] += joined.remove(at: 1)
        for wrong in [late, joined.filter { $0 <= Limits.chunkBytesMax }, [50_000, 50_000]] where wrong.reduce(0, +) == content.count {
            let (other, digest) = try capsule(wrong)
            #expect(code { try store.add(other, expecting: digest, origin: .fetched) } == "chunks_invalid", "\(wrong)")
        }
        #expect(try store.capsules().isEmpty)
        let (good, digest) = try capsule(right)
        try store.add(good, expecting: digest, origin: .fetched)
        #expect(try store.capsules().map(\.digest) == [digest])
    }
}

/// An SBOM of thousands of packages is a document like any other.
@Suite struct LargeReferrerTests {
    static func document(_ count: Int, _ n: Int = 0) throws -> ReferrerDocument {
        let key = try #require(SigningKey(seed: [UInt8](repeating: 7, count: 32)))
        let payload = [UInt8](repeating: UInt8(ascii: "a"), count: count) + Array("\(n)".utf8)
        return ReferrerDocument(
            bytes: Envelope.sign(payload: payload, payloadType: "text/plain", with: key).bytes, artifactType: "text/plain")
    }

    @Test func travelsAndIsKept() throws {
        let folder = try TemporaryFolder(), other = try TemporaryFolder()
        let store = try CapsuleStore(home: folder.home)
        let digest = try store.pack(directory: try folder.writeApp()).capsule.digest
        let document = try Self.document(Limits.sbomBytesMax)
        #expect(document.bytes.count > 4_100_000 && document.bytes.count <= Limits.envelopeBytesMax)
        try store.addReferrer(document, to: digest)
        try store.exportCaps(digest, to: folder.file("x.caps"))
        do { _ = try CapsuleStore(home: other.home).importLayout(path: folder.file("x.caps")) }
        // Made again from the journal.
        try shell("rm \(other.file("home/capsules"))/index.sqlite*")
        let again = try CapsuleStore(home: other.home)
        #expect(try again.referrers(of: digest) == [document])
        // One byte more than an envelope may have.
        let long = try Self.document(Limits.envelopeBytesMax / 4 * 3)
        #expect(code { try again.addReferrer(long, to: digest) } == "json_invalid")
        #expect(try again.referrers(of: digest) == [document])
    }

    /// All of them together are held in memory by whoever reads them, so all of them together are bounded. What is there already is
    /// put into the index by another program: making it takes longer than the test may.
    @Test(.enabled(if: (try? shell("python3 --version").status) == 0, "SKIPPED: python3 is not installed"))
    func togetherTheyAreBounded() throws {
        let folder = try TemporaryFolder()
        let store = try CapsuleStore(home: folder.home)
        let digest = try store.pack(directory: try folder.writeApp()).capsule.digest
        let small = try sampleReferrer()
        func fill(_ bytes: Int) throws {
            let script = """
                import sqlite3
                db = sqlite3.connect('\(folder.home.capsules)/index.sqlite')
                db.execute('DELETE FROM referrers')
                for n, start in enumerate(range(0, \(bytes), 4 << 20)):
                    text = chr(97 + n) * min(4 << 20, \(bytes) - start)
                    db.execute('INSERT INTO referrers VALUES (?, ?, ?, ?)', ('\(digest.hex)', '%064x' % n, 'a/b', text))
                db.commit()
                """
            try folder.write(script, to: "fill.py")
            let done = try shell("python3 \(folder.file("fill.py"))")
            try #require(done.status == 0, "\(done.output)")
        }
        try fill(Limits.referrersPerCapsuleBytesMax - small.bytes.count)
        try store.addReferrer(small, to: digest)
        #expect(try store.referrers(of: digest).count == 17)
        let error = try failure { try store.exportCaps(digest, extraReferrers: [sampleReferrer("two")], to: folder.file("x.caps")) }
        #expect(error.code.name == "layout_invalid" && !Files.exists(folder.file("x.caps")), "\(error)")
        try fill(Limits.referrersPerCapsuleBytesMax - small.bytes.count + 1)
        #expect(code { try store.addReferrer(small, to: digest) } == "referrers_too_many")
    }
}
