internal import FoundationEssentials
internal import GRDB
internal import Glibc
internal import MeshCore

/// The facts and the charter in `state/catalog.sqlite`: written in one transaction, read whole at the start.
struct FactTable: Sendable {
    private let database: DatabasePool

    init(path: String) throws(MeshError) {
        do {
            var configuration = Configuration()
            configuration.busyMode = .timeout(10)
            database = try DatabasePool(path: path, configuration: configuration)
            // A published fact must outlive a power cut: its sequence number may never be signed twice. After opening, which sets WAL's
            // own default of NORMAL.
            try database.writeWithoutTransaction { try $0.execute(sql: "PRAGMA synchronous = FULL") }
            try database.write { db in
                try db.execute(sql: """
                    CREATE TABLE IF NOT EXISTS fact (id BLOB PRIMARY KEY, envelope BLOB NOT NULL) WITHOUT ROWID;
                    CREATE TABLE IF NOT EXISTS charter (one INTEGER PRIMARY KEY CHECK (one = 1), bytes BLOB NOT NULL);
                    CREATE TABLE IF NOT EXISTS pin (name TEXT NOT NULL, channel TEXT NOT NULL, capsule BLOB NOT NULL, epoch INTEGER NOT NULL, ver INTEGER NOT NULL,
                        fact BLOB NOT NULL, PRIMARY KEY (name, channel)) WITHOUT ROWID;
                    """)
            }
        } catch { throw Self.explain(error, path) }
    }

    func load() throws(MeshError) -> (charter: [UInt8]?, envelopes: [[UInt8]]) {
        do {
            return try database.read { db in
                let charter = try Data.fetchOne(db, sql: "SELECT bytes FROM charter")
                return (charter.map { Array($0) }, try Data.fetchAll(db, sql: "SELECT envelope FROM fact ORDER BY id").map { Array($0) })
            }
        } catch { throw Self.explain(error, database.path) }
    }

    func apply(charter: [UInt8]? = nil, insert: [Fact], delete: [Digest]) throws(MeshError) {
        do {
            try database.write { db in
                if let charter { try db.execute(sql: "INSERT OR REPLACE INTO charter VALUES (1, ?)", arguments: [Data(charter)]) }
                for fact in insert { try db.execute(sql: "INSERT OR IGNORE INTO fact VALUES (?, ?)", arguments: [Data(fact.id.bytes), Data(fact.envelope)]) }
                for id in delete { try db.execute(sql: "DELETE FROM fact WHERE id = ?", arguments: [Data(id.bytes)]) }
            }
        } catch { throw Self.explain(error, database.path) }
    }

    func replace(charter: [UInt8], facts: [Fact]) throws(MeshError) {
        do {
            try database.write { db in
                try db.execute(sql: "DELETE FROM fact")
                // Of another mesh's channels.
                try db.execute(sql: "DELETE FROM pin")
                try db.execute(sql: "INSERT OR REPLACE INTO charter VALUES (1, ?)", arguments: [Data(charter)])
                for fact in facts { try db.execute(sql: "INSERT INTO fact VALUES (?, ?)", arguments: [Data(fact.id.bytes), Data(fact.envelope)]) }
            }
        } catch { throw Self.explain(error, database.path) }
    }

    func pin(name: String, channel: String) throws(MeshError) -> ChannelPin? {
        do {
            return try database.read { db in
                guard let row = try Row.fetchOne(db, sql: "SELECT capsule, epoch, ver, fact FROM pin WHERE name = ? AND channel = ?", arguments: [name, channel]),
                      let capsule = Digest(bytes: row[0] as Data), let fact = Digest(bytes: row[3] as Data), let name = try? CapsuleName(parsing: name) else { return nil }
                return ChannelPin(name: name, channel: channel, capsule: capsule, epoch: row[1], ver: row[2], fact: fact)
            }
        } catch { throw Self.explain(error, database.path) }
    }

    func save(_ pin: ChannelPin) throws(MeshError) {
        do {
            try database.write { db in
                try db.execute(sql: "INSERT OR REPLACE INTO pin VALUES (?, ?, ?, ?, ?, ?)",
                               arguments: [pin.name.description, pin.channel, Data(pin.capsule.bytes), pin.epoch, pin.ver, Data(pin.fact.bytes)])
            }
        } catch { throw Self.explain(error, database.path) }
    }

    /// One moment of the database as a file of its own, whatever is written meanwhile.
    func copy(to path: String) throws(MeshError) {
        do { try database.writeWithoutTransaction { db in try db.execute(sql: "VACUUM INTO ?", arguments: [path]) } } catch { throw Self.explain(error, path) }
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
