internal import GRDB
internal import GRDBSQLite
internal import MeshCore

/// A prepared statement over integers, stepped by SQLite's own calls: for what is asked once for each chunk, where GRDB's values,
/// rows and cursors cost several times the look-up itself.
///
/// Of the connection that it was made on, and only within the access that made it. Every parameter is bound anew each time.
struct RawStatement {
    /// Kept: the connection drops its statements when the schema changes.
    private let statement: Statement
    private let database: Database

    init(_ sql: String, _ database: Database) throws {
        statement = try database.cachedStatement(sql: sql)
        self.database = database
        reset()
    }

    /// Parameters count from 1.
    func bind(_ value: Int64, at parameter: Int32) { sqlite3_bind_int64(statement.sqliteStatement, parameter, value) }

    /// The digest's four words as parameters 1 to 4.
    func bind(_ digest: Digest) {
        let words = digest.words
        bind(Int64(bitPattern: words.0), at: 1)
        bind(Int64(bitPattern: words.1), at: 2)
        bind(Int64(bitPattern: words.2), at: 3)
        bind(Int64(bitPattern: words.3), at: 4)
    }

    /// Whether there is a row; its columns can be read until `reset`, which must come before the next step.
    func step() throws -> Bool {
        let code = sqlite3_step(statement.sqliteStatement)
        guard code == SQLITE_ROW || code == SQLITE_DONE else {
            let error = DatabaseError(resultCode: ResultCode(rawValue: code), message: database.lastErrorMessage, sql: statement.sql)
            reset()
            throw error
        }
        return code == SQLITE_ROW
    }

    /// Columns count from 0.
    func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(statement.sqliteStatement, column) }

    /// Says again what `step` has thrown, so that its answer says nothing new.
    func reset() { sqlite3_reset(statement.sqliteStatement) }
}
