internal import CapsuleFormat
public import MeshCore

extension CapsuleStore {
    /// Writes what is whole of each damaged pack anew and lets the pack go. Until the new one is durable and the index says so
    /// the old one stays. What is not whole is missing from then on, until it is packed, imported or pulled again.
    public func renewDamagedPacks(_ report: FsckReport) throws(MeshError) {
        let named = Set(report.problems.filter { $0.kind == .packDamaged }.map(\.what))
        let broken = Set(report.problems.filter { $0.kind == .chunkDamaged }.map(\.what))
        for pack in try index.packs() {
            let path = folders.packs + "/" + PackFiles.name(pack.digest)
            guard Files.exists(path) else { continue }
            let footer = try? PackFooter.read(path)
            let isDamaged = named.contains(PackFiles.name(pack.digest)) || footer?.chunks.contains { broken.contains($0.digest.description) } ?? true
            if isDamaged { try renew(pack, footer) }
        }
        try nameAgain()
    }

    /// Documents whose pieces are here, but whose pack is gone, get an entry in a new pack's table.
    private func nameAgain() throws(MeshError) {
        try ingesting { () throws(MeshError) in
            var unnamed: [PackFooter.Blob] = []
            for blob in try index.blobs(unnamed: true) where try index.known(blob.pieces.map(\.digest)).allSatisfy({ $0 }) { unnamed.append(blob) }
            guard !unnamed.isEmpty else { return }
            let ingest = try ChunkIngest(self)
            for blob in unnamed { try ingest.carry(blob) }
            try ingest.finish()
        }
    }

    private func renew(_ pack: StoreIndex.Pack, _ footer: PackFooter?) throws(MeshError) {
        try ingesting { () throws(MeshError) in
            let ingest = try ChunkIngest(self)
            let reader = try readers.take()
            defer { readers.give(reader) }
            for (digest, place) in try index.chunks(inPack: pack.id) {
                let chunk = ChunkReference(digest: digest, length: place.length)
                do throws(MeshError) {
                    try withChunk(chunk, at: place, of: nil, reader) { bytes throws(MeshError) in try ingest.add(chunk, bytes) }
                } catch {
                    guard error.code == .chunkCorrupt || error.code == .chunkMissing else { throw error }
                }
            }
            // An index that is made again finds documents in the packs' tables only. Where this one's cannot be read, all are named
            // once more: one too many does no harm.
            let blobs: [PackFooter.Blob]
            if let footer { blobs = footer.blobs } else { blobs = try index.blobs() }
            for blob in blobs { try ingest.carry(blob) }
            try ingest.finish()
            try index.supersede(packs: [pack.id], by: ingest.written)
            // Where every chunk was whole the new pack can be the old one, byte for byte as it was: then it has taken its place already.
            guard !ingest.written.contains(where: { $0.digest == pack.digest }) else { return }
            try Files.remove(folders.packs + "/" + PackFiles.name(pack.digest))
            try Files.syncDirectory(folders.packs)
        }
    }
}
