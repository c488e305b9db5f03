internal import CapsuleFormat
public import MeshCore

/// A capsule and what it was made from, as far as the manifests that are here tell.
public struct Lineage: Sendable, Hashable {
    public struct Member: Sendable, Hashable {
        public let digest: Digest
        public let id: CapsuleID
        /// What its author says.
        public let createdAt: Milliseconds?
        /// As its manifest names them.
        public let parents: [Digest]
        /// Steps from the capsule that was asked about, by the shortest way; 0 for itself.
        public let generation: Int
    }

    public struct Missing: Sendable, Hashable {
        public let digest: Digest
        public let generation: Int
    }

    /// The capsule itself, then its ancestors that are here: nearer ones first, each once, otherwise as the manifests name them.
    public let members: [Member]
    /// Ancestors that are not here, in the same order; what they were made from is not known.
    public let missing: [Missing]
    /// There are more than `Limits.lineageCapsulesMax`; the rest was not looked at.
    public let isCut: Bool
}

// Where a capsule comes from.
extension CapsuleStore {
    /// Follows `parents` from one capsule. Of each, the root alone is read.
    ///
    /// - Throws: `capsule_not_found` when the first is not here; `chunk_corrupt` when it is damaged. A damaged ancestor is missing.
    public func lineage(of digest: Digest) throws(MeshError) -> Lineage {
        guard try index.contains(capsule: digest) else { throw Self.notFound(digest) }
        var members: [Lineage.Member] = [], missing: [Lineage.Missing] = []
        var queue = [(digest: digest, generation: 0)], next = 0
        // A digest cannot be among its own ancestors; whoever finds a way round SHA-256 still gets an answer.
        var known: Set<Digest> = [digest]
        var isCut = false
        while next < queue.count {
            let (digest, generation) = queue[next]
            next += 1
            guard let manifest = try ancestor(digest, isFirst: generation == 0) else {
                missing.append(Lineage.Missing(digest: digest, generation: generation))
                continue
            }
            members.append(Lineage.Member(digest: digest, id: manifest.id, createdAt: manifest.createdAt, parents: manifest.parents, generation: generation))
            for parent in manifest.parents where !known.contains(parent) {
                guard known.count < Limits.lineageCapsulesMax else {
                    isCut = true
                    break
                }
                known.insert(parent)
                queue.append((parent, generation + 1))
            }
        }
        return Lineage(members: members, missing: missing, isCut: isCut)
    }

    /// nil where it is not here whole.
    private func ancestor(_ digest: Digest, isFirst: Bool) throws(MeshError) -> Manifest? {
        guard try index.contains(capsule: digest) else { return nil }
        do throws(MeshError) { return try CapsuleRoot(parsing: blob(digest)).manifest } catch {
            guard !isFirst, [.chunkCorrupt, .chunkMissing, .blobNotFound].contains(error.code) else { throw error }
            return nil
        }
    }
}
