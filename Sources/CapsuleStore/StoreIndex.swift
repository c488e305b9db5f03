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

    /// 2: which pack names a document, and how much content a pack has. 3: documents that are differences.
    private static let version = 3

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
    static func create(_ db: Database) throws {
        try db.execute(
            sql: """
                CREATE TABLE IF NOT EXISTS packs (id INTEGER PRIMARY KEY AUTOINCREMENT, digest TEXT NOT NULL UNIQUE, bytes INTEGER NOT NULL, content INTEGER NOT NULL);
                CREATE TABLE IF NOT EXISTS chunks (
                    a INTEGER NOT NULL, b INTEGER NOT NULL, c INTEGER NOT NULL, d INTEGER NOT NULL,
                    pack INTEGER NOT NULL, start INTEGER NOT NULL, frame INTEGER NOT NULL, place INTEGER NOT NULL, length INTEGER NOT NULL,
                    PRIMARY KEY (a, b, c, d)) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS damaged (chunk TEXT PRIMARY KEY, pack TEXT NOT NULL, start INTEGER NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS blobs (digest TEXT PRIMARY KEY, bytes INTEGER NOT NULL, base TEXT) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS pieces (blob TEXT NOT NULL, position INTEGER NOT NULL, digest TEXT NOT NULL, length INTEGER NOT NULL,
                    PRIMARY KEY (blob, position)) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS names (blob TEXT NOT NULL, pack INTEGER NOT NULL, PRIMARY KEY (blob, pack)) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS capsules (digest TEXT PRIMARY KEY, name TEXT NOT NULL, version TEXT NOT NULL, origin TEXT NOT NULL,
                    files INTEGER NOT NULL, bytes INTEGER NOT NULL, added INTEGER NOT NULL, sum TEXT NOT NULL) WITHOUT ROWID;
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
        // The statements are the program's own: one that does not fit the tables (ERROR: no such column), or a row that does not, met other
        // tables than it made.
        case .SQLITE_CORRUPT, .SQLITE_NOTADB, .SQLITE_ERROR, .SQLITE_SCHEMA, .SQLITE_MISMATCH, .SQLITE_CONSTRAINT:
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
    static func key(_ digest: Digest) -> [Int64] {
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

    static func insert(_ digest: Digest, bytes: Int64, _ footer: PackFooter, _ db: Database) throws {
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
            // One that is kept whole needs no other and is read at once: it takes the place of a difference, as anything does of what no
            // pack speaks of any more.
            try db.execute(
                sql: """
                    INSERT INTO blobs VALUES (?, ?, ?) ON CONFLICT (digest) DO UPDATE SET base = excluded.base
                    WHERE (excluded.base IS NULL AND base IS NOT NULL) OR NOT EXISTS (SELECT 1 FROM names WHERE blob = blobs.digest AND pack <> ?)
                    """, arguments: [blob.digest.hex, blob.size, blob.base?.hex, pack])
            guard db.changesCount > 0 else { continue }
            try db.execute(sql: "DELETE FROM pieces WHERE blob = ?", arguments: [blob.digest.hex])
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

    /// What a document is made of; nil for one that is not here.
    func blob(_ digest: Digest) throws(MeshError) -> PackFooter.Blob? {
        try read { db in
            try Row.fetchOne(db, sql: "SELECT digest, bytes, base FROM blobs WHERE digest = ?", arguments: [digest.hex]).flatMap { try Self.blob($0, db) }
        }
    }

    /// From a row of its digest, size and base.
    static func blob(_ row: Row, _ db: Database) throws -> PackFooter.Blob? {
        guard let digest = Digest(hex: try row.get(0, String.self)) else { return nil }
        let pieces = try Row.fetchAll(db, sql: "SELECT digest, length FROM pieces WHERE blob = ? ORDER BY position", arguments: [digest.hex])
            .compactMap { piece in try Digest(hex: try piece.get(0, String.self)).map { ChunkReference(digest: $0, length: try piece.get(1, Int.self)) } }
        return PackFooter.Blob(digest: digest, size: try row.get(1, Int64.self), pieces: pieces, base: (try row.getIfPresent(2, String.self)).flatMap { Digest(hex: $0) })
    }
}

extension Row {
    /// A file that is damaged can hold anything in any column.
    func get<T: DatabaseValueConvertible>(_ i: Int, _ type: T.Type) throws -> T {
        guard let value = try getIfPresent(i, type) else { throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: "a value is missing that was written") }
        return value
    }

    func getIfPresent<T: DatabaseValueConvertible>(_ i: Int, _ type: T.Type) throws -> T? {
        let stored = self[i] as DatabaseValue
        if stored.isNull { return nil }
        guard let value = T.fromDatabaseValue(stored) else { throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: "a value is of another kind than was written") }
        return value
    }
}
