@testable import Catalog
import Dispatch
import MeshCore
import Signing
import Testing

/// A home that joins another mesh: all or nothing.
@Suite struct ReplaceMeshTests {
    /// A home with a mesh of one, and another mesh that has granted its node something.
    struct Case {
        let folder: TemporaryFolder
        let home: HomeLayout
        let node = SigningKey.generate()
        let catalog: Catalog
        let story = Story()

        init() throws {
            folder = try TemporaryFolder()
            home = try folder.home("home")
            catalog = try Catalog.found(home: home, root: .generate(), node: node, clock: FixedClock())
            try story.ruler.grant(.member, to: story.author(node))
            try story.ruler.release("site", of: "a")
        }

        var envelopes: [[UInt8]] { story.facts.map(\.envelope) }
        func open() throws -> Catalog { try Catalog(home: home, clock: FixedClock()) }
        var charterFile: [UInt8] { get throws { try Files.read(home.charter, bytesMax: 1 << 16) } }
    }

    @Test func theOtherMeshTakesThePlace() throws {
        let this = try Case()
        _ = try this.catalog.publish(kind: "release", subject: capsule("old"), body: ["name": "old", "version": "1.0.0"], by: this.node)
        let stranger = try this.story.author().say("note", about: capsule("b"))
        try this.catalog.replaceMesh(charter: this.story.charter.bytes, facts: this.envelopes)
        let reopened = try this.open()
        for catalog in [this.catalog, reopened] {
            #expect(catalog.meshID == this.story.mesh && catalog.charter.roots == [this.story.root.publicKey])
            #expect(try catalog.factIDs() == AdmissionTests.ids(this.story.facts.filter { $0.id != stranger.id }))
            #expect(try catalog.releases(matching: nil).map(\.name.description) == ["site"])
            #expect(try catalog.roles(of: this.node.publicKey) == held([.member: []]))
        }
        #expect(try this.charterFile == this.story.charter.bytes)
        // The node goes on there from the start.
        let note = try this.catalog.publish(kind: "note", subject: capsule("c"), body: [:], by: this.node)
        #expect(note.seq == 1)
        #expect(try this.open().root == this.catalog.root)
    }

    @Test func whatDoesNotHoldChangesNothing() throws {
        let this = try Case()
        let root = this.catalog.root, file = try this.charterFile, mesh = this.catalog.meshID
        let foreign = try Story().ruler.say("note", about: capsule("x")).envelope
        var broken = this.story.facts[0].envelope
        broken[100] ^= 1
        let own = this.catalog.charter.bytes
        let good = this.story.charter.bytes, envelopes = this.envelopes
        let cases: [(String, [UInt8], [[UInt8]])] = [
            ("a charter that is none", [0x5b, 0x5d], envelopes), ("a fact of a third mesh", good, envelopes + [foreign]),
            ("a fact that was altered", good, envelopes + [broken]), ("facts of another charter", own, envelopes),
        ]
        for (name, charter, facts) in cases {
            #expect(code { try this.catalog.replaceMesh(charter: charter, facts: facts) } != nil, "\(name)")
            let reopened = try this.open()
            for catalog in [this.catalog, reopened] { #expect(catalog.root == root && catalog.meshID == mesh && catalog.count == Role.allCases.count, "\(name)") }
            #expect(try this.charterFile == file, "\(name)")
        }
    }

    /// The charter's file cannot be written, as on a full disk: whichever mesh the home has then, it is the same after a restart,
    /// and what is said meanwhile does not keep it from opening.
    @Test func aCharterFileThatCannotBeWritten() throws {
        let this = try Case()
        let old = this.catalog.meshID
        try Files.removeTree(this.home.keys)
        let refusal = code { try this.catalog.replaceMesh(charter: this.story.charter.bytes, facts: this.envelopes) }
        let expected = refusal == nil ? this.story.mesh : old
        #expect(this.catalog.meshID == expected)
        _ = try this.catalog.publish(kind: "note", subject: capsule("x"), body: [:], by: this.node)
        try Files.makeDirectory(this.home.keys)
        let problem = code {
            let reopened = try this.open()
            #expect(reopened.meshID == this.catalog.meshID && reopened.root == this.catalog.root)
        }
        #expect(problem == nil)
    }

    /// A peer's facts of the old mesh come in while the home joins another: they must not get into it.
    @Test func factsThatComeInMeanwhile() throws {
        let this = try Case()
        let catalog = this.catalog, charter = this.story.charter.bytes, envelopes = this.envelopes, old = this.catalog.meshID, node = this.node
        let late = (1...60).map { seq in
            Fact.sign(kind: "note", subject: capsule("\(seq)"), body: [:], mesh: old, seq: seq, prev: seq == 1 ? nil : capsule("before"), at: 0, by: node)
        }
        let started = DispatchSemaphore(value: 0), done = DispatchSemaphore(value: 0)
        DispatchQueue(label: "peer").async {
            started.signal()
            // As many times as it takes: the mesh is replaced in the middle of one of them, and those after it are refused.
            while catalog.meshID == old { _ = try? catalog.admit(late) }
            done.signal()
        }
        started.wait()
        try catalog.replaceMesh(charter: charter, facts: envelopes)
        done.wait()
        #expect(catalog.meshID == this.story.mesh)
        #expect(try catalog.factIDs() == AdmissionTests.ids(this.story.facts))
        let problem = code {
            let reopened = try this.open()
            #expect(reopened.root == catalog.root)
        }
        #expect(problem == nil)
    }
}
