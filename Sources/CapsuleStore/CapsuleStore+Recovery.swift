internal import CapsuleFormat
internal import Glibc
public import MeshCore

// What is done at opening, so that no crash needs a hand.
extension CapsuleStore {
    /// - Parameter alone: nobody else has the store open, so that what lies in `tmp/` belongs to nobody.
    func recover(alone: Bool) throws(MeshError) {
        if alone {
            for name in try Files.names(in: folders.temporary) { try Files.removeTree(folders.temporary + "/" + name) }
            Leftovers.remove(in: folders.quarantine)
        }
        let tookIn = try takeInPacks()
        // Packs that were put here by hand (a restored home's) bring back what the journal remembers.
        guard index.isNew || tookIn else {
            if try index.journalBytes() != journal.size() { try settle() }
            return
        }
        try journal.settled { size throws(MeshError) in try catchUp(to: size, from: 0) }
        if index.isNew { try index.markComplete() }
    }

    private func settle() throws(MeshError) {
        do throws(MeshError) { try journal.settled { size throws(MeshError) in try catchUp(to: size) } } catch {
            // The rest of the store can be read all the same.
            guard error.code == .diskFull || error.code == .readOnly else { throw error }
        }
    }

    /// With the journal locked: what it says and the index does not know yet.
    func catchUp(to size: Int64, from start: Int64? = nil) throws(MeshError) {
        let known = try index.journalBytes()
        // One that is shorter than it was is another one.
        let start = start ?? (known <= size ? known : 0)
        guard start < size || known != size else { return }
        try replayJournal(from: start)
        try index.apply(journaled: size) { _ in }
    }

    /// The capsules that a home's journal promises to keep, each once and in the order in which they came, whether they are
    /// there or not. The store is not opened.
    public static func journaledCapsules(in home: HomeLayout) throws(MeshError) -> [Digest] {
        var seen: Set<Digest> = [], out: [Digest] = []
        try RootJournal(home.roots).eachRecord { record in
            if case .capsule(let digest, _, _) = record, seen.insert(digest).inserted { out.append(digest) }
            if case .removedCapsule(let digest) = record, seen.remove(digest) != nil { out.removeAll { $0 == digest } }
        }
        return out
    }

    /// Index and packs are held against each other: a pack that is not indexed (a crash between its rename and the
    /// transaction, or the index is gone) is taken in by its footer; one that is gone or was cut short is not relied on.
    /// True when there was such a pack.
    private func takeInPacks() throws(MeshError) -> Bool {
        var tookIn = false
        var indexed: [String: StoreIndex.Pack] = [:]
        for pack in try index.packs() { indexed[PackFiles.name(pack.digest)] = pack }
        for name in try Files.names(in: folders.packs) {
            let path = folders.packs + "/" + name
            if let pack = indexed.removeValue(forKey: name) {
                let size = try OpenFile(reading: path).size()
                if size < pack.bytes { try index.cut(pack: pack.id, to: size) }
                continue
            }
            guard name.hasSuffix(".pack"), let digest = Digest(hex: name.dropLast(5)) else { continue }
            let footer: PackFooter
            do throws(MeshError) { footer = try PackFooter.read(path) } catch {
                guard error.code == .packInvalid else { throw error }
                try Files.rename(path, folders.quarantine + "/" + name)
                continue
            }
            try index.add(pack: digest, bytes: try OpenFile(reading: path).size(), footer)
            tookIn = true
        }
        try index.forget(packs: indexed.values.map(\.id))
        return tookIn
    }

    /// Lists again what the journal says and the packs hold completely.
    private func replayJournal(from start: Int64) throws(MeshError) {
        try journal.eachRecord(from: start) { record throws(MeshError) in
            do throws(MeshError) {
                switch record {
                case .capsule(let digest, let origin, let at):
                    let capsule = try readCapsule(digest)
                    guard try missing(capsule.tree.chunks.chunks).isEmpty else { return }
                    try index.list(StoredCapsule(capsule, origin: origin, addedAt: at), root: capsule.root)
                case .tree(let tree, let chunks, let kind):
                    let list = try ChunkList(parsing: blob(chunks))
                    _ = try VerifiedTree(checking: TreeIndex(parsing: blob(tree), kind: kind), list)
                    guard try missing(list.chunks).isEmpty else { return }
                    try index.list(tree: tree, chunks: chunks, kind: kind)
                case .referrer(let document, let capsule):
                    if try index.contains(capsule: capsule) { try index.add([document], to: capsule) }
                case .removedCapsule(let digest): try index.unlist(capsule: digest, tree: nil)
                case .removedTree(let tree): try index.unlist(tree: tree)
                }
            } catch {
                // A record whose bytes are damaged or gone is not listed; what fails here and now is told.
                guard error.code.exit == .badData || error.code == .blobNotFound else { throw error }
            }
        }
    }
}
