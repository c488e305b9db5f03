internal import Dispatch
public import MeshCore
public import Signing
internal import Synchronization

/// What a mesh knows: a set of signed facts that only grows, and pure views of it.
public final class Catalog: Sendable {
    /// What became of facts that were offered.
    public struct Admission: Sendable {
        public let admitted: [Fact]
        /// Offered before, or outdone by two others at the same place.
        public let known: Int
        /// From authors that nobody here has granted anything yet; kept for a while.
        public let waiting: Int
        public let refused: [MeshError]
    }

    private let home: HomeLayout
    let clock: any WallClock
    let table: FactTable
    private let state: Mutex<CatalogState>
    private let followers = Followers()
    /// One draft at a time: a place in an author's sequence must never be signed twice.
    private let publishing = Mutex(())

    /// Opens a home's catalog. The database is what counts; `keys/charter.json` is its copy for people and backups.
    public init(home: HomeLayout, clock: any WallClock) throws(MeshError) {
        let table = try FactTable(path: home.catalogDatabase)
        let loaded = try table.load()
        let charter: Charter
        if let bytes = loaded.charter {
            charter = try Charter(parsing: bytes)
            if (try? Files.read(home.charter, bytesMax: Limits.charterFileBytesMax)) != bytes { try Files.writeDurably(bytes, to: home.charter) }
        } else {
            charter = try Charter(parsing: Files.read(home.charter, bytesMax: Limits.charterFileBytesMax))
            try table.write { db in try FactTable.set(charter: charter.bytes, db) }
        }
        self.home = home
        self.clock = clock
        self.table = table
        state = Mutex(try CatalogState(loaded, charter: charter, table))
        if let before = try table.envelopesBefore() {
            _ = try admit(before)
            try table.forgetBefore()
        }
    }

    /// Founds a mesh: charter 1, and the root's grants of every role to the node key. Finishes what a crash interrupted.
    public static func found(home: HomeLayout, root: SigningKey, node: SigningKey, clock: any WallClock) throws(MeshError) -> Catalog {
        if !Files.exists(home.charter) { try Files.writeDurably(Charter.create(root: root).bytes, to: home.charter) }
        let catalog = try Catalog(home: home, clock: clock)
        let held = try catalog.roles(of: node.publicKey)
        for role in Role.allCases where held[role] == nil {
            _ = try catalog.grant(role, scope: role == .publisher ? [Glob("*")] : [], to: node.publicKey, by: root)
        }
        return catalog
    }

    /// With the state to oneself.
    func locked<T>(_ body: (inout CatalogState) throws(MeshError) -> T) throws(MeshError) -> T {
        let result: Result<T, MeshError> = state.withLock { state in
            do throws(MeshError) { return .success(try body(&state)) } catch { return .failure(error) }
        }
        return try result.get()
    }

    public var charter: Charter { state.withLock { $0.charter } }
    public var meshID: Digest { charter.meshID }
    /// Over the admitted fact ids, whatever order they came in.
    public var root: Digest { state.withLock { $0.index.root } }
    /// Over charters and facts: who has the same knows the same.
    public var stateDigest: Digest { state.withLock { Digest.of($0.index.root.bytes + $0.charter.digest.bytes) } }
    public var count: Int { state.withLock { $0.index.count } }
    var authorities: Authorities { state.withLock { $0.authorities } }
    /// The admitted facts that grant, revoke and hand over.
    var control: [Fact] { state.withLock { Array($0.control.values) } }
    var authors: [Digest: AuthorRow] { state.withLock { $0.authors } }
    /// How many facts wait for their author to be granted something.
    public var waitingCount: Int { state.withLock { $0.limbo.count } }

    /// Sorted.
    public func factIDs() throws(MeshError) -> [Digest] { state.withLock { $0.index.ids } }

    /// The envelopes of those that are here, those first that say who may say what, otherwise in the order asked for.
    public func facts(_ ids: [Digest]) throws(MeshError) -> [[UInt8]] {
        let rows = state.withLock { state in
            let (first, rest) = (ids.filter { state.control[$0] != nil }, ids.filter { state.control[$0] == nil })
            return (first + rest).compactMap { state.index.row(of: $0) }
        }
        return try table.envelopes(rows)
    }

    func fact(_ id: Digest) throws(MeshError) -> Fact? {
        guard let envelope = try facts([id]).first else { return nil }
        return try Fact(stored: envelope, mesh: meshID)
    }

    /// The author's fact at the highest place; of two, the smaller.
    func lastFact(by author: PublicKey) throws(MeshError) -> Fact? {
        guard let id = author.subject, let row = authors[id], row.facts > 0 else { return nil }
        var seq = row.seqMax
        while seq > 0 {
            var found: [Fact] = []
            for envelope in try table.envelopes(.at(seq, of: row.number)) { found.append(try Fact(stored: envelope, mesh: meshID)) }
            if let first = found.min(by: { $0.id < $1.id }) { return first }
            seq -= 1
        }
        return nil
    }

    // MARK: Admission

    /// Takes what holds: all of it in one transaction, whatever order it came in. Facts whose author is not known yet wait and
    /// are tried again each time. Signatures are checked on all cores.
    ///
    /// - Parameter peer: who brought them; nil for a file.
    public func admit(_ envelopes: [[UInt8]], from peer: KeyID? = nil) throws(MeshError) -> Admission {
        let checked = Self.check(envelopes, mesh: meshID)
        return try admit(checked.facts, checked.refused, from: peer)
    }

    /// Form and signature of each, on all cores.
    static func check(_ envelopes: [[UInt8]], mesh: Digest) -> (facts: [Fact], refused: [MeshError]) {
        let results = onAllCores(envelopes.count) { i -> Result<Fact, MeshError> in
            do throws(MeshError) { return .success(try Fact(parsing: envelopes[i], mesh: mesh)) } catch { return .failure(error) }
        }
        var parsed: [Fact] = [], refused: [MeshError] = []
        for result in results {
            switch result {
            case .success(let fact): parsed.append(fact)
            case .failure(let error): refused.append(error)
            }
        }
        return (parsed, refused)
    }

    private static func onAllCores<T: Sendable>(_ count: Int, _ body: @Sendable (Int) -> T) -> [T] {
        // A few at a time: a fact is checked in less than a tenth of a millisecond.
        let share = 64, shares = (count + share - 1) / share
        guard shares > 1 else { return (0..<count).map(body) }
        let parts = Mutex<[Int: [T]]>([:])
        DispatchQueue.concurrentPerform(iterations: shares) { i in
            let part = (i * share..<min((i + 1) * share, count)).map(body)
            parts.withLock { $0[i] = part }
        }
        return parts.withLock { parts in (0..<shares).flatMap { parts[$0] ?? [] } }
    }

    func admit(_ facts: [Fact], _ refused: [MeshError], from peer: KeyID? = nil) throws(MeshError) -> Admission {
        let table = table
        let (outcome, foreign) = try locked { (state) throws(MeshError) in
            // The home may have joined another mesh since they were read.
            let ours = facts.filter { $0.mesh == state.charter.meshID }
            return (try state.take(ours, from: peer, table), facts.filter { $0.mesh != state.charter.meshID }.map { Fact.foreign($0.mesh) })
        }
        if !outcome.admitted.isEmpty { followers.tell() }
        return Admission(admitted: outcome.admitted, known: outcome.known, waiting: outcome.waiting, refused: refused + foreign)
    }

    /// One draft at a time, as `publishing` says.
    func drafting<T>(_ body: () throws(MeshError) -> T) throws(MeshError) -> T {
        let result: Result<T, MeshError> = publishing.withLock { _ in
            do throws(MeshError) { return .success(try body()) } catch { return .failure(error) }
        }
        return try result.get()
    }

    /// Writes the database as it is at one moment to a new file, which a home can have in its place; the catalog stays in use.
    ///
    /// - Throws: `disk_full`, and what else keeps a file from being written.
    public func copy(to path: String) throws(MeshError) { try table.copy(to: path) }

    // MARK: Reconciliation

    /// What a peer is answered that asks in which facts it differs.
    package func answer(_ question: Reconciliation.Question) throws(MeshError) -> Reconciliation.Answer {
        let index = state.withLock { $0.index }
        return Reconciliation.answer(question, index.ids, root: index.root)
    }

    /// The envelopes of the facts with these ids under a session's key, those first that say who may say what.
    package func facts(_ wanted: [UInt64], under key: SessionKey) throws(MeshError) -> [[UInt8]] {
        let wanted = Set(wanted)
        if wanted.isEmpty { return [] }
        return try facts(try factIDs().filter { wanted.contains(key.id(of: $0)) })
    }

    // MARK: Charters

    /// Takes in charters that follow from those that are here.
    ///
    /// - Returns: whether there was one that was new.
    public func adopt(charters envelopes: [[UInt8]]) throws(MeshError) -> Bool {
        let table = table
        let bytes: [UInt8]? = try locked { (state) throws(MeshError) in
            let charter = state.charter.adding(envelopes)
            guard !charter.isSame(as: state.charter) else { return nil }
            _ = try state.take([], from: nil, charter: charter, table)
            return charter.bytes
        }
        guard let bytes else { return false }
        // Done, whatever becomes of the copy for people: the next opening writes it where this could not.
        try? Files.writeDurably(bytes, to: home.charter)
        followers.tell()
        return true
    }

    // MARK: Another mesh

    /// Takes the place of this home's mesh: all or nothing, in one transaction. Nothing is published or taken in meanwhile.
    public func replaceMesh(charter bytes: [UInt8], facts envelopes: [[UInt8]]) throws(MeshError) {
        let charter = try Charter(parsing: bytes)
        var facts: [Fact] = []
        for envelope in envelopes { facts.append(try Fact(parsing: envelope, mesh: charter.meshID)) }
        let table = table
        try drafting { () throws(MeshError) in
            try locked { (state) throws(MeshError) in state = try CatalogState.replacing(with: charter, facts, table) }
        }
        // Done, whatever becomes of the copy for people: the next opening writes it where this could not.
        try? Files.writeDurably(bytes, to: home.charter)
        followers.tell()
    }

    /// A signal after each change, for this reader alone; several changes may come as one.
    public var changes: AsyncStream<Void> { followers.signals() }
}
