internal import FoundationEssentials
internal import GRDB
internal import Glibc
internal import MeshCore
internal import Signing

/// What is kept of an author beside its facts.
struct AuthorRow: Sendable, Hashable {
    let number: Int64
    let key: PublicKey
    /// How many facts of its are admitted, the highest place among them, and at how many places there are two.
    var facts = 0
    var seqMax = 0
    var doubled = 0
}

/// `state/catalog.sqlite`: charters, facts and pins. What is in it was admitted; every change is one transaction.
struct FactTable: Sendable {
    let database: DatabasePool
    var path: String { database.path }

    /// 1: facts by author and place, by name and subject, with their ids in buckets. 0: envelopes by id.
    private static let version = 1

    init(path: String) throws(MeshError) {
        do {
            var configuration = Configuration()
            configuration.busyMode = .timeout(10)
            database = try DatabasePool(path: path, configuration: configuration)
            // A published fact must outlive a power cut: its sequence number may never be signed twice. After opening, which sets WAL's
            // own default of NORMAL.
            try database.writeWithoutTransaction { try $0.execute(sql: "PRAGMA synchronous = FULL") }
            let found = try database.read { db in try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0 }
            guard found <= Self.version else {
                throw MeshError(.catalogTooNew, "\(path) was written by a newer version of this program", hint: "use that version with this home")
            }
            if found < Self.version { try database.write(Self.create) }
        } catch let error as MeshError { throw error } catch { throw Self.explain(error, path) }
    }

    private static func create(_ db: Database) throws {
        // What an earlier version wrote is taken in again by `Catalog.init`.
        if try db.tableExists("fact") { try db.execute(sql: "ALTER TABLE fact RENAME TO fact_before") }
        try db.execute(sql: """
            CREATE TABLE fact (n INTEGER PRIMARY KEY, author INTEGER NOT NULL, seq INTEGER NOT NULL, id BLOB NOT NULL, prev BLOB, kind TEXT NOT NULL, name TEXT,
                subject BLOB, envelope BLOB NOT NULL);
            CREATE INDEX fact_place ON fact (author, seq);
            CREATE INDEX fact_name ON fact (name) WHERE name IS NOT NULL;
            CREATE INDEX fact_subject ON fact (subject) WHERE kind IN ('release', 'withdraw');
            CREATE INDEX fact_control ON fact (kind) WHERE kind IN ('grant', 'revoke', 'successor');
            CREATE TABLE author (a INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, facts INTEGER NOT NULL, seq INTEGER NOT NULL, doubled INTEGER NOT NULL);
            CREATE TABLE bucket (b INTEGER PRIMARY KEY, root BLOB NOT NULL, ids BLOB NOT NULL, rows BLOB NOT NULL);
            CREATE TABLE IF NOT EXISTS charter (one INTEGER PRIMARY KEY CHECK (one = 1), bytes BLOB NOT NULL);
            CREATE TABLE IF NOT EXISTS pin (name TEXT NOT NULL, channel TEXT NOT NULL, capsule BLOB NOT NULL, epoch INTEGER NOT NULL, ver INTEGER NOT NULL,
                fact BLOB NOT NULL, PRIMARY KEY (name, channel)) WITHOUT ROWID;
            PRAGMA user_version = \(version);
            """)
    }

    // MARK: All of it

    struct Loaded {
        var charter: [UInt8]?
        var control: [[UInt8]] = []
        var authors: [AuthorRow] = []
        var index = FactIndex()
    }

    func load() throws(MeshError) -> Loaded {
        try read { db in
            var out = Loaded()
            out.charter = try Data.fetchOne(db, sql: "SELECT bytes FROM charter").map { Array($0) }
            out.control = try Data.fetchAll(db, sql: "SELECT envelope FROM fact WHERE kind IN ('grant', 'revoke', 'successor')").map { Array($0) }
            let authors = try Row.fetchCursor(db, sql: "SELECT a, key, facts, seq, doubled FROM author")
            while let row = try authors.next() {
                guard let key = PublicKey(bytes: Array(try row.get(1, Data.self))) else { continue }
                out.authors.append(AuthorRow(number: try row.get(0, Int64.self), key: key, facts: try row.get(2, Int.self), seqMax: try row.get(3, Int.self), doubled: try row.get(4, Int.self)))
            }
            let buckets = try Row.fetchCursor(db, sql: "SELECT b, root, ids, rows FROM bucket")
            while let row = try buckets.next() {
                let number = try row.get(0, Int.self), ids = Self.digests(try row.get(2, Data.self)), rows = Self.numbers(try row.get(3, Data.self))
                guard (0..<FactIndex.bucketCount).contains(number), ids.count == rows.count, let root = Digest(bytes: try row.get(1, Data.self)) else {
                    throw MeshError(.catalogDamaged, "\(path) does not list its facts as they were written", hint: "restore a backup of the home, or join the mesh again")
                }
                out.index.load(number, FactIndex.Bucket(ids: ids, rows: rows, root: root))
            }
            out.index.sealRoot()
            return out
        }
    }

    /// What an earlier version of the program wrote; nil where it is done.
    func envelopesBefore() throws(MeshError) -> [[UInt8]]? {
        try read { db in
            guard try db.tableExists("fact_before") else { return nil }
            return try Data.fetchAll(db, sql: "SELECT envelope FROM fact_before ORDER BY id").map { Array($0) }
        }
    }

    func forgetBefore() throws(MeshError) { try write { db in try db.execute(sql: "DROP TABLE IF EXISTS fact_before") } }

    // MARK: Questions

    struct Placed {
        let id: Digest
        let row: Int64
        let isControl: Bool
    }

    /// The facts at one place of an author.
    static func facts(at seq: Int, of author: Int64, _ db: Database) throws -> [Placed] {
        let statement = try db.cachedStatement(sql: "SELECT id, n, kind FROM fact WHERE author = ? AND seq = ?")
        return try Row.fetchAll(statement, arguments: [author, seq]).compactMap { row in
            try Digest(bytes: try row.get(0, Data.self)).map { Placed(id: $0, row: try row.get(1, Int64.self), isControl: Fact.isControl(try row.get(2, String.self))) }
        }
    }

    func places(of author: Int64) throws(MeshError) -> [FactPlace] {
        try read { db in
            try Row.fetchAll(db, sql: "SELECT id, seq, prev FROM fact WHERE author = ?", arguments: [author]).compactMap { row in
                try Digest(bytes: try row.get(0, Data.self)).map { FactPlace(id: $0, seq: try row.get(1, Int.self), prev: (try row.getIfPresent(2, Data.self)).flatMap { Digest(bytes: $0) }) }
            }
        }
    }

    /// In the order of the rows asked for; those that are not here are left out.
    func envelopes(_ rows: [Int64]) throws(MeshError) -> [[UInt8]] {
        try read { db in
            let statement = try db.cachedStatement(sql: "SELECT envelope FROM fact WHERE n = ?")
            return try rows.compactMap { row in try Data.fetchOne(statement, arguments: [row]).map { Array($0) } }
        }
    }

    enum Which {
        case named(String)
        case by(Int64)
        case at(Int, of: Int64)
        /// Releases and withdrawals.
        case about(Digest)
    }

    func envelopes(_ which: Which) throws(MeshError) -> [[UInt8]] {
        try read { db in try Self.envelopes(which, db) }
    }

    static func envelopes(_ which: Which, _ db: Database) throws -> [[UInt8]] {
        let (clause, arguments): (String, StatementArguments) =
            switch which {
            case .named(let name): ("name = ?", [name])
            case .by(let author): ("author = ?", [author])
            case .at(let seq, let author): ("author = ? AND seq = ?", [author, seq])
            case .about(let subject): ("subject = ? AND kind IN ('release', 'withdraw')", [Data(subject.bytes)])
            }
        return try Data.fetchAll(db, sql: "SELECT envelope FROM fact WHERE \(clause)", arguments: arguments).map { Array($0) }
    }

    /// Those that came last first.
    func newest(author: Int64?, kind: String?, limit: Int, offset: Int) throws(MeshError) -> [[UInt8]] {
        try read { db in
            try Data.fetchAll(db, sql: """
                SELECT envelope FROM fact WHERE (?1 IS NULL OR author = ?1) AND (?2 IS NULL OR kind = ?2) ORDER BY n DESC LIMIT ?3 OFFSET ?4
                """, arguments: [author, kind, limit, offset]).map { Array($0) }
        }
    }

    /// The names of capsules that are spoken of.
    func names() throws(MeshError) -> [String] { try read { db in try String.fetchAll(db, sql: "SELECT DISTINCT name FROM fact WHERE name IS NOT NULL ORDER BY name") } }

    /// Every fact of one moment, those first that say who may say what, then in the order in which they came.
    func eachEnvelope(_ body: (Int64, [UInt8]) throws -> Void) throws(MeshError) {
        try read { db in
            for clause in ["IN", "NOT IN"] {
                let rows = try Row.fetchCursor(db, sql: "SELECT n, envelope FROM fact WHERE kind \(clause) ('grant', 'revoke', 'successor') ORDER BY n")
                while let row = try rows.next() { try body(try row.get(0, Int64.self), Array(try row.get(1, Data.self))) }
            }
        }
    }

    // MARK: Changes

    static func insert(_ fact: Fact, author: Int64, _ db: Database) throws -> Int64 {
        let statement = try db.cachedStatement(sql: "INSERT INTO fact (author, seq, id, prev, kind, name, subject, envelope) VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
        try statement.execute(arguments: [
            author, fact.seq, Data(fact.id.bytes), fact.prev.map { Data($0.bytes) }, fact.kind, fact.name?.description, fact.subject.map { Data($0.bytes) }, Data(fact.envelope),
        ])
        return db.lastInsertedRowID
    }

    static func delete(row: Int64, _ db: Database) throws { try db.cachedStatement(sql: "DELETE FROM fact WHERE n = ?").execute(arguments: [row]) }

    static func insert(author key: PublicKey, _ db: Database) throws -> Int64 {
        try db.execute(sql: "INSERT INTO author (key, facts, seq, doubled) VALUES (?, 0, 0, 0)", arguments: [Data(key.bytes)])
        return db.lastInsertedRowID
    }

    static func update(_ author: AuthorRow, _ db: Database) throws {
        try db.cachedStatement(sql: "UPDATE author SET facts = ?, seq = ?, doubled = ? WHERE a = ?").execute(arguments: [author.facts, author.seqMax, author.doubled, author.number])
    }

    static func update(_ bucket: FactIndex.Bucket, _ number: Int, _ db: Database) throws {
        var ids = Data(capacity: bucket.ids.count * 32), rows = Data(capacity: bucket.rows.count * 8)
        for id in bucket.ids { ids.append(contentsOf: id.bytes) }
        for row in bucket.rows { withUnsafeBytes(of: row.littleEndian) { rows.append(contentsOf: $0) } }
        try db.cachedStatement(sql: "INSERT OR REPLACE INTO bucket VALUES (?, ?, ?, ?)").execute(arguments: [number, Data(bucket.root.bytes), ids, rows])
    }

    static func set(charter bytes: [UInt8], _ db: Database) throws { try db.execute(sql: "INSERT OR REPLACE INTO charter VALUES (1, ?)", arguments: [Data(bytes)]) }

    /// For another mesh.
    static func clear(_ db: Database) throws {
        for table in ["fact", "author", "bucket", "charter", "pin"] { try db.execute(sql: "DELETE FROM \(table)") }
    }

    // MARK: Pins

    func pin(name: String, channel: String) throws(MeshError) -> ChannelPin? {
        try read { db in
            guard let row = try Row.fetchOne(db, sql: "SELECT capsule, epoch, ver, fact FROM pin WHERE name = ? AND channel = ?", arguments: [name, channel]),
                  let capsule = Digest(bytes: try row.get(0, Data.self)), let fact = Digest(bytes: try row.get(3, Data.self)), let name = try? CapsuleName(parsing: name) else { return nil }
            return ChannelPin(name: name, channel: channel, capsule: capsule, epoch: try row.get(1, Int.self), ver: try row.get(2, Int.self), fact: fact)
        }
    }

    func save(_ pin: ChannelPin) throws(MeshError) {
        try write { db in
            try db.execute(sql: "INSERT OR REPLACE INTO pin VALUES (?, ?, ?, ?, ?, ?)",
                           arguments: [pin.name.description, pin.channel, Data(pin.capsule.bytes), pin.epoch, pin.ver, Data(pin.fact.bytes)])
        }
    }

    // MARK: The database

    /// One moment of the database as a file of its own, whatever is written meanwhile.
    func copy(to path: String) throws(MeshError) {
        do { try database.writeWithoutTransaction { db in try db.execute(sql: "VACUUM INTO ?", arguments: [path]) } } catch { throw Self.explain(error, path) }
    }

    func read<T>(_ body: (Database) throws -> T) throws(MeshError) -> T {
        do { return try database.read(body) } catch let error as MeshError { throw error } catch { throw Self.explain(error, path) }
    }

    /// One transaction.
    func write<T>(_ body: (Database) throws -> T) throws(MeshError) -> T {
        do { return try database.write(body) } catch let error as MeshError { throw error } catch { throw Self.explain(error, path) }
    }

    private static func digests(_ data: Data) -> [Digest] {
        data.withUnsafeBytes { raw in
            stride(from: 0, to: raw.count / 32 * 32, by: 32).map { offset in
                func word(_ i: Int) -> UInt64 { UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: offset + 8 * i, as: UInt64.self)) }
                return Digest(words: (word(0), word(1), word(2), word(3)))
            }
        }
    }

    private static func numbers(_ data: Data) -> [Int64] {
        data.withUnsafeBytes { raw in stride(from: 0, to: raw.count / 8 * 8, by: 8).map { Int64(littleEndian: raw.loadUnaligned(fromByteOffset: $0, as: Int64.self)) } }
    }

    private static func explain(_ error: any Error, _ path: String) -> MeshError {
        guard let error = error as? DatabaseError else { return MeshError(.catalogDamaged, "\(path): \(error)", cause: error) }
        switch error.resultCode {
        case .SQLITE_IOERR, .SQLITE_CANTOPEN, .SQLITE_READONLY: if Files.isFull(Files.parent(of: path)) { return Files.failure("write", path, ENOSPC) }
        default: break
        }
        switch error.resultCode {
        case .SQLITE_FULL: return Files.failure("write", path, ENOSPC)
        case .SQLITE_READONLY, .SQLITE_CANTOPEN: return Files.failure("write", path, EROFS)
        case .SQLITE_BUSY, .SQLITE_LOCKED: return MeshError(.catalogBusy, "\(path) is in use by another process", hint: "try again in a moment")
        default: return MeshError(.catalogDamaged, "\(path): \(error)", hint: "restore a backup of the home, or join the mesh again", cause: error)
        }
    }
}

extension Row {
    /// A file that is damaged can hold anything in any column.
    fileprivate func get<T: DatabaseValueConvertible>(_ i: Int, _ type: T.Type) throws -> T {
        guard let value = try getIfPresent(i, type) else { throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: "a value is missing that was written") }
        return value
    }

    fileprivate func getIfPresent<T: DatabaseValueConvertible>(_ i: Int, _ type: T.Type) throws -> T? {
        let stored = self[i] as DatabaseValue
        if stored.isNull { return nil }
        guard let value = T.fromDatabaseValue(stored) else { throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: "a value is of another kind than was written") }
        return value
    }
}
