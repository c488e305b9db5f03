public import MeshCore
public import Signing
internal import Synchronization

/// What a mesh knows: a set of signed facts that only grows, and pure views of it.
public final class Catalog: Sendable {
    /// One release as people see it.
    public struct Release: Sendable, Hashable {
        public let capsule: Digest
        public let name: CapsuleName
        public let version: SemanticVersion
        public let notes: String?
        public let publisher: PublicKey
        public let fact: Digest
        public let at: Milliseconds
        /// The same name and version has another content too, or its publisher signed two facts at one place.
        public let contested: Bool
    }

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

        init(charter: Charter, offered: [Fact]) {
            self.charter = charter
            set = AdmittedSet(offered: offered, charter: charter)
            view = CatalogView(set, charter: charter)
            ids = set.admitted.keys.sorted()
            root = MerkleTrie.root(ids)
        }

        mutating func take(_ new: AdmittedSet) {
            set = new
            view = CatalogView(new, charter: charter)
            ids = new.admitted.keys.sorted()
            root = MerkleTrie.root(ids)
        }
    }

    private let home: HomeLayout
    private let clock: any WallClock
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
            if (try? Files.read(home.charter, bytesMax: Limits.controlMessageBytesMax)) != bytes { try Files.writeDurably(bytes, to: home.charter) }
        } else {
            charter = try Charter(parsing: Files.read(home.charter, bytesMax: Limits.controlMessageBytesMax))
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

    // MARK: Admission

    /// Takes what holds: all of it in one transaction, whatever order it came in. Facts whose author is not known yet wait and
    /// are tried again each time.
    public func admit(_ envelopes: [[UInt8]]) throws(MeshError) -> Admission {
        let mesh = meshID
        var parsed: [Fact] = [], refused: [MeshError] = []
        for envelope in envelopes {
            do throws(MeshError) { parsed.append(try Fact(parsing: envelope, mesh: mesh)) } catch { refused.append(error) }
        }
        return try admit(parsed, refused)
    }

    private func admit(_ facts: [Fact], _ refused: [MeshError]) throws(MeshError) -> Admission {
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
            state.take(AdmittedSet(after, waitingMax: Limits.limboFactsPerPeerMax))
            let stillWaiting = Set(state.set.waiting.map(\.id))
            let waits = Set(fresh.map(\.id)).count(where: stillWaiting.contains)
            return .success(Admission(admitted: admitted, known: ours.count - admitted.count - waits, waiting: waits, refused: refused))
        }
        let admission = try result.get()
        if !admission.admitted.isEmpty { followers.tell() }
        return admission
    }

    // MARK: Publishing

    /// Signs a fact and takes it in. Without the permission nothing is written: `not_granted`.
    public func publish(kind: String, subject: Digest?, body: [String: JSONValue], by key: SigningKey) throws(MeshError) -> Fact {
        let result: Result<Fact, MeshError> = publishing.withLock { _ in
            do throws(MeshError) { return .success(try draftAndAdmit(kind, subject, body, key)) } catch { return .failure(error) }
        }
        return try result.get()
    }

    private func draftAndAdmit(_ kind: String, _ subject: Digest?, _ body: [String: JSONValue], _ key: SigningKey) throws(MeshError) -> Fact {
        let at = clock.now
        let draft: Result<[UInt8], MeshError> = state.withLock { state in
            guard let author = key.publicKey.subject, let subject else { return .failure(MeshError(.factInvalid, "a \(kind) needs a subject")) }
            if let problem = Self.missingPermission(kind, body, author, state.view) { return .failure(problem) }
            let own = state.set.admitted.values.filter { $0.author == key.publicKey }
            let last = own.max { ($0.seq, $1.id) < ($1.seq, $0.id) }
            let seq = (last?.seq ?? 0) + 1
            guard seq <= Limits.factSequenceMax else {
                return .failure(MeshError(.factLimit, "this key has signed \(Limits.factSequenceMax) facts, which is all it may", hint: "make a new key and have it granted the same roles"))
            }
            return .success(Fact.sign(kind: kind, subject: subject, body: body, mesh: state.charter.meshID, seq: seq, prev: last?.id, at: at, by: key))
        }
        let envelope = try draft.get()
        let fact = try Fact(parsing: envelope, mesh: meshID)
        if let refused = try admit([fact], []).refused.first { throw refused }
        return fact
    }

    public func grant(_ role: Role, scope: [Glob], to key: PublicKey, by issuer: SigningKey) throws(MeshError) -> Fact {
        guard let subject = key.subject else { throw MeshError(.factInvalid, "a grant needs a key") }
        var body: [String: JSONValue] = ["role": .string(role.rawValue)]
        if !scope.isEmpty { body["scope"] = .array(scope.map { .string($0.description) }) }
        return try publish(kind: "grant", subject: subject, body: body, by: issuer)
    }

    private static func missingPermission(_ kind: String, _ body: [String: JSONValue], _ author: Digest, _ view: CatalogView) -> MeshError? {
        func refuse(_ what: String, _ hint: String) -> MeshError { MeshError(.notGranted, "this key may not \(what) in this mesh", hint: hint) }
        guard !view.revoked.contains(author) else { return refuse("say anything more: it was revoked", "make a new key and ask for a grant") }
        switch kind {
        case "grant":
            let role = body["role"]?.string.flatMap(Role.init(rawValue:)) ?? .member
            let scope = (body["scope"]?.array ?? []).compactMap(\.string).map(Glob.init)
            guard view.grants.mayGrant(role, scope, issuer: author) else {
                return refuse("grant the role \(role.rawValue)\(scope.isEmpty ? "" : " for \(scope.map(\.description).joined(separator: ", "))")",
                              "it needs the roles grantor and \(role.rawValue) itself, in that scope; ask a root or a grantor who has them")
            }
        case "release", "withdraw", "channel":
            let name = body["name"]?.string ?? ""
            guard view.grants.mayPublish(name, author) else {
                return refuse("publish “\(name)”", "ask a grantor of the mesh: capsule keys trust KEY.pub --role publisher --scope \(name)")
            }
        default:
            guard view.grants.isKnown(author) else { return refuse("say anything", "ask a member for an invitation") }
        }
        return nil
    }

    // MARK: Views

    /// Every role of a key, with its scopes; empty for strangers and revoked keys.
    public func roles(of key: PublicKey) throws(MeshError) -> [Role: [Glob]] {
        state.withLock { state in key.subject.map { state.view.roles(of: $0) } ?? [:] }
    }

    /// Whether a key was granted anything and not revoked.
    public func isMember(_ key: PublicKey) throws(MeshError) -> Bool { try !roles(of: key).isEmpty }

    /// By name and version; those withdrawn, or by someone who may not publish the name, are not among them.
    public func releases(matching glob: Glob?) throws(MeshError) -> [Release] {
        state.withLock { $0.view.releases }.filter { glob?.matches($0.name.description) ?? true }
    }

    /// The release of a version, or of the newest; nil when there is none. `contested` names all candidates.
    public func resolve(_ name: CapsuleName, version: SemanticVersion?) throws(MeshError) -> Release? {
        let all = try releases(matching: Glob(name.description)).filter { version == nil || $0.version == version }
        // A pre-release is the newest only where there is nothing else.
        guard let newest = all.last(where: \.version.prerelease.isEmpty) ?? all.last else { return nil }
        let candidates = all.filter { $0.version == newest.version }
        guard !candidates.contains(where: \.contested) else {
            throw MeshError(.contested, "\(name)@\(newest.version) is contested: there is more than one claim to it", hint: "compare them and name the one you trust by its digest",
                            details: candidates.map { "\($0.capsule) by \($0.publisher.id.short)" })
        }
        return newest
    }

    public func hasOwnReleases(by key: PublicKey) throws(MeshError) -> Bool {
        state.withLock { $0.set.admitted.values.contains { $0.kind == "release" && $0.author == key } }
    }

    /// Writes the database as it is at one moment to a new file, which a home can have in its place; the catalog stays in use.
    ///
    /// - Throws: `disk_full`, and what else keeps a file from being written.
    public func copy(to path: String) throws(MeshError) { try table.copy(to: path) }

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
