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
        let view = view, charter = charter, facts = snapshot.facts
        let counts = Dictionary(facts.compactMap { fact in fact.author.subject.map { ($0, 1) } }, uniquingKeysWith: +)
        let current = Set(charter.roots.compactMap(\.subject))
        return Set(snapshot.grants.byKey.keys).union(current).union(charter.former.keys.compactMap(\.subject)).sorted().map { key in
            let state: Member.State =
                current.contains(key) ? .root : view.revocations.successors[key] != nil ? .succeeded : view.revocations.kept[key] != nil ? .revoked
                : view.equivocators.contains(key) ? .contested : .active
            return Member(id: KeyID(key), roles: Self.texts(view.roles(of: key)), state: state, successor: view.revocations.successors[key]?.id, facts: counts[key] ?? 0)
        }
    }

    /// `role` or `role(scope, …)` for each.
    public static func texts(_ roles: [Role: [Glob]]) -> [String] {
        roles.sorted { $0.key.rawValue < $1.key.rawValue }.map { role, scope in
            scope.isEmpty ? role.rawValue : "\(role.rawValue)(\(scope.map(\.description).sorted().joined(separator: ", ")))"
        }
    }

    /// The newest first, by what their authors' clocks said.
    public func statements(author: KeyID?, kind: String?, name: Glob?, limit: Int) throws(MeshError) -> [Statement] {
        let view = view
        return snapshot.facts.filter { fact in
            (author == nil || fact.author.id == author) && (kind == nil || fact.kind == kind)
                && (name == nil || fact.body["name"]?.string.map { name?.matches($0) ?? true } ?? false)
        }.sorted { ($0.at, $0.id) > ($1.at, $1.id) }.prefix(limit).map { Statement(fact: $0, counts: view.revocations.counts($0)) }
    }

    public var waitingCount: Int { limbo }

    /// What a look at everything found.
    public struct Report: Sendable {
        public let root: Digest
        public let facts: Int
        public let problems: [String]
        public let remarks: [String]
    }

    /// Reads every fact again from the disk, checks its signature, and works root and views out anew.
    public func verify() throws(MeshError) -> Report {
        let loaded = try stored(), charter = charter
        var facts: [Fact] = [], problems: [String] = []
        for envelope in loaded {
            do throws(MeshError) { facts.append(try Fact(parsing: envelope, mesh: charter.meshID)) } catch { problems.append("a fact on the disk does not hold: \(error.message)") }
        }
        let set = AdmittedSet(offered: facts, charter: charter), ids = set.admitted.keys.sorted()
        if set.admitted.count != facts.count { problems.append("\(facts.count - set.admitted.count) facts on the disk belong to nobody who was granted anything, or to a place that two others have") }
        let root = MerkleTrie.root(ids)
        if root != self.root || ids.count != count { problems.append("the facts in use are not those on the disk") }
        let fresh = CatalogView(set, charter: charter), view = view
        if fresh.releases != view.releases || fresh.channels != view.channels || fresh.withdrawals != view.withdrawals || fresh.revocations.kept != view.revocations.kept {
            problems.append("what is shown does not follow from the facts")
        }
        var remarks = fresh.equivocators.sorted().map { "the key \(KeyID($0).short) has signed two facts at one place; what it says is contested until somebody above it decides" }
        if !charter.contested.isEmpty { remarks.append("\(charter.contested.count) charters contradict each other: \(charter.contested.map(\.hex).joined(separator: ", ")); nothing is granted until the roots sign one that sets them aside") }
        return Report(root: root, facts: facts.count, problems: problems, remarks: remarks)
    }
}
