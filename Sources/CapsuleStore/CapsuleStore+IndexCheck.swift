internal import CapsuleFormat
internal import MeshCore

// The index held against the journal.
extension CapsuleStore {
    /// What the index has otherwise than the journal promised, a sentence each. With the journal locked.
    func checkPromises() throws(MeshError) -> [String] {
        var details: [String] = []
        // Digests, not documents: all of them together can be large.
        var documents: [Digest: Set<ReferrerKey>] = [:]
        let promised = try Promises(journal, onReferrer: { document, capsule in documents[capsule, default: []].insert(ReferrerKey(document)) })
        var rows: [Digest: StoredCapsule] = [:]
        for row in try index.capsules() { rows[row.digest] = row }
        for (digest, promise) in promised.capsules {
            // What lost its bytes is not listed by any index, and told by nobody but whoever had it.
            guard let capsule = try? readCapsule(digest) else { continue }
            guard let row = rows[digest] else {
                if try missing(capsule.tree.chunks.chunks).isEmpty { details.append("it does not list the capsule \(digest), which is whole") }
                continue
            }
            let wanted = StoredCapsule(capsule, origin: promise.origin, addedAt: promise.addedAt)
            if row != wanted { details.append("it lists the capsule \(digest) with other properties than it has") }
            let tree = try index.tree(capsule.root.index)
            if tree?.chunks != capsule.root.chunks { details.append("it does not list the files of the capsule \(digest) as they are") }
        }
        for digest in rows.keys {
            guard promised.capsules[digest] != nil else {
                details.append("it lists the capsule \(digest), which nobody added")
                continue
            }
            let kept = try index.referrerKeys(of: digest), lost = documents[digest, default: []].subtracting(kept).count
            if lost > 0 { details.append("it lacks \(lost) of the documents that refer to \(digest)") }
        }
        for (tree, list) in promised.trees {
            guard (try? blob(tree)) != nil, let chunks = try? ChunkList(parsing: blob(list)), try missing(chunks.chunks).isEmpty else { continue }
            let row = try index.tree(tree)
            if row?.chunks != list { details.append("it does not list the build output \(tree) as it was made") }
        }
        return details
    }
}

/// What tells one document about a capsule from another.
struct ReferrerKey: Hashable {
    let digest: Digest
    let artifactType: String

    init(_ document: ReferrerDocument) { (digest, artifactType) = (Digest.of(document.bytes), document.artifactType) }
}
