internal import CapsuleFormat
public import MeshCore

// What is not to be kept any more. The bytes go with the next garbage collection.
extension CapsuleStore {
    /// Takes a capsule off the list, with what refers to it.
    ///
    /// - Throws: `capsule_not_found`, `disk_full`, `read_only`.
    public func remove(capsule digest: Digest) throws(MeshError) {
        try inTurn { () throws(MeshError) in
            guard try index.contains(capsule: digest) else { throw Self.notFound(digest) }
            let tree = (try? CapsuleRoot(parsing: blob(digest)))?.index
            let own = try tree.flatMap { (tree) throws(MeshError) in try isShared(tree) ? nil : tree }
            try promise([.removedCapsule(digest)]) { journaled throws(MeshError) in try index.unlist(capsule: digest, tree: own, journaled: journaled) }
        }
    }

    /// Of a build's output, or of a capsule that is gone.
    func unlist(tree: Digest) throws(MeshError) {
        try promise([.removedTree(index: tree)]) { journaled throws(MeshError) in try index.unlist(tree: tree, journaled: journaled) }
    }

    /// Whether a second capsule has the tree, or a build's output is the same.
    private func isShared(_ tree: Digest) throws(MeshError) -> Bool {
        var count = 0
        for capsule in try index.capsules() {
            // One whose root cannot be read may have it.
            guard let root = try? CapsuleRoot(parsing: blob(capsule.digest)) else { return true }
            if root.index == tree { count += 1 }
        }
        if count > 1 { return true }
        return try Promises(journal).trees[tree] != nil
    }
}
