public import CapsuleFormat
public import MeshCore

// What comes from peers and files.
extension CapsuleStore {
    /// Verifies all chunks, then stores those that are not here, durably and as one batch.
    ///
    /// - Throws: `chunk_corrupt` when bytes are not what their reference says (nothing is stored then), `disk_full`.
    public func addChunks(_ chunks: [(ChunkReference, [UInt8])]) throws(MeshError) {
        if chunks.isEmpty { return }
        try Threads.each(chunks.count) { (i) throws(MeshError) in
            let (chunk, bytes) = chunks[i]
            guard bytes.count == chunk.length, (1...Limits.chunkBytesMax).contains(bytes.count), Digest.of(bytes) == chunk.digest else {
                throw MeshError(.chunkCorrupt, "the bytes given for the chunk \(chunk.digest) are others", hint: "ask another peer for it")
            }
        }
        try ingesting { () throws(MeshError) in
            let ingest = try ChunkIngest(self)
            for (i, isKnown) in try ingest.known(chunks.map(\.0.digest)).enumerated() where !isKnown {
                let (chunk, bytes) = chunks[i]
                try bytes.withRawBytes { (raw) throws(MeshError) in try ingest.add(chunk, raw) }
            }
            try ingest.finish()
        }
    }

    /// Lists a capsule whose chunks are all here, after every byte of every file was checked.
    ///
    /// - Throws: `capsule_mismatch` and what is wrong with its documents; `chunk_missing`; `chunk_corrupt`; `file_mismatch`;
    ///   `chunks_invalid`.
    @discardableResult
    public func add(_ capsule: UnverifiedCapsule, expecting: Digest, origin: Origin) throws(MeshError) -> VerifiedCapsule {
        let verified = try capsule.verified(as: expecting)
        let missing = try missing(verified.tree.chunks.chunks)
        if let first = missing.first {
            throw MeshError(
                .chunkMissing, "\(missing.count) chunks of \(expecting) are not here, the first is \(first.digest)",
                hint: "pull the capsule again; what is here is not fetched again")
        }
        try verifyContents(of: verified.tree, checksCuts: true)
        try ingesting { () throws(MeshError) in
            try addDocuments(verified, [], origin: origin, try ChunkIngest(self))
        }
        return verified
    }

    private func addDocuments(_ capsule: VerifiedCapsule, _ referrers: [ReferrerDocument], origin: Origin, _ ingest: ChunkIngest)
        throws(MeshError)
    {
        let last = try lastDocuments(of: capsule.manifest.id.name)
        _ = try ingest.add(blob: capsule.tree.index.bytes, base: last?.index)
        _ = try ingest.add(blob: capsule.tree.chunks.bytes, base: last?.chunks)
        _ = try ingest.add(blob: capsule.root.bytes)
        try ingest.finish()
        try list(capsule, origin: origin)
        try addReferrers(referrers, to: capsule.digest)
    }

    /// Takes in a `.caps` file, an OCI layout folder, or a tar of one, with what refers to the capsule. It is listed when all
    /// of it was read and verified. `accepting` is asked about the documents before anything is stored.
    ///
    /// - Throws: what is wrong with the file (exit 65), `disk_full`, what `accepting` throws.
    public func importLayout(
        path: String, progress: StoreProgressSink? = nil, accepting: (CapsuleArchive) throws(MeshError) -> Void = { _ throws(MeshError) in }
    ) throws(MeshError) -> VerifiedCapsule {
        let archive = try CapsuleArchive(Layout.open(path, codec: ZstdCodec()))
        try accepting(archive)
        let index = archive.capsule.tree.index
        let meter = ProgressMeter("import", files: index.fileCount, bytes: index.byteCount, progress)
        try ingesting { () throws(MeshError) in
            let ingest = try ChunkIngest(self)
            // Looked up many at a time; only the chunks that were not here are kept till then.
            var waiting: [(ChunkReference, [UInt8])] = []
            var bytes = 0
            func takeWaiting() throws(MeshError) {
                for (i, isKnown) in try ingest.known(waiting.map(\.0.digest)).enumerated() where !isKnown {
                    let (chunk, content) = waiting[i]
                    try content.withRawBytes { (raw) throws(MeshError) in try ingest.add(chunk, raw) }
                }
                meter.add(files: 0, bytes: Int64(bytes))
                waiting.removeAll(keepingCapacity: true)
                bytes = 0
            }
            try archive.verifyContents { chunk, content throws(MeshError) in
                waiting.append((chunk, content))
                bytes += content.count
                if bytes >= Limits.ingestUnitBytes { try takeWaiting() }
            }
            try takeWaiting()
            meter.add(files: index.fileCount, bytes: 0)
            try addDocuments(archive.capsule, archive.referrers, origin: .imported, ingest)
        }
        return archive.capsule
    }

    /// Writes a capsule and what refers to it as one `.caps` file; `extraReferrers` travel with it without being stored.
    ///
    /// - Throws: `capsule_not_found`, `chunk_corrupt`, `chunk_missing`, and what keeps the file from being written. No file is left then.
    public func exportCaps(
        _ digest: Digest, extraReferrers: [ReferrerDocument] = [], to path: String,
        progress: StoreProgressSink? = nil
    ) throws(MeshError) {
        let capsule = try capsule(digest)
        let index = capsule.tree.index
        let meter = ProgressMeter("export", files: index.fileCount, bytes: 2 * CanonicalTar.size(of: index), progress)
        try CapsWriter.write(
            capsule, content: TreeContent(self, capsule.tree), referrers: try referrers(of: digest) + extraReferrers, codec: ZstdCodec(),
            to: path, progress: { done, _ in meter.reach(bytes: done) })
    }

    // MARK: What refers to a capsule

    /// Keeps an envelope about a capsule; one that is kept already is kept once. Who signed it is for others to judge.
    ///
    /// - Throws: `capsule_not_found`, what is wrong with the envelope, `referrers_too_many`.
    public func addReferrer(_ document: ReferrerDocument, to capsule: Digest) throws(MeshError) { try addReferrers([document], to: capsule) }

    /// All of them in one step, or none.
    public func addReferrers(_ documents: [ReferrerDocument], to capsule: Digest) throws(MeshError) {
        for document in documents { try document.check() }
        guard try index.contains(capsule: capsule) else { throw Self.notFound(capsule) }
        var new: [ReferrerDocument] = []
        for document in documents where try !index.contains(document, of: capsule) { new.append(document) }
        if new.isEmpty { return }
        let known = try index.referrersSize(of: capsule), bytes = new.reduce(0) { $0 + $1.bytes.count }
        guard known.count + new.count <= Limits.referrersPerCapsuleMax, known.bytes + bytes <= Limits.referrersPerCapsuleBytesMax else {
            throw MeshError(
                .referrersTooMany, "\(known.count) documents refer to \(capsule); no more are kept",
                hint: "export what matters and remove the capsule")
        }
        try promise(new.map { .referrer($0, capsule: capsule) }) { journaled throws(MeshError) in try index.add(new, to: capsule, journaled: journaled) }
    }

    /// Ordered by the documents' digests.
    public func referrers(of capsule: Digest) throws(MeshError) -> [ReferrerDocument] { try index.referrers(of: capsule) }
}
