@testable import Catalog
import MeshCore
import Signing
import Testing

@Suite struct RatelessSketchTests {
    static let key = SessionKey((0..<16).map { UInt8($0) })

    static func ids(_ range: Range<Int>) -> [UInt64] { range.map { (key ?? SessionKey()).id(of: Digest.of(Array(String($0).utf8))) } }

    /// The values of docs/formats/exchange.md.
    @Test func theVector() throws {
        let key = try #require(Self.key), digest = Digest.of([UInt8(ascii: "1")])
        #expect(String(key.id(of: digest), radix: 16) == Self.vectorID && String(key.check(of: key.id(of: digest)), radix: 16) == Self.vectorCheck)
        var places = RatelessSketch.Places(key.id(of: digest)), list: [UInt64] = [0]
        for _ in 0..<7 { list.append(places.next()) }
        #expect(list == Self.vectorPlaces)
    }

    static let vectorID = "c22e4457092c9335", vectorCheck = "4363fed8", vectorPlaces: [UInt64] = [0, 1, 2, 6, 19, 72, 133, 140]

    @Test(arguments: [(0, 0), (1, 0), (0, 1), (1, 1), (5, 3), (100, 0), (0, 100), (300, 700), (2000, 2000)])
    func differencesAreRead(onlyHere: Int, onlyThere: Int) throws {
        let key = try #require(Self.key), common = 3000
        let here = Self.ids(0..<(common + onlyHere)), there = Self.ids(0..<common) + Self.ids(100_000..<(100_000 + onlyThere))
        let d = onlyHere + onlyThere, count = max(8, d * 2)
        let ours = RatelessSketch(here, key: key, count: count), theirs = RatelessSketch(there, key: key, count: count)
        let found = try #require(ours.difference(to: theirs.symbols, key: key))
        #expect(Set(found.onlyHere) == Set(here).subtracting(there) && Set(found.onlyThere) == Set(there).subtracting(here))
        #expect(found.onlyHere.count == onlyHere && found.onlyThere.count == onlyThere)
        // Fewer than there are differences can never tell.
        if d > 8 { #expect(RatelessSketch(here, key: key, count: d / 2).difference(to: Array(theirs.symbols.prefix(d / 2)), key: key) == nil) }
    }

    /// Large sets are summed on all cores, in parts, to the same sums.
    @Test func partsMakeTheWhole() throws {
        let key = try #require(Self.key), ids = Self.ids(0..<50_000), count = 200
        let parts = stride(from: 0, to: ids.count, by: 10_000).map { RatelessSketch(Array(ids[$0..<$0 + 10_000]), key: key, count: count).symbols }
        let sums = (0..<count).map { i in
            parts.reduce(into: RatelessSketch.Symbol()) { sum, part in
                sum.ids ^= part[i].ids
                sum.checks ^= part[i].checks
                sum.count += part[i].count
            }
        }
        #expect(RatelessSketch(ids, key: key, count: count).symbols == sums)
        #expect(RatelessSketch.counts(ids, count: count) == sums.map(\.count))
    }

    /// The first sums are the same however many are made, so that more can be asked for later.
    @Test func moreSumsGoOn() throws {
        let key = try #require(Self.key), ids = Self.ids(0..<500)
        #expect(Array(RatelessSketch(ids, key: key, count: 300).symbols.prefix(100)) == RatelessSketch(ids, key: key, count: 100).symbols)
    }

    @Test(arguments: [(10, 10), (0, 500), (500, 0), (400, 600), (5000, 100)])
    func theEstimateIsNear(onlyHere: Int, onlyThere: Int) throws {
        let key = try #require(Self.key), d = onlyHere + onlyThere
        let here = RatelessSketch(Self.ids(0..<(8000 + onlyHere)), key: key, count: 512).symbols.map(\.count)
        let there = RatelessSketch(Self.ids(0..<8000) + Self.ids(100_000..<(100_000 + onlyThere)), key: key, count: 512).symbols.map(\.count)
        let estimate = RatelessSketch.estimate(here, there)
        #expect(estimate > d * 7 / 10 && estimate < d * 14 / 10, "\(estimate) for \(d)")
        #expect(RatelessSketch.estimate(here, here) == 0)
    }

    /// Whatever a peer sends: an answer or none, never a wrong id of ours, never without end.
    @Test func hostileSumsEnd() throws {
        let key = try #require(Self.key), here = Self.ids(0..<200)
        let ours = RatelessSketch(here, key: key, count: 64)
        var random = SplitMix(seed: 11)
        for _ in 0..<2000 {
            var theirs = RatelessSketch(Self.ids(0..<190), key: key, count: 64).symbols
            for _ in 0..<(1 + random.below(8)) {
                var sum = RatelessSketch.Symbol()
                let id = random.next()
                sum.add(id, random.below(2) == 0 ? key.check(of: id) : 7, random.below(3) == 0 ? .max : 1)
                theirs[random.below(64)] = sum
            }
            guard let found = ours.difference(to: theirs, key: key) else { continue }
            #expect(found.onlyHere.count + found.onlyThere.count <= 64)
        }
    }
}
