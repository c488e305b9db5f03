internal import MeshCore

/// The ids of all admitted facts in memory, 40 bytes each, with their rows in the table: in 4,096 buckets by the first three nibbles, each
/// sorted, so that a fact that comes changes one bucket and the root is worked out anew from the buckets' own.
struct FactIndex: Sendable {
    static let bucketCount = 4096
    private static let depth = 3

    struct Bucket: Sendable {
        var ids: [Digest] = []
        /// Of each id.
        var rows: [Int64] = []
        /// Of the trie's node at this place.
        var root = MerkleTrie.empty

        mutating func seal() { root = MerkleTrie.node(ids[...], depth: FactIndex.depth) }
    }

    private(set) var buckets = [Bucket](repeating: Bucket(), count: bucketCount)
    private(set) var count = 0
    private(set) var root = MerkleTrie.empty

    static func bucket(of id: Digest) -> Int { Int(id.words.0 >> 52) }

    /// From what the table has of each.
    mutating func load(_ number: Int, _ bucket: Bucket) {
        count += bucket.ids.count - buckets[number].ids.count
        buckets[number] = bucket
    }

    func row(of id: Digest) -> Int64? {
        let bucket = buckets[Self.bucket(of: id)], i = Self.place(of: id, in: bucket.ids)
        return i < bucket.ids.count && bucket.ids[i] == id ? bucket.rows[i] : nil
    }

    /// Ascending.
    var ids: [Digest] {
        var out: [Digest] = []
        out.reserveCapacity(count)
        for bucket in buckets { out += bucket.ids }
        return out
    }

    /// - Parameters: distinct ids; those to remove are here, those to insert are not.
    /// - Returns: the buckets that changed.
    mutating func change(insert: [(id: Digest, row: Int64)], remove: [Digest]) -> Set<Int> {
        var changed: Set<Int> = []
        for id in remove {
            let b = Self.bucket(of: id), i = Self.place(of: id, in: buckets[b].ids)
            buckets[b].ids.remove(at: i)
            buckets[b].rows.remove(at: i)
            changed.insert(b)
        }
        let sorted = insert.sorted { $0.id < $1.id }
        var start = 0
        while start < sorted.count {
            let b = Self.bucket(of: sorted[start].id)
            var end = start
            while end < sorted.count, Self.bucket(of: sorted[end].id) == b { end += 1 }
            merge(sorted[start..<end], into: b)
            changed.insert(b)
            start = end
        }
        count += insert.count - remove.count
        for b in changed { buckets[b].seal() }
        sealRoot()
        return changed
    }

    private mutating func merge(_ new: ArraySlice<(id: Digest, row: Int64)>, into b: Int) {
        let old = buckets[b]
        var ids: [Digest] = [], rows: [Int64] = [], i = 0
        ids.reserveCapacity(old.ids.count + new.count)
        rows.reserveCapacity(old.ids.count + new.count)
        for item in new {
            while i < old.ids.count, old.ids[i] < item.id {
                ids.append(old.ids[i])
                rows.append(old.rows[i])
                i += 1
            }
            ids.append(item.id)
            rows.append(item.row)
        }
        buckets[b].ids = ids + old.ids[i...]
        buckets[b].rows = rows + old.rows[i...]
    }

    /// From the buckets' roots; nodes above with few ids hash the ids themselves.
    mutating func sealRoot() { root = node(0..<Self.bucketCount) }

    private func node(_ range: Range<Int>) -> Digest {
        if range.count == 1 { return buckets[range.lowerBound].root }
        var ids: [Digest] = []
        for b in range where ids.count <= MerkleTrie.leafMax { ids += buckets[b].ids.prefix(MerkleTrie.leafMax + 1) }
        if ids.isEmpty { return MerkleTrie.empty }
        if ids.count <= MerkleTrie.leafMax { return MerkleTrie.leaf(ids) }
        let width = range.count / 16
        return MerkleTrie.inner((0..<16).map { node(range.lowerBound + $0 * width..<range.lowerBound + ($0 + 1) * width) })
    }

    private static func place(of id: Digest, in ids: [Digest]) -> Int {
        var low = 0, high = ids.count
        while low < high {
            let middle = (low + high) / 2
            if ids[middle] < id { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
