@testable import Catalog
import MeshCore
import Signing
import Testing

@Suite struct RevocationTests {
    /// A story with a publisher of `site`, who has released 1.0.0, 2.0.0 and 3.0.0.
    static func publisher() throws -> (story: Story, ada: Author, releases: [Fact]) {
        let story = Story()
        let ada = try story.newcomer([.publisher, .member], scope: ["site"])
        let releases = try (1...3).map { try ada.release("site", "\($0).0.0", of: "\($0)") }
        return (story, ada, releases)
    }

    @Test func aRevokedKeyHasNothing() throws {
        let (story, ada, _) = try Self.publisher()
        #expect(story.view.listed == ["site@1.0.0", "site@2.0.0", "site@3.0.0"])
        try story.ruler.revoke(ada)
        let view = story.view
        #expect(view.listed.isEmpty && view.roles(of: ada.id).isEmpty && view.revoked == [ada.id])
        // A new grant does not bring it back: a new key does.
        try story.ruler.grant(.publisher, to: ada, scope: ["site"])
        #expect(story.view.roles(of: ada.id).isEmpty && story.view.listed.isEmpty)
    }

    @Test func keepKeepsTheChainUpToThere() throws {
        for kept in 0..<3 {
            let (story, ada, releases) = try Self.publisher()
            try story.ruler.revoke(ada, keep: releases[kept].id)
            let view = story.view
            #expect(view.listed == Array(["site@1.0.0", "site@2.0.0", "site@3.0.0"].prefix(kept + 1)))
            #expect(view.roles(of: ada.id).isEmpty && view.revoked == [ada.id])
        }
    }

    /// Dated back: signed after the revocation, at a place before.
    @Test func whatIsNotInTheChainIsNotKept() throws {
        let (story, ada, releases) = try Self.publisher()
        try story.ruler.revoke(ada, keep: releases[2].id)
        try ada.release("site", "4.0.0", of: "late")
        try ada.release("site", "5.0.0", of: "beside", seq: 2)
        // Two facts at one place, of which somebody above has kept one: that settles it.
        #expect(story.view.listed == ["site@1.0.0", "site@2.0.0", "site@3.0.0"])
    }

    @Test func aChainEndsWhereAFactIsMissing() throws {
        let (story, ada, releases) = try Self.publisher()
        let late = try ada.release("site", "4.0.0", of: "4", seq: 5, prev: capsule("nowhere"))
        let last = try ada.release("site", "5.0.0", of: "5", seq: 6)
        #expect(last.prev == late.id)
        try story.ruler.revoke(ada, keep: last.id)
        #expect(story.view.listed == ["site@4.0.0", "site@5.0.0"])
        // A fact that is not here hides those before it.
        let cut = story.facts.filter { $0.id != releases[1].id && $0.kind != "revoke" }
        let ruling = try story.ruler.revoke(ada, keep: releases[2].id)
        let view = CatalogView(AdmittedSet(offered: cut + [ruling], charter: story.charter), charter: story.charter)
        #expect(view.listed == ["site@3.0.0"])
    }

    @Test func keepNamesAFactOfTheKeyItself() throws {
        let (story, ada, _) = try Self.publisher()
        let bob = try story.newcomer([.publisher], scope: ["site"])
        let other = try bob.release("site", "9.0.0", of: "9")
        let before = story.facts
        var rulings: [Fact] = []
        for keep in [other.id, capsule("nowhere"), ada.id] { rulings.append(try story.ruler.revoke(ada, keep: keep)) }
        rulings.append(try story.ruler.say("revoke", about: ada.id, ["keep": "the first two"]))
        rulings.append(try story.ruler.say("revoke", about: ada.id, ["keep": 2]))
        for ruling in rulings {
            let view = CatalogView(AdmittedSet(offered: before + [ruling], charter: story.charter), charter: story.charter)
            #expect(view.listed == ["site@9.0.0"], "\(ruling.body)")
        }
    }

    /// Whoever stole a key lets it leave early, on a branch of its own, so that what its owner said goes with it.
    @Test func aThiefsSelfRevocationTakesNothingFromTheOwner() throws {
        let (story, ada, releases) = try Self.publisher()
        let honest = story.view.listed
        // At the second place, and then at the third after a fact of the thief's own.
        try ada.say("revoke", about: ada.id, ["reason": "bye"], seq: releases[1].seq)
        #expect(story.view.listed.map { $0.replacing("?", with: "") } == honest && story.view.roles(of: ada.id).isEmpty)
        #expect(story.view.listed.allSatisfy { $0.hasSuffix("?") }, "two facts at one place: somebody above must decide")
        try story.ruler.revoke(ada, keep: releases[2].id)
        #expect(story.view.listed == honest)
        // Nor does what only claims to stand elsewhere outlive the owner's own.
        let (other, bob, said) = try Self.publisher()
        try bob.revoke(bob)
        try bob.release("site", "7.0.0", of: "after")
        try bob.release("site", "8.0.0", of: "beyond", seq: 20, prev: said[2].id)
        try bob.release("site", "9.0.0", of: "nowhere", seq: 30, prev: capsule("nowhere"))
        #expect(other.view.listed == honest)
    }

    @Test func theSmallestKeepWins() throws {
        for order in permutations([0, 1, 2]) {
            let (story, ada, releases) = try Self.publisher()
            for kept in order { try story.ruler.revoke(ada, keep: releases[kept].id) }
            #expect(story.view.listed == ["site@1.0.0"], "\(order)")
        }
        // Whoever they are by: here the root keeps more than the one who granted.
        let story = Story()
        let greta = try story.newcomer([.grantor, .publisher], scope: ["site"]), ada = try story.newcomer([.publisher], scope: ["site"], by: greta)
        let releases = try (1...3).map { try ada.release("site", "\($0).0.0", of: "\($0)") }
        try ada.revoke(ada)
        #expect(story.view.listed.count == 3)
        try story.ruler.revoke(ada, keep: releases[2].id)
        #expect(story.view.listed.count == 3)
        try greta.revoke(ada, keep: releases[0].id)
        #expect(story.view.listed == ["site@1.0.0"])
        try story.ruler.revoke(ada)
        #expect(story.view.listed.isEmpty)
    }

    // MARK: Who may

    @Test func theKeyItselfKeepsWhatItSaidBefore() throws {
        let (story, ada, releases) = try Self.publisher()
        // Its own `keep` is nothing: only those above cut earlier.
        try ada.revoke(ada, keep: releases[0].id)
        #expect(story.view.listed == ["site@1.0.0", "site@2.0.0", "site@3.0.0"])
        #expect(story.view.revoked == [ada.id] && story.view.roles(of: ada.id).isEmpty)
        try ada.release("site", "4.0.0", of: "4")
        #expect(story.view.listed == ["site@1.0.0", "site@2.0.0", "site@3.0.0"])
        try story.ruler.revoke(ada, keep: releases[0].id)
        #expect(story.view.listed == ["site@1.0.0"])
    }

    /// Root, ada, bob and carl in one chain; dora beside them.
    static func family() throws -> (story: Story, ada: Author, bob: Author, carl: Author, dora: Author) {
        let story = Story()
        let ada = try story.newcomer([.grantor, .member]), bob = try story.newcomer([.grantor, .member], by: ada), carl = try story.newcomer([.member], by: bob)
        let dora = try story.newcomer([.grantor, .member])
        return (story, ada, bob, carl, dora)
    }

    @Test func whoStandsAboveRevokes() throws {
        for (author, index) in [("root", 0), ("ada", 1), ("bob", 2), ("carl", 3)] {
            let (story, ada, bob, carl, dora) = try Self.family()
            let those = [story.ruler, ada, bob, carl]
            try those[index].revoke(carl)
            #expect(story.view.revoked == [carl.id], "\(author)")
            #expect(story.view.roles(of: carl.id).isEmpty && !story.view.roles(of: dora.id).isEmpty, "\(author)")
        }
    }

    @Test func nobodyElseRevokes() throws {
        let (story, ada, bob, carl, dora) = try Self.family()
        let stranger = story.author()
        try dora.revoke(carl)
        try carl.revoke(bob)
        try carl.revoke(ada)
        try bob.revoke(ada)
        try stranger.revoke(carl)
        try bob.revoke(dora)
        let view = story.view
        #expect(view.revoked.isEmpty)
        for member in [ada, bob, carl, dora] { #expect(view.roles(of: member.id)[.member] != nil) }
    }

    /// Whoever was let in by somebody does not get above them by granting them something in turn.
    @Test func aGrantFromBelowDoesNotPutOneAbove() throws {
        let (story, ada, bob, carl, dora) = try Self.family()
        for elder in [ada, dora] {
            try bob.grant(.member, to: elder)
            try bob.revoke(elder)
        }
        let view = story.view
        #expect(!view.revoked.contains(ada.id), "the one who granted bob his roles")
        #expect(!view.revoked.contains(dora.id), "one whom the root granted hers")
        #expect(view.roles(of: carl.id) == held([.member: []]))
    }

    @Test func aRootCannotBeRevoked() throws {
        let (story, ada, _, _, _) = try Self.family()
        try story.ruler.revoke(story.ruler)
        try ada.revoke(story.ruler)
        #expect(story.view.revoked.isEmpty)
        #expect(story.view.roles(of: story.ruler.id).count == Role.allCases.count)
        #expect(!story.view.roles(of: ada.id).isEmpty)
    }

    // MARK: Revoked grantors

    @Test func whatHungOnARevokedGrantorFalls() throws {
        let (story, _, bob, carl, dora) = try Self.family()
        try carl.say("note", about: capsule("a"))
        try story.ruler.revoke(bob)
        let view = story.view, set = story.admitted
        #expect(view.revoked == [bob.id])
        #expect(view.roles(of: carl.id).isEmpty && !view.grants.isKnown(carl.id))
        #expect(!view.roles(of: dora.id).isEmpty)
        // What it said stays in the set all the same: other nodes have it.
        #expect(set.grants.isKnown(carl.id) && set.waiting.isEmpty)
        // Somebody else can take carl in.
        try dora.grant(.member, to: carl)
        #expect(story.view.roles(of: carl.id) == held([.member: []]))
    }

    @Test func whatAGrantorGrantedBeforeHolds() throws {
        let story = Story()
        let ada = try story.newcomer([.grantor, .member])
        let early = try story.newcomer([.member], by: ada)
        let last = try #require(ada.said.last)
        let late = try story.newcomer([.member], by: ada)
        try story.ruler.revoke(ada, keep: last.id)
        let view = story.view
        #expect(view.roles(of: early.id) == held([.member: []]))
        #expect(view.roles(of: late.id).isEmpty)
        #expect(view.roles(of: ada.id).isEmpty)
        #expect(!view.grants.mayGrant(.member, [], issuer: late.id))
    }

    /// A revocation by a revoked key counts as far as it was kept.
    @Test func aRevokedKeysRevocations() throws {
        for isKept in [true, false] {
            let (story, ada, bob, _, _) = try Self.family()
            let before = try #require(ada.said.last)
            let ruling = try ada.revoke(bob)
            try story.ruler.revoke(ada, keep: isKept ? ruling.id : before.id)
            let expected: Set<Digest> = isKept ? [ada.id, bob.id] : [ada.id]
            #expect(story.view.revoked == expected, "kept: \(isKept)")
            #expect(story.view.roles(of: bob.id).isEmpty == isKept, "kept: \(isKept)")
        }
    }

    /// A thief with ada's key revokes those below her; the root takes it back by revoking ada from before.
    @Test func theRootUndoesWhatAThiefDid() throws {
        let (story, ada, bob, carl, _) = try Self.family()
        let honest = try #require(ada.said.last)
        let thief = try story.newcomer([.grantor, .member], by: ada)
        try ada.revoke(bob)
        try ada.revoke(carl)
        #expect(story.view.revoked == [bob.id, carl.id])
        try story.ruler.revoke(ada, keep: honest.id)
        let view = story.view
        #expect(view.revoked == [ada.id])
        #expect(view.roles(of: bob.id) == held([.grantor: [], .member: []]) && view.roles(of: carl.id) == held([.member: []]))
        #expect(view.roles(of: thief.id).isEmpty)
    }

    @Test func orderIsNothing() throws {
        let (story, ada, bob, _, _) = try Self.family()
        let note = try ada.say("note", about: capsule("a"))
        try ada.revoke(bob)
        try story.ruler.revoke(ada, keep: note.id)
        let view = story.view
        #expect(view.revoked == [ada.id])
        var random = SplitMix(seed: 9)
        for round in 0..<30 {
            let set = AdmittedSet(offered: story.facts.shuffled(using: &random), charter: story.charter)
            #expect(CatalogView(set, charter: story.charter).revoked == view.revoked, "round \(round)")
        }
    }
}
