@testable import Catalog
import MeshCore
import Signing
import Testing

@Suite struct CatalogHomeTests {
    /// A mesh of one, as `init` makes it.
    struct Home {
        let folder: TemporaryFolder
        let layout: HomeLayout
        let root = SigningKey.generate(), node = SigningKey.generate()

        init() throws {
            folder = try TemporaryFolder()
            layout = try folder.home("home")
        }

        func found() throws -> Catalog { try Catalog.found(home: layout, root: root, node: node, clock: FixedClock()) }
        func open() throws -> Catalog { try Catalog(home: layout, clock: FixedClock()) }
        var charterFile: [UInt8] { get throws { try Files.read(layout.charter, bytesMax: 1 << 16) } }
    }

    static let allRoles = held([.member: [], .publisher: ["*"], .builder: [], .operator: [], .grantor: []])

    static func release(_ name: String, _ version: String = "1.0.0") -> [String: JSONValue] { ["name": .string(name), "version": .string(version)] }

    // MARK: Founding and opening

    @Test func aFoundedMeshGivesTheNodeEveryRole() throws {
        let home = try Home(), catalog = try home.found()
        #expect(catalog.charter.roots == [home.root.publicKey] && catalog.charter.version == 1)
        #expect(try home.charterFile == catalog.charter.bytes)
        #expect(catalog.meshID == catalog.charter.meshID)
        #expect(try catalog.roles(of: home.node.publicKey) == Self.allRoles)
        #expect(try catalog.roles(of: home.root.publicKey) == Self.allRoles)
        #expect(try catalog.isMember(home.node.publicKey) && catalog.isMember(home.root.publicKey))
        #expect(try !catalog.isMember(SigningKey.generate().publicKey))
        #expect(catalog.count == Role.allCases.count)
        #expect(try catalog.factIDs().count == catalog.count)
        #expect(try catalog.releases(matching: nil).isEmpty)
    }

    @Test func whatWasSaidIsThereAfterARestart() throws {
        let home = try Home(), catalog = try home.found()
        let site = try catalog.publish(kind: "release", subject: capsule("a"), body: Self.release("site"), by: home.node)
        #expect(try !catalog.hasOwnReleases(by: home.root.publicKey) && catalog.hasOwnReleases(by: home.node.publicKey))
        let reopened = try home.open()
        #expect(reopened.root == catalog.root && reopened.count == catalog.count && reopened.meshID == catalog.meshID)
        #expect(try reopened.releases(matching: nil) == catalog.releases(matching: nil))
        #expect(try reopened.releases(matching: nil).map(\.fact) == [site.id])
        #expect(try reopened.roles(of: home.node.publicKey) == Self.allRoles)
        #expect(try reopened.facts([site.id]) == [site.envelope])
        #expect(try reopened.hasOwnReleases(by: home.node.publicKey))
    }

    /// What a backup takes of a catalog that is in use.
    @Test func aCopyIsOneMomentOfIt() throws {
        let home = try Home(), catalog = try home.found(), other = try home.folder.home("copy")
        try Files.makeDirectory(other.state)
        try Files.makeDirectory(other.keys)
        _ = try catalog.publish(kind: "release", subject: capsule("a"), body: Self.release("site"), by: home.node)
        let (root, count) = (catalog.root, catalog.count)
        try catalog.copy(to: other.catalogDatabase)
        _ = try catalog.publish(kind: "release", subject: capsule("b"), body: Self.release("site", "2.0.0"), by: home.node)
        #expect(try Files.names(in: other.state) == ["catalog.sqlite"])
        let copy = try Catalog(home: other, clock: FixedClock())
        #expect(copy.root == root && copy.count == count && copy.meshID == catalog.meshID)
        #expect(catalog.count == count + 1)
        #expect(try Files.read(other.charter, bytesMax: 1 << 16) == catalog.charter.bytes)
        #expect(throws: MeshError.self) { try catalog.copy(to: other.catalogDatabase) }
    }

    /// After each step of the founding the power goes; founding again finishes it, and does nothing twice.
    @Test(arguments: 0...5) func anInterruptedFoundingIsFinished(_ grants: Int) throws {
        let home = try Home(), charter = Charter.create(root: home.root)
        try Files.writeDurably(charter.bytes, to: home.layout.charter)
        if grants > 0 {
            let catalog = try home.open()
            for role in Role.allCases.prefix(grants) {
                _ = try catalog.grant(role, scope: role == .publisher ? [Glob("*")] : [], to: home.node.publicKey, by: home.root)
            }
        }
        let catalog = try home.found()
        #expect(catalog.meshID == charter.meshID)
        #expect(try catalog.roles(of: home.node.publicKey) == Self.allRoles)
        #expect(catalog.count == Role.allCases.count)
        let root = catalog.root
        let again = try home.found()
        #expect(again.root == root && again.count == Role.allCases.count)
    }

    @Test func anotherRootDoesNotTakeAMeshOver() throws {
        let home = try Home(), catalog = try home.found()
        let newNode = SigningKey.generate()
        #expect(code { _ = try Catalog.found(home: home.layout, root: .generate(), node: newNode, clock: FixedClock()) } == "not_granted")
        let reopened = try home.open()
        #expect(reopened.root == catalog.root && reopened.charter.bytes == catalog.charter.bytes)
        #expect(try !reopened.isMember(newNode.publicKey))
    }

    /// The file is a copy for people: the database is what counts.
    @Test func theCharterFileIsMadeAgain() throws {
        let home = try Home(), catalog = try home.found()
        try Files.remove(home.layout.charter)
        #expect(try home.open().root == catalog.root)
        #expect(try home.charterFile == catalog.charter.bytes)
        try Files.writeDurably(Charter.create(root: .generate()).bytes, to: home.layout.charter)
        #expect(try home.open().meshID == catalog.meshID)
        #expect(try home.charterFile == catalog.charter.bytes)
        try Files.writeDurably(Array("what?".utf8), to: home.layout.charter)
        #expect(try home.found().root == catalog.root)
        #expect(try home.charterFile == catalog.charter.bytes)
    }

    @Test func withoutACharterThereIsNoCatalog() throws {
        let home = try Home()
        #expect(code { _ = try home.open() } == "file_not_found")
        try Files.writeDurably(Array("[]".utf8), to: home.layout.charter)
        #expect(code { _ = try home.open() } == "charter_invalid")
        // Nothing stands in the way of a proper one.
        try Files.remove(home.layout.charter)
        #expect(try home.found().count == Role.allCases.count)
    }

    @Test func aDamagedDatabaseIsNamed() throws {
        let home = try Home()
        try Files.writeDurably([UInt8](repeating: 0x5a, count: 8192), to: home.layout.catalogDatabase)
        let thrown = failure { _ = try home.found() }
        let error = try #require(thrown)
        #expect(error.code == .catalogDamaged && error.code.exit.rawValue == 65)
        #expect(error.message.contains(home.layout.catalogDatabase) && !error.hint.isEmpty)
    }

    // MARK: Publishing

    private func publishesNothing(_ home: Home, _ catalog: Catalog, _ expected: ErrorCode, _ what: String, _ body: () throws -> Void) throws {
        let ids = try catalog.factIDs(), root = catalog.root
        let thrown = failure(body)
        let error = try #require(thrown, "\(what)")
        #expect(error.code == expected, "\(what)")
        #expect(try catalog.factIDs() == ids && catalog.root == root, "\(what)")
        #expect(try home.open().factIDs() == ids, "\(what)")
    }

    @Test func withoutPermissionNothingIsWritten() throws {
        let home = try Home(), catalog = try home.found()
        let ada = SigningKey.generate(), stranger = SigningKey.generate(), revoked = SigningKey.generate()
        _ = try catalog.grant(.publisher, scope: [Glob("site-*")], to: ada.publicKey, by: home.node)
        _ = try catalog.grant(.publisher, scope: [Glob("site-*")], to: revoked.publicKey, by: home.node)
        _ = try catalog.publish(kind: "revoke", subject: revoked.publicKey.id.digest, body: [:], by: home.node)
        #expect(ErrorCode.notGranted.exit.rawValue == 77)
        func refuses(_ what: String, _ kind: String, _ body: [String: JSONValue], _ key: SigningKey) throws {
            try publishesNothing(home, catalog, .notGranted, what) { _ = try catalog.publish(kind: kind, subject: capsule("a"), body: body, by: key) }
        }
        for kind in ["release", "withdraw", "channel"] {
            try refuses("\(kind) outside of the scope", kind, Self.release("site"), ada)
            try refuses("\(kind) without a name", kind, ["version": "1.0.0"], ada)
            try refuses("\(kind) by a stranger", kind, Self.release("site-a"), stranger)
            try refuses("\(kind) by a revoked key", kind, Self.release("site-a"), revoked)
        }
        try refuses("a note by a stranger", "note", [:], stranger)
        try refuses("a note by a revoked key", "note", [:], revoked)
        for role in Role.allCases {
            for key in [ada, stranger, revoked] {
                try publishesNothing(home, catalog, .notGranted, "\(role)") { _ = try catalog.grant(role, scope: [Glob("site-a")], to: stranger.publicKey, by: key) }
            }
        }
        try publishesNothing(home, catalog, .notGranted, "everything") { _ = try catalog.grant(.publisher, scope: [Glob("*")], to: ada.publicKey, by: home.node) }
        // What they may is done.
        _ = try catalog.publish(kind: "release", subject: capsule("a"), body: Self.release("site-a"), by: ada)
        _ = try catalog.publish(kind: "note", subject: capsule("a"), body: [:], by: ada)
        #expect(try catalog.releases(matching: nil).map(\.publisher) == [ada.publicKey])
    }

    @Test func whatIsNoFactIsNotWritten() throws {
        let home = try Home(), catalog = try home.found()
        try publishesNothing(home, catalog, .factInvalid, "no subject") { _ = try catalog.publish(kind: "note", subject: nil, body: [:], by: home.node) }
        try publishesNothing(home, catalog, .factInvalid, "no kind") { _ = try catalog.publish(kind: "", subject: capsule("a"), body: [:], by: home.node) }
        let notes = JSONValue.string(String(repeating: "n", count: 16 * 1024))
        try publishesNothing(home, catalog, .factTooLarge, "long notes") {
            _ = try catalog.publish(kind: "release", subject: capsule("a"), body: ["name": "site", "version": "1.0.0", "notes": notes], by: home.node)
        }
        // No place was used up.
        #expect(try catalog.publish(kind: "note", subject: capsule("a"), body: [:], by: home.node).seq == 1)
    }

    @Test func factsAreChained() throws {
        let home = try Home(), catalog = try home.found()
        var last: Fact?
        for seq in 1...4 {
            let fact = try (seq == 3 ? home.open() : catalog).publish(kind: "note", subject: capsule("\(seq)"), body: ["seq": 9, "author": "me", "n": 1], by: home.node)
            if seq == 3 { _ = try catalog.admit([fact.envelope]) }
            // The common members are not the writer's to say.
            #expect(fact.seq == seq && fact.prev == last?.id && fact.author == home.node.publicKey)
            #expect(fact.body.object?.keys.sorted() == ["n"])
            #expect(fact.at == FixedClock().now && fact.kind == "note")
            last = fact
        }
    }

    /// A home from an old backup meets what it said since: it goes on after that.
    @Test func goesOnAfterOwnFactsFromElsewhere() throws {
        let home = try Home(), catalog = try home.found()
        func own(_ seq: Int, _ content: String) throws -> Fact {
            let prev = seq == 1 ? nil : capsule("before")
            let envelope = Fact.sign(kind: "note", subject: capsule(content), body: [:], mesh: catalog.meshID, seq: seq, prev: prev, at: 0, by: home.node)
            return try Fact(parsing: envelope, mesh: catalog.meshID)
        }
        let seventh = try own(7, "a")
        _ = try catalog.admit([seventh.envelope])
        let eighth = try catalog.publish(kind: "note", subject: capsule("b"), body: [:], by: home.node)
        #expect(eighth.seq == 8 && eighth.prev == seventh.id)
        // The last place there is.
        _ = try catalog.admit([try own(4095, "e").envelope])
        #expect(try catalog.publish(kind: "note", subject: capsule("f"), body: [:], by: home.node).seq == 4096)
        #expect(ErrorCode.factLimit.exit.rawValue == 77)
        try publishesNothing(home, catalog, .factLimit, "used up") { _ = try catalog.publish(kind: "note", subject: capsule("g"), body: [:], by: home.node) }
    }

    @Test func aPlaceIsNeverSignedTwice() async throws {
        let home = try Home(), catalog = try home.found(), node = home.node
        let facts = try await withThrowingTaskGroup(of: Fact.self) { group in
            for i in 0..<24 { group.addTask { try catalog.publish(kind: "note", subject: capsule("\(i)"), body: [:], by: node) } }
            var out: [Fact] = []
            for try await fact in group { out.append(fact) }
            return out
        }
        let ordered = facts.sorted { $0.seq < $1.seq }
        #expect(ordered.map(\.seq) == Array(1...24))
        for (before, fact) in zip(ordered, ordered.dropFirst()) { #expect(fact.prev == before.id) }
        #expect(try home.open().root == catalog.root)
    }

    // MARK: News

    @Test(.timeLimit(.minutes(1))) func everyFollowerHearsOfChanges() async throws {
        let home = try Home(), catalog = try home.found()
        var first = catalog.changes.makeAsyncIterator(), second = catalog.changes.makeAsyncIterator()
        // Several changes before anybody listens may come as one, but come.
        for i in 0..<3 { _ = try catalog.publish(kind: "note", subject: capsule("\(i)"), body: [:], by: home.node) }
        let toFirst: Void? = await first.next(), toSecond: Void? = await second.next()
        #expect(toFirst != nil && toSecond != nil)
        let elsewhere = Fact.sign(kind: "note", subject: capsule("x"), body: [:], mesh: catalog.meshID, seq: 9, prev: capsule("y"), at: 0, by: home.node)
        _ = try catalog.admit([elsewhere])
        let toFirstAgain: Void? = await first.next(), toSecondAgain: Void? = await second.next()
        #expect(toFirstAgain != nil && toSecondAgain != nil)
        try catalog.replaceMesh(charter: Charter.create(root: .generate()).bytes, facts: [])
        let ofTheNewMesh: Void? = await first.next()
        #expect(ofTheNewMesh != nil)
        withExtendedLifetime(home) {}
    }

    /// What changes nothing is no news: the first signal comes with the first change.
    @Test(.timeLimit(.minutes(1))) func knownFactsAreNoNews() async throws {
        let home = try Home(), catalog = try home.found()
        let known = try catalog.facts(catalog.factIDs())
        let changes = catalog.changes
        let heard = Task {
            var count: [Int] = []
            for await _ in changes {
                count.append(catalog.count)
                if catalog.count > known.count { break }
            }
            return count
        }
        for _ in 0..<20 { _ = try catalog.admit(known) }
        _ = try catalog.publish(kind: "note", subject: capsule("a"), body: [:], by: home.node)
        #expect(await heard.value == [known.count + 1])
    }

    // MARK: Homes that were restored

    /// A home as it was before, and others who know what it said since.
    private func restored() throws -> (home: Home, now: Catalog, before: Catalog, other: Catalog) {
        let home = try Home(), now = try home.found()
        _ = try now.publish(kind: "release", subject: capsule("a"), body: Self.release("site"), by: home.node)
        let old = try home.folder.home("old")
        try now.copy(to: old.catalogDatabase)
        try Files.writeDurably(now.charter.bytes, to: old.charter)
        for i in 1...2 { _ = try now.publish(kind: "release", subject: capsule("\(i)"), body: Self.release("site", "1.\(i).0"), by: home.node) }
        let other = try home.folder.catalog("other", now.charter)
        _ = try other.admit(now.facts(now.factIDs()))
        return (home, now, try Catalog(home: old, clock: FixedClock()), other)
    }

    /// It goes on after what it finds that it has said.
    @Test func aRestoredHomeContinues() throws {
        let (home, _, before, other) = try restored()
        _ = try before.admit(other.facts(other.factIDs()))
        let fact = try before.publish(kind: "release", subject: capsule("next"), body: Self.release("site", "2.0.0"), by: home.node)
        #expect(try fact.seq == 4 && fact.prev == other.lastFact(by: home.node.publicKey)?.id)
        _ = try other.admit([fact.envelope])
        #expect(other.authorities.equivocators.isEmpty && other.root == before.root)
    }

    /// One that has said something else at the same place says no more with that key; a new key goes on.
    @Test func aRestoredHomeThatWentOnElsewhereStops() throws {
        let (home, _, before, other) = try restored()
        _ = try before.publish(kind: "release", subject: capsule("other"), body: Self.release("site", "1.1.0"), by: home.node)
        _ = try before.admit(other.facts(other.factIDs()))
        _ = try other.admit(before.facts(before.factIDs()))
        #expect(other.authorities.equivocators == [home.node.publicKey.id.digest] && other.root == before.root)
        let count = before.count
        #expect(code { _ = try before.publish(kind: "release", subject: capsule("next"), body: Self.release("site", "2.0.0"), by: home.node) } == "key_contested")
        #expect(before.count == count)
        // The root keeps what was honest, and grants to a new key.
        let new = SigningKey.generate(), last = try #require(try before.statements(author: home.node.publicKey.id, kind: "release", name: nil, limit: 10).first { $0.fact.subject == capsule("a") }).fact
        _ = try before.publish(kind: "revoke", subject: home.node.publicKey.id.digest, body: ["reason": "lost", "keep": .string(last.id.hex)], by: home.root)
        _ = try before.grant(.publisher, scope: [Glob("site")], to: new.publicKey, by: home.root)
        _ = try before.publish(kind: "release", subject: capsule("next"), body: Self.release("site", "2.0.0"), by: new)
        #expect(before.authorities.equivocators.isEmpty)
        #expect(try before.releases(matching: nil).map { "\($0.version)\($0.contested ? "?" : "")" } == ["1.0.0", "2.0.0"])
    }
}
