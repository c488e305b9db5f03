internal import GRDB
internal import MeshCore
internal import Signing

/// What a catalog has in memory: who may say what, and where each fact is. The facts themselves are in the table. Everything here follows
/// from charter and admitted facts, and is kept up to date as facts come; `CatalogView` works the same out from nothing.
struct CatalogState {
    private(set) var charter: Charter
    private(set) var index: FactIndex
    /// By key id.
    private(set) var authors: [Digest: AuthorRow] = [:]
    /// The admitted facts that grant, revoke and hand over.
    private(set) var control: [Digest: Fact] = [:]
    /// Over these, counting or not.
    private(set) var everGranted: Grants
    private(set) var authorities: Authorities
    /// Facts of authors that nobody has granted anything, or beyond what they may sign, with who brought them, the oldest first.
    private(set) var limbo: [(fact: Fact, carrier: KeyID?)] = []
    /// What is said of the names that were asked for since something changed that concerns them.
    private var views: [CapsuleName: NameView] = [:]

    init(_ loaded: FactTable.Loaded, charter: Charter, _ table: FactTable) throws(MeshError) {
        self.charter = charter
        index = loaded.index
        for author in loaded.authors { if let id = author.key.subject { authors[id] = author } }
        for envelope in loaded.control {
            let fact = try Fact(stored: envelope, mesh: charter.meshID)
            control[fact.id] = fact
        }
        everGranted = Grants(control.values, charter: charter)
        authorities = Authorities(none: charter)
        try settle(table)
    }

    private mutating func settle(_ table: FactTable) throws(MeshError) {
        let authors = authors
        authorities = try Authorities(control.values, everGranted, charter: charter, doubled: Set(authors.filter { $0.value.doubled > 0 }.keys)) { (key) throws(MeshError) in
            try authors[key].map { (author) throws(MeshError) in try table.places(of: author.number) } ?? []
        }
        views.removeAll()
    }

    /// That of another mesh, which takes the place of whatever the table holds.
    static func replacing(with charter: Charter, _ facts: [Fact], _ table: FactTable) throws(MeshError) -> CatalogState {
        var state = try CatalogState(FactTable.Loaded(), charter: charter, table)
        _ = try state.take(facts, from: nil, charter: charter, clearing: true, table)
        return state
    }

    // MARK: Views

    mutating func view(of name: CapsuleName, _ table: FactTable) throws(MeshError) -> NameView {
        if let view = views[name] { return view }
        var facts: [Fact] = []
        for envelope in try table.envelopes(.named(name.description)) { facts.append(try Fact(stored: envelope, mesh: charter.meshID)) }
        let view = NameView(facts, authorities)
        // Names are as many as members care to make.
        if views.count >= Self.viewsMax { views.removeAll() }
        views[name] = view
        return view
    }

    private static let viewsMax = 4096

    // MARK: Taking in

    struct Outcome {
        var admitted: [Fact] = []
        /// Offered before, or outdone by two others at the same place.
        var known = 0
        var waiting = 0
    }

    /// Takes in what holds, in one transaction; on any error nothing is changed.
    ///
    /// - Parameters:
    ///   - offered: valid facts of this mesh.
    ///   - charter: a new state of the charters, taken in with them.
    ///   - clearing: whether the table is emptied first: of another mesh.
    mutating func take(_ offered: [Fact], from carrier: KeyID?, charter new: Charter? = nil, clearing: Bool = false, _ table: FactTable) throws(MeshError) -> Outcome {
        var seen: Set<Digest> = []
        let fresh = offered.filter { index.row(of: $0.id) == nil && seen.insert($0.id).inserted }
        if fresh.isEmpty, new == nil { return Outcome(known: offered.count) }
        let waitingBefore = Set(limbo.map(\.fact.id))
        var work = Admitting(self, charter: new ?? charter)
        work.open = limbo + fresh.filter { !waitingBefore.contains($0.id) }.map { ($0, carrier) }
        let start = work
        work = try table.write { db in
            var work = start
            if clearing { try FactTable.clear(db) }
            try work.run(db)
            try work.store(db, charter: new)
            return work
        }
        self = work.state
        if work.changesAuthorities || new != nil { try settle(table) } else { for name in work.names { views[name] = nil } }
        let freshIDs = Set(fresh.map(\.id))
        let waiting = limbo.count { freshIDs.contains($0.fact.id) }
        let admitted = work.inserted.values.filter { freshIDs.contains($0.id) || waitingBefore.contains($0.id) }.sorted { $0.id < $1.id }
        return Outcome(admitted: admitted, known: offered.count - waiting - admitted.count { freshIDs.contains($0.id) }, waiting: waiting)
    }

    /// One change under way: the state as it will be, and what the table is to be told.
    private struct Admitting {
        var state: CatalogState
        var open: [(fact: Fact, carrier: KeyID?)] = []
        /// By id, not in the table yet.
        var inserted: [Digest: Fact] = [:]
        private var removed: [Digest: Int64] = [:]
        /// What was inserted at each place.
        private var places: [Digest: [Int: [Digest]]] = [:]
        private var touched: Set<Digest> = []
        var names: Set<CapsuleName> = []
        private(set) var changesAuthorities = false
        private var controlChanged = false, controlShrank = false

        init(_ state: CatalogState, charter: Charter) {
            self.state = state
            self.state.charter = charter
            self.state.everGranted = Grants(state.control.values, charter: charter)
            // Roots can come and go.
            controlShrank = !charter.isSame(as: state.charter)
        }

        /// Until nothing more is admitted: a grant can make more authors known.
        mutating func run(_ db: Database) throws {
            repeat {
                controlChanged = false
                if controlShrank { try purge(db) }
                var rest: [(fact: Fact, carrier: KeyID?)] = []
                for item in open {
                    guard let author = item.fact.author.subject, state.everGranted.isKnown(author), item.fact.seq <= state.everGranted.seqMax(of: author) else {
                        rest.append(item)
                        continue
                    }
                    try place(item.fact, author, db)
                }
                open = rest
                if controlChanged { state.everGranted = Grants(state.control.values, charter: state.charter) }
            } while controlChanged || controlShrank
            // Of what waits, so many for each who brought it, the oldest: no flood of strangers' facts pushes out what is waited for.
            var counts: [KeyID?: Int] = [:]
            state.limbo = open.filter { item in
                counts[item.carrier, default: 0] += 1
                return counts[item.carrier, default: 0] <= Limits.limboFactsPerPeerMax
            }
        }

        private mutating func place(_ fact: Fact, _ author: Digest, _ db: Database) throws {
            var there: [FactTable.Placed] = (places[author]?[fact.seq] ?? []).map { .init(id: $0, row: 0, isControl: inserted[$0]?.isControl ?? false) }
            if let row = state.authors[author], fact.seq <= row.seqMax, row.number > 0 {
                there += try FactTable.facts(at: fact.seq, of: row.number, db).filter { removed[$0.id] == nil }
            }
            guard !there.contains(where: { $0.id == fact.id }) else { return }
            if there.count > 1 {
                guard let largest = there.max(by: { $0.id < $1.id }), fact.id < largest.id else { return }
                try remove(largest, at: fact.seq, author, db)
                there.removeAll { $0.id == largest.id }
            }
            inserted[fact.id] = fact
            places[author, default: [:]][fact.seq, default: []].append(fact.id)
            var row = state.authors[author] ?? AuthorRow(number: 0, key: fact.author)
            row.facts += 1
            row.seqMax = max(row.seqMax, fact.seq)
            if there.count == 1 {
                row.doubled += 1
                changesAuthorities = true
            }
            state.authors[author] = row
            note(fact, author)
            if fact.isControl {
                state.control[fact.id] = fact
                controlChanged = true
            }
        }

        /// Of one that goes, which leaves its place to others.
        private mutating func remove(_ placed: FactTable.Placed, at seq: Int, _ author: Digest, _ db: Database) throws {
            let fact: Fact?
            if let new = inserted.removeValue(forKey: placed.id) {
                places[author]?[seq]?.removeAll { $0 == placed.id }
                fact = new
            } else {
                var found: Fact?
                for envelope in try FactTable.envelopes(.at(seq, of: state.authors[author]?.number ?? 0), db) {
                    let candidate = try Fact(stored: envelope, mesh: state.charter.meshID)
                    if candidate.id == placed.id { found = candidate }
                }
                fact = found
                removed[placed.id] = placed.row
            }
            var others = (places[author]?[seq] ?? []).count
            if let row = state.authors[author], row.number > 0 { others += try FactTable.facts(at: seq, of: row.number, db).count { removed[$0.id] == nil } }
            state.authors[author]?.facts -= 1
            if others == 1 { state.authors[author]?.doubled -= 1 }
            if let fact { note(fact, author) }
            if state.control.removeValue(forKey: placed.id) != nil { (controlChanged, controlShrank) = (true, true) }
        }

        private mutating func note(_ fact: Fact, _ author: Digest) {
            touched.insert(author)
            if let name = fact.name { names.insert(name) }
            // What is kept of a key that may say nothing more can grow.
            if fact.isControl || state.authorities.revocations.kept[author] != nil { changesAuthorities = true }
        }

        /// What made an author known is gone, or a root is none any more: their facts wait again.
        private mutating func purge(_ db: Database) throws {
            controlShrank = false
            changesAuthorities = true
            state.everGranted = Grants(state.control.values, charter: state.charter)
            for (author, row) in state.authors where row.facts > 0 {
                let isKnown = state.everGranted.isKnown(author), seqMax = state.everGranted.seqMax(of: author)
                guard !isKnown || row.seqMax > seqMax else { continue }
                let stored = row.number > 0 ? try FactTable.envelopes(.by(row.number), db).map { try Fact(stored: $0, mesh: state.charter.meshID) }.filter { removed[$0.id] == nil } : []
                let own = stored + inserted.values.filter { $0.author == row.key }
                for fact in own.sorted(by: { ($0.seq, $0.id) < ($1.seq, $1.id) }) where !isKnown || fact.seq > seqMax {
                    try remove(.init(id: fact.id, row: state.index.row(of: fact.id) ?? 0, isControl: fact.isControl), at: fact.seq, author, db)
                    open.append((fact, nil))
                }
            }
        }

        /// Tells the table, and the index of ids what the table made of it.
        mutating func store(_ db: Database, charter: Charter?) throws {
            if let charter { try FactTable.set(charter: charter.bytes, db) }
            for (_, row) in removed { try FactTable.delete(row: row, db) }
            var rows: [(id: Digest, row: Int64)] = []
            rows.reserveCapacity(inserted.count)
            for fact in inserted.values.sorted(by: { ($0.author.id, $0.seq, $0.id) < ($1.author.id, $1.seq, $1.id) }) {
                guard let author = fact.author.subject, var row = state.authors[author] else { continue }
                if row.number == 0 {
                    row = AuthorRow(number: try FactTable.insert(author: fact.author, db), key: row.key, facts: row.facts, seqMax: row.seqMax, doubled: row.doubled)
                    state.authors[author] = row
                }
                rows.append((fact.id, try FactTable.insert(fact, author: row.number, db)))
            }
            for author in touched { if let row = state.authors[author], row.number > 0 { try FactTable.update(row, db) } }
            let changed = state.index.change(insert: rows, remove: Array(removed.keys))
            for number in changed { try FactTable.update(state.index.buckets[number], number, db) }
        }
    }
}
