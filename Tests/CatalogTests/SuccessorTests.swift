@testable import Catalog
import MeshCore
import Signing
import Testing

@Suite struct SuccessorTests {
    @Test func everythingThatWasGrantedMoves() throws {
        let story = Story(), old = try story.newcomer([.member, .grantor, .publisher], scope: ["site-*"]), new = story.author()
        let member = try story.newcomer([.publisher], scope: ["site-b"], by: old)
        try old.release("site-a", of: "a")
        try old.handOver(to: new)
        try new.release("site-a", "2.0.0", of: "b")
        try member.release("site-b", of: "c")
        #expect(story.view.listed == ["site-a@1.0.0", "site-a@2.0.0", "site-b@1.0.0"])
        #expect(story.view.roles(of: new.id) == held([.member: [], .grantor: [], .publisher: ["site-*"]]) && story.view.roles(of: old.id).isEmpty)
        // The old key is done.
        try old.release("site-c", of: "d")
        #expect(!story.view.listed.contains("site-c@1.0.0"))
        // And again.
        let third = story.author()
        try new.handOver(to: third)
        try third.release("site-d", of: "e")
        #expect(story.view.listed.contains("site-d@1.0.0") && story.view.roles(of: new.id).isEmpty)
        // As deep as before, and no deeper.
        let below = try story.newcomer([.publisher], scope: ["site-e"], by: third)
        try below.release("site-e", of: "f")
        #expect(story.view.listed.contains("site-e@1.0.0"))
    }

    @Test func bothKeysMustAgree() throws {
        let story = Story(), old = try story.newcomer([.publisher], scope: ["site-*"]), new = story.author(), other = story.author()
        try old.handOver(to: new, signer: other.key)
        try new.release("site-a")
        #expect(story.view.listed.isEmpty && !story.view.roles(of: old.id).isEmpty)
        #expect(!story.admitted.admitted.values.contains { $0.author == new.key.publicKey }, "nobody has granted it anything")
        // Nor can a root hand itself over: that takes a charter.
        try story.ruler.handOver(to: other)
        #expect(story.view.roles(of: other.id).isEmpty && !story.view.roles(of: story.ruler.id).isEmpty)
    }

    @Test func ofTwoTheEarlierCounts() throws {
        let story = Story(), old = try story.newcomer([.publisher], scope: ["site-*"]), first = story.author(), second = story.author()
        try old.handOver(to: first)
        try old.handOver(to: second)
        try first.release("site-a", of: "a")
        try second.release("site-b", of: "b")
        #expect(story.view.listed == ["site-a@1.0.0"])
    }

    /// A thief hands a stolen key over to itself; whoever granted it takes that back.
    @Test func anAncestorUndoesAThiefsSuccession() throws {
        let story = Story(), victim = try story.newcomer([.publisher], scope: ["site-*"]), thief = story.author()
        let honest = try victim.release("site-a", of: "a")
        try victim.handOver(to: thief)
        try thief.release("site-a", "9.0.0", of: "evil")
        #expect(story.view.listed.contains("site-a@9.0.0"))
        try story.ruler.revoke(victim, keep: honest.id)
        #expect(story.view.listed == ["site-a@1.0.0"] && story.view.roles(of: thief.id).isEmpty)
    }

    @Test func whoIsInACircleGainsNothing() throws {
        let story = Story(), a = try story.newcomer([.member]), b = story.author()
        try a.handOver(to: b)
        try b.handOver(to: a)
        #expect(story.view.roles(of: a.id).isEmpty && story.view.roles(of: b.id).isEmpty)
    }

    // MARK: Final withdrawals

    @Test func aSecurityWithdrawalOutlivesItsAuthor() throws {
        for security in [true, false] {
            let story = Story(), alice = try story.newcomer([.publisher], scope: ["site-*"]), bob = try story.newcomer([.publisher], scope: ["site-*"])
            try alice.release("site-a", of: "a")
            try bob.withdraw("site-a", of: "a", security: security)
            #expect(story.view.listed.isEmpty)
            try story.ruler.revoke(bob)
            #expect(story.view.listed == (security ? [] : ["site-a@1.0.0"]))
        }
    }

    @Test func moreFactsByARootsWord() throws {
        let story = Story(), author = try story.newcomer([.member]), high = Limits.factSequenceMax + 1
        try author.say("note", about: capsule("x"), seq: high)
        #expect(story.admitted.waiting.count == 1)
        try author.say("grant", about: author.id, ["role": "member", "seqMax": .integer(Int64(high))], seq: 1)
        #expect(story.admitted.waiting.count == 1, "nobody raises it for itself")
        try story.ruler.say("grant", about: author.id, ["role": "member", "seqMax": .integer(Int64(high))])
        #expect(story.admitted.waiting.isEmpty)
        #expect(story.admitted.grants.seqMax(of: author.id) == high && story.admitted.grants.seqMax(of: story.ruler.id) == Limits.factSequenceRaisedMax)
    }
}
