@testable import Catalog
import MeshCore
import Signing
import Testing

/// Roots change by charters that those before them sign, and no other way.
@Suite struct CharterChainTests {
    static let keys = CharterTests.keys
    static let first = CharterTests.envelope(JSONValue.object(CharterTests.payload(roots: Array(keys[0..<3]), threshold: 2)).canonicalBytes, by: Array(keys[0..<2]))

    static func mesh() throws -> Charter { try Charter(envelopes: [first]) }

    static func next(_ version: Int, roots: [SigningKey], threshold: Int = 2, replaces: [Digest] = [], by signers: [SigningKey], policy: JSONValue = [:]) -> [UInt8] {
        let payload = CharterDocument.payload(version: version, roots: roots.map(\.publicKey), threshold: threshold, policy: policy, replaces: replaces)
        return CharterTests.envelope(payload, by: signers)
    }

    static func id(_ envelope: [UInt8]) throws -> Digest { Digest.of(try Envelope(parsing: envelope).payload) }

    /// The rule of TUF §5.3.4, as python-tuf has it too: see CharterJudgeTests.
    @Test func rotation() throws {
        let k = Self.keys, mesh = try Self.mesh(), new = Array(k[3..<6])
        let good = Self.next(2, roots: new, by: [k[0], k[1], k[3], k[4]])
        let rotated = mesh.adding([good])
        #expect(rotated.version == 2 && rotated.roots == new.map(\.publicKey) && rotated.meshID == mesh.meshID && rotated.contested.isEmpty)
        #expect(try rotated.id == Self.id(good) && mesh.problem(with: good) == nil)
        for (what, bad) in [
            ("rollback", Self.next(1, roots: new, by: [k[0], k[1], k[3], k[4]])), ("a skipped version", Self.next(3, roots: new, by: [k[0], k[1], k[3], k[4]])),
            ("new keys only", Self.next(2, roots: new, by: [k[3], k[4], k[5]])), ("one old signature", Self.next(2, roots: new, by: [k[0], k[3], k[4]])),
            ("one old signature twice", Self.next(2, roots: new, by: [k[0], k[0], k[3], k[4]])), ("old keys only", Self.next(2, roots: new, by: [k[0], k[1], k[2]])),
            ("one new signature", Self.next(2, roots: new, by: [k[0], k[1], k[3]])), ("somebody else's", Self.next(2, roots: new, by: [k[9], k[10], k[3], k[4]])),
        ] {
            #expect(mesh.adding([bad]).version == 1 && mesh.problem(with: bad) != nil, "\(what)")
            #expect(code { _ = try Charter(envelopes: [Self.first, bad]) } == "charter_invalid", "\(what)")
        }
        // What is read again is the same; a chain with a gap is none.
        let third = Self.next(3, roots: Array(k[4..<7]), by: [k[3], k[4], k[6]])
        let chain = rotated.adding([third])
        #expect(chain.version == 3)
        let read = try Charter(parsing: chain.bytes)
        #expect(read.version == 3 && read.id == chain.id && read.bytes == chain.bytes)
        #expect(code { _ = try Charter(envelopes: [Self.first, third]) } == "charter_invalid")
        #expect(mesh.adding([third]).version == 1 && mesh.adding([third, good]).version == 3)
    }

    @Test func twoThatContradictEachOtherStopTheChain() throws {
        let k = Self.keys, mesh = try Self.mesh()
        let a = Self.next(2, roots: Array(k[3..<6]), by: [k[0], k[1], k[3], k[4]]), b = Self.next(2, roots: Array(k[6..<9]), by: [k[1], k[2], k[6], k[7]])
        let afterA = Self.next(3, roots: Array(k[3..<6]), by: [k[3], k[4]])
        let fork = mesh.adding([a, b])
        let rivals = try [Self.id(a), Self.id(b)].sorted()
        #expect(fork.version == 1 && fork.roots == mesh.roots && fork.contested == rivals)
        // Whoever had followed one of them comes back.
        let followed = mesh.adding([a, afterA])
        #expect(followed.version == 3 && followed.adding([b]).version == 1 && followed.adding([b]).contested.count == 2)
        // Those before the fork set both aside; nobody else does, and not one alone.
        let both = fork.contested, good = Self.next(3, roots: Array(k[0..<3]), replaces: both, by: [k[0], k[2]])
        let mended = fork.adding([good])
        #expect(mended.version == 3 && mended.contested.isEmpty && mended.roots == mesh.roots)
        #expect(try mended.id == Self.id(good))
        for bad in [
            Self.next(3, roots: Array(k[3..<6]), replaces: both, by: [k[3], k[4], k[5]]), Self.next(3, roots: Array(k[0..<3]), replaces: both, by: [k[0]]),
            Self.next(2, roots: Array(k[0..<3]), replaces: both, by: [k[0], k[2]]), Self.next(3, roots: Array(k[0..<3]), replaces: [both[0], Digest.of([])].sorted(), by: [k[0], k[2]]),
        ] { #expect(fork.adding([bad]).version == 1) }
        // As its makers make it.
        let made = try fork.next(roots: mesh.roots, threshold: 2, signedBy: [k[0], k[1]])
        #expect(fork.adding([made]).version == 3)
        // Two ways out are a fork again, and that has a way out too.
        let other = Self.next(3, roots: Array(k[0..<3]), replaces: both, by: [k[0], k[1]], policy: ["prod": ["quorum": 2]])
        let again = fork.adding([good, other])
        #expect(again.version == 1 && again.contested.count == 2)
        #expect(again.adding([try again.next(roots: mesh.roots, threshold: 2, signedBy: [k[1], k[2]])]).contested.isEmpty)
    }

    /// The order in which charters come, and how often, is nothing.
    @Test(arguments: [UInt64(1), 2, 3]) func orderIsNothing(_ seed: UInt64) throws {
        var random = SplitMix(seed: seed)
        let k = Self.keys, mesh = try Self.mesh()
        let a = Self.next(2, roots: Array(k[3..<6]), by: [k[0], k[1], k[3], k[4]]), b = Self.next(2, roots: Array(k[6..<9]), by: [k[1], k[2], k[6], k[7]])
        let both = try [Self.id(a), Self.id(b)].sorted()
        let all = [a, b, Self.next(3, roots: Array(k[3..<6]), by: [k[3], k[4]]), Self.next(3, roots: Array(k[0..<3]), replaces: both, by: [k[0], k[2]]),
                   Self.next(4, roots: Array(k[9..<12]), by: [k[0], k[1], k[9], k[10]]), Self.next(5, roots: Array(k[9..<12]), by: [k[9], k[11]])]
        let whole = mesh.adding(all)
        #expect(whole.version == 5)
        for _ in 0..<40 {
            // Those that do not follow yet are passed over, and come again with the next who tells of them.
            var charter = mesh
            for _ in 0..<all.count { for envelope in all.shuffled(using: &random) where random.below(3) > 0 { charter = charter.adding([envelope]) } }
            for envelope in all { charter = charter.adding([envelope]) }
            charter = charter.adding(all.shuffled(using: &random))
            #expect(charter.isSame(as: whole) && charter.bytes == whole.bytes && charter.id == whole.id)
        }
    }

    /// Whoever was dropped says nothing more; what they said before counts as far as the charter keeps it.
    @Test(arguments: [true, false]) func whatADroppedRootSaid(_ keeps: Bool) throws {
        let story = Story(), alice = try story.newcomer([.publisher], scope: ["site-*"])
        try alice.release("site-a")
        let last = try #require(story.ruler.said.last), heir = SigningKey.generate()
        story.adopt(try story.charter.next(roots: [heir.publicKey], threshold: 1, keep: keeps ? [story.root.publicKey: last.id] : [:], signedBy: [story.root, heir]))
        let bob = story.author()
        try story.ruler.grant(.publisher, to: bob, scope: ["site-*"])
        try bob.release("site-b", of: "b")
        #expect(story.charter.version == 2)
        #expect(story.view.listed == (keeps ? ["site-a@1.0.0"] : []), "a grant after the last that was kept is none")
        #expect(story.view.roles(of: story.ruler.id).isEmpty)
        // The facts stay in the set all the same, and the new root can say all of it again.
        #expect(story.admitted.admitted.count == story.facts.count)
        try story.author(heir).grant(.publisher, to: bob, scope: ["site-*"])
        #expect(story.view.listed.contains("site-b@1.0.0"))
    }
}
