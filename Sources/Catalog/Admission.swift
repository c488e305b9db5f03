internal import MeshCore
internal import Signing

/// Which facts belong to the set: a pure function of all facts that were ever offered, so that order and carrier are
/// nothing. An author's facts count from the moment some chain of grants reaches its key, revoked later or not; of several
/// facts at one place in an author's sequence the two smallest ids stay, which proves the equivocation and bounds it.
struct AdmittedSet: Sendable {
    let admitted: [Digest: Fact]
    /// From authors that no chain reaches yet, or beyond what their author may sign, in the order in which they were offered.
    let waiting: [Fact]
    let grants: Grants

    init(offered: some Sequence<Fact>, charter: Charter) {
        var byAuthor: [Digest: [Fact]] = [:]
        var order: [(author: Digest, fact: Fact)] = []
        var seen: Set<Digest> = []
        for fact in offered where seen.insert(fact.id).inserted {
            guard let author = fact.author.subject else { continue }
            byAuthor[author, default: []].append(fact)
            order.append((author, fact))
        }
        var admitted: [Digest: Fact] = [:]
        var grants = Grants([], charter: charter)
        /// Author → up to which place its facts were taken.
        var taken: [Digest: Int] = [:]
        while true {
            let reached = byAuthor.keys.filter { grants.isKnown($0) && grants.seqMax(of: $0) > taken[$0] ?? 0 }
            if reached.isEmpty { break }
            for author in reached {
                let seqMax = grants.seqMax(of: author)
                taken[author] = seqMax
                for fact in Self.twoSmallest(byAuthor[author] ?? []) where fact.seq <= seqMax { admitted[fact.id] = fact }
            }
            grants = Grants(admitted.values, charter: charter)
        }
        self.admitted = admitted
        self.grants = grants
        waiting = order.filter { $0.fact.seq > taken[$0.author] ?? 0 }.map(\.fact)
    }

    /// The same set, holding on to these of the facts that wait.
    init(_ set: AdmittedSet, waiting: [Fact]) {
        admitted = set.admitted
        grants = set.grants
        self.waiting = waiting
    }

    private static func twoSmallest(_ facts: [Fact]) -> [Fact] {
        Dictionary(grouping: facts, by: \.seq).values.flatMap { $0.sorted { $0.id < $1.id }.prefix(2) }
    }
}
