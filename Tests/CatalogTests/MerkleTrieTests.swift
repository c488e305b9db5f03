@testable import Catalog
import MeshCore
import Testing

@Suite struct MerkleTrieTests {
    static let empty = [UInt8](repeating: 0, count: 32)

    static func ids(_ count: Int) -> [Digest] { (1...max(count, 1)).prefix(count).map { capsule("\($0)") } }

    /// The definition in docs/formats/facts.md, over a set and by hexadecimal digits.
    static func reference(_ ids: Set<Digest>, _ prefix: String = "") -> [UInt8] {
        if ids.isEmpty { return empty }
        if ids.count <= 16 { return Digest.of([0] + ids.sorted().flatMap(\.bytes)).bytes }
        var out: [UInt8] = [1]
        for digit in "0123456789abcdef" {
            let below = prefix + String(digit)
            out += reference(ids.filter { $0.hex.hasPrefix(below) }, below)
        }
        return Digest.of(out).bytes
    }

    /// The table of docs/formats/facts.md, made again with another program.
    @Test func theVectorsOfThePageHold() throws {
        let rows = try FactsPageTests.page().matches(of: #/\| (\d+) \| `([0-9a-f]{64})` \|/#).map { (String($0.1), String($0.2)) }
        #expect(rows.count == 6)
        for (number, root) in rows {
            let count = try #require(Int(number))
            #expect(MerkleTrie.root(Self.ids(count).sorted()).hex == root, "\(count) ids")
        }
    }

    @Test func agreesWithTheDefinition() {
        for count in Array(0...40) + [100, 300] {
            let ids = Self.ids(count)
            #expect(MerkleTrie.root(ids.sorted()).bytes == Self.reference(Set(ids)), "\(count) ids")
        }
    }

    /// 256 ids that differ in the last byte only: 62 nodes with one child each, then two levels that part them.
    @Test func idsThatHaveMuchInCommon() throws {
        let common = [UInt8](repeating: 0xab, count: 31)
        var ids: [Digest] = [], children: [[UInt8]] = []
        for high in UInt8(0)..<16 {
            var leaf: [UInt8] = [0]
            for low in UInt8(0)..<16 {
                let bytes = common + [high << 4 | low]
                ids.append(try #require(Digest(bytes: bytes)))
                leaf += bytes
            }
            children.append(Digest.of(leaf).bytes)
        }
        var node = Digest.of([1] + children.flatMap(\.self)).bytes
        for depth in (0..<62).reversed() {
            var out: [UInt8] = [1]
            for nibble in 0..<16 { out += nibble == (depth % 2 == 0 ? 0xa : 0xb) ? node : Self.empty }
            node = Digest.of(out).bytes
        }
        #expect(MerkleTrie.root(ids).bytes == node)
    }

    @Test func everyIDCounts() {
        let ids = Self.ids(60).sorted()
        let root = MerkleTrie.root(ids)
        var seen: Set<Digest> = [root, MerkleTrie.root([])]
        for i in ids.indices {
            var fewer = ids
            let left = fewer.remove(at: i)
            let isNew = seen.insert(MerkleTrie.root(fewer)).inserted
            #expect(isNew, "without \(left)")
            fewer.append(capsule("instead of \(i)"))
            let isNewToo = seen.insert(MerkleTrie.root(fewer.sorted())).inserted
            #expect(isNewToo, "instead of \(left)")
        }
        #expect(MerkleTrie.root((ids + [capsule("more")]).sorted()) != root)
    }

    @Test func theRootOfNothingIsZero() {
        #expect(MerkleTrie.root([]).bytes == Self.empty)
    }
}
