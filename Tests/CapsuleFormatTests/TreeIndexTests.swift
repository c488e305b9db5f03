import CapsuleFormat
import MeshCore
import Testing

@Suite struct TreeIndexTests {
    @Test func wellFormedIndexes() throws {
        for vector in try #require(try Vectors.read("indexes.json")["valid"]?.array) {
            let name = vector["name"]?.string ?? "", bytes = Array(try #require(vector["index"]?.string).utf8)
            let kind = try #require(TreeKind(rawValue: vector["kind"]?.string ?? ""))
            let index = try TreeIndex(parsing: bytes, kind: kind)
            #expect(index.bytes == bytes, "\(name)")
            #expect(index.digest.description == vector["digest"]?.string, "\(name)")
            #expect(try TreeIndex(entries: index.entries, kind: kind).bytes == bytes, "\(name)")
            // The general JSON reader and writer see the same document.
            #expect(try JSONValue.parseCanonical(bytes)["entries"]?.array?.count == index.entries.count, "\(name)")
            for (i, entry) in index.entries.enumerated() { #expect(index.position(of: entry.path) == i, "\(name): \(entry.path)") }
            #expect(index.position(of: "no such path") == nil)
        }
    }

    @Test func brokenIndexesNameTheirFault() throws {
        let broken = try #require(try Vectors.read("indexes.json")["broken"]?.array)
        #expect(broken.count > 55)
        for vector in broken {
            let name = vector["name"]?.string ?? "", bytes = Array(try #require(vector["index"]?.string).utf8)
            let kind = try #require(TreeKind(rawValue: vector["kind"]?.string ?? ""))
            let error = #expect(throws: MeshError.self, "\(name)") { try TreeIndex(parsing: bytes, kind: kind) }
            #expect(error?.code.name == vector["code"]?.string && error?.isClearRefusal == true, "\(name): \(error.map(String.init(describing:)) ?? "")")
            if let pointer = vector["pointer"]?.string { #expect(error?.pointer == pointer, "\(name): \(error?.pointer ?? "no pointer")") }
        }
    }

    /// Values made in code pass the same checks, those that no canonical text could hold too.
    @Test func entriesMadeInCode() throws {
        let file = TreeEntry.Content.file(size: 1, sha256: Digest.of([1]))
        for (entry, code) in [
            (TreeEntry(path: "a\nb", mode: 0o644, content: file), ErrorCode.pathInvalid), (TreeEntry(path: "a", mode: 0o600, content: file), .indexInvalid),
            (TreeEntry(path: "a", mode: 0o644, content: .file(size: -1, sha256: Digest.of([1]))), .indexInvalid),
            (TreeEntry(path: "a", mode: 0o777, content: .link(target: "b\u{7}")), .pathInvalid), (TreeEntry(path: "a", mode: 0o777, content: .link(target: "/b")), .linkEscapes),
        ] {
            let error = #expect(throws: MeshError.self) { try TreeIndex(entries: [entry], kind: .app) }
            #expect(error?.code == code, "\(entry)")
        }
    }

    /// Each byte changed, left out or put in: refused, or other entries that spell themselves the same way.
    @Test func everyByteCounts() throws {
        let vectors = try #require(try Vectors.read("indexes.json")["valid"]?.array)
        let bytes = Array(try #require(vectors[1]["index"]?.string).utf8)
        let original = try TreeIndex(parsing: bytes, kind: .app).entries
        for i in bytes.indices {
            var changes: [[UInt8]] = []
            for byte: UInt8 in [0x00, 0x20, 0x22, 0x2c, 0x30, 0x5c, 0x61, 0xc3, 0xff] where byte != bytes[i] {
                changes.append(bytes[..<i] + [byte] + bytes[(i + 1)...])
            }
            changes.append(bytes[..<i] + [0x20] + bytes[i...])
            changes.append(Array(bytes[..<i]))
            changes.append(Array(bytes[..<i] + bytes[(i + 1)...]))
            for change in changes {
                guard let index = try? TreeIndex(parsing: change, kind: .app) else { continue }
                #expect(index.bytes == change && index.entries != original, "byte \(i)")
            }
        }
    }

    @Test func sums() throws {
        let sample = try SampleCapsule.small().capsule.tree.index
        #expect(sample.fileCount == 3 && sample.byteCount == 21 + 13)
    }

    /// Not a limit that is reached by chance, but the reader must bear it: 200,000 entries, and the order of random names
    /// against a comparison by parts.
    @Test func manyEntries() throws {
        var entries: [TreeEntry] = []
        for i in 0..<2000 {
            let folder = "d" + String(100_000 + i)
            entries.append(TreeEntry(path: folder, mode: 0o755, content: .directory))
            for j in 0..<20 { entries.append(TreeEntry(path: "\(folder)/\(100 + j)", mode: 0o644, content: .file(size: 1, sha256: Digest.of([UInt8(j)])))) }
        }
        let index = try TreeIndex(entries: entries, kind: .app)
        #expect(try TreeIndex(parsing: index.bytes, kind: .app).entries == entries)
    }

    @Test func orderIsThatOfThePartsOneByOne() throws {
        var random = SplitMix(seed: 7)
        let letters: [UInt8] = [0x20, 0x21, 0x2d, 0x2e, 0x30, 0x41, 0x61, 0x62, 0x7e]
        for _ in 0..<300 {
            var paths: [[[UInt8]]] = []
            for _ in 0..<6 {
                let depth = 1 + Int(random.next() % 3)
                let parts = (0..<depth).map { _ in (0...Int(random.next() % 2)).map { _ in letters[Int(random.next() % UInt64(letters.count))] } }
                if parts.contains([0x2e]) || parts.contains([0x2e, 0x2e]) { continue }
                for end in 1...depth { paths.append(Array(parts[..<end])) }
            }
            let ordered = Set(paths).sorted { $0.lexicographicallyPrecedes($1) { $0.lexicographicallyPrecedes($1) } }
            let entries = ordered.map { TreeEntry(path: String(decoding: Array($0.joined(separator: [0x2f])), as: UTF8.self), mode: 0o755, content: .directory) }
            #expect(throws: Never.self) { try TreeIndex(entries: entries, kind: .app) }
            guard entries.count > 1 else { continue }
            var swapped = entries
            let i = Int(random.next() % UInt64(entries.count - 1))
            swapped.swapAt(i, i + 1)
            #expect(throws: MeshError.self, "\(swapped.map(\.path))") { try TreeIndex(entries: swapped, kind: .app) }
        }
    }
}

/// Seeded, so that a failure can be made again.
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
