@testable import Catalog
import MeshCore
import Signing

/// What people say in a random history, honest or not: what each kind of fact weighs, how often a place is taken twice.
struct HistoryMix {
    enum Kind: CaseIterable { case grant, revoke, successor, withdraw, channel, raise, note, release }

    let people: Int
    let names: [String]
    let weights: [Kind: Int]
    /// One of so many facts stands at a place that is taken.
    let doubledOneIn: Int

    /// Grants, revocations and successors in all directions: as much trouble as possible in few facts.
    static let wild = HistoryMix(
        people: 6, names: ["site-a", "site-b", "tool"],
        weights: [.grant: 5, .revoke: 2, .withdraw: 1, .successor: 1, .channel: 2, .raise: 1, .note: 1, .release: 3], doubledOneIn: 4)

    /// A team at work, with a thief now and then.
    static let work = HistoryMix(
        people: 20, names: (0..<12).map { "site-\($0)" } + ["tool"],
        weights: [.grant: 80, .revoke: 8, .withdraw: 30, .successor: 6, .channel: 300, .raise: 6, .note: 70, .release: 500], doubledOneIn: 20)

    func kind(_ random: inout SplitMix) -> Kind {
        var rest = random.below(weights.values.reduce(0, +))
        for kind in Kind.allCases {
            rest -= weights[kind] ?? 0
            if rest < 0 { return kind }
        }
        return .release
    }
}

extension Story {
    /// - Returns: the story, and charters that follow from its own, in one of three.
    static func random(_ random: inout SplitMix, length: Int, _ mix: HistoryMix = .wild) throws -> (story: Story, charters: [[UInt8]]) {
        let story = Story(root: random.key()), stems = Set(mix.names.map { $0.prefix { $0 != "-" } }).sorted()
        let scopes = [["*"]] + stems.map { ["\($0)*"] } + mix.names.map { [$0] } + [Array(mix.names.suffix(2))]
        var people = (0..<mix.people).map { _ in story.author(random.key()) }, charters: [[UInt8]] = []
        // Clocks are wrong by up to 50 years.
        for person in people + [story.ruler] { story.skew[person.key.publicKey] = Milliseconds(random.below(100 * 31_557_600) - 50 * 31_557_600) * 1000 }
        for said in 0..<length {
            let author = random.below(mix.people / 3 + 1) == 0 ? story.ruler : random.pick(people), last = author.said.map(\.seq).max() ?? 0
            let seq = last > 0 && random.below(mix.doubledOneIn) == 0 ? 1 + random.below(last) : last + 1
            let name = random.pick(mix.names), content = "\(name) \(random.below(3 + said / 40))"
            switch mix.kind(&random) {
            case .grant: try author.grant(random.pick(Role.allCases), to: random.pick(people), scope: random.pick(scopes), seq: seq)
            case .revoke:
                let whom = random.pick(people), own = whom.said
                try author.revoke(whom, keep: own.isEmpty ? nil : random.pick(own).id, seq: seq)
            case .withdraw: try author.withdraw(name, of: content, security: random.below(2) == 0)
            case .successor: try author.handOver(to: random.pick(people.filter { $0.id != author.id }), seq: seq)
            case .channel: try author.set(random.pick(["stable", "beta"]), of: name, to: content, epoch: random.below(2), ver: 1 + said / 12 + random.below(3), seq: seq,
                                         until: random.below(3) == 0 ? FixedClock().now + Milliseconds(random.below(1_000_000)) : nil)
            case .raise: try author.say("grant", about: random.pick(people).id, ["role": "member", "seqMax": .integer(Int64(4096 + random.below(10)))], seq: seq)
            case .note: try author.say("note", about: capsule(content), seq: random.below(2) == 0 ? seq : 4096 + random.below(8))
            case .release: try author.release(name, random.pick(["1.0.0", "1.1.0", "1.\(said).0"]), of: content, seq: seq)
            }
            if random.below(mix.people * 7) == 0 { people.append(story.author(random.key())) }
        }
        if random.below(3) == 0 {
            let heir = random.key(), said = story.ruler.said
            charters.append(try story.charter.next(roots: [heir.publicKey], threshold: 1, keep: said.isEmpty ? [:] : [story.root.publicKey: random.pick(said).id], signedBy: [story.root, heir]))
            if random.below(2) == 0 { charters.append(try story.charter.next(roots: [random.key().publicKey, story.root.publicKey], threshold: 1, signedBy: [story.root])) }
        }
        return (story, charters)
    }
}

/// Everything that a set of facts is and shows. What waits is not part of it: a fact that two others outdid is dropped by whoever knew
/// its author then, and still waits where the author was never known.
struct Shown: Equatable {
    let admitted: [Digest]
    let kept: [Digest: Set<Digest>]
    let decided: Set<Digest>
    let equivocators: Set<Digest>
    let releases: [Catalog.Release]
    let channels: [Catalog.Channel]
    let withdrawals: Set<Catalog.Withdrawal>
    let grants: [Digest: Set<Grants.Grant>]

    init(_ set: AdmittedSet, charter: Charter) { self.init(set, CatalogView(set, charter: charter)) }

    init(_ set: AdmittedSet, _ view: CatalogView) {
        admitted = set.admitted.keys.sorted()
        (kept, decided) = (view.authorities.revocations.kept, view.authorities.revocations.decided)
        equivocators = view.authorities.equivocators
        (releases, channels, withdrawals) = (view.releases, view.channels, Set(view.withdrawals))
        grants = view.grants.byKey.mapValues(Set.init)
    }

    /// What a catalog in use shows.
    init(_ catalog: Catalog) throws {
        admitted = try catalog.factIDs()
        let authorities = catalog.authorities
        (kept, decided) = (authorities.revocations.kept, authorities.revocations.decided)
        equivocators = authorities.equivocators
        (releases, channels, withdrawals) = (try catalog.releases(matching: nil), try catalog.channels(matching: nil), Set(try catalog.withdrawals(matching: nil)))
        grants = authorities.grants.byKey.mapValues(Set.init)
    }
}
