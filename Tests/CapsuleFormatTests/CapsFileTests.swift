import CapsuleFormat
import Glibc
import MeshCore
import Signing
import Synchronization
import Testing

@Suite struct CapsFileTests {
    @Test func comesBackAsItWent() throws {
        let folder = try TemporaryFolder()
        for (name, sample) in [("empty", try SampleCapsule([])), ("small", try .small()), ("large", try .large()), ("strange", try CanonicalTarTests.strangeNames())] {
            for referrers in [[], SampleCapsule.referrers()] {
                let path = folder.file("\(name)-\(referrers.count).caps")
                let descriptor = try sample.writeCaps(to: path, referrers: referrers)
                let archive = try CapsuleArchive(CapsReader(path: path, codec: RawBlockCodec()))
                #expect(archive.capsule.digest == sample.capsule.digest)
                #expect(archive.manifestDigest == descriptor.digest)
                #expect(Set(archive.referrers) == Set(referrers))
                let seen = Mutex<[ChunkReference]>([])
                try archive.verifyContents { chunk, bytes throws(MeshError) in
                    seen.withLock { $0.append(chunk) }
                    guard sample.chunks[chunk.digest] == bytes else { throw MeshError(.digestMismatch, "other bytes") }
                }
                #expect(seen.withLock { $0 } == sample.capsule.tree.chunks.chunks)
            }
        }
    }

    @Test func sameCapsuleGivesTheSameBytes() throws {
        let folder = try TemporaryFolder()
        let sample = try SampleCapsule.large()
        let referrers = SampleCapsule.referrers()
        try sample.writeCaps(to: folder.file("a"), referrers: referrers)
        try sample.writeCaps(to: folder.file("b"), referrers: referrers.reversed() + referrers)
        #expect(try Files.read(folder.file("a"), bytesMax: 8 << 20) == Files.read(folder.file("b"), bytesMax: 8 << 20))
        #expect(try Files.names(in: folder.path) == ["a", "b"])
    }

    @Test func membersStandInTheDocumentedOrder() throws {
        let folder = try TemporaryFolder()
        let sample = try SampleCapsule.small()
        let referrers = SampleCapsule.referrers()
        let descriptor = try sample.writeCaps(to: folder.file("x.caps"), referrers: referrers)
        let manifests = try referrers.map { try OCIManifest.referrer($0, subject: descriptor) }
        let order = [0, 1].sorted { manifests[$0].descriptor.digest < manifests[$1].descriptor.digest }
        func blob(_ bytes: [UInt8]) -> String { "blobs/sha256/" + Digest.of(bytes).hex }
        let expected = [
            "oci-layout", "index.json", "blobs/sha256/" + descriptor.digest.hex, "blobs/sha256/" + sample.capsule.digest.hex,
            blob(sample.capsule.tree.index.bytes), blob(sample.capsule.tree.chunks.bytes), blob(try sample.filesTar()),
            blob(manifests[order[0]].bytes), blob(Array("{}".utf8)), blob(referrers[order[0]].bytes),
            blob(manifests[order[1]].bytes), blob(referrers[order[1]].bytes), "referrers/sha256-\(descriptor.digest.hex).json",
        ]
        let (status, output) = try shell("zstd -dc \(folder.file("x.caps")) | tar -t")
        #expect(status == 0)
        #expect(output.split(separator: "\n").map(String.init) == expected)
    }

    @Test func skopeoTakesIt() throws {
        let folder = try TemporaryFolder()
        let sample = try SampleCapsule.large()
        let referrers = SampleCapsule.referrers()
        let descriptor = try sample.writeCaps(to: folder.file("x.caps"), referrers: referrers)
        let (status, output) = try shell("""
            set -e; cd \(folder.path); skopeo inspect --raw oci-archive:x.caps > raw; test "$(sha256sum < raw | cut -d' ' -f1)" = \(descriptor.digest.hex)
            skopeo copy -q oci-archive:x.caps dir:out; cmp raw out/manifest.json; for f in out/[0-9a-f]*; do test "$(sha256sum < $f | cut -d' ' -f1)" = $(basename $f); done
            skopeo copy -q oci-archive:x.caps oci:layout; skopeo copy -q oci-archive:x.caps oci-archive:plain.tar
            """)
        #expect(status == 0, "\(output)")
        // What skopeo wrote is a layout of the same capsule, as a folder and as a tar; it does not carry referrers.
        for name in ["layout", "plain.tar"] {
            let archive = try CapsuleArchive(Layout.open(folder.file(name), codec: RawBlockCodec()))
            #expect(archive.capsule.digest == sample.capsule.digest)
            #expect(archive.manifestDigest == descriptor.digest)
            #expect(archive.referrers.isEmpty)
            try archive.verifyContents { _, _ throws(MeshError) in }
        }
        // As ORAS puts them: what refers to a manifest stands beside it in index.json.
        let blobs = try referrers.map { ($0.bytes, try OCIManifest.referrer($0, subject: descriptor).bytes) }
        for bytes in blobs.flatMap({ [$0.0, $0.1] }) + [Array("{}".utf8)] {
            try Files.writeDurably(bytes, to: folder.file("layout/blobs/sha256/" + Digest.of(bytes).hex))
        }
        var list = try OCIIndex(parsing: Files.read(folder.file("layout/index.json"), bytesMax: 4096), tolerant: true).manifests
        list += blobs.map { OCIDescriptor(mediaType: OCIMediaType.manifest, of: $0.1) }
        try Files.writeDurably(OCIIndex(list).bytes, to: folder.file("layout/index.json"))
        #expect(try Set(CapsuleArchive(Layout.open(folder.file("layout"), codec: RawBlockCodec())).referrers) == Set(referrers))
    }

    @Test func failureLeavesNoFile() throws {
        struct Broken: ContentSource {
            let sample: SampleCapsule
            let failAt: Int
            let change: Bool
            let calls = Counter()
            func read(chunk: ChunkReference) throws(MeshError) -> [UInt8] {
                var bytes = try sample.read(chunk: chunk)
                if calls.next() == failAt {
                    guard change else { throw MeshError(ErrorCode("chunk_missing", .badData), "no such chunk") }
                    bytes[0] ^= 1
                }
                return bytes
            }
        }
        let folder = try TemporaryFolder()
        let sample = try SampleCapsule.large()
        let old = try folder.write([1, 2, 3], to: "old.caps")
        let count = sample.capsule.tree.chunks.chunks.count
        for (failAt, change, code) in [(0, false, "chunk_missing"), (count + 3, false, "chunk_missing"), (2 * count - 1, true, "digest_mismatch")] {
            for path in [folder.file("new.caps"), old] {
                let error = #expect(throws: MeshError.self) {
                    try CapsWriter.write(sample.capsule, content: Broken(sample: sample, failAt: failAt, change: change), referrers: [],
                                         codec: RawBlockCodec(), to: path, progress: nil)
                }
                #expect(error?.code.name == code)
            }
            #expect(try Files.names(in: folder.path) == ["old.caps"])
        }
        #expect(try Files.read(old, bytesMax: 10) == [1, 2, 3])
        let bad = ReferrerDocument(bytes: Array("{}".utf8), artifactType: Statement.payloadType)
        let untyped = ReferrerDocument(bytes: SampleCapsule.referrers()[0].bytes, artifactType: "a b")
        for referrer in [bad, untyped] {
            let error = #expect(throws: MeshError.self) { try sample.writeCaps(to: folder.file("new.caps"), referrers: [referrer]) }
            #expect(error?.code.exit == .badData)
        }
        #expect(try Files.names(in: folder.path) == ["old.caps"])
        let missing = #expect(throws: MeshError.self) { try sample.writeCaps(to: folder.file("no/such/x.caps")) }
        #expect(missing?.code == .fileNotFound)
        try Files.makeDirectory(folder.file("taken.caps/x"))
        #expect(throws: MeshError.self) { try sample.writeCaps(to: folder.file("taken.caps")) }
        #expect(try Files.names(in: folder.path) == ["old.caps", "taken.caps"])
    }

    final class Counter: Sendable {
        private let value = Mutex(0)

        /// 0, 1, 2, …
        func next() -> Int {
            value.withLock {
                $0 += 1
                return $0 - 1
            }
        }
    }

    @Test func progressEndsAtTheTotal() throws {
        let folder = try TemporaryFolder()
        let sample = try SampleCapsule.large()
        let seen = Mutex<[(Int64, Int64)]>([])
        try CapsWriter.write(sample.capsule, content: sample, referrers: [], codec: RawBlockCodec(), to: folder.file("x")) { done, total in
            seen.withLock { $0.append((done, total)) }
        }
        let steps = seen.withLock { $0 }
        #expect(steps.count > 3 && zip(steps, steps.dropFirst()).allSatisfy { $0.0 < $1.0 && $0.1 == $1.1 })
        #expect(steps.last?.0 == steps.last?.1)
    }
}

/// Files that were altered by somebody who can compute digests and seek tables too.
@Suite struct CapsTamperTests {
    /// The tar within a `.caps` of the small sample, with referrers.
    static func sampleTar(_ folder: TemporaryFolder) throws -> [UInt8] {
        try SampleCapsule.small().writeCaps(to: folder.file("good.caps"), referrers: SampleCapsule.referrers())
        let reader = try SeekableFrameReader(path: folder.file("good.caps"), codec: RawBlockCodec())
        return try reader.read(at: 0, count: Int(reader.size))
    }

    static func members(_ tar: [UInt8]) throws -> [(String, [UInt8])] {
        try TarReader.members(of: MemoryBytes(tar), .canonical).map { ($0.name, Array(tar[Int($0.offset)..<Int($0.offset + $0.size)])) }
    }

    @Test func bytesAllOverAResealedTar() throws {
        let folder = try TemporaryFolder()
        let tar = try Self.sampleTar(folder)
        try SeekableFramesTests.seal(tar, to: folder.file("same.caps"))
        #expect(throws: Never.self) { try verifyCaps(folder.file("same.caps")) }
        for i in stride(from: 0, to: tar.count, by: 7) {
            try SeekableFramesTests.seal(ChunkListTests.replacing(tar, at: i, with: tar[i] ^ 0x20), to: folder.file("bad.caps"))
            let error = #expect(throws: MeshError.self, "byte \(i)") { try verifyCaps(folder.file("bad.caps")) }
            #expect(error?.code.exit == .badData, "byte \(i): \(error.map(String.init(describing:)) ?? "")")
        }
    }

    @Test func truncatedAndSealedAgain() throws {
        let folder = try TemporaryFolder()
        let tar = try Self.sampleTar(folder)
        for count in stride(from: 512, to: tar.count, by: 256) {
            try SeekableFramesTests.seal(Array(tar[..<count]), to: folder.file("bad.caps"))
            let error = #expect(throws: MeshError.self, "\(count)") { try verifyCaps(folder.file("bad.caps")) }
            #expect(error?.code.exit == .badData)
        }
    }

    @Test func membersThatDoNotBelong() throws {
        let folder = try TemporaryFolder()
        let good = try Self.members(Self.sampleTar(folder))
        let manifest = good[2].0, root = good[3].0, filesTar = good[6].0, list = good.count - 1
        func change(_ edit: (inout [(String, [UInt8])]) throws -> Void) throws -> [(String, [UInt8])] {
            var members = good
            try edit(&members)
            return members
        }
        let stranger = Array("stranger".utf8)
        let cases: [(String, [(String, [UInt8])], ErrorCode)] = [
            ("parent", try change { $0.append(("../evil", [])) }, .memberRefused),
            ("absolute", try change { $0.append(("/evil", [])) }, .memberRefused),
            ("twice", try change { $0.append($0[3]) }, .memberRefused),
            ("a blob that nothing names", try change { $0.append(("blobs/sha256/" + Digest.of(stranger).hex, stranger)) }, .layoutInvalid),
            ("a file that no layout has", try change { $0.append(("README", stranger)) }, .layoutInvalid),
            ("another order", try change { $0.swapAt(3, 4) }, .layoutInvalid),
            ("no oci-layout", try change { $0.removeFirst() }, .layoutInvalid),
            ("another layout version", try change { $0[0].1 = Array(#"{"imageLayoutVersion":"2.0.0"}"#.utf8) }, .layoutInvalid),
            ("no index.json", try change { $0.remove(at: 1) }, .layoutInvalid),
            ("no manifest", try change { $0.removeAll { $0.0 == manifest } }, .layoutInvalid),
            ("no root", try change { $0.removeAll { $0.0 == root } }, .layoutInvalid),
            ("no files.tar", try change { $0.removeAll { $0.0 == filesTar } }, .filesTarMismatch),
            ("a longer files.tar", try change { $0[6].1 += [UInt8](repeating: 0, count: 512) }, .filesTarMismatch),
            ("no list of referrers", try change { $0.removeLast() }, .layoutInvalid),
            ("no envelope", try change { $0.remove(at: 9) }, .layoutInvalid),
            ("no empty config", try change { $0.remove(at: 8) }, .layoutInvalid),
            ("an empty list of referrers", try change { $0[list].1 = OCIIndex([]).bytes }, .layoutInvalid),
            ("a list of referrers in another order", try change {
                $0[list].1 = try OCIIndex(OCIIndex(parsing: $0[list].1).manifests.reversed()).bytes
            }, .layoutInvalid),
            ("no capsule in index.json", try change { $0[1].1 = OCIIndex([]).bytes }, .layoutInvalid),
            ("a referrer in index.json", try change {
                $0[1].1 = try OCIIndex(OCIIndex(parsing: $0[1].1).manifests + OCIIndex(parsing: $0[list].1).manifests).bytes
            }, .layoutInvalid),
            ("an index.json that is not canonical", try change { $0[1].1 += [0x20] }, .jsonNotCanonical),
            ("an index.json of 2 MiB", try change { $0[1].1 += [UInt8](repeating: 0x20, count: 2 << 20) }, .layoutInvalid),
        ]
        for (what, members, code) in cases {
            try SeekableFramesTests.seal(TarBuilder.tar(members), to: folder.file("bad.caps"))
            let error = #expect(throws: MeshError.self, "\(what)") { try verifyCaps(folder.file("bad.caps")) }
            #expect(error?.code == code, "\(what): \(error.map(String.init(describing:)) ?? "")")
        }
    }

    /// A files.tar that belongs to another tree, under a manifest that names it truthfully.
    @Test func filesTarThatDiffersFromTheIndex() throws {
        let folder = try TemporaryFolder()
        let sample = try SampleCapsule.small()
        let capsule = sample.capsule
        let tar = try sample.filesTar()
        func variant(_ edit: (inout [UInt8]) -> Void) -> [UInt8] {
            var out = tar
            edit(&out)
            return out
        }
        let script = 1024  // the content of bin/run.sh, after two headers
        let cases: [(String, [UInt8])] = [
            ("content", variant { $0[script] ^= 1 }), ("padding", variant { $0[script + 100] = 1 }), ("mode of a directory", variant { $0[106] = 0x37 }),
            ("owner", variant { $0[114] = 0x31 }), ("time", variant { $0[146] = 0x31 }), ("name", variant { $0[512] = 0x43 }),
            ("link target", variant { $0[512 * 4 + 157] = 0x2f }), ("trailer", variant { $0[$0.count - 1] = 1 }),
            ("longer", tar + [UInt8](repeating: 0, count: 512)), ("shorter", Array(tar.dropLast(512))),
        ]
        for (what, bytes) in cases {
            let manifest = OCIManifest.capsule(capsule, filesTar: (Digest.of(bytes), Int64(bytes.count)))
            let members: [(String, [UInt8])] = [
                ("oci-layout", Array(#"{"imageLayoutVersion":"1.0.0"}"#.utf8)), ("index.json", OCIIndex([manifest.descriptor]).bytes),
            ] + [manifest.bytes, capsule.root.bytes, capsule.tree.index.bytes, capsule.tree.chunks.bytes, bytes].map { ("blobs/sha256/" + Digest.of($0).hex, $0) }
            try SeekableFramesTests.seal(TarBuilder.tar(members), to: folder.file("bad.caps"))
            let error = #expect(throws: MeshError.self, "\(what)") { try verifyCaps(folder.file("bad.caps")) }
            #expect(error?.code == .filesTarMismatch, "\(what): \(error.map(String.init(describing:)) ?? "")")
        }
    }

    /// Every digest is right, and yet nobody who packs these files gets this capsule.
    @Test func filesThatAreCutElsewhere() throws {
        let folder = try TemporaryFolder()
        let content = ChunkerTests.sample(blocks: 1 << 13)
        let right = content.withUnsafeBytes { Chunker.cut($0) }
        for lengths in [[right[0] - 1, right[1] + 1] + right[2...], [8191, right[0] - 8191] + right[1...], [right[0] + right[1]] + right[2...], right] {
            let sample = try SampleCapsule([("a", .file(content)), ("b", .file([1]))], cut: { $0.count == content.count ? lengths : [$0.count] })
            try sample.writeCaps(to: folder.file("x.caps"))
            guard lengths != right else {
                try verifyCaps(folder.file("x.caps"))
                continue
            }
            let error = #expect(throws: MeshError.self) { try verifyCaps(folder.file("x.caps")) }
            #expect(error?.code == .chunksInvalid && error?.message.contains("a is not cut") == true)
        }
    }

    @Test func consumerThatFailsEndsTheReading() throws {
        let folder = try TemporaryFolder()
        try SampleCapsule.large().writeCaps(to: folder.file("x.caps"))
        let archive = try CapsuleArchive(CapsReader(path: folder.file("x.caps"), codec: RawBlockCodec()))
        let counter = CapsFileTests.Counter()
        let error = #expect(throws: MeshError.self) {
            try archive.verifyContents { _, _ throws(MeshError) in
                if counter.next() == 2 { throw MeshError(.diskFull, "full") }
            }
        }
        #expect(error?.code == .diskFull)
        #expect(counter.next() == 3)
    }
}

@Suite struct DirectoryLayoutTests {
    static func unpacked(_ folder: TemporaryFolder) throws -> String {
        try SampleCapsule.small().writeCaps(to: folder.file("x.caps"), referrers: SampleCapsule.referrers())
        let (status, output) = try shell("mkdir \(folder.path)/l && zstd -dc \(folder.path)/x.caps | tar -x -C \(folder.path)/l")
        try #require(status == 0, "\(output)")
        return folder.file("l")
    }

    @Test func unpackedCapsIsALayout() throws {
        let folder = try TemporaryFolder()
        let path = try Self.unpacked(folder)
        _ = try folder.write([1], to: "l/unrelated")
        let archive = try CapsuleArchive(DirectoryLayout(path: path))
        #expect(archive.referrers.count == 2)
        #expect(archive.referrers == (try verifyCaps(folder.file("x.caps"))).referrers)
        try archive.verifyContents { _, _ throws(MeshError) in }
    }

    @Test func linksAndDamageAreRefused() throws {
        let commands: [(String, ErrorCode)] = [
            ("mv index.json ../i; ln -s ../i index.json", .memberRefused),
            ("mv blobs ../b; ln -s ../b blobs", .memberRefused),
            ("mv blobs/sha256 ../b; ln -s ../../b blobs/sha256", .memberRefused),
            ("mkfifo blobs/sha256/pipe", .memberRefused),
            ("mkdir referrers/folder", .memberRefused),
            ("f=$(ls -S blobs/sha256 | head -1); printf X | dd of=blobs/sha256/$f bs=1 seek=1030 conv=notrunc status=none", .filesTarMismatch),
            ("f=$(ls -S blobs/sha256 | head -1); rm blobs/sha256/$f", .filesTarMismatch),
            ("rm oci-layout", .layoutInvalid), ("rm index.json", .layoutInvalid), ("echo nonsense > index.json", .jsonInvalid),
            (#"f=$(jq -r '.manifests[0].digest[7:]' index.json); printf ' ' >> blobs/sha256/$f"#, .digestMismatch),
        ]
        for (command, code) in commands {
            let folder = try TemporaryFolder()
            let path = try Self.unpacked(folder)
            let (status, output) = try shell("cd \(path) && { \(command) ; }")
            try #require(status == 0, "\(output)")
            let error = #expect(throws: MeshError.self, "\(command)") {
                try CapsuleArchive(DirectoryLayout(path: path)).verifyContents { _, _ throws(MeshError) in }
            }
            #expect(error?.code == code, "\(command): \(error.map(String.init(describing:)) ?? "")")
        }
    }

    @Test func twoCapsulesInOneLayoutAreRefused() throws {
        let folder = try TemporaryFolder()
        let path = try Self.unpacked(folder)
        let other = try SampleCapsule([("x", .file([1]))])
        let descriptor = try other.writeCaps(to: folder.file("y.caps"))
        let (status, _) = try shell("zstd -dc \(folder.path)/y.caps | tar -x -C \(path) blobs")
        #expect(status == 0)
        let first = try OCIIndex(parsing: Files.read(path + "/index.json", bytesMax: 4096)).manifests
        try Files.writeDurably(OCIIndex(first + [descriptor]).bytes, to: path + "/index.json")
        let error = #expect(throws: MeshError.self) { try CapsuleArchive(DirectoryLayout(path: path)) }
        #expect(error?.code == .layoutInvalid)
    }
}

@Suite struct OCIManifestTests {
    @Test func referrerHasTheDocumentedForm() throws {
        let document = SampleCapsule.referrers()[0]
        let subject = OCIDescriptor(mediaType: OCIMediaType.manifest, digest: Digest.of([1]), size: 5, artifactType: OCIMediaType.capsule)
        let manifest = try OCIManifest.referrer(document, subject: subject)
        let expected = #"{"artifactType":"application/vnd.in-toto+json","config":{"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","#
            + #""mediaType":"application/vnd.oci.empty.v1+json","size":2},"layers":[{"digest":"\#(Digest.of(document.bytes))","mediaType":"application/vnd.dsse.envelope.v1+json","#
            + #""size":\#(document.bytes.count)}],"mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2,"#
            + #""subject":{"digest":"\#(Digest.of([1]))","mediaType":"application/vnd.oci.image.manifest.v1+json","size":5}}"#
        #expect(String(decoding: manifest.bytes, as: UTF8.self) == expected)
        #expect(try OCIManifest(parsing: manifest.bytes) == manifest)
    }

    @Test func otherDocumentsAreRefused() throws {
        let good = OCIManifest.capsule(try SampleCapsule.small().capsule, filesTar: (Digest.of([]), 0))
        #expect(try OCIManifest(parsing: good.bytes) == good)
        let text = String(decoding: good.bytes, as: UTF8.self)
        let edits: [(String, String, ErrorCode)] = [
            (#""schemaVersion":2"#, #""schemaVersion":1"#, .fieldInvalid), (#""schemaVersion":2"#, #""schemaVersion":2,"x":1"#, .fieldUnknown),
            (#"manifest.v1+json"#, #"manifest.v2+json"#, .fieldInvalid), (#"{"artifactType""#, #"{"annotations":{},"artifactType""#, .fieldUnknown),
            (#""layers":["#, #""layers":[1,"#, .fieldInvalid), (#""size":"#, #""size":-"#, .fieldInvalid), ("sha256:", "sha512:", .fieldInvalid),
            ("{", "{ ", .jsonNotCanonical),
        ]
        for (from, to, code) in edits {
            let range = try #require(text.firstRange(of: from))
            let error = #expect(throws: MeshError.self, "\(to)") { try OCIManifest(parsing: Array(text.replacingCharacters(in: range, with: to).utf8)) }
            #expect(error?.code == code, "\(to): \(error.map(String.init(describing:)) ?? "")")
        }
    }
}

extension String {
    func replacingCharacters(in range: Range<String.Index>, with text: String) -> String { self[..<range.lowerBound] + text + self[range.upperBound...] }
}
