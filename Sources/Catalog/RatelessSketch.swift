internal import Dispatch
package import MeshCore
package import Signing
internal import Synchronization

/// The ids of a set under a session's key: 64 bits each, so that no author can choose facts that collide in it.
package typealias SessionKey = ShortHashKey

extension ShortHashKey {
    /// 0, which no sum can show, is told as 1.
    package func id(of digest: Digest) -> UInt64 {
        let id = hash(digest)
        return id == 0 ? 1 : id
    }

    /// 32 bits that follow from an id, by which a sum of one is told from a sum of many.
    func check(of id: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: withUnsafeBytes(of: id.littleEndian) { hash($0) } >> 16) }
}

/// Rateless invertible Bloom lookup table (Yang, Gilad, Alizadeh: Practical Rateless Set Reconciliation, SIGCOMM 2024): an endless
/// sequence of sums over a set. From about 1.35·d of them, less the other side's, the d ids in which two sets differ can be read,
/// whatever d is and however large the sets are. docs/formats/exchange.md is normative.
package struct RatelessSketch: Sendable {
    package struct Symbol: Sendable, Hashable {
        package var ids: UInt64 = 0
        package var checks: UInt32 = 0
        package var count: Int64 = 0

        package init() {}

        mutating func add(_ id: UInt64, _ check: UInt32, _ sign: Int64) {
            ids ^= id
            checks ^= check
            count &+= sign
        }

        var isEmpty: Bool { ids == 0 && checks == 0 && count == 0 }
    }

    /// In which sums an id takes part: in the first, then with a chance of 1/(1+i/2) in the i-th.
    struct Places: Sendable {
        private var state: UInt64
        private(set) var place: UInt64 = 0

        init(_ id: UInt64) { state = id }

        mutating func next() -> UInt64 {
            state &*= 0xda94_2042_e4dd_58b5
            // Division and square root are exact to the last bit everywhere (IEEE 754).
            let step = ((Double(place) + 1.5) * (4_294_967_296 / (Double(state) + 1).squareRoot() - 1)).rounded(.up)
            place = step < 1e18 ? place &+ UInt64(step) : .max
            return place
        }
    }

    package let symbols: [Symbol]

    /// The first `count` sums over the ids.
    package init(_ ids: [UInt64], key: SessionKey, count: Int) {
        let parts = Self.onAllCores(ids) { ids in
            var symbols = [Symbol](repeating: Symbol(), count: count)
            for id in ids {
                let check = key.check(of: id)
                Self.eachPlace(of: id, below: count) { symbols[$0].add(id, check, 1) }
            }
            return symbols
        }
        symbols = parts.dropFirst().reduce(parts[0]) { sum, part in
            zip(sum, part).map { a, b in
                var out = a
                out.ids ^= b.ids
                out.checks ^= b.checks
                out.count &+= b.count
                return out
            }
        }
    }

    /// How many ids take part in each of the first `count` sums.
    package static func counts(_ ids: [UInt64], count: Int) -> [Int64] {
        let parts = onAllCores(ids) { ids in
            var counts = [Int64](repeating: 0, count: count)
            for id in ids { eachPlace(of: id, below: count) { counts[$0] += 1 } }
            return counts
        }
        return parts.dropFirst().reduce(parts[0]) { sum, part in zip(sum, part).map { $0 + $1 } }
    }

    private static func eachPlace(of id: UInt64, below count: Int, _ body: (Int) -> Void) {
        var places = Places(id), place: UInt64 = 0
        while place < UInt64(count) {
            body(Int(place))
            place = places.next()
        }
    }

    /// At least one part.
    private static func onAllCores<T: Sendable>(_ ids: [UInt64], _ body: @Sendable (ArraySlice<UInt64>) -> T) -> [T] {
        // Below this a thread costs more than it saves.
        let share = max(20_000, (ids.count + ProcessorCount.here - 1) / ProcessorCount.here), shares = max(1, (ids.count + share - 1) / share)
        guard shares > 1 else { return [body(ids[...])] }
        let parts = Mutex<[T]>([])
        DispatchQueue.concurrentPerform(iterations: shares) { i in
            let part = body(ids[i * share..<min((i + 1) * share, ids.count)])
            parts.withLock { $0.append(part) }
        }
        return parts.withLock { $0 }
    }

    /// About how many ids two sets differ in, from the counts of their sums: the i-th differs by so many on average as both differ in
    /// size, and varies around that as they differ in content.
    package static func estimate(_ ours: [Int64], _ theirs: [Int64]) -> Int {
        guard let a = ours.first, let b = theirs.first, ours.count == theirs.count, ours.count > 2 else { return 0 }
        let net = Double(a &- b)
        var sum = 0.0
        for i in 2..<ours.count {
            let chance = 1 / (1 + Double(i) / 2), distance = Double(ours[i] &- theirs[i]) - net * chance
            sum += distance * distance / (chance * (1 - chance))
        }
        let mean = max(abs(net), sum / Double(ours.count - 2))
        return mean < 1e15 ? Int(mean.rounded(.up)) : .max
    }

    /// The ids that only one side has, or nil when it takes more sums to tell.
    ///
    /// - Parameter theirs: as many sums, over the other set, under the same key.
    package func difference(to theirs: [Symbol], key: SessionKey) -> (onlyHere: [UInt64], onlyThere: [UInt64])? {
        guard theirs.count == symbols.count, !symbols.isEmpty else { return nil }
        var rest = zip(symbols, theirs).map { ours, theirs in
            var out = ours
            out.ids ^= theirs.ids
            out.checks ^= theirs.checks
            out.count &-= theirs.count
            return out
        }
        var here: [UInt64] = [], there: [UInt64] = []
        var open = Array(rest.indices)
        // Each sum can be of one id many times over, as others are taken out of it; a hostile one no more often than there are sums.
        var steps = 0
        while let i = open.popLast() {
            let sum = rest[i]
            guard sum.count == 1 || sum.count == -1, sum.ids != 0, key.check(of: sum.ids) == sum.checks else { continue }
            steps += 1
            guard steps <= rest.count else { return nil }
            if sum.count == 1 { here.append(sum.ids) } else { there.append(sum.ids) }
            var places = Places(sum.ids), place: UInt64 = 0
            while place < UInt64(rest.count) {
                rest[Int(place)].add(sum.ids, sum.checks, -sum.count)
                if rest[Int(place)].count == 1 || rest[Int(place)].count == -1 { open.append(Int(place)) }
                place = places.next()
            }
        }
        return rest.allSatisfy(\.isEmpty) ? (here, there) : nil
    }
}
