internal import MeshCore
internal import Signing

/// Whose facts still count, and which of them. A revocation keeps what was honest before, without asking a clock: it names the last
/// fact to keep, and that fact's chain is kept.
struct Revocations: Sendable {
    /// For each key that may say nothing more, the facts of its that still count.
    let kept: [Digest: Set<Digest>]
    /// Of these, those about whom somebody above them has decided; the others left on their own, by a revocation or to a successor.
    let decided: Set<Digest>
    /// Key → who took its place.
    let successors: [Digest: PublicKey]

    init(_ set: AdmittedSet, charter: Charter) {
        var out: [Digest: Set<Digest>] = [:], decided: Set<Digest> = []
        let current = Set(charter.roots.compactMap(\.subject))
        // Who was dropped from the charter is revoked by it.
        for (key, last) in charter.former {
            guard let id = key.subject else { continue }
            out[id] = Self.chain(endingAt: last, of: id, in: set)
            decided.insert(id)
        }
        // By the key itself or by someone above it; keys nearer to the roots are decided first, so that what a revoked key revoked is
        // weighed by what was kept of it.
        let revocations = Dictionary(grouping: set.admitted.values.filter { $0.kind == "revoke" }) { $0.subject }
        let order = revocations.keys.compactMap(\.self).map { ($0, set.grants.ancestors(of: $0)) }.sorted { ($0.1.count, $0.0) < ($1.1.count, $1.0) }
        for (key, above) in order where !current.contains(key) {
            for revocation in (revocations[key] ?? []) {
                guard let author = revocation.author.subject, author == key || (above.contains(author) && out[author]?.contains(revocation.id) ?? true) else { continue }
                let chain: Set<Digest>
                if author == key {
                    chain = Self.notAfter(revocation, in: set)
                } else {
                    chain = Self.chain(endingAt: revocation.body["keep"]?.string.flatMap { Digest(hex: $0) }, of: key, in: set)
                    decided.insert(key)
                }
                out[key] = out[key].map { $0.intersection(chain) } ?? chain
            }
        }
        // A key that named a successor is done, with that fact. Of two the earlier counts: the later is beyond what is kept.
        var successors: [Digest: PublicKey] = [:]
        for fact in set.admitted.values.filter({ $0.successor != nil }).sorted(by: { ($0.seq, $0.id) < ($1.seq, $1.id) }) {
            guard let author = fact.author.subject, !set.grants.isRoot(author), let successor = fact.successor, out[author]?.contains(fact.id) ?? true else { continue }
            let chain = Self.notAfter(fact, in: set)
            out[author] = out[author].map { $0.intersection(chain) } ?? chain
            successors[author] = successors[author] ?? successor
        }
        kept = out
        self.decided = decided
        self.successors = successors
    }

    func counts(_ fact: Fact) -> Bool { fact.author.subject.map { kept[$0]?.contains(fact.id) ?? true } ?? false }

    /// What a key keeps that leaves by itself: all it said at places before, the fact with which it leaves, and what was said on another
    /// branch of its facts, which proves two at one place. So a thief who lets the key leave early takes nothing from what its owner had
    /// said; and nothing that only claims to stand elsewhere stays.
    private static func notAfter(_ last: Fact, in set: AdmittedSet) -> Set<Digest> {
        let own = set.admitted.values.filter { $0.author == last.author }.sorted { ($0.seq, $0.id) < ($1.seq, $1.id) }
        var out: Set<Digest> = [last.id], branch: Set<Digest> = []
        for fact in own where fact.id != last.id {
            if fact.seq < last.seq {
                out.insert(fact.id)
            } else if fact.seq == last.seq || (fact.prev.map(branch.contains) ?? false && set.admitted[fact.prev ?? fact.id]?.seq == fact.seq - 1) {
                branch.insert(fact.id)
            }
        }
        return out.union(branch)
    }

    private static func chain(endingAt last: Digest?, of key: Digest, in set: AdmittedSet) -> Set<Digest> {
        var out: Set<Digest> = [], next = last
        while let id = next, let fact = set.admitted[id], fact.author.subject == key, out.insert(id).inserted { next = fact.prev }
        return out
    }
}
