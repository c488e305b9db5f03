public import MeshCore
public import Signing

extension Catalog {
    /// A key that was granted something once, or is a root.
    public struct Member: Sendable {
        public enum State: String, Sendable { case root, active, contested, succeeded, revoked }

        public let id: KeyID
        /// `role` or `role(scope, …)`, those that it has now.
        public let roles: [String]
        public let state: State
        public let successor: KeyID?
        /// How many facts of its there are.
        public let facts: Int
    }

    /// A fact, and whether it is kept of its author.
    public struct Statement: Sendable {
        public let fact: Fact
        public let counts: Bool
    }

    /// By key id.
    public func members() throws(MeshError) -> [Member] {
        let charter = charter, authorities = authorities, authors = authors
        let current = Set(charter.roots.compactMap(\.subject))
        return Set(authorities.everGranted.byKey.keys).union(current).union(charter.former.keys.compactMap(\.subject)).sorted().map { key in
            let state: Member.State =
                current.contains(key) ? .root : authorities.revocations.successors[key] != nil ? .succeeded : authorities.revocations.kept[key] != nil ? .revoked
                : authorities.equivocators.contains(key) ? .contested : .active
            return Member(id: KeyID(key), roles: Self.texts(authorities.roles(of: key)), state: state, successor: authorities.revocations.successors[key]?.id, facts: authors[key]?.facts ?? 0)
        }
    }

    /// `role` or `role(scope, …)` for each.
    public static func texts(_ roles: [Role: [Glob]]) -> [String] {
        roles.sorted { $0.key.rawValue < $1.key.rawValue }.map { role, scope in
            scope.isEmpty ? role.rawValue : "\(role.rawValue)(\(scope.map(\.description).sorted().joined(separator: ", ")))"
        }
    }

    /// Those that came last first.
    public func statements(author: KeyID?, kind: String?, name: Glob?, limit: Int) throws(MeshError) -> [Statement] {
        let revocations = authorities.revocations
        var number: Int64?
        if let author {
            guard let row = authors[author.digest] else { return [] }
            number = row.number
        }
        var out: [Statement] = [], offset = 0
        // Names are globs, so they are looked through.
        while out.count < limit {
            let envelopes = try table.newest(author: number, kind: kind, limit: 1000, offset: offset)
            for envelope in envelopes where out.count < limit {
                let fact = try Fact(stored: envelope, mesh: meshID)
                if let name, !(fact.name.map { name.matches($0.description) } ?? false) { continue }
                out.append(Statement(fact: fact, counts: revocations.counts(fact)))
            }
            offset += envelopes.count
            if envelopes.count < 1000 { break }
        }
        return out
    }

    /// What a look at everything found.
    public struct Report: Sendable {
        public let root: Digest
        public let facts: Int
        public let problems: [String]
        public let remarks: [String]
    }

    /// Reads every fact again from the disk, checks its signature, and works everything out anew.
    public func verify() throws(MeshError) -> Report {
        let charter = charter, mesh = charter.meshID
        var ids: [Digest] = [], problems: [String] = [], places: [Digest: [Int: Int]] = [:], control: [Fact] = [], authorOf: [Digest: [FactPlace]] = [:]
        try table.eachEnvelope { row, envelope in
            do {
                let fact = try Fact(parsing: envelope, mesh: mesh)
                ids.append(fact.id)
                if fact.isControl { control.append(fact) }
                guard let author = fact.author.subject else { return }
                places[author, default: [:]][fact.seq, default: 0] += 1
                authorOf[author, default: []].append(FactPlace(fact))
            } catch { problems.append("the fact in row \(row) does not hold: \((error as? MeshError)?.message ?? "\(error)")") }
        }
        ids.sort()
        let root = MerkleTrie.root(ids), grants = Grants(control, charter: charter)
        for (author, seqs) in places.sorted(by: { $0.key < $1.key }) {
            if !grants.isKnown(author) { problems.append("facts of the key \(KeyID(author).short) are here, and nobody granted it anything") }
            if let most = seqs.values.max(), most > 2 { problems.append("the key \(KeyID(author).short) has \(most) facts at one place") }
        }
        let doubled = Set(places.filter { $0.value.values.contains(2) }.keys)
        let fresh = try Authorities(control, grants, charter: charter, doubled: doubled) { authorOf[$0] ?? [] }
        let inUse = authorities
        if root != self.root || ids.count != count { problems.append("the facts in use are not those on the disk") }
        if fresh.revocations.kept != inUse.revocations.kept || fresh.equivocators != inUse.equivocators || fresh.grants.byKey.mapValues(Set.init) != inUse.grants.byKey.mapValues(Set.init) {
            problems.append("who may say what does not follow from the facts")
        }
        for name in try table.names() {
            guard let name = try? CapsuleName(parsing: name) else { continue }
            let facts = try table.envelopes(.named(name.description)).map { (envelope) throws(MeshError) in try Fact(stored: envelope, mesh: mesh) }
            if try view(of: name) != NameView(facts, fresh) { problems.append("what is shown of \(name) does not follow from the facts") }
        }
        var remarks = fresh.equivocators.sorted().map { "the key \(KeyID($0).short) has signed two facts at one place; what it says is contested until somebody above it decides" }
        if !charter.contested.isEmpty { remarks.append("\(charter.contested.count) charters contradict each other: \(charter.contested.map(\.hex).joined(separator: ", ")); nothing is granted until the roots sign one that sets them aside") }
        return Report(root: root, facts: ids.count, problems: problems, remarks: remarks)
    }
}
