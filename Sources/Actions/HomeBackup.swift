internal import CapsuleFormat
internal import Catalog
internal import Glibc
internal import MeshCore
internal import Signing
internal import Synchronization

/// A home in one sealed file: everything but packs, which the mesh or a copy of the folder gives back. docs/backup.md says how
/// it is used, docs/formats/backup.md what is in the file.
public enum HomeBackup {
    /// What a backup says about itself.
    struct Written: Sendable {
        var files = 0
        var bytes: Int64 = 0
        /// What is not in it as it was, the first of them; `skippedCount` counts all.
        var skipped: [(path: String, why: String)] = []
        var skippedCount = 0

        /// Enough to see what is wrong, and an event stays an event.
        private static let skippedListedMax = 100

        mutating func skip(_ path: String, _ why: String) {
            skippedCount += 1
            if skipped.count < Self.skippedListedMax { skipped.append((path, why)) }
        }
    }

    /// Writes the home of a node, running or not, to a new file with mode 0600; all of it or nothing.
    ///
    /// - Parameter path: absolute, and not in the home.
    /// - Throws: `passphrase_needed` for an empty one, `already_exists`, `backup_in_home`, `source_changed`, `backup_cancelled`, and
    ///   whatever keeps files from being read or written.
    static func write(_ parts: NodeParts, to path: String, passphrase: [UInt8], isCancelled: @escaping @Sendable () -> Bool, emit: @escaping EventSink) throws(MeshError) -> Written {
        guard !passphrase.isEmpty else { throw MeshError(.passphraseNeeded, "a backup needs a passphrase", hint: "it holds the home's secret keys; give one at the prompt or with --passphrase-stdin") }
        guard !Files.exists(path) else { throw MeshError(.alreadyExists, "\(path) is there already", hint: "choose another name; a backup is never overwritten") }
        try requireOutside(parts.home, path)
        Leftovers.remove(beside: path, kind: "tmp")
        let temporary = Leftovers.newPath(beside: path, kind: "tmp")
        do throws(MeshError) {
            let file = try OpenFile(creating: temporary, mode: 0o600)
            // Of the same open file: the lock stays when the writer is done, until the file has its name.
            let lock = Descriptor(owning: fcntl(file.descriptor, F_DUPFD_CLOEXEC, 0))
            flock(lock.number, LOCK_EX | LOCK_NB)
            let start = BackupEntry.Start(name: parts.settings.name, nodeID: parts.key.publicKey.id.hex, mesh: parts.catalog.meshID.hex, createdAt: parts.clock.now)
            let catalog = try copyOfCatalog(parts)
            let walk = try HomeWalk(parts.home, catalog: catalog, into: SealedWriter(file, passphrase: passphrase), start, isCancelled, emit)
            let written = try walk.finish()
            try Files.renameExclusively(temporary, path)
            _ = consume lock
            try Files.syncDirectory(Files.parent(of: path))
            return written
        } catch {
            unlink(temporary)
            throw error
        }
    }

    /// A backup in the home would be in every later one, and be lost with it.
    private static func requireOutside(_ home: HomeLayout, _ path: String) throws(MeshError) {
        guard let folder = realpath(Files.parent(of: path), nil), let base = realpath(home.path, nil) else { throw Files.failure("write", path) }
        defer {
            free(folder)
            free(base)
        }
        guard (String(cString: folder) + "/").hasPrefix(String(cString: base) + "/") else { return }
        throw MeshError(.backupInHome, "\(path) is in the home that it would back up", hint: "write it elsewhere, to another disk if you can")
    }

    /// The catalog at one moment, as a file that nothing but this descriptor leads to.
    private static func copyOfCatalog(_ parts: NodeParts) throws(MeshError) -> OpenFile {
        let path = parts.home.catalogDatabase
        Leftovers.remove(beside: path, kind: "tmp")
        let copy = Leftovers.newPath(beside: path, kind: "tmp")
        defer { unlink(copy) }
        // SQLite takes an empty file for a new one.
        let lock = try FileLock(copy)
        try parts.catalog.copy(to: copy)
        _ = consume lock
        return try OpenFile(reading: copy)
    }
}

let backupActions: [Action] = [
    Action("home.backup", "Back up the home", "Writes everything in the home but packs to one new file, sealed with a passphrase; a running node goes on running.",
           scope: .admin, isLong: true,
           input: .object([
               .init("path", .string(), "Absolute path of the new file, outside the home"), .init("passphrase", .string(), "Seals it (Argon2id, XChaCha20-Poly1305)"),
           ]),
           output: .object([
               .init("path", .string(), "The file"), .init("files", .integer, "Files in it"), .init("bytes", .integer, "Their size"),
               .init("skipped", .array(.object([.init("path", .string(), "In the home"), .init("why", .string(), "Why it is not in the backup, or not as it was")])), "The first 100 of them"),
               .init("skippedCount", .integer, "How many there are"),
           ])) { context, params throws(MeshError) in
        let path = Files.absolute(params["path"]?.string ?? ""), passphrase = Array((params["passphrase"]?.string ?? "").utf8)
        let cancelled = CancelFlag()
        let result: Result<HomeBackup.Written, MeshError> = await withTaskCancellationHandler {
            do throws(MeshError) {
                return .success(try await offEventLoops { () throws(MeshError) in
                    try HomeBackup.write(context.parts, to: path, passphrase: passphrase, isCancelled: { cancelled.isRaised }, emit: context.emit)
                })
            } catch { return .failure(error) }
        } onCancel: { cancelled.raise() }
        let written = try result.get()
        return ["path": .string(path), "files": JSONValue(written.files), "bytes": .integer(written.bytes), "skippedCount": JSONValue(written.skippedCount),
                "skipped": .array(written.skipped.map { ["path": .string($0.path), "why": .string($0.why)] })]
    },
]

private final class CancelFlag: Sendable {
    private let flag = Atomic(false)
    var isRaised: Bool { flag.load(ordering: .relaxed) }
    func raise() { flag.store(true, ordering: .relaxed) }
}

extension ErrorCode {
    static let backupInHome = ErrorCode("backup_in_home", .usage)
    static let backupCancelled = ErrorCode("backup_cancelled", .tryAgain)
}
