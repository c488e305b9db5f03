import CapsuleFormat
import MeshCore
import Testing

@Suite struct CanonicalTarTests {
    /// For names that ustar can say, GNU tar writes the same bytes.
    @Test func equalsGNUTarByteForByte() throws {
        let folder = try TemporaryFolder()
        let sample = try SampleCapsule.small()
        let ours = try folder.write(sample.filesTar(), to: "ours.tar")
        let (status, output) = try shell("""
            set -e; umask 022; mkdir \(folder.path)/t; cd \(folder.path)/t; mkdir bin; printf '#!/bin/sh\\necho hello\\n' > bin/run.sh; chmod 755 bin bin/run.sh
            : > empty; ln -s bin/run.sh link; printf '<p>hello</p>\\n' > page.html; chmod 644 empty page.html
            tar --format=ustar --numeric-owner --owner=0 --group=0 --mtime=@315532800 --no-recursion -b1 -cf ../gnu.tar bin/ bin/run.sh empty link page.html
            cmp ../gnu.tar \(ours)
            """)
        #expect(status == 0, "\(output)")
    }

    @Test func publishedVector() throws {
        // In docs/formats/oci-and-caps.md.
        let sample = try SampleCapsule.small()
        let tar = try sample.filesTar()
        #expect(tar.count == 4608)
        #expect(Digest.of(tar).hex == "7d1d92496062fb4ebc722f0e0badbaa6f0781b017f5b4ce2476d67aeaf3d4527")
        #expect(sample.capsule.digest.hex == "1e3912ad80ef6c670d79e55f0e250443c8cffe08ff2a5072df026256c924976b")
        let manifest = OCIManifest.capsule(sample.capsule, filesTar: (Digest.of(tar), Int64(tar.count)))
        #expect(manifest.descriptor.digest.hex == "7067895dcddb035999ac4bcc4e8a36d8d9dc620ff41532ed735b08d63ffafdec")
    }

    @Test func sizeIsKnownBeforehand() throws {
        for sample in [try SampleCapsule([]), try .small(), try .large(), try Self.strangeNames()] {
            #expect(try CanonicalTar.size(of: sample.capsule.tree.index) == Int64(sample.filesTar().count))
        }
        #expect(try SampleCapsule([]).filesTar() == [UInt8](repeating: 0, count: 1024))
        for (size, padding) in [(0, 0), (1, 511), (511, 1), (512, 0), (513, 511)] as [(Int64, Int)] {
            #expect(CanonicalTar.padding(afterSize: size) == padding)
        }
    }

    static let longPart = String(repeating: "n", count: 99)

    static func strangeNames() throws -> SampleCapsule {
        try SampleCapsule([
            (longPart, .directory), (longPart + "/" + longPart, .file(Array("deep".utf8))), (String(repeating: "o", count: 100), .file([1])),
            (String(repeating: "p", count: 100), .directory), (String(repeating: "q", count: 101), .file([2])),
            ("zlink", .link(longPart + "/" + longPart)), ("zlink-é", .link("größe")), ("日本語", .file(Array("こんにちは".utf8))),
        ])
    }

    @Test func gnuTarExtractsTheSameTree() throws {
        let folder = try TemporaryFolder()
        let sample = try Self.strangeNames()
        let tar = try folder.write(sample.filesTar(), to: "files.tar")
        let (status, output) = try shell("mkdir \(folder.path)/t && tar --warning=all -xpf \(tar) -C \(folder.path)/t && cd \(folder.path)/t && LC_ALL=C find . -mindepth 1 -printf '%P %y %m %T@ %l\\n' | LC_ALL=C sort")
        #expect(status == 0, "\(output)")
        var expected: [String] = []
        for entry in sample.capsule.tree.index.entries {
            let time = "315532800.0000000000"
            switch entry.content {
            case .file: expected.append("\(entry.path) f \(String(entry.mode, radix: 8)) \(time) ")
            case .directory: expected.append("\(entry.path) d 755 \(time) ")
            case .link(let target): expected.append("\(entry.path) l 777 \(time) \(target)")
            }
        }
        let sorted = expected.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        #expect(output.split(separator: "\n").map(String.init) == sorted)
        for entry in sample.capsule.tree.index.entries {
            guard case .file(_, let digest) = entry.content else { continue }
            #expect(Digest.of(try Files.read(folder.file("t/" + entry.path), bytesMax: 1000)) == digest, "\(entry.path)")
        }
    }

    @Test func mainHeaderOfALongNameIsReadableWithoutPax() throws {
        let name = "é" + String(repeating: "x", count: 120)
        let header = try CanonicalTar.header(for: TreeEntry(path: name, mode: 0o644, content: .file(size: 3, sha256: Digest.of([1, 2, 3]))))
        #expect(header.count == 3 * 512)
        #expect(String(decoding: header[0..<12], as: UTF8.self) == "PaxHeaders/0")
        #expect(header[156] == UInt8(ascii: "x"))
        #expect(String(decoding: header[512...].prefix { $0 != 0 }, as: UTF8.self) == "132 path=\(name)\n")
        #expect(String(decoding: header[1024..<1124], as: UTF8.self) == "__" + String(repeating: "x", count: 98))
        #expect(String(decoding: header[1024 + 124..<1024 + 136], as: UTF8.self) == "00000000003\0")
    }

    /// Length prefixes that gain a digit by being counted.
    @Test func recordLengthsCountThemselves() throws {
        for count in 80...130 {
            let path = String(repeating: "é", count: count / 2) + String(repeating: "y", count: count % 2)
            let header = try CanonicalTar.header(for: TreeEntry(path: path, mode: 0o644, content: .file(size: 0, sha256: Digest.of([]))))
            let record = header[512...].prefix { $0 != 0 }
            let length = try #require(Int(String(decoding: record.prefix { $0 != 0x20 }, as: UTF8.self)))
            #expect(length == record.count && record.last == 0x0a, "\(count)")
        }
    }

    @Test func sizesOfEightGibibytesAndMoreAreInPax() throws {
        let limit: Int64 = 8 << 30
        let folder = try TemporaryFolder()
        for size in [limit - 1, limit, limit + 5] {
            let entry = TreeEntry(path: "huge", mode: 0o644, content: .file(size: size, sha256: Digest.of([])))
            let header = try CanonicalTar.header(for: entry)
            #expect(header.count == (size < limit ? 512 : 3 * 512))
            if size >= limit { #expect(String(decoding: header[1024 + 124..<1024 + 136], as: UTF8.self) == "00000000000\0") }
            let tar = try folder.write(header, to: "huge.tar")
            let whole = Int64(header.count) + size + Int64(CanonicalTar.padding(afterSize: size)) + 1024
            let (status, output) = try shell("truncate -s \(whole) \(tar) && tar -tvf \(tar) && rm \(tar)")
            #expect(status == 0 && output.contains(" \(size) 1980-01-01"), "\(output)")
        }
    }

    @Test func modesThatNoKindHasAreRefused() throws {
        let cases: [(Int, TreeEntry.Content)] = [
            (0o600, .file(size: 0, sha256: Digest.of([]))), (0o4755, .file(size: 0, sha256: Digest.of([]))), (0o777, .directory), (0o755, .link(target: "x")),
        ]
        for (mode, content) in cases {
            let error = #expect(throws: MeshError.self) { try CanonicalTar.header(for: TreeEntry(path: "x", mode: mode, content: content)) }
            #expect(error?.code == .tarInvalid)
        }
    }
}
