@testable import Catalog
import MeshCore
import Signing
import Testing

@Suite struct AdmissionTests {
    static func ids(_ facts: some Sequence<Fact>) -> [Digest] { facts.map(\.id).sorted() }

    /// What a replica holds after facts came in parts.
    static func fold(_ parts: [[Fact]], _ charter: Charter) -> AdmittedSet {
        var set = AdmittedSet(offered: [Fact](), charter: charter)
        for part in parts { set = AdmittedSet(offered: Array(set.admitted.values) + set.waiting + part, charter: charter) }
        return set
    }

    @Test func rootsAreKnownAndOthersWait() throws {
        let story = Story()
        let stranger = story.author()
        let said = try story.ruler.release("site"), unheard = try stranger.release("site", of: "b")
        let set = story.admitted
        #expect(Self.ids(set.admitted.values) == [said.id])
        #expect(set.waiting.map(\.id).sorted() == [unheard.id])
    }

    /// Three links of grants and what their last key says, offered one by one in every order.
    @Test func aGrantLetsInWhatWaitedForIt() throws {
        let story = Story()
        let ada = try story.newcomer([.member, .grantor]), bob = try story.newcomer([.member], by: ada)
        let note = try bob.say("note", about: capsule("a"))
        #expect(story.facts.count == 4)
        for order in permutations(story.facts) {
            let set = Self.fold(order.map { [$0] }, story.charter)
            #expect(Self.ids(set.admitted.values) == Self.ids(story.facts) && set.waiting.isEmpty, "\(order.map(\.kind))")
        }
        // Without the link in the middle the end hangs in the air.
        let cut = AdmittedSet(offered: story.facts.filter { $0.subject != bob.id }, charter: story.charter)
        #expect(cut.admitted.count == 2 && cut.waiting.map(\.id).sorted() == [note.id])
        #expect(!cut.grants.isKnown(bob.id) && cut.grants.isKnown(ada.id))
    }

    /// A grant by somebody who holds no roles to hand on lets nobody in.
    @Test func aGrantThatDoesNotHoldLetsNobodyIn() throws {
        let story = Story()
        let member = try story.newcomer([.member])
        let guest = try story.newcomer([.member], by: member)
        try guest.say("note", about: capsule("a"))
        let set = story.admitted
        #expect(set.admitted.count == 2 && set.waiting.count == 1)
        #expect(!set.grants.isKnown(guest.id))
    }

    @Test func twoSmallestOfAPlaceStay() throws {
        let story = Story()
        for i in 0..<5 { try story.ruler.say("note", about: capsule("\(i)"), seq: 1) }
        try story.ruler.say("note", about: capsule("next"), seq: 2)
        let first = Self.ids(story.facts.filter { $0.seq == 1 }), second = Self.ids(story.facts.filter { $0.seq == 2 })
        for order in permutations(Array(story.facts.prefix(5))) {
            let set = Self.fold(order.map { [$0] } + [Array(story.facts.suffix(1))], story.charter)
            #expect(Self.ids(set.admitted.values) == (Array(first.prefix(2)) + second).sorted())
            #expect(set.waiting.isEmpty)
        }
    }

    /// The grant that let somebody in is itself outdone by two others at its place.
    @Test func whoseGrantIsOutdoneWaitsAgain() throws {
        let story = Story()
        let guests = (0..<3).map { _ in story.author() }
        for guest in guests {
            try story.ruler.grant(.member, to: guest, seq: 1)
            try guest.say("note", about: capsule("hello"))
        }
        let grants = story.facts.filter { $0.kind == "grant" }.sorted { $0.id < $1.id }
        let notes = story.facts.filter { $0.kind == "note" }
        let outdone = try #require(notes.first { $0.author.id.digest == grants[2].subject })
        // All of the last one's facts come first, and are taken in until the smaller grants come.
        let early = Self.fold([[grants[2], outdone]], story.charter)
        #expect(early.admitted.count == 2)
        let late = Self.fold([[grants[2], outdone], [grants[1]], notes, [grants[0]]], story.charter)
        #expect(Self.ids(late.admitted.values) == Self.ids(story.admitted.admitted.values))
        #expect(late.admitted[outdone.id] == nil && late.waiting.map(\.id).sorted() == [outdone.id])
        #expect(late.admitted.count == 4)
    }

    @Test func revocationDoesNotUndoAdmission() throws {
        let story = Story()
        let ada = try story.newcomer([.member])
        let note = try ada.say("note", about: capsule("a"))
        try story.ruler.revoke(ada)
        let late = try ada.say("note", about: capsule("b"))
        let set = story.admitted
        #expect(set.admitted[note.id] != nil && set.admitted[late.id] != nil)
        #expect(set.waiting.isEmpty)
    }

    @Test func unknownKindsAndMembersCount() throws {
        let story = Story(), folder = try TemporaryFolder()
        let plain = try folder.catalog("a", story.charter)
        let strange = try story.ruler.say("weather-report", about: capsule("a"), ["temperature": -3])
        let grown = try story.ruler.say("release", about: capsule("a"), ["name": "site", "version": "1.0.0", "mood": ["of": "the day"]])
        let before = plain.root
        let admission = try plain.admit(story.facts.map(\.envelope))
        #expect(Self.ids(admission.admitted) == Self.ids([strange, grown]))
        #expect(plain.count == 2 && plain.root != before)
        #expect(plain.root == MerkleTrie.root(Self.ids(story.facts)))
        #expect(try plain.releases(matching: nil).map(\.fact) == [grown.id])
    }

    // MARK: In a home

    @Test func tellsWhatBecameOfEach() throws {
        let story = Story(), folder = try TemporaryFolder()
        let catalog = try folder.catalog("a", story.charter)
        let ada = try story.newcomer([.member]), stranger = story.author()
        let known = try ada.say("note", about: capsule("a")), waits = try stranger.say("note", about: capsule("b"))
        let foreign = try Story().ruler.say("note", about: capsule("c"))
        let first = try catalog.admit([waits.envelope, known.envelope])
        #expect(first.admitted.isEmpty && first.known == 0 && first.waiting == 2 && first.refused.isEmpty)
        #expect(catalog.count == 0)
        #expect(try catalog.facts([waits.id, known.id]).isEmpty)
        #expect(try catalog.factIDs().isEmpty)

        // Ada's grant comes with something broken and something foreign; what holds is taken.
        let second = try catalog.admit([Array("{}".utf8), story.facts[0].envelope, foreign.envelope])
        #expect(Self.ids(second.admitted) == Self.ids([story.facts[0], known]))
        #expect(second.refused.map(\.code.name) == ["field_missing", "fact_foreign"])
        #expect(catalog.count == 2)
        #expect(try catalog.factIDs() == Self.ids([story.facts[0], known]))

        let third = try catalog.admit([known.envelope, story.facts[0].envelope])
        #expect(third.admitted.isEmpty && third.known == 2 && third.waiting == 0 && third.refused.isEmpty)
        #expect(try catalog.admit([waits.envelope]).waiting == 1)
        let none = try catalog.admit([])
        #expect(none.admitted.isEmpty && none.known == 0 && none.waiting == 0)
        #expect(catalog.root == MerkleTrie.root(Self.ids([story.facts[0], known])))
    }

    @Test func whatIsOutdoneCountsAsKnown() throws {
        let story = Story(), folder = try TemporaryFolder()
        let catalog = try folder.catalog("a", story.charter)
        for i in 0..<3 { try story.ruler.say("note", about: capsule("\(i)"), seq: 1) }
        let facts = story.facts.sorted { $0.id < $1.id }
        #expect(try catalog.admit(facts.prefix(2).map(\.envelope)).admitted.count == 2)
        let root = catalog.root
        let outdone = try catalog.admit([facts[2].envelope])
        #expect(outdone.admitted.isEmpty && outdone.waiting == 0 && outdone.refused.isEmpty)
        #expect(outdone.known == 1)
        #expect(catalog.root == root)
    }

    /// The third fact pushes one of the two out, on the disk too.
    @Test func aSmallerFactTakesThePlace() throws {
        let story = Story(), folder = try TemporaryFolder()
        let catalog = try folder.catalog("a", story.charter)
        for i in 0..<3 { try story.ruler.say("note", about: capsule("\(i)"), seq: 1) }
        let facts = story.facts.sorted { $0.id < $1.id }
        _ = try catalog.admit([facts[2].envelope, facts[1].envelope])
        let admission = try catalog.admit([facts[0].envelope])
        #expect(admission.admitted.map(\.id) == [facts[0].id])
        #expect(try catalog.factIDs() == [facts[0].id, facts[1].id])
        let reopened = try Catalog(home: HomeLayout(path: folder.path + "/a"), clock: FixedClock())
        #expect(try reopened.factIDs() == [facts[0].id, facts[1].id])
    }

    @Test func theFirstEnvelopeIsKept() throws {
        let story = Story(), folder = try TemporaryFolder()
        let catalog = try folder.catalog("a", story.charter)
        let fact = try story.ruler.say("note", about: capsule("a"))
        let other = Array(String(decoding: fact.envelope, as: UTF8.self).replacing(story.root.publicKey.id.hex, with: "").utf8)
        #expect(other != fact.envelope)
        _ = try catalog.admit([fact.envelope])
        let again = try catalog.admit([other])
        #expect(again.admitted.isEmpty && again.known == 1)
        #expect(try catalog.facts([fact.id]) == [fact.envelope])
        #expect(catalog.count == 1)
    }

    @Test func factsComeInTheOrderAskedFor() throws {
        let story = Story(), folder = try TemporaryFolder()
        let catalog = try folder.catalog("a", story.charter)
        for i in 0..<4 { try story.ruler.say("note", about: capsule("\(i)")) }
        _ = try catalog.admit(story.facts.map(\.envelope))
        let wanted = [story.facts[2], story.facts[0], story.facts[3]]
        #expect(try catalog.facts(wanted.map(\.id) + [capsule("none")]) == wanted.map(\.envelope))
    }

    /// More than may wait: those that came first do, and they are let in once their author is known.
    @Test func strangersFactsWaitInBoundedNumber() throws {
        let story = Story(), folder = try TemporaryFolder()
        let catalog = try folder.catalog("a", story.charter)
        let stranger = story.author()
        var said: [(id: Digest, envelope: [UInt8])] = []
        for seq in 1...1020 {
            let envelope = Fact.sign(kind: "n", subject: stranger.id, body: [:], mesh: story.mesh, seq: seq, prev: seq == 1 ? nil : stranger.id, at: 0, by: stranger.key)
            let id = try Envelope(parsing: envelope).contentID
            said.append((id, envelope))
        }
        #expect(try catalog.admit(said.prefix(510).map { $0.envelope }).waiting == 510)
        #expect(try catalog.admit(said.dropFirst(510).map { $0.envelope }).admitted.isEmpty)
        #expect(catalog.count == 0)
        let grant = try story.ruler.grant(.member, to: stranger)
        let admission = try catalog.admit([grant.envelope])
        #expect(Self.ids(admission.admitted) == (said.prefix(1000).map { $0.id } + [grant.id]).sorted())
        // What was not kept is had by being offered again.
        #expect(try catalog.admit(said.suffix(20).map { $0.envelope }).admitted.count == 20)
        #expect(catalog.root == MerkleTrie.root((said.map { $0.id } + [grant.id]).sorted()))
    }

    @Test func whatWaitsIsNotKeptOverARestart() throws {
        let story = Story(), folder = try TemporaryFolder()
        let stranger = story.author()
        let note = try stranger.say("note", about: capsule("a"))
        var catalogs: [Catalog] = []
        for name in ["a", "b"] {
            let catalog = try folder.catalog(name, story.charter)
            #expect(try catalog.admit([note.envelope]).waiting == 1)
            catalogs.append(catalog)
        }
        let reopened = try Catalog(home: HomeLayout(path: folder.path + "/b"), clock: FixedClock())
        let grant = try story.ruler.grant(.member, to: stranger)
        #expect(try reopened.admit([grant.envelope]).admitted.map(\.id) == [grant.id])
        #expect(try catalogs[0].admit([grant.envelope]).admitted.count == 2)
    }
}
