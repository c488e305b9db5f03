internal import MeshCore

/// The root over a set of fact ids: a 16-ary radix trie by the ids' nibbles. A node of at most 16 ids hashes them in order,
/// `SHA-256(00 ‖ id…)`; a larger one its children, `SHA-256(01 ‖ child[0] … child[15])`; an empty one is 32 zero bytes.
enum MerkleTrie {
    static let leafMax = 16
    static let empty = Digest(words: (0, 0, 0, 0))

    /// - Parameter ids: sorted, distinct.
    static func root(_ ids: [Digest]) -> Digest { node(ids[...], depth: 0) }

    static func node(_ ids: ArraySlice<Digest>, depth: Int) -> Digest {
        if ids.isEmpty { return empty }
        if ids.count <= leafMax { return leaf(ids) }
        var children: [Digest] = [], rest = ids
        for nibble in 0..<16 {
            let count = rest.prefix { Self.nibble($0, depth) == nibble }.count
            children.append(node(rest.prefix(count), depth: depth + 1))
            rest = rest.dropFirst(count)
        }
        return inner(children)
    }

    static func leaf(_ ids: some Sequence<Digest>) -> Digest { hash(0, ids) }
    static func inner(_ children: [Digest]) -> Digest { hash(1, children) }

    private static func hash(_ kind: UInt8, _ parts: some Sequence<Digest>) -> Digest {
        var out: [UInt8] = [kind]
        for part in parts { out.append(contentsOf: part.bytes) }
        return Digest.of(out)
    }

    static func nibble(_ id: Digest, _ depth: Int) -> Int {
        let words = id.words
        let word = switch depth / 16 { case 0: words.0 case 1: words.1 case 2: words.2 default: words.3 }
        return Int(word >> UInt64(60 - 4 * (depth % 16)) & 15)
    }
}
