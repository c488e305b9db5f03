internal import Glibc
internal import MeshCore
internal import Synchronization

/// One app in one environment: its journal, its log, and what answers for it now. Whoever changes it holds `turn`.
final class DeploymentSlot: Sendable {
    private struct State {
        var record: DeploymentRecord
        var backend: Backend?
        /// How far a run that is under way has come.
        var running: RunState?
        /// Why the current generation cannot run at all.
        var trouble: MeshError?
    }

    let key: DeploymentKey
    let folder: DeploymentFolder
    let turn = Turnstile()
    let log: AppLog
    private let journal: Journal
    private let state: Mutex<State>

    /// - Throws: `deployment_journal_corrupt`
    init(_ key: DeploymentKey, home: HomeLayout, clock: any WallClock) throws(MeshError) {
        self.key = key
        folder = DeploymentFolder(key, home: home)
        log = AppLog(path: folder.log, clock: clock)
        let (journal, record) = try Journal.open(folder.journal)
        self.journal = journal
        state = Mutex(State(record: record))
    }

    var record: DeploymentRecord { state.withLock { $0.record } }
    var backend: Backend? { state.withLock { $0.backend } }
    var running: RunState? { state.withLock { $0.running } }
    var trouble: MeshError? { state.withLock { $0.trouble } }

    func set(backend: Backend?, trouble: MeshError? = nil) {
        state.withLock { state in
            state.backend = backend
            state.trouble = trouble
        }
    }

    func set(running: RunState?) { state.withLock { $0.running = running } }

    /// On the disk, then in memory.
    func write(_ entry: JournalEntry) async throws(MeshError) {
        try await offEventLoops { [self] () throws(MeshError) in
            var record = self.record
            try record.apply(entry)
            try Files.makeDirectory(folder.path)
            try journal.append(entry)
            state.withLock { [record] in $0.record = record }
            try? journal.compact(to: record)
        }
    }

    /// Points `current` at a generation, or at nothing; durable when it returns.
    func point(to generation: Int?) async throws(MeshError) {
        try await offEventLoops { [folder] () throws(MeshError) in
            guard let generation else {
                try Files.remove(folder.current)
                return try Files.syncDirectory(folder.path)
            }
            let temporary = folder.current + ".new"
            try Files.remove(temporary)
            guard symlink("generations/\(generation)", temporary) == 0 else { throw Files.failure("create the link", temporary) }
            try Files.rename(temporary, folder.current)
            try Files.syncDirectory(folder.path)
        }
    }

    /// Removes what no journal entry speaks of any more: dropped generations, leftovers of an interrupted restore.
    func sweep() async throws(MeshError) {
        let record = self.record
        try await offEventLoops { [folder] () throws(MeshError) in
            guard Files.exists(folder.generations) else { return }
            let kept = Set(record.generations.map { String($0.number) } + [record.pending.map { String($0.generation) }].compactMap(\.self))
            for name in try Files.names(in: folder.generations) where !kept.contains(name) { try Files.removeTree(folder.generations + "/" + name) }
        }
    }
}
