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

    private struct State {
        var charter: Charter
        var set: AdmittedSet
        var view: CatalogView
        var ids: [Digest]
        var root: Digest
        /// Who brought the facts that wait.
        var carriers: [Digest: KeyID?] = [:]

        init(charter: Charter, offered: [Fact]) {
            self.charter = charter
            set = AdmittedSet(offered: offered, charter: charter)
            view = CatalogView(set, charter: charter)
            ids = set.admitted.keys.sorted()
            root = MerkleTrie.root(ids)
        }

        mutating func take(_ new: AdmittedSet) {
            // Of what waits, so many for each who brought it, the oldest: no flood of strangers' facts pushes out what is waited for.
            var counts: [KeyID?: Int] = [:]
            let waiting = new.waiting.filter { fact in
                let carrier = carriers[fact.id] ?? nil
                counts[carrier, default: 0] += 1
                return counts[carrier, default: 0] <= Limits.limboFactsPerPeerMax
            }
            let kept = Set(waiting.map(\.id))
            carriers = carriers.filter { kept.contains($0.key) }
            set = AdmittedSet(new, waiting: waiting)
            view = CatalogView(set, charter: charter)
            ids = set.admitted.keys.sorted()
            root = MerkleTrie.root(ids)
        }
    }

    private let home: HomeLayout
    let clock: any WallClock
    private let table: FactTable
    private let state: Mutex<State>
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
            try table.replace(charter: charter.bytes, facts: [])
        }
        var facts: [Fact] = []
        for envelope in loaded.envelopes { facts.append(try Fact(parsing: envelope, mesh: charter.meshID)) }
        self.home = home
        self.clock = clock
        self.table = table
        state = Mutex(State(charter: charter, offered: facts))
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

    public var charter: Charter { state.withLock { $0.charter } }
    public var meshID: Digest { charter.meshID }
    /// Over the admitted fact ids, whatever order they came in.
    public var root: Digest { state.withLock { $0.root } }
    public var count: Int { state.withLock { $0.ids.count } }

    /// Sorted.
    public func factIDs() throws(MeshError) -> [Digest] { state.withLock { $0.ids } }

    /// The envelopes of those that are here, in the order asked for.
    public func facts(_ ids: [Digest]) throws(MeshError) -> [[UInt8]] {
        state.withLock { state in ids.compactMap { state.set.admitted[$0]?.envelope } }
    }

    /// The charter, the admitted facts and who was granted what, of one moment.
    var snapshot: (charter: Charter, facts: [Fact], grants: Grants) {
        state.withLock { ($0.charter, Array($0.set.admitted.values), $0.set.grants) }
    }

    var view: CatalogView { state.withLock { $0.view } }

    /// The author's fact at the highest place; of two, the smaller.
    func lastFact(by author: PublicKey) -> Fact? {
        state.withLock { $0.set.admitted.values.filter { $0.author == author } }.max { ($0.seq, $1.id) < ($1.seq, $0.id) }
    }

    func fact(_ id: Digest) -> Fact? { state.withLock { $0.set.admitted[id] } }

    /// One draft at a time, as `publishing` says.
    func drafting<T>(_ body: () throws(MeshError) -> T) throws(MeshError) -> T {
        let result: Result<T, MeshError> = publishing.withLock { _ in
            do throws(MeshError) { return .success(try body()) } catch { return .failure(error) }
        }
        return try result.get()
    }

    // MARK: Admission

    /// Takes what holds: all of it in one transaction, whatever order it came in. Facts whose author is not known yet wait and
    /// are tried again each time.
    ///
    /// - Parameter peer: who brought them; nil for a file.
    public func admit(_ envelopes: [[UInt8]], from peer: KeyID? = nil) throws(MeshError) -> Admission {
        let mesh = meshID
        var parsed: [Fact] = [], refused: [MeshError] = []
        for envelope in envelopes {
            do throws(MeshError) { parsed.append(try Fact(parsing: envelope, mesh: mesh)) } catch { refused.append(error) }
        }
        return try admit(parsed, refused, from: peer)
    }

    func admit(_ facts: [Fact], _ refused: [MeshError], from peer: KeyID? = nil) throws(MeshError) -> Admission {
        let result: Result<Admission, MeshError> = state.withLock { state in
            // The home may have joined another mesh since they were read.
            let ours = facts.filter { $0.mesh == state.charter.meshID }
            let refused = refused + facts.filter { $0.mesh != state.charter.meshID }.map { Fact.foreign($0.mesh) }
            let before = state.set
            let fresh = ours.filter { before.admitted[$0.id] == nil }
            guard !fresh.isEmpty else { return .success(Admission(admitted: [], known: ours.count, waiting: 0, refused: refused)) }
            let after = AdmittedSet(offered: Array(before.admitted.values) + before.waiting + fresh, charter: state.charter)
            let admitted = after.admitted.values.filter { before.admitted[$0.id] == nil }.sorted { $0.id < $1.id }
            let evicted = before.admitted.keys.filter { after.admitted[$0] == nil }
            do throws(MeshError) {
                if !admitted.isEmpty || !evicted.isEmpty { try table.apply(insert: admitted, delete: evicted) }
            } catch { return .failure(error) }
            for fact in fresh where state.carriers[fact.id] == nil { state.carriers.updateValue(peer, forKey: fact.id) }
            state.take(after)
            let stillWaiting = Set(state.set.waiting.map(\.id))
            let waits = Set(fresh.map(\.id)).count(where: stillWaiting.contains)
            return .success(Admission(admitted: admitted, known: ours.count - admitted.count - waits, waiting: waits, refused: refused))
        }
        let admission = try result.get()
        if !admission.admitted.isEmpty { followers.tell() }
        return admission
    }

    /// Writes the database as it is at one moment to a new file, which a home can have in its place; the catalog stays in use.
    ///
    /// - Throws: `disk_full`, and what else keeps a file from being written.
    public func copy(to path: String) throws(MeshError) { try table.copy(to: path) }

    /// How many facts wait for their author to be granted something.
    var limbo: Int { state.withLock { $0.set.waiting.count } }

    /// The envelopes on the disk.
    func stored() throws(MeshError) -> [[UInt8]] { try table.load().envelopes }

    /// All ids, those first that say who may say anything: whoever takes them in in this order lets nothing wait.
    func controlFirst() throws(MeshError) -> [Digest] {
        state.withLock { state in
            let facts = state.set.admitted.values.sorted { ($0.isControl ? 0 : 1, $0.seq, $0.id) < ($1.isControl ? 0 : 1, $1.seq, $1.id) }
            return facts.map(\.id)
        }
    }

    // MARK: Reconciliation

    /// What a peer is answered that asks in which facts it differs.
    package func answer(_ question: Reconciliation.Question) throws(MeshError) -> Reconciliation.Answer {
        let (ids, root) = state.withLock { ($0.ids, $0.root) }
        return Reconciliation.answer(question, ids, root: root)
    }

    /// The envelopes of the facts with these ids under a session's key, those first that say who may say what.
    package func facts(_ wanted: [UInt64], under key: SessionKey) throws(MeshError) -> [[UInt8]] {
        let wanted = Set(wanted)
        return state.withLock { state in
            let found = state.ids.filter { wanted.contains(key.id(of: $0)) }.compactMap { state.set.admitted[$0] }
            return (found.filter(\.isControl) + found.filter { !$0.isControl }).map(\.envelope)
        }
    }

    // MARK: Pins

    func pin(of name: CapsuleName, channel: String) throws(MeshError) -> ChannelPin? { try table.pin(name: name.description, channel: channel) }
    func save(_ pin: ChannelPin) throws(MeshError) { try table.save(pin) }

    // MARK: Charters

    /// Takes in charters that follow from those that are here.
    ///
    /// - Returns: whether there was one that was new.
    public func adopt(charters envelopes: [[UInt8]]) throws(MeshError) -> Bool {
        let result: Result<[UInt8]?, MeshError> = state.withLock { state in
            let charter = state.charter.adding(envelopes)
            guard !charter.isSame(as: state.charter) else { return .success(nil) }
            var next = state
            next.charter = charter
            next.take(AdmittedSet(offered: Array(state.set.admitted.values) + state.set.waiting, charter: charter))
            let admitted = next.set.admitted.values.filter { state.set.admitted[$0.id] == nil }, evicted = state.set.admitted.keys.filter { next.set.admitted[$0] == nil }
            do throws(MeshError) { try table.apply(charter: charter.bytes, insert: admitted, delete: evicted) } catch { return .failure(error) }
            state = next
            return .success(charter.bytes)
        }
        guard let bytes = try result.get() else { return false }
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
        let fresh = State(charter: charter, offered: facts)
        let result: Result<Void, MeshError> = publishing.withLock { _ in
            state.withLock { state in
                do throws(MeshError) { try table.replace(charter: bytes, facts: Array(fresh.set.admitted.values)) } catch { return .failure(error) }
                state.charter = charter
                state.take(fresh.set)
                return .success(())
            }
        }
        try result.get()
        // Done, whatever becomes of the copy for people: the next opening writes it where this could not.
        try? Files.writeDurably(bytes, to: home.charter)
        followers.tell()
    }

    /// A signal after each change, for this reader alone; several changes may come as one.
    public var changes: AsyncStream<Void> { followers.signals() }
}
