internal import MeshCore

/// The root over a set of fact ids: a 16-ary radix trie by the ids' nibbles. A node of at most 16 ids hashes them in order,
/// `SHA-256(00 ‖ id…)`; a larger one its children, `SHA-256(01 ‖ child[0] … child[15])`; an empty one is 32 zero bytes.
enum MerkleTrie {
    private static let leafMax = 16
    private static let empty = [UInt8](repeating: 0, count: 32)

    /// - Parameter ids: sorted, distinct.
    static func root(_ ids: [Digest]) -> Digest {
        Digest(bytes: node(ids.map(\.bytes)[...], depth: 0)) ?? Digest.of([])
    }

    private static func node(_ ids: ArraySlice<[UInt8]>, depth: Int) -> [UInt8] {
        if ids.isEmpty { return empty }
        if ids.count <= leafMax { return Digest.of([0] + ids.joined()).bytes }
        var out: [UInt8] = [1]
        var rest = ids
        for nibble in UInt8(0)..<16 {
            let children = rest.prefix { id in (depth % 2 == 0 ? id[depth / 2] >> 4 : id[depth / 2] & 15) == nibble }
            out += node(children, depth: depth + 1)
            rest = rest.dropFirst(children.count)
        }
        return Digest.of(out).bytes
    }
}
