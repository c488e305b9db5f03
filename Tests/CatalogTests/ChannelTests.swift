@testable import Catalog
import MeshCore
import Signing
import Testing

@Suite struct ChannelTests {
    /// Alice and Bob may publish site-*, and have released a, b and c.
    private static func people() throws -> (story: Story, alice: Author, bob: Author) {
        let story = Story(), alice = try story.newcomer([.publisher], scope: ["site-*"]), bob = try story.newcomer([.publisher], scope: ["site-*"])
        for (i, content) in ["a", "b", "c"].enumerated() { try alice.release("site-a", "1.\(i).0", of: content) }
        return (story, alice, bob)
    }

    private static func stable(_ story: Story) -> Catalog.Channel? { story.view.channels.first { $0.channel == "stable" } }

    @Test func theHighestPlaceCounts() throws {
        let (story, alice, bob) = try Self.people()
        try alice.set("stable", of: "site-a", to: "a", ver: 1)
        try bob.set("stable", of: "site-a", to: "b", ver: 2)
        #expect(Self.stable(story)?.capsule == capsule("b") && Self.stable(story)?.trouble == nil && Self.stable(story)?.ver == 2)
        // Said later, and of a lower place: nothing.
        try alice.set("stable", of: "site-a", to: "c", ver: 1)
        #expect(Self.stable(story)?.capsule == capsule("b"))
        // The same twice is no contradiction.
        try alice.set("stable", of: "site-a", to: "b", ver: 2)
        #expect(Self.stable(story)?.trouble == nil && Self.stable(story)?.candidates.count == 2)
        try alice.set("stable", of: "site-a", to: "c", ver: 2)
        #expect(Self.stable(story)?.trouble == .contested && Self.stable(story)?.candidates.count == 3)
        // A higher place settles it; other channels and names are others.
        try bob.set("stable", of: "site-a", to: "c", ver: 3)
        try bob.set("beta", of: "site-a", to: "a", ver: 9)
        #expect(Self.stable(story)?.capsule == capsule("c") && Self.stable(story)?.trouble == nil && story.view.channels.count == 2)
    }

    @Test func whoMayNotPublishTheNameSaysNothing() throws {
        let (story, alice, _) = try Self.people(), other = try story.newcomer([.publisher], scope: ["tool-*"]), member = try story.newcomer([.member])
        try alice.set("stable", of: "site-a", to: "a", ver: 1)
        for author in [other, member] { try author.set("stable", of: "site-a", to: "b", ver: 5) }
        for (name, body) in [("Stable", 2), ("1.0", 2), ("", 2), ("stable", 0), ("stable", -1)] { try alice.set(name, of: "site-a", to: "b", ver: body) }
        #expect(story.view.channels.count == 1 && Self.stable(story)?.capsule == capsule("a"))
    }

    @Test func whatItPointsToMustBeARelease() throws {
        let (story, alice, _) = try Self.people()
        try alice.set("stable", of: "site-a", to: "z", ver: 1)
        #expect(Self.stable(story)?.trouble == .unreleased)
        try alice.release("site-b", of: "z")
        #expect(Self.stable(story)?.trouble == .unreleased, "of another name")
        try alice.set("stable", of: "site-a", to: "b", ver: 2)
        #expect(Self.stable(story)?.trouble == nil)
        try alice.withdraw("site-a", of: "b")
        #expect(Self.stable(story)?.trouble == .withdrawn)
    }

    /// A thief runs to the end of the numbers; the owner has two ways back.
    @Test func fastForwardHasACure() throws {
        for byRoot in [true, false] {
            let (story, alice, bob) = try Self.people()
            let honest = try bob.set("stable", of: "site-a", to: "a", ver: 7)
            try bob.set("stable", of: "site-a", to: "b", ver: Int(Limits.jsonIntegerMax))
            try bob.set("stable", of: "site-a", to: "b", epoch: 99, ver: 1)
            #expect(Self.stable(story)?.capsule == capsule("b") && Self.stable(story)?.epoch == 0, "an epoch that no root has opened is none")
            if byRoot {
                try story.ruler.set("stable", of: "site-a", to: "a", epoch: 1, ver: 1)
                try bob.set("stable", of: "site-a", to: "b", epoch: 2, ver: 1)
                #expect(Self.stable(story)?.epoch == 1 && Self.stable(story)?.capsule == capsule("a"))
                try alice.set("stable", of: "site-a", to: "c", epoch: 1, ver: 2)
                #expect(Self.stable(story)?.capsule == capsule("c"))
            } else {
                try story.ruler.revoke(bob, keep: honest.id)
                #expect(Self.stable(story)?.ver == 7 && Self.stable(story)?.capsule == capsule("a"))
                try alice.set("stable", of: "site-a", to: "c", ver: 8)
                #expect(Self.stable(story)?.capsule == capsule("c"))
            }
        }
    }

    @Test func whoeverSignsTwoFactsAtOnePlaceIsContestedUntilSomebodyAboveDecides() throws {
        let (story, alice, bob) = try Self.people()
        let good = try bob.set("stable", of: "site-a", to: "a", ver: 1)
        try bob.set("stable", of: "site-a", to: "b", ver: 1, seq: good.seq)
        #expect(Self.stable(story)?.trouble == .contested)
        try bob.set("beta", of: "site-a", to: "c", ver: 1)
        #expect(story.view.channels.allSatisfy { $0.trouble == .contested }, "whatever else it says, too")
        // The key itself decides nothing about it.
        var later = story.facts
        try bob.revoke(bob)
        #expect(story.view.channels.contains { $0.trouble == .contested })
        later = story.facts
        try story.ruler.revoke(bob, keep: good.id)
        #expect(story.facts.count == later.count + 1)
        #expect(Self.stable(story)?.trouble == nil && Self.stable(story)?.capsule == capsule("a") && story.view.channels.count == 1)
        try alice.set("stable", of: "site-a", to: "c", ver: 2)
        #expect(Self.stable(story)?.capsule == capsule("c"))
    }

    @Test(arguments: [("stable", true), ("beta-2", true), ("lts.2026", true), ("a", true), ("", false), ("2", false), ("-a", false), ("Stable", false), ("a b", false), ("a/b", false), ("é", false)])
    func names(_ text: String, _ isOne: Bool) {
        #expect(Catalog.isChannelName(text) == isOne && !Catalog.isChannelName(String(repeating: "a", count: 65)))
    }

    // MARK: Pins

    /// Every pair of what the mesh says and what was acted on.
    @Test func aNodeNeverGoesBackByItself() throws {
        let (story, alice, bob) = try Self.people()
        try alice.set("stable", of: "site-a", to: "a", ver: 3)
        let low = try #require(Self.stable(story))
        let honest = try bob.set("stable", of: "site-a", to: "b", ver: 5)
        let high = try #require(Self.stable(story)), pin = ChannelPin(high)
        typealias D = ChannelDecision
        #expect(D(low, pin: nil, state: .unknown) == .move(to: low) && D(high, pin: ChannelPin(low), state: .counts) == .move(to: high))
        #expect(D(high, pin: pin, state: .counts) == .keep(nil) && D(nil, pin: pin, state: .counts) == .keep(.unheard))
        // Less than was acted on: an old catalog, or a peer that withholds.
        #expect(D(low, pin: pin, state: .counts) == .keep(.behind) && D(low, pin: pin, state: .unknown) == .keep(.unheard))
        // Unless what was acted on turned out to be a thief's.
        #expect(D(low, pin: pin, state: .lapsed) == .move(to: low))
        try alice.set("stable", of: "site-a", to: "c", ver: 5)
        let contested = try #require(Self.stable(story))
        for state in [D.PinState.counts, .lapsed, .unknown] { #expect(D(contested, pin: pin, state: state) == .keep(.contested)) }
        #expect(honest.seq > 0)
    }

    @Test func aCatalogFollowsAChannel() throws {
        let folder = try TemporaryFolder(), (story, alice, bob) = try Self.people(), name = try CapsuleName(parsing: "site-a")
        let catalog = try folder.catalog("home", story.charter)
        func tell() throws { _ = try catalog.admit(story.facts.map(\.envelope)) }
        #expect(try catalog.follow(name, channel: "stable") == nil)
        let honest = try bob.set("stable", of: "site-a", to: "a", ver: 1)
        try tell()
        #expect(try catalog.follow(name, channel: "stable")?.capsule == capsule("a"))
        try bob.set("stable", of: "site-a", to: "b", ver: 2)
        try tell()
        #expect(try catalog.follow(name, channel: "stable")?.capsule == capsule("b"))
        // Two claims to one place: what was acted on stays.
        try alice.set("stable", of: "site-a", to: "c", ver: 2)
        try tell()
        let held = try #require(try catalog.follow(name, channel: "stable"))
        #expect(held.capsule == capsule("b") && held.held == .contested)
        #expect(code { _ = try catalog.resolve(name, channel: "stable") } == "contested")
        // Also after a restart.
        #expect(try Catalog(home: folder.home("home"), clock: FixedClock()).follow(name, channel: "stable")?.capsule == capsule("b"))
        // A revoked author's word is no floor.
        try story.ruler.revoke(bob, keep: honest.id)
        try story.ruler.revoke(alice, keep: story.facts.last { $0.author == alice.key.publicKey && $0.kind == "release" }?.id)
        try tell()
        #expect(try catalog.follow(name, channel: "stable")?.capsule == capsule("a"))
        try story.ruler.withdraw("site-a", of: "a")
        try tell()
        #expect(code { _ = try catalog.follow(name, channel: "stable") } == "withdrawn")
    }
}
