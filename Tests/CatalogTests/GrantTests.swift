@testable import Catalog
import MeshCore
import Signing
import Testing

@Suite struct GrantTests {
    @Test func aRootHoldsEverything() {
        let story = Story()
        let root = story.ruler.id, view = story.view
        #expect(view.roles(of: root) == held([.member: [], .publisher: ["*"], .builder: [], .operator: [], .grantor: []]))
        #expect(view.grants.isRoot(root) && view.grants.isKnown(root) && view.grants.mayPublish("anything", root))
        for role in Role.allCases { #expect(view.grants.mayGrant(role, [Glob("*")], issuer: root), "\(role)") }
        let stranger = story.author().id
        #expect(!view.grants.isKnown(stranger) && !view.grants.mayPublish("anything", stranger) && view.roles(of: stranger).isEmpty)
        for role in Role.allCases { #expect(!view.grants.mayGrant(role, [Glob("site")], issuer: stranger), "\(role)") }
    }

    @Test func rolesAddUp() throws {
        let story = Story()
        let ada = try story.newcomer([.publisher, .builder], scope: ["site-*", "tool"])
        try story.ruler.grant(.publisher, to: ada, scope: ["app"])
        try story.ruler.grant(.publisher, to: ada, scope: ["tool"])
        let view = story.view
        #expect(view.roles(of: ada.id) == held([.publisher: ["app", "site-*", "tool"], .builder: []]))
        for (name, may) in [("site-a", true), ("site-", true), ("site", false), ("tool", true), ("tools", false), ("app", true), ("", false)] {
            #expect(view.grants.mayPublish(name, ada.id) == may, "\(name)")
        }
    }

    /// The issuer is a grantor and publishes `held`; whether it can hand on `wanted`.
    static let scopes: [(held: [String], wanted: [String], holds: Bool)] = [
        (["site-*"], ["site-a"], true), (["site-*"], ["site-a*"], true), (["site-*"], ["site-*"], true), (["site-*"], ["site*"], false),
        (["site-*"], ["*"], false), (["site-*"], ["site-a", "tool"], false), (["site-*", "tool"], ["site-a", "tool"], true), (["site-*"], [], false),
        (["site-a"], ["site-a"], true), (["site-a"], ["site-ab"], false), (["site-a"], ["site-*"], false), (["site-a"], ["site-a*"], false),
        (["*"], ["a*"], true), (["*"], ["*a"], true), (["*"], ["a"], true), (["*"], ["*"], false), (["*"], ["**"], false), (["*"], ["a", "*"], false),
        (["*-site"], ["a-site"], true), (["*-site"], ["*-site"], true), (["*-site"], ["*"], false),
        (["a*c"], ["abc"], true), (["a*c"], ["a*c"], true), (["a*c"], ["a*"], false),
    ]

    @Test(arguments: scopes) func everyLinkCoversTheScope(_ vector: (held: [String], wanted: [String], holds: Bool)) throws {
        let story = Story()
        let ada = try story.newcomer([.grantor, .publisher], scope: vector.held)
        let bob = try story.newcomer([.publisher], scope: vector.wanted, by: ada)
        let view = story.view
        let expected: [String]? = vector.holds ? vector.wanted.sorted() : nil
        #expect(view.roles(of: bob.id)[.publisher]?.map(\.description) == expected)
        #expect(view.grants.mayGrant(.publisher, vector.wanted.map { Glob($0) }, issuer: ada.id) == vector.holds)
        #expect(view.grants.isKnown(bob.id) == vector.holds)
        // From a root, everything holds that names a scope.
        let carl = try story.newcomer([.publisher], scope: vector.wanted)
        #expect(story.view.grants.isKnown(carl.id) == !vector.wanted.isEmpty)
    }

    @Test func aScopeNarrowsFromLinkToLink() throws {
        let story = Story()
        let ada = try story.newcomer([.grantor, .publisher], scope: ["site-*"])
        let bob = try story.newcomer([.grantor, .publisher], scope: ["site-a*"], by: ada)
        let carl = try story.newcomer([.publisher], scope: ["site-ab"], by: bob), eve = try story.newcomer([.publisher], scope: ["site-b"], by: bob)
        let view = story.view
        #expect(view.grants.mayPublish("site-ab", carl.id) && !view.grants.mayPublish("site-a", carl.id))
        // Ada could have granted it, but bob did.
        #expect(!view.grants.isKnown(eve.id) && !view.grants.mayPublish("site-b", eve.id))
        // The globs of two grants count together.
        try ada.grant(.publisher, to: bob, scope: ["site-b"])
        #expect(story.view.grants.mayPublish("site-b", eve.id))
    }

    /// A grantor hands on the roles that it has, and no others.
    @Test func aGrantorHoldsWhatItGrants() throws {
        for held in Role.allCases {
            for granted in Role.allCases {
                let story = Story()
                let ada = try story.newcomer([.grantor, held], scope: ["site"])
                let plain = try story.newcomer([held], scope: ["site"])
                let bob = try story.newcomer([granted], scope: ["site"], by: ada), carl = try story.newcomer([granted], scope: ["site"], by: plain)
                let view = story.view, holds = granted == held || granted == .grantor
                let expected: [Role] = holds ? [granted] : []
                #expect(view.grants.isKnown(bob.id) == holds, "grantor and \(held) grants \(granted)")
                #expect(Array(view.roles(of: bob.id).keys) == expected, "grantor and \(held) grants \(granted)")
                // Without the grantor's role nothing can be handed on, unless that is the role held.
                #expect(view.grants.isKnown(carl.id) == (held == .grantor && granted == .grantor), "\(held) grants \(granted)")
            }
        }
    }

    @Test func fourLinksHoldAndAFifthDoesNot() throws {
        let story = Story()
        var chain = [story.ruler]
        for depth in 1...5 { chain.append(try story.newcomer([.grantor, .publisher], scope: ["site-*"], by: chain[depth - 1])) }
        let view = story.view
        for depth in 1...4 {
            #expect(view.roles(of: chain[depth].id) == held([.grantor: [], .publisher: ["site-*"]]), "depth \(depth)")
            #expect(view.grants.mayGrant(.grantor, [], issuer: chain[depth].id) == (depth < 4), "depth \(depth)")
            #expect(view.grants.mayGrant(.publisher, [Glob("site-a")], issuer: chain[depth].id) == (depth < 4), "depth \(depth)")
            #expect(view.grants.byKey[chain[depth].id]?.map(\.depth) == [depth, depth])
        }
        #expect(view.roles(of: chain[5].id).isEmpty && !view.grants.isKnown(chain[5].id))
        #expect(view.grants.ancestors(of: chain[4].id) == Set(chain[0...3].map(\.id)))
        #expect(view.grants.ancestors(of: chain[1].id) == [chain[0].id])

        // A shorter way to the fourth makes room for the fifth: but only with all that it hands on.
        try story.ruler.grant(.grantor, to: chain[4])
        #expect(story.view.roles(of: chain[5].id) == held([.grantor: []]))
        try story.ruler.grant(.publisher, to: chain[4], scope: ["site-*"])
        #expect(story.view.roles(of: chain[5].id) == held([.grantor: [], .publisher: ["site-*"]]))
    }

    /// Each of the grants that the issuer needs counts with its own depth.
    @Test func depthIsThatOfTheDeepestGrantNeeded() throws {
        let story = Story()
        let ada = try story.newcomer([.grantor, .builder]), bob = try story.newcomer([.grantor, .builder], by: ada)
        let carl = try story.newcomer([.grantor, .builder], by: bob)
        // Dora is a grantor by the root, at depth 1; a builder by carl, at depth 4.
        let dora = try story.newcomer([.grantor, .member])
        try carl.grant(.builder, to: dora)
        let builder = try story.newcomer([.builder], by: dora), member = try story.newcomer([.member], by: dora)
        let view = story.view
        #expect(view.roles(of: dora.id) == held([.grantor: [], .member: [], .builder: []]))
        #expect(view.roles(of: builder.id).isEmpty)
        #expect(view.roles(of: member.id) == held([.member: []]))
        #expect(view.grants.byKey[member.id]?.map(\.depth) == [2])
    }

    @Test func nobodyLiftsThemselves() throws {
        let story = Story()
        let ada = try story.newcomer([.member]), stranger = story.author()
        for role in Role.allCases {
            try ada.grant(role, to: ada, scope: ["site"])
            try stranger.grant(role, to: stranger, scope: ["site"])
        }
        // Two who grant each other.
        let left = story.author(), right = story.author()
        try left.grant(.grantor, to: right)
        try right.grant(.grantor, to: left)
        let view = story.view
        #expect(view.roles(of: ada.id) == held([.member: []]))
        for nobody in [stranger, left, right] { #expect(!story.admitted.grants.isKnown(nobody.id) && view.roles(of: nobody.id).isEmpty) }
    }

    /// Carried, counted, and no grant.
    @Test func malformedGrantsGrantNothing() throws {
        let story = Story()
        func granted(_ body: [String: JSONValue]) throws -> [Role: [Glob]] {
            let guest = story.author()
            let fact = try story.ruler.say("grant", about: guest.id, body)
            #expect(story.admitted.admitted[fact.id] != nil)
            return story.view.roles(of: guest.id)
        }
        let many = JSONValue.array((0..<64).map { .string("site-\($0)") }), tooMany = JSONValue.array((0..<65).map { .string("site-\($0)") })
        let long = String(repeating: "s", count: 200)
        #expect(try granted([:]).isEmpty)
        #expect(try granted(["role": "king"]).isEmpty)
        #expect(try granted(["role": 1]).isEmpty)
        #expect(try granted(["role": "publisher"]).isEmpty)
        #expect(try granted(["role": "publisher", "scope": []]).isEmpty)
        #expect(try granted(["role": "publisher", "scope": "site"]).isEmpty)
        #expect(try granted(["role": "publisher", "scope": ["site", 1]]).isEmpty)
        #expect(try granted(["role": "publisher", "scope": ["site", ""]]).isEmpty)
        #expect(try granted(["role": "publisher", "scope": tooMany]).isEmpty)
        #expect(try granted(["role": "publisher", "scope": [.string(long + "s")]]).isEmpty)
        #expect(try granted(["role": "member", "scope": tooMany]).isEmpty)
        #expect(try granted(["role": "publisher", "scope": many])[.publisher]?.count == 64)
        #expect(try granted(["role": "publisher", "scope": [.string(long)]]) == held([.publisher: [long]]))
        // No array counts as no scope, which only a publisher needs.
        #expect(try granted(["role": "member", "scope": "site"]) == held([.member: []]))
        #expect(try granted(["role": "member"]) == held([.member: []]))
    }
}
