@testable import Catalog
import MeshCore
import Signing
import Testing

@Suite struct ViewTests {
    @Test func aReleaseAsPeopleSeeIt() throws {
        let story = Story()
        let ada = try story.newcomer([.publisher], scope: ["site-*"])
        let fact = try ada.say("release", about: capsule("a"), ["name": "site-a", "version": "1.2.0-rc.1+build.5", "notes": "first"])
        let bare = try ada.release("site-b", of: "b")
        let releases = story.view.releases
        #expect(releases.count == 2)
        let release = try #require(releases.first)
        #expect(release.capsule == capsule("a") && release.fact == fact.id && release.at == fact.at)
        #expect(release.name.description == "site-a" && release.version.description == "1.2.0-rc.1+build.5" && release.notes == "first")
        #expect(release.publisher == ada.key.publicKey && !release.contested)
        #expect(releases[1].fact == bare.id && releases[1].notes == nil)
    }

    @Test func releasesThatAreNone() throws {
        let story = Story()
        let ada = try story.newcomer([.publisher], scope: ["site-*"]), member = try story.newcomer([.member, .grantor])
        func releases(_ author: Author, _ body: [String: JSONValue]) throws -> Int {
            try author.say("release", about: capsule("a"), body)
            return story.view.releases.count
        }
        #expect(try releases(ada, ["version": "1.0.0"]) == 0)
        #expect(try releases(ada, ["name": "site-a"]) == 0)
        #expect(try releases(ada, ["name": "site-a", "version": "1.0"]) == 0)
        #expect(try releases(ada, ["name": "site-a", "version": 1]) == 0)
        #expect(try releases(ada, ["name": "site-A", "version": "1.0.0"]) == 0)
        #expect(try releases(ada, ["name": "site-", "version": "1.0.0"]) == 0)
        #expect(try releases(ada, ["name": 1, "version": "1.0.0"]) == 0)
        // In form, but outside of the scope, or by no publisher.
        #expect(try releases(ada, ["name": "site", "version": "1.0.0"]) == 0)
        #expect(try releases(ada, ["name": "tool", "version": "1.0.0"]) == 0)
        #expect(try releases(member, ["name": "site-a", "version": "1.0.0"]) == 0)
        try ada.say("released", about: capsule("a"), ["name": "site-a", "version": "1.0.0"])
        #expect(story.view.releases.isEmpty)
        // Notes that are no text are passed over.
        #expect(try releases(ada, ["name": "site-a", "version": "1.0.0", "notes": 5]) == 1)
        #expect(story.view.releases[0].notes == nil)
        #expect(story.admitted.waiting.isEmpty)
    }

    @Test func byNameAndVersion() throws {
        let story = Story()
        for (name, version) in [("b", "1.0.0"), ("a", "1.10.0"), ("a", "1.9.0"), ("a-b", "0.1.0"), ("a", "1.10.0-rc.1"), ("ab", "1.0.0")] {
            try story.ruler.release(name, version, of: name + version)
        }
        #expect(story.view.listed == ["a@1.9.0", "a@1.10.0-rc.1", "a@1.10.0", "a-b@0.1.0", "ab@1.0.0", "b@1.0.0"])
    }

    // MARK: Withdrawn

    @Test func aWithdrawalHidesTheCapsule() throws {
        let story = Story()
        let ada = try story.newcomer([.publisher], scope: ["site", "app"]), bob = try story.newcomer([.publisher], scope: ["site"])
        try ada.release("site", "1.0.0", of: "a")
        try ada.release("site", "2.0.0", of: "b")
        try ada.release("app", "1.0.0", of: "a")
        try bob.release("site", "1.0.0", of: "a")
        #expect(story.view.listed == ["app@1.0.0", "site@1.0.0", "site@1.0.0", "site@2.0.0"])
        // Bob may publish site, and so withdraws what anybody released by that name.
        try bob.withdraw("site", of: "a")
        #expect(story.view.listed == ["app@1.0.0", "site@2.0.0"])
        // Nothing takes it back.
        try ada.release("site", "1.0.1", of: "a")
        try ada.release("site", "1.0.0", of: "a")
        #expect(story.view.listed == ["app@1.0.0", "site@2.0.0"])
        try ada.withdraw("app", of: "a")
        #expect(story.view.listed == ["site@2.0.0"])
    }

    @Test func aWithdrawalBeforeTheRelease() throws {
        let story = Story()
        try story.ruler.withdraw("site", of: "a")
        try story.ruler.release("site", of: "a")
        #expect(story.view.listed.isEmpty)
    }

    @Test func whoMayNotPublishMayNotWithdraw() throws {
        let story = Story()
        let member = try story.newcomer([.member, .grantor, .operator]), other = try story.newcomer([.publisher], scope: ["app"]), stranger = story.author()
        try story.ruler.release("site", of: "a")
        for author in [member, other, stranger] { try author.withdraw("site", of: "a") }
        #expect(story.view.listed == ["site@1.0.0"])
        // A revoked key's withdrawals go with the rest of it.
        let bob = try story.newcomer([.publisher], scope: ["site"])
        let kept = try bob.withdraw("site", of: "b")
        try bob.withdraw("site", of: "a")
        try story.ruler.release("site", "2.0.0", of: "b")
        #expect(story.view.listed.isEmpty)
        try story.ruler.revoke(bob, keep: kept.id)
        #expect(story.view.listed == ["site@1.0.0"])
    }

    // MARK: Contested

    @Test func twoContentsOfOneVersionAreContested() throws {
        let story = Story()
        let ada = try story.newcomer([.publisher], scope: ["site"]), bob = try story.newcomer([.publisher], scope: ["site"])
        try ada.release("site", "1.0.0", of: "a")
        try bob.release("site", "2.0.0", of: "b")
        try bob.release("site", "1.0.0", of: "b")
        #expect(story.view.listed == ["site@1.0.0?", "site@1.0.0?", "site@2.0.0"])
        // Withdrawing one of them settles it.
        try ada.withdraw("site", of: "a")
        #expect(story.view.listed == ["site@1.0.0", "site@2.0.0"])
    }

    @Test func oneContentReleasedTwiceIsNotContested() throws {
        let story = Story()
        let ada = try story.newcomer([.publisher], scope: ["site"]), bob = try story.newcomer([.publisher], scope: ["site"]), eve = try story.newcomer([.member])
        try ada.release("site", of: "a")
        try bob.release("site", of: "a")
        #expect(story.view.listed == ["site@1.0.0", "site@1.0.0"])
        // Somebody who may not publish the name contests nothing.
        try eve.release("site", of: "evil")
        // Nor do builds of the same version: those are other versions.
        try ada.release("site", "1.0.0+mac", of: "b")
        #expect(story.view.releases.allSatisfy { !$0.contested } && story.view.releases.count == 3)
    }

    @Test func whoSignsTwoFactsAtOnePlaceIsContested() throws {
        let story = Story()
        let ada = try story.newcomer([.publisher], scope: ["site", "app"]), bob = try story.newcomer([.publisher], scope: ["site"])
        try ada.release("site", "1.0.0", of: "a")
        try ada.release("app", "1.0.0", of: "b")
        try bob.release("site", "3.0.0", of: "c")
        #expect(story.view.listed == ["app@1.0.0", "site@1.0.0", "site@3.0.0"])
        let one = try ada.say("note", about: capsule("x")), two = try ada.say("note", about: capsule("y"), seq: 3)
        #expect(one.seq == two.seq)
        // All that she ever released, and nothing of anybody else; nothing is dropped.
        #expect(story.view.listed == ["app@1.0.0?", "site@1.0.0?", "site@3.0.0"])
        #expect(!story.view.roles(of: ada.id).isEmpty)
        // The same fact twice is no proof of anything.
        try bob.say("note", about: capsule("x"))
        try bob.say("note", about: capsule("x"), seq: 2)
        #expect(story.view.listed == ["app@1.0.0?", "site@1.0.0?", "site@3.0.0"])
    }

    // MARK: In a home

    static func name(_ text: String) throws -> CapsuleName { try CapsuleName(parsing: text) }
    static func version(_ text: String) throws -> SemanticVersion { try SemanticVersion(parsing: text) }

    @Test func resolvesTheNewest() throws {
        let story = Story(), folder = try TemporaryFolder()
        let catalog = try folder.catalog("a", story.charter)
        func publish(_ name: String, _ version: String) throws {
            let body: [String: JSONValue] = ["name": .string(name), "version": .string(version)]
            _ = try catalog.publish(kind: "release", subject: capsule(name + version), body: body, by: story.root)
        }
        func newest(_ text: String) throws -> String? { try catalog.resolve(Self.name(text), version: nil)?.version.description }
        #expect(try newest("site") == nil)
        for version in ["2.0.0-rc.1", "2.0.0-rc.2"] { try publish("site", version) }
        #expect(try newest("site") == "2.0.0-rc.2")
        for version in ["1.9.0", "1.10.0", "1.2.0", "1.11.0-beta"] { try publish("site", version) }
        #expect(try newest("site") == "1.10.0")
        try publish("site-two", "9.0.0")
        #expect(try newest("site") == "1.10.0")
        #expect(try newest("sit") == nil)
        #expect(try newest("site-two") == "9.0.0")

        let exact = try #require(try catalog.resolve(Self.name("site"), version: Self.version("2.0.0-rc.1")))
        #expect(exact.capsule == capsule("site2.0.0-rc.1"))
        #expect(try catalog.resolve(Self.name("site"), version: Self.version("2.0.0")) == nil)
        #expect(try catalog.releases(matching: Glob("site-*")).map(\.version.description) == ["9.0.0"])
        #expect(try catalog.releases(matching: Glob("sit")).isEmpty)
        #expect(try catalog.releases(matching: nil).count == 7)
    }

    @Test func aContestedNameListsTheClaims() throws {
        let story = Story(), folder = try TemporaryFolder()
        let catalog = try folder.catalog("a", story.charter)
        let ada = try story.newcomer([.publisher], scope: ["site"]), bob = try story.newcomer([.publisher], scope: ["site"])
        try ada.release("site", "1.0.0", of: "old")
        try ada.release("site", "2.0.0", of: "a")
        try bob.release("site", "2.0.0", of: "b")
        _ = try catalog.admit(story.facts.map(\.envelope))
        let asked: [SemanticVersion?] = [nil, try Self.version("2.0.0")]
        for version in asked {
            let thrown = failure { _ = try catalog.resolve(Self.name("site"), version: version) }
            let error = try #require(thrown)
            #expect(error.code == .contested && error.code.exit.rawValue == 65)
            #expect(Set(error.details) == ["\(capsule("a")) by \(ada.key.publicKey.id.short)", "\(capsule("b")) by \(bob.key.publicKey.id.short)"])
            #expect(error.message.contains("site@2.0.0") && !error.hint.isEmpty)
        }
        #expect(try catalog.resolve(Self.name("site"), version: Self.version("1.0.0"))?.capsule == capsule("old"))
        // By digest it can be had: it is listed all the same.
        #expect(try catalog.releases(matching: nil).filter(\.contested).count == 2)

        try bob.withdraw("site", of: "b")
        _ = try catalog.admit(story.facts.suffix(1).map(\.envelope))
        #expect(try catalog.resolve(Self.name("site"), version: nil)?.capsule == capsule("a"))
    }

    @Test func anEquivocatorsReleaseIsContestedByName() throws {
        let story = Story(), folder = try TemporaryFolder()
        let catalog = try folder.catalog("a", story.charter)
        let ada = try story.newcomer([.publisher], scope: ["site"])
        try ada.release("site", of: "a")
        try ada.say("note", about: capsule("x"))
        _ = try catalog.admit(story.facts.map(\.envelope))
        #expect(try catalog.resolve(Self.name("site"), version: nil)?.capsule == capsule("a"))
        try ada.say("note", about: capsule("y"), seq: 2)
        _ = try catalog.admit(story.facts.map(\.envelope))
        let thrown = failure { _ = try catalog.resolve(Self.name("site"), version: nil) }
        let error = try #require(thrown)
        #expect(error.code == .contested)
        #expect(error.details == ["\(capsule("a")) by \(ada.key.publicKey.id.short)"])
    }

    /// Versions that differ in their build have the same precedence; which of them comes last must be the same on every node,
    /// and so must not hang on a hash table's order: it follows from the builds, or from the ids of the facts.
    @Test func buildsOfOneVersionHaveAnOrder() throws {
        let story = Story()
        for i in 0..<24 { for build in ["a", "b"] { try story.ruler.release("site-\(i)", "1.0.0+\(build)", of: "\(i)\(build)") } }
        let pairs = Dictionary(grouping: story.view.releases) { $0.name }.values
        #expect(pairs.count == 24 && pairs.allSatisfy { $0.count == 2 })
        let byBuild = pairs.count { $0[0].version.description < $0[1].version.description }, byFact = pairs.count { $0[0].fact < $0[1].fact }
        #expect(byBuild == 0 || byBuild == 24 || byFact == 0 || byFact == 24, "\(byBuild) of 24 by build, \(byFact) by fact")
    }
}
