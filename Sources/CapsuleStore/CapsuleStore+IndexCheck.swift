internal import CapsuleFormat
internal import MeshCore

// The index held against itself, and against the journal, which says what was promised.
extension CapsuleStore {
    private struct Promised {
        var capsules: [Digest: (origin: Origin, addedAt: Milliseconds)] = [:]
        var trees: [Digest: Digest] = [:]
        var referrers: [Digest: Set<ReferrerDocument>] = [:]
    }

    /// - Parameter read: SQLite looks at every row and every index of it, too.
    func checkIndex(read: Bool) throws(MeshError) -> [FsckReport.Problem] {
        var details = try index.faults(thorough: read)
        let promised = try promised()
        var rows: [Digest: StoredCapsule] = [:]
        for row in try index.capsules() { rows[row.digest] = row }
        for (digest, promise) in promised.capsules {
            guard let row = rows[digest] else {
                // What lost its bytes is not listed, and is told by nobody but whoever had it.
                if isReadable(digest) { details.append("it does not list the capsule \(digest), which is whole") }
                continue
            }
            guard let capsule = try? readCapsule(digest) else { continue }
            let wanted = StoredCapsule(capsule, origin: promise.origin, addedAt: promise.addedAt)
            if row != wanted { details.append("it lists the capsule \(digest) with other properties than it has") }
        }
        for digest in rows.keys where promised.capsules[digest] == nil { details.append("it lists the capsule \(digest), which nobody added") }
        for (capsule, documents) in promised.referrers where rows[capsule] != nil {
            let kept = Set(try index.referrers(of: capsule))
            var lost = 0
            for document in documents {
                let isFound = try index.contains(document, of: capsule)
                if !isFound || !kept.contains(document) { lost += 1 }
            }
            if lost > 0 { details.append("it lacks \(lost) of the documents that refer to \(capsule)") }
        }
        for (tree, promise) in promised.trees where isReadable(tree) {
            guard let row = try index.tree(tree), row.chunks == promise else {
                details.append("it does not list the build output \(tree) as it was made")
                continue
            }
        }
        for digest in rows.keys {
            guard let root = try? CapsuleRoot(parsing: blob(digest)) else { continue }
            let row = try index.tree(root.index)
            if row?.chunks != root.chunks { details.append("it does not list the files of the capsule \(digest) as they are") }
        }
        let hint = "; `capsule fsck --rebuild` mends that"
        return details.sorted().map { FsckReport.Problem(kind: .indexDamaged, what: "index.sqlite", detail: $0 + hint) }
    }

    private func isReadable(_ document: Digest) -> Bool { (try? blob(document)) != nil }

    private func promised() throws(MeshError) -> Promised {
        var promised = Promised()
        try journal.eachRecord { record in
            switch record {
            case .capsule(let digest, let origin, let at):
                let known = promised.capsules[digest]
                promised.capsules[digest] = (origin == .packed ? origin : known?.origin ?? origin, known?.addedAt ?? at)
            case .tree(let tree, let chunks, _): promised.trees[tree] = chunks
            case .referrer(let document, let capsule): if promised.capsules[capsule] != nil { promised.referrers[capsule, default: []].insert(document) }
            case .removedCapsule(let digest):
                promised.capsules[digest] = nil
                promised.referrers[digest] = nil
            case .removedTree(let tree): promised.trees[tree] = nil
            }
        }
        return promised
    }
}
