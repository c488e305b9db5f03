internal import GRDB
internal import MeshCore

// How one knows without looking that chunks which were here are here still.
extension StoreIndex {
    /// Another one whenever a chunk was removed, whatever removed it (a trigger sees to that), and in every index that is made anew:
    /// it begins at random.
    func generation() throws(MeshError) -> Int64 {
        try read { db in try Int64.fetchOne(db, sql: "SELECT value FROM generation") ?? 0 }
    }

    /// For chunks that were seen here when `generation` was read, and are all committed now. nil while there are no packs.
    func mark(at generation: Int64) throws(MeshError) -> SourceMemory.Mark? {
        try read { db in
            guard let row = try Row.fetchOne(db, sql: "SELECT id, digest FROM packs ORDER BY id DESC LIMIT 1"), let digest = Digest(hex: try row.get(1, String.self))
            else { return nil }
            return SourceMemory.Mark(generation: generation, pack: try row.get(0, Int64.self), packDigest: digest)
        }
    }

    /// Whether all chunks that were here at `mark` are here at `generation`. Nobody knows that of an index that was put back to a
    /// state from before the mark.
    func holds(_ mark: SourceMemory.Mark, at generation: Int64) throws(MeshError) -> Bool {
        guard generation == mark.generation else { return false }
        return try packDigest(mark.pack) == mark.packDigest
    }
}
