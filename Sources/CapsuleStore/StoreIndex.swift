internal import CapsuleFormat
internal import GRDB
internal import MeshCore

/// Where a chunk lies: in which pack, the frame's bytes in it, and its place in the frame's content.
struct ChunkPlace: Sendable, Hashable {
    let pack: Int64
    let start: Int64
    let frameBytes: Int
    let place: Int
    let length: Int
}

/// `index.sqlite`: where everything is. It promises nothing that packs and journal do not hold, and can be made from them.
final class StoreIndex: Sendable {
    let pool: DatabasePool
    /// Whether nothing was ever taken into it.
    let isNew: Bool
    let path: String

    /// 2: which pack names a document, and how much content a pack has.
    private static let version = 2

    init(_ path: String) throws(MeshError) {
        self.path = path
        var configuration = Configuration()
        configuration.busyMode = .timeout(30)
        configuration.maximumReaderCount = 8
        configuration.label = "store"
        do {
            pool = try DatabasePool(path: path, configuration: configuration)
            // What was answered for is durable. WAL's own default (NORMAL) may lose the last commits at a power cut, and with
            // them a capsule that `pack` has already reported; one sync a commit is nothing beside the pack's.
            try pool.writeWithoutTransaction { db in try db.execute(sql: "PRAGMA synchronous = FULL") }
            let found = try pool.read { db in try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0 }
            guard found <= Self.version else {
                throw MeshError(
                    .storeTooNew, "\(path) was written by a newer version of this program", hint: "use that version with this home")
            }
            isNew = found < Self.version
            // One of an earlier version is made anew from what it was made of.
            if found != 0, isNew { try pool.write(Self.clear) }
            if isNew { try pool.write(Self.create) }
        } catch {
            throw Self.error(error, path)
        }
    }

    private static func clear(_ db: Database) throws {
        for table in try String.fetchAll(db, sql: "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'") {
            try db.execute(sql: "DROP TABLE \(table.quotedDatabaseIdentifier)")
        }
        try db.execute(sql: "PRAGMA user_version = 0")
    }

    /// Digests of chunks are four integers: a quarter of the key comparisons' work, and no copying of blobs.
    private static func create(_ db: Database) throws {
        try db.execute(
            sql: """
                CREATE TABLE IF NOT EXISTS packs (id INTEGER PRIMARY KEY AUTOINCREMENT, digest TEXT NOT NULL UNIQUE, bytes INTEGER NOT NULL, content INTEGER NOT NULL);
                CREATE TABLE IF NOT EXISTS chunks (
                    a INTEGER NOT NULL, b INTEGER NOT NULL, c INTEGER NOT NULL, d INTEGER NOT NULL,
                    pack INTEGER NOT NULL, start INTEGER NOT NULL, frame INTEGER NOT NULL, place INTEGER NOT NULL, length INTEGER NOT NULL,
                    PRIMARY KEY (a, b, c, d)) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS damaged (chunk TEXT PRIMARY KEY, pack TEXT NOT NULL, start INTEGER NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS blobs (digest TEXT PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS pieces (blob TEXT NOT NULL, position INTEGER NOT NULL, digest TEXT NOT NULL, length INTEGER NOT NULL,
                    PRIMARY KEY (blob, position)) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS names (blob TEXT NOT NULL, pack INTEGER NOT NULL, PRIMARY KEY (blob, pack)) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS capsules (digest TEXT PRIMARY KEY, name TEXT NOT NULL, version TEXT NOT NULL, origin TEXT NOT NULL,
                    files INTEGER NOT NULL, bytes INTEGER NOT NULL, added INTEGER NOT NULL) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS trees (tree TEXT PRIMARY KEY, chunks TEXT NOT NULL, kind TEXT NOT NULL) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS referrers (capsule TEXT NOT NULL, digest TEXT NOT NULL, type TEXT NOT NULL, envelope TEXT NOT NULL,
                    PRIMARY KEY (capsule, digest, type)) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS journal (bytes INTEGER NOT NULL);
                INSERT INTO journal SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM journal);
                CREATE TABLE IF NOT EXISTS generation (value INTEGER NOT NULL);
                INSERT INTO generation SELECT random() >> 2 WHERE NOT EXISTS (SELECT 1 FROM generation);
                CREATE TRIGGER IF NOT EXISTS chunk_gone AFTER DELETE ON chunks BEGIN UPDATE generation SET value = value + 1; END;
                """)
    }

    /// It holds all that packs and journal hold. Until this was said, opening begins anew.
    func markComplete() throws(MeshError) {
        try write { db in try db.execute(sql: "PRAGMA user_version = \(Self.version)") }
    }

    /// So much of the journal is in the index.
    func journalBytes() throws(MeshError) -> Int64 { try read { db in try Int64.fetchOne(db, sql: "SELECT bytes FROM journal") ?? 0 } }

    /// A change that the journal, which has `journaled` bytes with it, has promised: one transaction for both; nil while it is replayed.
    func apply(journaled: Int64? = nil, _ change: (Database) throws -> Void) throws(MeshError) {
        try write { db in
            try change(db)
            if let journaled { try db.execute(sql: "UPDATE journal SET bytes = ?", arguments: [journaled]) }
        }
    }

    func read<T>(_ body: (Database) throws -> T) throws(MeshError) -> T {
        do { return try pool.read(body) } catch { throw Self.error(error, path) }
    }

    /// One immediate transaction: waits for another process's, then all or nothing.
    func write<T>(_ body: (Database) throws -> T) throws(MeshError) -> T {
        do { return try pool.write(body) } catch { throw Self.error(error, path) }
    }

    private static func error(_ error: any Error, _ path: String) -> MeshError {
        if let error = error as? MeshError { return error }
        guard let error = error as? DatabaseError else {
            return MeshError(.inputOutput, "cannot use \(path)", hint: "check the disk (dmesg) and try again", cause: error)
        }
        let message = "cannot use \(path): \(error.message ?? "SQLite error \(error.resultCode.rawValue)")"
        let full = MeshError(.diskFull, message, hint: "free some space and run the same command again; nothing was half-written", cause: error)
        switch error.resultCode {
        case .SQLITE_IOERR, .SQLITE_CANTOPEN, .SQLITE_READONLY, .SQLITE_PERM: if Files.isFull(Files.parent(of: path)) { return full }
        default: break
        }
        switch error.resultCode {
        case .SQLITE_FULL:
            return full
        case .SQLITE_READONLY:
            return MeshError(.readOnly, message, hint: "the file system is mounted read-only; use another folder or --home", cause: error)
        case .SQLITE_CANTOPEN, .SQLITE_PERM:
            return MeshError(.notPermitted, message, hint: "check the owner and mode of the file and its folder", cause: error)
        case .SQLITE_BUSY, .SQLITE_LOCKED:
            return MeshError(.storeBusy, message, hint: "another process writes to this store; try again when it is done", cause: error)
        case .SQLITE_CORRUPT, .SQLITE_NOTADB:
            return MeshError(
                .storeIndexDamaged, message,
                hint: "make the index again from the packs: capsule fsck --rebuild",
                cause: error)
        default: return MeshError(.inputOutput, message, hint: "check the disk (dmesg) and try again", cause: error)
        }
    }
}

// MARK: - Chunks

extension StoreIndex {
    private static func key(_ digest: Digest) -> [Int64] {
        let words = digest.words
        return [Int64(bitPattern: words.0), Int64(bitPattern: words.1), Int64(bitPattern: words.2), Int64(bitPattern: words.3)]
    }

    /// For each digest, whether its chunk is here.
    func known(_ digests: some Collection<Digest>) throws(MeshError) -> [Bool] {
        if digests.isEmpty { return [] }
        return try read { db in
            let statement = try RawStatement("SELECT 1 FROM chunks WHERE a = ? AND b = ? AND c = ? AND d = ?", db)
            var out: [Bool] = []
            out.reserveCapacity(digests.count)
            for digest in digests {
                statement.bind(digest)
                out.append(try statement.step())
                statement.reset()
            }
            return out
        }
    }

    /// For each digest, where its chunk is; nil for one that is not here.
    func places(_ digests: some Collection<Digest>) throws(MeshError) -> [ChunkPlace?] {
        if digests.isEmpty { return [] }
        return try read { db in
            let statement = try RawStatement("SELECT pack, start, frame, place, length FROM chunks WHERE a = ? AND b = ? AND c = ? AND d = ?", db)
            var out: [ChunkPlace?] = []
            out.reserveCapacity(digests.count)
            for digest in digests {
                statement.bind(digest)
                out.append(
                    try statement.step()
                        ? ChunkPlace(
                            pack: statement.integer(0), start: statement.integer(1), frameBytes: Int(statement.integer(2)),
                            place: Int(statement.integer(3)), length: Int(statement.integer(4)))
                        : nil)
                statement.reset()
            }
            return out
        }
    }

    /// Everything in a pack that is durable under its name. A chunk that is here already stays where it is.
    func add(pack digest: Digest, bytes: Int64, _ footer: PackFooter) throws(MeshError) {
        try write { db in try Self.insert(digest, bytes: bytes, footer, db) }
    }

    private static func insert(_ digest: Digest, bytes: Int64, _ footer: PackFooter, _ db: Database) throws {
        let starts = starts(footer)
        let content = footer.frames.reduce(0) { $0 + Int64($1.contentBytes) }
        try db.execute(sql: "INSERT OR IGNORE INTO packs (digest, bytes, content) VALUES (?, ?, ?)", arguments: [digest.hex, bytes, content])
        guard let pack = try Int64.fetchOne(db, sql: "SELECT id FROM packs WHERE digest = ?", arguments: [digest.hex]) else { return }
        let insert = try RawStatement("INSERT OR IGNORE INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", db)
        // In the table's own order: neighbours share pages.
        for chunk in footer.chunks.sorted(by: { $0.digest < $1.digest }) {
            insert.bind(chunk.digest)
            insert.bind(pack, at: 5)
            insert.bind(starts[chunk.frame], at: 6)
            insert.bind(Int64(footer.frames[chunk.frame].bytes), at: 7)
            insert.bind(Int64(chunk.place), at: 8)
            insert.bind(Int64(chunk.length), at: 9)
            _ = try insert.step()
            insert.reset()
        }
        let piece = try db.cachedStatement(sql: "INSERT OR IGNORE INTO pieces VALUES (?, ?, ?, ?)")
        for blob in footer.blobs {
            try db.execute(sql: "INSERT OR IGNORE INTO names VALUES (?, ?)", arguments: [blob.digest.hex, pack])
            try db.execute(sql: "INSERT OR IGNORE INTO blobs VALUES (?, ?)", arguments: [blob.digest.hex, blob.size])
            guard db.changesCount > 0 else { continue }
            for (i, reference) in blob.pieces.enumerated() {
                try piece.execute(arguments: [blob.digest.hex, i, reference.digest.hex, reference.length])
            }
        }
    }

    /// A chunk that is not what it should be is not here any more, so that it is asked for again.
    func markDamaged(_ chunk: Digest, _ place: ChunkPlace, at time: Milliseconds) throws(MeshError) {
        let key = Self.key(chunk)
        try write { db in
            let pack = try String.fetchOne(db, sql: "SELECT digest FROM packs WHERE id = ?", arguments: [place.pack]) ?? ""
            try db.execute(sql: "INSERT OR REPLACE INTO damaged VALUES (?, ?, ?, ?)", arguments: [chunk.hex, pack, place.start, time])
            try db.execute(
                sql: "DELETE FROM chunks WHERE a = ? AND b = ? AND c = ? AND d = ? AND pack = ? AND start = ?",
                arguments: StatementArguments(key + [place.pack, place.start]))
        }
    }

    /// Whether a pack that is here says what the document is made of.
    func isNamed(blob digest: Digest) throws(MeshError) -> Bool {
        try read { db in try Int.fetchOne(db, sql: "SELECT 1 FROM names WHERE blob = ? LIMIT 1", arguments: [digest.hex]) != nil }
    }

    /// The pieces of a blob in order; nil for one that is not here.
    func pieces(ofBlob digest: Digest) throws(MeshError) -> [ChunkReference]? {
        try read { db in
            guard try Int64.fetchOne(db, sql: "SELECT bytes FROM blobs WHERE digest = ?", arguments: [digest.hex]) != nil else {
                return nil
            }
            let rows = try Row.fetchAll(
                db, sql: "SELECT digest, length FROM pieces WHERE blob = ? ORDER BY position", arguments: [digest.hex])
            return rows.compactMap { row in Digest(hex: row[0] as String).map { ChunkReference(digest: $0, length: row[1]) } }
        }
    }
}

// MARK: - Packs

extension StoreIndex {
    /// Where the frames of a pack begin.
    private static func starts(_ footer: PackFooter) -> [Int64] {
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
                .map { row in (Self.digest(row), ChunkPlace(pack: pack, start: row[4], frameBytes: row[5], place: row[6], length: row[7])) }
        }
    }

    /// Of the first four columns.
    private static func digest(_ row: Row) -> Digest {
        func word(_ i: Int) -> UInt64 { UInt64(bitPattern: row[i] as Int64) }
        return Digest(words: (word(0), word(1), word(2), word(3)))
    }

    /// Every chunk, with the pack from which it is read.
    func eachChunk(_ body: (_ pack: Int64, _ chunk: Digest, _ length: Int) -> Void) throws(MeshError) {
        try read { db in
            let rows = try Row.fetchCursor(db, sql: "SELECT a, b, c, d, pack, length FROM chunks")
            while let row = try rows.next() { body(row[4], Self.digest(row), row[5]) }
        }
    }

    /// Document → the packs whose tables say what it is made of.
    func names() throws(MeshError) -> [Digest: [Int64]] {
        try read { db in
            var out: [Digest: [Int64]] = [:]
            let rows = try Row.fetchCursor(db, sql: "SELECT blob, pack FROM names")
            while let row = try rows.next() { if let digest = Digest(hex: row[0] as String) { out[digest, default: []].append(row[1]) } }
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
        for blob in footer.blobs where try pieces(ofBlob: blob.digest) != blob.pieces { return false }
        return true
    }

    /// What is wrong with the database as such, a sentence each.
    func faults(thorough: Bool) throws(MeshError) -> [String] {
        try read { db in
            var out = try String.fetchAll(db, sql: thorough ? "PRAGMA integrity_check(20)" : "PRAGMA quick_check(20)").filter { $0 != "ok" }
            let schema = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"
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
            return try Row.fetchAll(db, sql: "SELECT digest, bytes FROM blobs \(which) ORDER BY digest").compactMap { row in
                guard let digest = Digest(hex: row[0] as String) else { return nil }
                let pieces = try Row.fetchAll(db, sql: "SELECT digest, length FROM pieces WHERE blob = ? ORDER BY position", arguments: [digest.hex])
                    .compactMap { piece in Digest(hex: piece[0] as String).map { ChunkReference(digest: $0, length: piece[1]) } }
                return PackFooter.Blob(digest: digest, size: row[1], pieces: pieces)
            }
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
                Digest(hex: row[1] as String).map { Pack(id: row[0], digest: $0, bytes: row[2], content: row[3]) }
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
