internal import CapsuleFormat
internal import Glibc
public import MeshCore

/// What a garbage collection did, or with `dryRun` would do.
public struct GCReport: Sendable, Hashable {
    public let dryRun: Bool
    /// Packs of which nothing was needed, and those whose needed part was copied into new ones.
    public let packsDeleted: Int
    public let packsRewritten: Int
    /// How much less the packs take on the disk, and what they take now. With `dryRun`, about.
    public let bytesFreed: Int64
    public let bytesKept: Int64
    /// Build outputs that nobody needs any more; they are listed no longer.
    public let outputs: [Digest]
    /// Chunks that were found damaged while they were copied; they were set aside, and can be repaired.
    public let damaged: [Digest]
}

extension CapsuleStore {
    /// What came within this time and is in no capsule may be a pull that goes on tomorrow.
    private static let unlistedKept: Milliseconds = 24 * 3_600_000

    /// Deletes what no listed capsule and no needed build output is made of: chunks of capsules that were removed, and what an
    /// interrupted pack, import or pull left, after a day, so that it can go on. Packs of which less than half is needed are written
    /// anew, and so are many small ones.
    ///
    /// Never two at once, and never while something is being taken in, in any process; what wants to begin meanwhile waits. Reading
    /// goes on: a pack that somebody has open is read to its end. Stopped anywhere, it leaves garbage at most.
    ///
    /// - Parameters:
    ///   - outputs: trees that are needed although they are no capsule's files: what builds made. nil: all that were stored.
    ///   - dryRun: changes nothing.
    ///   - all: also what came within the last day.
    ///   - patience: how long it waits for what is being taken in.
    /// - Throws: `gc_running`, `store_busy`; `store_damaged` when nobody can tell what a listed capsule needs; `disk_full`.
    public func gc(
        keeping outputs: Set<Digest>? = nil, dryRun: Bool = false, all: Bool = false, patience: Duration = .seconds(10), progress: StoreProgressSink? = nil
    ) throws(MeshError) -> GCReport {
        if dryRun {
            return try ingesting { () throws(MeshError) in
                let needed = try needed(outputs)
                let plan = GCPlan(try survey(needed, all: all))
                return GCReport(
                    dryRun: true, packsDeleted: plan.deleted.count, packsRewritten: plan.rewritten.joined().count, bytesFreed: plan.bytesFreed,
                    bytesKept: plan.bytesKept, outputs: needed.superfluous, damaged: [])
            }
        }
        return try collecting(patience: patience) { () throws(MeshError) in
            let needed = try needed(outputs)
            for tree in needed.superfluous { try unlist(tree: tree) }
            let packs = try survey(needed, all: all)
            let plan = GCPlan(packs), before = packs.reduce(0) { $0 + $1.bytes }
            let work = plan.deleted.reduce(0) { $0 + $1.bytes } + plan.rewritten.joined().reduce(0) { $0 + $1.bytes }
            let meter = ProgressMeter("gc", files: plan.deleted.count + plan.rewritten.joined().count, bytes: work, progress)
            var digests: [Int64: Digest] = [:]
            for pack in try index.packs() { digests[pack.id] = pack.digest }

            try index.forget(packs: plan.deleted.map(\.id))
            try drop(plan.deleted.compactMap { pack in digests[pack.id].map { (pack.id, $0) } }, except: [])
            for pack in plan.deleted { meter.add(files: 1, bytes: pack.bytes) }
            var damaged: [Digest] = []
            for group in plan.rewritten {
                damaged += try rewrite(group.compactMap { pack in digests[pack.id].map { (pack.id, $0) } }, needed, all: all)
                for pack in group { meter.add(files: 1, bytes: pack.bytes) }
            }
            try index.forgetDocuments(except: needed.documents)
            let after = try index.packs().reduce(0) { $0 + $1.bytes }
            return GCReport(
                dryRun: false, packsDeleted: plan.deleted.count, packsRewritten: plan.rewritten.joined().count, bytesFreed: before - after,
                bytesKept: after, outputs: needed.superfluous, damaged: damaged.sorted())
        }
    }

    // MARK: What is needed

    private struct Needed {
        /// Of files and documents.
        var chunks: Set<Digest> = []
        /// Roots, indexes and chunk lists.
        var documents: Set<Digest> = []
        /// Of capsules that were removed: nobody will go on with these.
        var removed: Set<Digest> = []
        var superfluous: [Digest] = []

        /// - Parameter isYoung: the chunk lies in a pack from within the last day.
        func keeps(_ chunk: Digest, isYoung: Bool) -> Bool { chunks.contains(chunk) || (isYoung && !removed.contains(chunk)) }
    }

    private func needed(_ outputs: Set<Digest>?) throws(MeshError) -> Needed {
        var needed = Needed(), trees: Set<Digest> = []
        for capsule in try index.capsules() {
            do throws(MeshError) {
                let root = try CapsuleRoot(parsing: blob(capsule.digest))
                trees.insert(root.index)
                try need([capsule.digest, root.index, root.chunks], list: root.chunks, &needed)
            } catch { throw Self.unclear("the capsule \(capsule.name)@\(capsule.version) (\(capsule.digest))", error) }
        }
        let promised = try Promises(journal), outputs = outputs ?? Set(promised.trees.keys)
        for tree in try index.treeDigests() where !trees.contains(tree) {
            guard outputs.contains(tree), let chunks = try index.tree(tree)?.chunks else {
                needed.superfluous.append(tree)
                continue
            }
            do throws(MeshError) { try need([tree, chunks], list: chunks, &needed) } catch { throw Self.unclear("the build output \(tree)", error) }
        }
        for digest in promised.removed {
            // What cannot be read any more went with an earlier collection.
            guard let root = try? CapsuleRoot(parsing: blob(digest)), let list = try? ChunkList(parsing: blob(root.chunks)) else { continue }
            for document in [digest, root.index, root.chunks] { needed.removed.formUnion(try index.blob(document)?.pieces.map(\.digest) ?? []) }
            needed.removed.formUnion(list.chunks.map(\.digest))
        }
        return needed
    }

    private func need(_ documents: [Digest], list: Digest, _ needed: inout Needed) throws(MeshError) {
        for chunk in try ChunkList(parsing: blob(list)).chunks { needed.chunks.insert(chunk.digest) }
        for document in documents where needed.documents.insert(document).inserted {
            guard let blob = try index.blob(document) else {
                throw MeshError(.blobNotFound, "the document \(document) is not in the store", hint: "repair the store: capsule fsck --repair")
            }
            for piece in blob.pieces { needed.chunks.insert(piece.digest) }
            guard let base = blob.base, needed.documents.insert(base).inserted else { continue }
            for piece in try index.blob(base)?.pieces ?? [] { needed.chunks.insert(piece.digest) }
        }
    }

    private static func unclear(_ what: String, _ cause: MeshError) -> MeshError {
        guard cause.code.exit == .badData || cause.code.exit == .unavailable else { return cause }
        return MeshError(
            .storeDamaged, "nobody can tell what \(what) needs: \(cause.message)",
            hint: "repair it first, from a .caps file or from peers: capsule fsck --repair [FILE]; or remove it: capsule rm", cause: cause)
    }

    /// In the order of their numbers, and so in the order in which they came.
    private func survey(_ needed: Needed, all: Bool) throws(MeshError) -> [GCPlan.Pack] {
        var packs: [Int64: GCPlan.Pack] = [:]
        var young: Set<Int64> = []
        for pack in try index.packs() {
            packs[pack.id] = GCPlan.Pack(id: pack.id, bytes: pack.bytes, content: pack.content)
            if !all, isYoung(pack.digest) { young.insert(pack.id) }
        }
        try index.eachChunk { pack, chunk, length in
            if needed.keeps(chunk, isYoung: young.contains(pack)) { packs[pack]?.live += Int64(length) }
        }
        // One of the packs that name a document must go on doing so; the fullest is the least likely to be copied for it.
        for (document, named) in try index.names() where needed.documents.contains(document) {
            if let keeper = named.max(by: { (packs[$0]?.live ?? 0, $0) < (packs[$1]?.live ?? 0, $1) }) { packs[keeper]?.names += 1 }
        }
        return packs.values.sorted { $0.id < $1.id }
    }

    private func isYoung(_ pack: Digest) -> Bool {
        var info = stat()
        guard stat(folders.packs + "/" + PackFiles.name(pack), &info) == 0 else { return true }
        return clock.now - SourceTree.nanoseconds(info.st_mtim) / 1_000_000 < Self.unlistedKept
    }

    // MARK: Carrying it out

    /// Copies what is needed of some packs into new ones. Gives the chunks that turned out to be damaged.
    private func rewrite(_ packs: [(id: Int64, digest: Digest)], _ needed: Needed, all: Bool) throws(MeshError) -> [Digest] {
        let ingest = try ChunkIngest(self)
        let reader = try readers.take()
        defer { readers.give(reader) }
        var damaged: [Digest] = [], superseded: [(id: Int64, digest: Digest)] = [], carried: Set<Digest> = []
        for pack in packs {
            // One whose table cannot be read is a case for a repair.
            guard let footer = try? PackFooter.read(folders.packs + "/" + PackFiles.name(pack.digest)) else { continue }
            let isYoung = !all && isYoung(pack.digest)
            for (chunk, place) in zip(footer.chunks, try index.places(footer.chunks.map(\.digest))) {
                guard let place, place.pack == pack.id, needed.keeps(chunk.digest, isYoung: isYoung) else { continue }
                let reference = ChunkReference(digest: chunk.digest, length: chunk.length)
                do throws(MeshError) {
                    try withChunk(reference, at: place, of: nil, reader) { bytes throws(MeshError) in try ingest.add(reference, bytes) }
                } catch {
                    guard error.code == .chunkCorrupt || error.code == .chunkMissing else { throw error }
                    damaged.append(chunk.digest)
                }
            }
            for blob in footer.blobs where (isYoung || needed.documents.contains(blob.digest)) && carried.insert(blob.digest).inserted { try ingest.carry(blob) }
            superseded.append(pack)
        }
        try ingest.finish()
        try index.supersede(packs: superseded.map(\.id), by: ingest.written)
        try drop(superseded, except: Set(ingest.written.map(\.digest)))
        return damaged
    }

    /// Removes the files of packs that the index does not know any more. Whoever has one open reads it to its end.
    private func drop(_ packs: [(id: Int64, digest: Digest)], except written: Set<Digest>) throws(MeshError) {
        if packs.isEmpty { return }
        readers.packs.close(packs.map(\.id))
        for pack in packs where !written.contains(pack.digest) { try Files.remove(folders.packs + "/" + PackFiles.name(pack.digest)) }
        try Files.syncDirectory(folders.packs)
    }
}
