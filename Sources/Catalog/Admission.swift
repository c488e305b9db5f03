internal import MeshCore
internal import Signing

/// Which facts belong to the set: a pure function of all facts that were ever offered, so that order and carrier are
/// nothing. An author's facts count from the moment some chain of grants reaches its key, revoked later or not; of several
/// facts at one place in an author's sequence the two smallest ids stay, which proves the equivocation and bounds it.
struct AdmittedSet: Sendable {
    let admitted: [Digest: Fact]
    /// From authors that no chain reaches yet, in the order in which they were offered.
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
        var known: Set<Digest> = []
        while true {
            let reached = byAuthor.keys.filter { !known.contains($0) && grants.isKnown($0) }
            if reached.isEmpty { break }
            for author in reached {
                known.insert(author)
                for fact in Self.twoSmallest(byAuthor[author] ?? []) { admitted[fact.id] = fact }
            }
            grants = Grants(admitted.values, charter: charter)
        }
        self.admitted = admitted
        self.grants = grants
        waiting = order.filter { !known.contains($0.author) }.map(\.fact)
    }

    /// The same set, holding on to no more than so many facts that wait: the oldest, so that a flood of strangers' facts does
    /// not push out what is waited for.
    init(_ set: AdmittedSet, waitingMax: Int) {
        admitted = set.admitted
        grants = set.grants
        waiting = Array(set.waiting.prefix(waitingMax))
    }

    private static func twoSmallest(_ facts: [Fact]) -> [Fact] {
        Dictionary(grouping: facts, by: \.seq).values.flatMap { $0.sorted { $0.id < $1.id }.prefix(2) }
    }
}
