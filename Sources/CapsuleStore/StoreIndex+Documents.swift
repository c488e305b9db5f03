internal import CapsuleFormat
internal import GRDB
internal import MeshCore

// Capsules, trees, and the documents that refer to capsules.
extension StoreIndex {
    /// Lists a capsule and its tree. One that was packed here stays so whoever brings it again.
    func list(_ capsule: CapsuleStore.StoredCapsule, root: CapsuleRoot, journaled: Int64? = nil) throws(MeshError) {
        try apply(journaled: journaled) { db in
            let known = try Row.fetchOne(db, sql: "SELECT origin, added FROM capsules WHERE digest = ?", arguments: [capsule.digest.hex]).map { row in (origin: try row.get(0, String.self), added: try row.get(1, Int64.self)) }
            let origin = capsule.origin == .packed ? capsule.origin.rawValue : known?.origin ?? capsule.origin.rawValue
            let values: [any DatabaseValueConvertible] = [
                capsule.digest.hex, capsule.name.description, capsule.version.description, origin, capsule.files, capsule.bytes,
                known?.added ?? capsule.addedAt,
            ]
            try db.execute(sql: "INSERT OR REPLACE INTO capsules VALUES (?, ?, ?, ?, ?, ?, ?, ?)", arguments: StatementArguments(values + [Self.sum(values.map(\.databaseValue))]))
            try Self.insertTree(db, index: root.index, chunks: root.chunks, kind: root.manifest.tree)
        }
    }

    func list(tree index: Digest, chunks: Digest, kind: TreeKind, journaled: Int64? = nil) throws(MeshError) {
        try apply(journaled: journaled) { db in try Self.insertTree(db, index: index, chunks: chunks, kind: kind) }
    }

    /// The same index in both kinds is kept as the stricter one.
    private static func insertTree(_ db: Database, index: Digest, chunks: Digest, kind: TreeKind) throws {
        try db.execute(
            sql: """
                INSERT INTO trees VALUES (?, ?, ?) ON CONFLICT (tree) DO UPDATE SET kind = excluded.kind WHERE excluded.kind = 'app'
                """, arguments: [index.hex, chunks.hex, kind.rawValue])
    }

    func tree(_ index: Digest) throws(MeshError) -> (chunks: Digest, kind: TreeKind)? {
        try read { db in
            guard let row = try Row.fetchOne(db, sql: "SELECT chunks, kind FROM trees WHERE tree = ?", arguments: [index.hex]),
                let chunks = Digest(hex: try row.get(0, String.self)), let kind = TreeKind(rawValue: try row.get(1, String.self))
            else { return nil }
            return (chunks, kind)
        }
    }

    /// Neither the capsule nor what refers to it is listed any more, nor `tree` if one is given.
    func unlist(capsule: Digest, tree: Digest?, journaled: Int64? = nil) throws(MeshError) {
        try apply(journaled: journaled) { db in
            try db.execute(sql: "DELETE FROM capsules WHERE digest = ?", arguments: [capsule.hex])
            try db.execute(sql: "DELETE FROM referrers WHERE capsule = ?", arguments: [capsule.hex])
            if let tree { try db.execute(sql: "DELETE FROM trees WHERE tree = ?", arguments: [tree.hex]) }
        }
    }

    func unlist(tree: Digest, journaled: Int64? = nil) throws(MeshError) {
        try apply(journaled: journaled) { db in try db.execute(sql: "DELETE FROM trees WHERE tree = ?", arguments: [tree.hex]) }
    }

    /// All trees, those of capsules too.
    func treeDigests() throws(MeshError) -> [Digest] {
        try read { db in try String.fetchAll(db, sql: "SELECT tree FROM trees ORDER BY tree").compactMap { Digest(hex: $0) } }
    }

    func contains(capsule: Digest) throws(MeshError) -> Bool {
        try read { db in try Int.fetchOne(db, sql: "SELECT 1 FROM capsules WHERE digest = ?", arguments: [capsule.hex]) != nil }
    }

    /// Of what a row says: it is shown to people as it is, and a bit that rotted in it would be as well.
    private static func sum(_ values: some Sequence<DatabaseValue>) -> String {
        String(Digest.of(Array(values.map(\.description).joined(separator: "\0").utf8)).hex.prefix(16))
    }

    /// By name, then the order in which they came.
    ///
    /// - Throws: `store_index_damaged` where a row is not what was written.
    func capsules() throws(MeshError) -> [CapsuleStore.StoredCapsule] {
        let rows = try read { db in
            try Row.fetchAll(
                db, sql: "SELECT digest, name, version, origin, files, bytes, added, sum FROM capsules ORDER BY name, added, digest"
            ).map { row in
                // Before anything is taken for a text or a number.
                let values = Array(row.databaseValues)
                guard values.count == 8, Self.sum(values[..<7]) == String.fromDatabaseValue(values[7]) else {
                    throw MeshError(
                        .storeIndexDamaged, "\(path) lists a capsule otherwise than it was listed", hint: "make the index again from the packs: capsule fsck --rebuild")
                }
                return (
                    digest: try row.get(0, String.self), name: try row.get(1, String.self), version: try row.get(2, String.self), origin: try row.get(3, String.self),
                    files: try row.get(4, Int.self), bytes: try row.get(5, Int64.self), added: try row.get(6, Int64.self)
                )
            }
        }
        var out: [CapsuleStore.StoredCapsule] = []
        for row in rows {
            guard let digest = Digest(hex: row.digest), let origin = CapsuleStore.Origin(rawValue: row.origin) else { continue }
            out.append(
                CapsuleStore.StoredCapsule(
                    digest: digest, name: try CapsuleName(parsing: row.name), version: try SemanticVersion(parsing: row.version),
                    origin: origin, files: row.files, bytes: row.bytes, addedAt: row.added))
        }
        return out
    }

    /// The one that came last of those with this name.
    func lastCapsule(named name: CapsuleName) throws(MeshError) -> Digest? {
        try read { db in
            try String.fetchOne(db, sql: "SELECT digest FROM capsules WHERE name = ? ORDER BY added DESC, digest LIMIT 1", arguments: [name.description])
                .flatMap { Digest(hex: $0) }
        }
    }

    func capsules(withPrefix hex: String) throws(MeshError) -> [Digest] {
        try read { db in
            try String.fetchAll(
                db, sql: "SELECT digest FROM capsules WHERE substr(digest, 1, ?) = ? ORDER BY digest", arguments: [hex.utf8.count, hex]
            )
            .compactMap { Digest(hex: $0) }
        }
    }

    /// Ordered by the documents' digests.
    func referrers(of capsule: Digest) throws(MeshError) -> [ReferrerDocument] {
        try read { db in
            try Row.fetchAll(
                db, sql: "SELECT type, envelope FROM referrers WHERE capsule = ? ORDER BY digest, type", arguments: [capsule.hex]
            ).map { row in
                ReferrerDocument(bytes: Array((try row.get(1, String.self)).utf8), artifactType: try row.get(0, String.self))
            }
        }
    }

    func contains(_ document: ReferrerDocument, of capsule: Digest) throws(MeshError) -> Bool {
        try read { db in
            try Int.fetchOne(
                db, sql: "SELECT 1 FROM referrers WHERE capsule = ? AND digest = ? AND type = ?",
                arguments: [capsule.hex, Digest.of(document.bytes).hex, document.artifactType]) != nil
        }
    }

    /// Of the documents that are what their rows say they are.
    func referrerKeys(of capsule: Digest) throws(MeshError) -> Set<ReferrerKey> {
        try read { db in
            var out: Set<ReferrerKey> = []
            let rows = try Row.fetchCursor(db, sql: "SELECT digest, type, envelope FROM referrers WHERE capsule = ?", arguments: [capsule.hex])
            while let row = try rows.next() {
                guard let digest = String.fromDatabaseValue(row[0]), let type = String.fromDatabaseValue(row[1]), let text = String.fromDatabaseValue(row[2]) else { continue }
                let key = ReferrerKey(ReferrerDocument(bytes: Array(text.utf8), artifactType: type))
                if key.digest.hex == digest { out.insert(key) }
            }
            return out
        }
    }

    /// How many documents refer to the capsule, and their bytes together.
    func referrersSize(of capsule: Digest) throws(MeshError) -> (count: Int, bytes: Int) {
        try read { db in
            let row = try Row.fetchOne(
                db, sql: "SELECT COUNT(*), IFNULL(SUM(LENGTH(CAST(envelope AS BLOB))), 0) FROM referrers WHERE capsule = ?",
                arguments: [capsule.hex])
            return try row.map { (try $0.get(0, Int.self), try $0.get(1, Int.self)) } ?? (0, 0)
        }
    }

    /// An envelope is JSON, so its bytes are a text.
    func add(_ documents: [ReferrerDocument], to capsule: Digest, journaled: Int64? = nil) throws(MeshError) {
        try apply(journaled: journaled) { db in
            for document in documents {
                try db.execute(
                    sql: "INSERT OR IGNORE INTO referrers VALUES (?, ?, ?, ?)",
                    arguments: [
                        capsule.hex, Digest.of(document.bytes).hex, document.artifactType, String(decoding: document.bytes, as: UTF8.self),
                    ])
            }
        }
    }
}
