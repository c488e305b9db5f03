internal import Glibc
public import MeshCore
internal import Synchronization

/// Keeps chunks that are in no listed capsule yet from being collected as garbage, in every process, until it ends.
///
/// Whoever takes in a capsule by several calls keeps one from before the first question what is missing until the capsule is listed;
/// a call that does all of it in one go holds its own.
public final class StoreHold: Sendable {
    private let locks: Mutex<[FileLock]>

    init(_ locks: FileLock...) { self.locks = Mutex(locks) }

    public func end() { locks.withLock { $0 = [] } }
}

extension CapsuleStore {
    /// A collection goes through the whole store.
    private static let ingestPatience = Duration.seconds(600)

    /// - Throws: `store_busy` when a garbage collection under way does not end within ten minutes.
    public func hold() throws(MeshError) -> StoreHold {
        guard let lock = try Self.wait(for: folders.ingestLock, exclusive: false, Self.ingestPatience) else {
            throw MeshError(.storeBusy, "garbage is being collected in this store", hint: "try again when that is done")
        }
        return StoreHold(lock)
    }

    /// Does `body` in turn, from the first answer what is known here to the listing, with no collection in between.
    func ingesting<T>(_ body: () throws(MeshError) -> T) throws(MeshError) -> T {
        let hold = try hold()
        defer { hold.end() }
        return try inTurn(body)
    }

    /// Does `body` while nothing is on its way into the store and nobody else collects, in any process.
    ///
    /// - Throws: `gc_running`; `store_busy` when something is on its way in still after `patience`.
    func collecting<T>(patience: Duration, _ body: () throws(MeshError) -> T) throws(MeshError) -> T {
        guard let gc = try FileLock(folders.gcLock) else {
            throw MeshError(.gcRunning, "garbage is being collected in this store already", hint: "wait until that is done")
        }
        guard let ingest = try Self.wait(for: folders.ingestLock, exclusive: true, patience) else {
            throw MeshError(.storeBusy, "something is being packed, imported, built or pulled into this store", hint: "try again when that is done")
        }
        let locks = StoreHold(gc, ingest)
        defer { locks.end() }
        return try inTurn(body)
    }

    /// nil when the lock was not free in all that time.
    private static func wait(for path: String, exclusive: Bool, _ patience: Duration) throws(MeshError) -> FileLock? {
        let deadline = ContinuousClock.now + patience
        while true {
            if let lock = try FileLock(path, exclusive: exclusive) { return lock }
            guard ContinuousClock.now < deadline else { return nil }
            usleep(20_000)
        }
    }
}
