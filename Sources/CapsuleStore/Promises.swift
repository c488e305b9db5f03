internal import CapsuleFormat
internal import MeshCore

/// What the journal adds up to.
struct Promises {
    /// Those that are to be listed, each as it came first; what was packed here stays so.
    private(set) var capsules: [Digest: (origin: CapsuleStore.Origin, addedAt: Milliseconds)] = [:]
    /// Capsules that are to be listed no longer.
    private(set) var removed: Set<Digest> = []
    /// Trees that were stored by themselves (what builds made), with their chunk lists.
    private(set) var trees: [Digest: Digest] = [:]

    /// - Parameter onReferrer: hears of each document that was to be kept about a capsule.
    init(_ journal: RootJournal, onReferrer: (ReferrerDocument, Digest) -> Void = { _, _ in }) throws(MeshError) {
        try journal.eachRecord { record in
            switch record {
            case .capsule(let digest, let origin, let at):
                let known = capsules[digest]
                capsules[digest] = (origin == .packed ? origin : known?.origin ?? origin, known?.addedAt ?? at)
                removed.remove(digest)
            case .removedCapsule(let digest):
                capsules[digest] = nil
                removed.insert(digest)
            case .tree(let tree, let chunks, _): trees[tree] = chunks
            case .removedTree(let tree): trees[tree] = nil
            case .referrer(let document, let capsule): onReferrer(document, capsule)
            }
        }
    }
}
