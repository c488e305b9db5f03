public import MeshCore

/// An index and a chunk list that fit each other: every file knows which chunks it is made of.
public struct VerifiedTree: Sendable {
    public let index: TreeIndex
    public let chunks: ChunkList
    /// For each index entry, its chunks' places in the list; empty for what is no file.
    public let fileChunks: [Range<Int>]

    /// - Throws: `tree_mismatch` where the chunks' lengths do not add up to the files' sizes.
    public init(checking index: TreeIndex, _ chunks: ChunkList) throws(MeshError) {
        var ranges: [Range<Int>] = []
        ranges.reserveCapacity(index.entries.count)
        var next = 0
        for entry in index.entries {
            let start = next
            if case .file(let size, _) = entry.content {
                var left = size
                while left > 0 {
                    guard next < chunks.chunks.count else { throw Self.mismatch("“\(entry.path)” lacks chunks") }
                    left -= Int64(chunks.chunks[next].length)
                    next += 1
                }
                guard left == 0 else { throw Self.mismatch("the chunks of “\(entry.path)” do not end where it ends") }
            }
            ranges.append(start..<next)
        }
        guard next == chunks.chunks.count else { throw Self.mismatch("\(chunks.chunks.count - next) chunks belong to no file") }
        self.index = index
        self.chunks = chunks
        fileChunks = ranges
    }

    static func mismatch(_ why: String) -> MeshError {
        MeshError(.treeMismatch, "index and chunk list do not fit: \(why)", hint: "the capsule was damaged or written by a faulty program; fetch it again")
    }
}

/// A capsule's three documents as they came from outside.
public struct UnverifiedCapsule: Sendable {
    public let root: [UInt8]
    public let index: [UInt8]
    public let chunks: [UInt8]

    public init(root: [UInt8], index: [UInt8], chunks: [UInt8]) {
        self.root = root
        self.index = index
        self.chunks = chunks
    }

    /// The only way to a `VerifiedCapsule`: the root is the one that was meant, index and chunk list are the root's, and all
    /// three are well-formed and fit each other.
    ///
    /// - Throws: `capsule_mismatch`, `tree_mismatch`, `index_invalid`, `chunks_invalid`, and what is wrong with the manifest.
    public func verified(as expected: Digest?) throws(MeshError) -> VerifiedCapsule {
        try Self.verified(root: root, index: index, as: expected) { _ throws(MeshError) in chunks }
    }

    /// Of documents that were just made here: they are held against each other like those from outside, but not read again.
    package static func made(_ root: CapsuleRoot, index: TreeIndex, chunks: ChunkList) throws(MeshError) -> VerifiedCapsule {
        try check(index, root.manifest)
        return VerifiedCapsule(digest: Digest.of(root.bytes), root: root, tree: try VerifiedTree(checking: index, chunks))
    }

    /// The same, for a chunk list that is only read once the index says how long it can be: `chunks` gets the least and the most bytes.
    static func verified(
        root rootBytes: [UInt8], index indexBytes: [UInt8], as expected: Digest?, chunks read: (ClosedRange<Int64>) throws(MeshError) -> [UInt8]
    ) throws(MeshError) -> VerifiedCapsule {
        let digest = Digest.of(rootBytes)
        guard expected == nil || expected == digest else { throw mismatch("its root is \(digest), not \(expected?.description ?? "")") }
        let root = try CapsuleRoot(parsing: rootBytes)
        guard Digest.of(indexBytes) == root.index else { throw mismatch("its index is not the one its root names") }
        let index = try TreeIndex(parsing: indexBytes, kind: root.manifest.tree)
        try check(index, root.manifest)
        let chunks = try read(ChunkList.bytes(for: index))
        guard Digest.of(chunks) == root.chunks else { throw mismatch("its chunk list is not the one its root names") }
        return VerifiedCapsule(digest: digest, root: root, tree: try VerifiedTree(checking: index, try ChunkList(parsing: chunks)))
    }

    /// What a capsule's index must and must not hold, beyond what every tree's does.
    private static func check(_ index: TreeIndex, _ manifest: Manifest) throws(MeshError) {
        if let place = index.position(of: "capsule.json") { throw TreeIndex.invalid("capsule.json belongs in the root, not in the index", place) }
        guard !manifest.attestations.isEmpty else { return }
        let here = Set(index.entries.compactMap { if case .file(_, let sha256) = $0.content { sha256 } else { nil } })
        for (i, attestation) in manifest.attestations.enumerated() where !here.contains(attestation.sha256) {
            throw MeshError(.treeMismatch, "no file of the capsule has the digest that /attestations/\(i) names",
                            hint: "the capsule was written by a faulty program; ask its author for another one", pointer: "/attestations/\(i)/sha256")
        }
    }

    private static func mismatch(_ why: String) -> MeshError {
        MeshError(.capsuleMismatch, "this is not the capsule that was meant: \(why)", hint: "it was altered or damaged; get it again")
    }
}

/// A capsule whose documents were checked. Each chunk is still checked whenever it is read.
public struct VerifiedCapsule: Sendable {
    public let digest: Digest
    public let root: CapsuleRoot
    public let tree: VerifiedTree

    fileprivate init(digest: Digest, root: CapsuleRoot, tree: VerifiedTree) {
        self.digest = digest
        self.root = root
        self.tree = tree
    }

    public var manifest: Manifest { root.manifest }
}
