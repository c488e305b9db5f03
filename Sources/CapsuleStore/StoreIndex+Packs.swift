internal import CapsuleFormat
internal import GRDB
internal import MeshCore

// Packs, what is read from them, and which documents their tables name.
extension StoreIndex {
    /// Where the frames of a pack begin.
    static func starts(_ footer: PackFooter) -> [Int64] {
        var out: [Int64] = []
        var start: Int64 = 0
        for frame in footer.frames {
            out.append(start)
            start += Int64(frame.bytes)
        }
        return out
    }

    /// Every chunk that is read from this pack.
    func chunks(inPack pack: Int64) throws(MeshError) -> [(digest: Digest, place: ChunkPlace)] {
        try read { db in
            try Row.fetchAll(db, sql: "SELECT a, b, c, d, start, frame, place, length FROM chunks WHERE pack = ? ORDER BY start, place", arguments: [pack])
                .map { row in (try Self.digest(row), ChunkPlace(pack: pack, start: try row.get(4, Int64.self), frameBytes: try row.get(5, Int.self), place: try row.get(6, Int.self), length: try row.get(7, Int.self))) }
        }
    }

    /// Of the first four columns.
    private static func digest(_ row: Row) throws -> Digest {
        func word(_ i: Int) throws -> UInt64 { UInt64(bitPattern: row[i] as Int64) }
        return Digest(words: (try word(0), try word(1), try word(2), try word(3)))
    }

    /// Every chunk, with the pack from which it is read.
    func eachChunk(_ body: (_ pack: Int64, _ chunk: Digest, _ length: Int) -> Void) throws(MeshError) {
        try read { db in
            let rows = try Row.fetchCursor(db, sql: "SELECT a, b, c, d, pack, length FROM chunks")
            while let row = try rows.next() { body(try row.get(4, Int64.self), try Self.digest(row), try row.get(5, Int.self)) }
        }
    }

    /// Document → the packs whose tables say what it is made of.
    func names() throws(MeshError) -> [Digest: [Int64]] {
        try read { db in
            var out: [Digest: [Int64]] = [:]
            let rows = try Row.fetchCursor(db, sql: "SELECT blob, pack FROM names")
            while let row = try rows.next() { if let digest = Digest(hex: try row.get(0, String.self)) { out[digest, default: []].append(try row.get(1, Int64.self)) } }
            return out
        }
    }

    /// Documents that are not needed, and of which no pack's table speaks any more.
    func forgetDocuments(except needed: Set<Digest>) throws(MeshError) {
        let gone = try blobs(unnamed: true).map(\.digest).filter { !needed.contains($0) }
        try write { db in
            for digest in gone {
                try db.execute(sql: "DELETE FROM blobs WHERE digest = ?", arguments: [digest.hex])
                try db.execute(sql: "DELETE FROM pieces WHERE blob = ?", arguments: [digest.hex])
            }
        }
    }

    /// Whether every place that the index has in this pack is one that the pack's own table has.
    func agrees(with footer: PackFooter, pack: Int64) throws(MeshError) -> Bool {
        let starts = Self.starts(footer)
        var places: [Digest: ChunkPlace] = [:]
        for chunk in footer.chunks {
            places[chunk.digest] = ChunkPlace(
                pack: pack, start: starts[chunk.frame], frameBytes: footer.frames[chunk.frame].bytes, place: chunk.place, length: chunk.length)
        }
        guard try chunks(inPack: pack).allSatisfy({ places[$0.digest] == $0.place }) else { return false }
        let named = Set(try read { db in try String.fetchAll(db, sql: "SELECT blob FROM names WHERE pack = ?", arguments: [pack]) })
        guard named == Set(footer.blobs.map(\.digest.hex)) else { return false }
        for blob in footer.blobs {
            guard let known = try self.blob(blob.digest), known == blob || (known.base == nil && blob.base != nil && known.size == blob.size) else { return false }
        }
        return true
    }

    /// What is wrong with the database as such, a sentence each.
    func faults(thorough: Bool) throws(MeshError) -> [String] {
        try read { db in
            var out = try String.fetchAll(db, sql: thorough ? "PRAGMA integrity_check(20)" : "PRAGMA quick_check(20)").filter { $0 != "ok" }
            let schema = "SELECT type || ' ' || name || ' ' || tbl_name || ' ' || IFNULL(sql, '') FROM sqlite_master ORDER BY name, type"
            let wanted = try DatabaseQueue().write { fresh in
                try Self.create(fresh)
                return try String.fetchAll(fresh, sql: schema)
            }
            if try String.fetchAll(db, sql: schema) != wanted { out.append("its tables are not those that this version makes") }
            if try Int.fetchOne(db, sql: "SELECT 1 FROM chunks WHERE pack NOT IN (SELECT id FROM packs) LIMIT 1") != nil { out.append("it has chunks in packs that it does not know") }
            if try Int.fetchOne(db, sql: "SELECT 1 FROM names WHERE pack NOT IN (SELECT id FROM packs) LIMIT 1") != nil { out.append("it has documents in packs that it does not know") }
            return out
        }
    }

    /// In one step: what was read from these packs is read from those that took their place, and they are forgotten.
    func supersede(packs old: [Int64], by packs: [(digest: Digest, bytes: Int64, footer: PackFooter)]) throws(MeshError) {
        try write { db in
            try Self.forget(old, db)
            for pack in packs { try Self.insert(pack.digest, bytes: pack.bytes, pack.footer, db) }
        }
    }

    private static func forget(_ packs: [Int64], _ db: Database) throws {
        // The numbers are our own; so many of them at once that the table of chunks is looked through once.
        let list = packs.map(String.init).joined(separator: ", ")
        try db.execute(sql: "DELETE FROM chunks WHERE pack IN (\(list))")
        try db.execute(sql: "DELETE FROM names WHERE pack IN (\(list))")
        try db.execute(sql: "DELETE FROM packs WHERE id IN (\(list))")
    }

    /// Every document with its pieces; with `unnamed`, those of which no pack's table speaks, so that an index that is made anew would
    /// not know them.
    func blobs(unnamed: Bool = false) throws(MeshError) -> [PackFooter.Blob] {
        try read { db in
            let which = unnamed ? "WHERE digest NOT IN (SELECT blob FROM names)" : ""
            return try Row.fetchAll(db, sql: "SELECT digest, bytes, base FROM blobs \(which) ORDER BY digest").compactMap { try Self.blob($0, db) }
        }
    }

    struct Pack: Sendable {
        let id: Int64
        let digest: Digest
        let bytes: Int64
        /// Bytes of its frames' content.
        let content: Int64
    }

    func packs() throws(MeshError) -> [Pack] {
        try read { db in
            try Row.fetchAll(db, sql: "SELECT id, digest, bytes, content FROM packs").compactMap { row in
                try Digest(hex: try row.get(1, String.self)).map { Pack(id: try row.get(0, Int64.self), digest: $0, bytes: try row.get(2, Int64.self), content: try row.get(3, Int64.self)) }
            }
        }
    }

    func packDigest(_ id: Int64) throws(MeshError) -> Digest? {
        try read { db in try String.fetchOne(db, sql: "SELECT digest FROM packs WHERE id = ?", arguments: [id]).flatMap { Digest(hex: $0) }
        }
    }

    /// The packs are gone: nothing in them is here. If a file comes back, it is taken in again.
    func forget(packs: [Int64]) throws(MeshError) {
        if packs.isEmpty { return }
        try write { db in try Self.forget(packs, db) }
    }

    /// The pack ends early: what lies beyond is not here. The rest still is.
    func cut(pack id: Int64, to bytes: Int64) throws(MeshError) {
        try write { db in
            try db.execute(sql: "DELETE FROM chunks WHERE pack = ? AND start + frame > ?", arguments: [id, bytes])
            try db.execute(sql: "UPDATE packs SET bytes = ? WHERE id = ?", arguments: [bytes, id])
        }
    }
}
