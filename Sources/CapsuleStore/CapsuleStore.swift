internal import CapsuleFormat
internal import Dispatch
internal import Glibc
public import MeshCore

/// The content-addressed store of a home: `capsules/` and the journal `state/roots`. See docs/formats/packs.md.
///
/// Everything that was reported as stored survives a power cut. Every chunk is verified whenever it is read. Several stores,
/// in this process or others, may be open on one home.
public final class CapsuleStore: Sendable {
    /// How a capsule came here. What was packed here stays `packed`.
    public enum Origin: String, Sendable, CaseIterable { case packed, imported, fetched }

    public struct StoredCapsule: Sendable, Hashable {
        public let digest: Digest
        public let name: CapsuleName
        public let version: SemanticVersion
        public let origin: Origin
        public let files: Int
        /// The files' sizes together.
        public let bytes: Int64
        public let addedAt: Milliseconds
    }

    let folders: Folders
    let index: StoreIndex
    let readers: ReaderPool
    let journal: RootJournal
    let sources: SourceMemoryFiles
    let clock: any WallClock
    private let lock: StoreLock
    private let turn = DispatchSemaphore(value: 1)

    struct Folders: Sendable {
        let path: String
        var packs: String { path + "/packs" }
        var temporary: String { path + "/tmp" }
        var quarantine: String { path + "/quarantine" }
        var index: String { path + "/index.sqlite" }
        var lock: String { path + "/lock" }
        /// Shared by whoever takes something in, exclusive for a collection.
        var ingestLock: String { path + "/ingest.lock" }
        var gcLock: String { path + "/gc.lock" }
    }

    /// Opens the store, creating what is missing. What a crash left is cleared: files in `tmp/` go, packs that the index does
    /// not know are taken in, and an index that is gone is made again from packs and journal.
    ///
    /// - Throws: `read_only`, `not_permitted`, `disk_full`, `store_index_damaged`, `store_too_new`, `store_busy`.
    public init(home: HomeLayout, clock: any WallClock = SystemClock()) throws(MeshError) {
        folders = Folders(path: home.capsules)
        self.clock = clock
        for folder in [folders.path, folders.packs, folders.temporary, folders.quarantine] { try Files.makeDirectory(folder) }
        try Files.makeDirectory(home.state, mode: 0o700)
        lock = try StoreLock(folders.lock)
        index = try StoreIndex(folders.index)
        readers = ReaderPool(PackFiles(folders.packs, index))
        journal = RootJournal(home.roots)
        sources = SourceMemoryFiles(folder: home.sources)
        try recover(alone: lock.isAlone)
        try lock.share()
    }

    /// Writing into the store is done by one at a time in this process; between processes SQLite keeps the order.
    func inTurn<T>(_ body: () throws(MeshError) -> T) throws(MeshError) -> T {
        turn.wait()
        defer { turn.signal() }
        return try body()
    }
}

/// `capsules/lock`: shared by all that have the store open; exclusive for whoever opens it first, until it has cleaned up.
final class StoreLock: Sendable {
    let isAlone: Bool
    private let descriptor: Int32
    private let path: String

    init(_ path: String) throws(MeshError) {
        self.path = path
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw Files.failure("open", path) }
        isAlone = flock(descriptor, LOCK_EX | LOCK_NB) == 0
        if !isAlone { try share() }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    func share() throws(MeshError) {
        while flock(descriptor, LOCK_SH) != 0 {
            guard errno == EINTR else { throw Files.failure("lock", path) }
        }
    }
}
