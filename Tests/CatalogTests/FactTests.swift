@testable import Catalog
import Foundation
import MeshCore
import Signing
import Testing

@Suite struct FactTests {
    static let key = SigningKey(seed: [UInt8](repeating: 2, count: 32)) ?? .generate()
    static let other = SigningKey(seed: [UInt8](repeating: 3, count: 32)) ?? .generate()
    static let mesh = Digest.of(Array("mesh".utf8))
    static let before = Digest.of(Array("before".utf8))
    static let noteType = "urn:oursynth:fact:note:v1"

    /// A first fact's predicate with some members changed, and one left out.
    static func predicate(_ changes: [String: JSONValue] = [:], without left: String? = nil) -> JSONValue {
        var members: [String: JSONValue] = ["mesh": .string(mesh.hex), "author": .string(key.publicKey.hex), "seq": 1, "at": 1_764_000_000_000]
        for (name, value) in changes { members[name] = value }
        if let left { members.removeValue(forKey: left) }
        return .object(members)
    }

    static func statement(_ predicate: JSONValue, type: String = FactTests.noteType, about contents: [String] = ["a"]) -> [UInt8] {
        Statement(subjects: contents.map { Statement.Subject(name: nil, digest: capsule($0)) }, predicateType: type, predicate: predicate).bytes
    }

    static func signed(_ payload: [UInt8], type: String = Statement.payloadType, by key: SigningKey = FactTests.key) -> [UInt8] {
        Envelope.sign(payload: payload, payloadType: type, with: key).bytes
    }

    static func envelope(_ changes: [String: JSONValue] = [:], without left: String? = nil) -> [UInt8] {
        signed(statement(predicate(changes, without: left)))
    }

    /// The same envelope under another key id, which is a hint and decides nothing.
    static func renamed(_ envelope: [UInt8], _ keyID: String) -> [UInt8] {
        Array(String(decoding: envelope, as: UTF8.self).replacing(key.publicKey.id.hex, with: keyID).utf8)
    }

    static func read(_ envelope: [UInt8]) throws -> Fact { try Fact(parsing: envelope, mesh: mesh) }

    @Test func saysWhatWasSigned() throws {
        let body: JSONValue = ["name": "site", "more": [1, ["a": nil]]]
        let bytes = Self.envelope(["seq": 7, "prev": .string(Self.before.hex), "until": 0, "name": "site", "more": [1, ["a": nil]]])
        let fact = try Self.read(bytes)
        #expect(fact.kind == "note")
        #expect(fact.subject == capsule("a"))
        #expect(fact.author == Self.key.publicKey)
        #expect(fact.seq == 7)
        #expect(fact.prev == Self.before)
        #expect(fact.at == 1_764_000_000_000)
        #expect(fact.body == body)
        #expect(fact.envelope == bytes)
        #expect(try fact.id == Envelope(parsing: bytes).contentID)
    }

    @Test func whatIsSignedIsRead() throws {
        let body: [String: JSONValue] = ["name": "site"]
        let bytes = Fact.sign(kind: "release", subject: capsule("a"), body: body, mesh: Self.mesh, seq: 1, prev: nil, at: -5, by: Self.key)
        let fact = try Self.read(bytes)
        #expect(fact.kind == "release" && fact.subject == capsule("a") && fact.body.object == body)
        #expect(fact.seq == 1 && fact.prev == nil && fact.at == -5 && fact.author == Self.key.publicKey)
    }

    /// What newer nodes say is carried by older ones.
    @Test(arguments: ["urn:oursynth:fact:weather-report:v1", "urn:oursynth:fact:x:v1", "urn:oursynth:fact:a:b:v1"])
    func anyKindIsRead(_ type: String) throws {
        let body: [String: JSONValue] = ["temperature": -3]
        let fact = try Self.read(Self.signed(Self.statement(Self.predicate(body), type: type)))
        #expect("urn:oursynth:fact:\(fact.kind):v1" == type)
        #expect(fact.body.object == body)
    }

    @Test func theSameWordsInAnotherEnvelopeAreTheSameFact() throws {
        let bytes = Self.envelope(), again = Self.renamed(bytes, "somebody else")
        #expect(again != bytes)
        let fact = try Self.read(bytes), second = try Self.read(again)
        #expect(second.id == fact.id)
        #expect(second == fact)
        #expect(Set([fact, second]).count == 1)
        #expect(second.author == Self.key.publicKey)
        let different = try Self.read(Self.envelope(["note": "x"]))
        #expect(different != fact && different.id != fact.id)
    }

    private func refuses(_ name: String, _ bytes: [UInt8], _ expected: String) {
        #expect(code { _ = try Self.read(bytes) } == expected, "\(name)")
    }

    @Test func aFactIsOfThisMeshAndSignedByItsAuthor() {
        refuses("another mesh", Self.envelope(["mesh": .string(Self.before.hex)]), "fact_foreign")
        refuses("no mesh", Self.envelope(without: "mesh"), "field_missing")
        refuses("a mesh in upper case", Self.envelope(["mesh": .string(Self.mesh.hex.uppercased())]), "fact_invalid")
        refuses("a mesh that is cut", Self.envelope(["mesh": .string(String(Self.mesh.hex.dropLast()))]), "fact_invalid")
        refuses("another author", Self.envelope(["author": .string(Self.other.publicKey.hex)]), "signature_invalid")
        let byOther = Self.signed(Self.statement(Self.predicate()), by: Self.other)
        refuses("another signer", byOther, "signature_invalid")
        let text = String(decoding: byOther, as: UTF8.self).replacing(Self.other.publicKey.id.hex, with: Self.key.publicKey.id.hex)
        refuses("another signer by the author's name", Array(text.utf8), "signature_invalid")
        refuses("no author", Self.envelope(without: "author"), "field_missing")
        refuses("an author that is a number", Self.envelope(["author": 1]), "field_invalid")
        refuses("an author in upper case", Self.envelope(["author": .string(Self.key.publicKey.hex.uppercased())]), "fact_invalid")
        refuses("a part of an author", Self.envelope(["author": .string(String(Self.key.publicKey.hex.dropLast(2)))]), "fact_invalid")
    }

    @Test func seqAndPrevBelongTogether() {
        let before = JSONValue.string(Self.before.hex)
        refuses("no seq", Self.envelope(without: "seq"), "field_missing")
        refuses("a seq in words", Self.envelope(["seq": "1"]), "field_invalid")
        refuses("seq 0", Self.envelope(["seq": 0, "prev": before]), "fact_invalid")
        refuses("seq 0, none before", Self.envelope(["seq": 0]), "fact_invalid")
        refuses("seq -1", Self.envelope(["seq": -1, "prev": before]), "fact_invalid")
        refuses("seq 1048577", Self.envelope(["seq": 1_048_577, "prev": before]), "fact_invalid")
        refuses("the largest seq", Self.envelope(["seq": 9_007_199_254_740_991, "prev": before]), "fact_invalid")
        refuses("a first fact with one before", Self.envelope(["prev": before]), "fact_invalid")
        refuses("a second fact with none before", Self.envelope(["seq": 2]), "fact_invalid")
        refuses("prev in upper case", Self.envelope(["seq": 2, "prev": .string(Self.before.hex.uppercased())]), "fact_invalid")
        refuses("prev with a scheme", Self.envelope(["seq": 2, "prev": .string(Self.before.description)]), "fact_invalid")
        refuses("prev empty", Self.envelope(["prev": ""]), "fact_invalid")
        refuses("prev null", Self.envelope(["prev": .null]), "field_invalid")
    }

    @Test func aFactHasItsForm() {
        refuses("no at", Self.envelope(without: "at"), "field_missing")
        refuses("at in words", Self.envelope(["at": "now"]), "field_invalid")
        refuses("until before all time", Self.envelope(["until": -1]), "fact_invalid")
        refuses("until in words", Self.envelope(["until": "then"]), "field_invalid")
        refuses("a predicate that is a list", Self.signed(Self.statement([])), "fact_invalid")
        refuses("no predicate", Self.signed(Self.statement(.null)), "fact_invalid")
        refuses("no subject", Self.signed(Self.statement(Self.predicate(), about: [])), "fact_invalid")
        refuses("two subjects", Self.signed(Self.statement(Self.predicate(), about: ["a", "b"])), "fact_invalid")
        refuses("another payload type", Self.signed(Self.statement(Self.predicate()), type: "application/json"), "fact_invalid")
        refuses("a charter", Self.signed(Array("{}".utf8), type: Charter.payloadType), "fact_invalid")
        var spaced = Self.statement(Self.predicate())
        spaced.insert(0x20, at: 0)
        refuses("a payload with a space", Self.signed(spaced), "json_not_canonical")
        var late = Self.envelope()
        late.append(0x20)
        refuses("an envelope with a space", late, "json_not_canonical")
        refuses("a part of an envelope", Array(Self.envelope().prefix(200)), "json_invalid")
        refuses("nothing", [], "json_invalid")
    }

    @Test(arguments: ["urn:oursynth:fact::v1", "urn:oursynth:fact:v1", "urn:oursynth:fact:note:v2", "urn:oursynth:fact:note", "note", "", Statement.capsuleSignatureType])
    func otherStatementsAreNoFacts(_ type: String) {
        refuses(type, Self.signed(Self.statement(Self.predicate(), type: type)), "fact_invalid")
    }

    @Test func placesGoFromOneTo4096() throws {
        for seq in [2, 4095, 4096] {
            #expect(try Self.read(Self.envelope(["seq": JSONValue(seq), "prev": .string(Self.before.hex)])).seq == seq)
        }
        #expect(try Self.read(Self.envelope()).seq == 1)
    }

    @Test func oneSignatureAndNoMore() throws {
        let once = Envelope.sign(payload: Self.statement(Self.predicate()), payloadType: Statement.payloadType, with: Self.key)
        _ = try Self.read(once.bytes)
        #expect(code { _ = try Self.read(once.signed(with: Self.other).bytes) } == "fact_invalid")
        #expect(code { _ = try Self.read(once.signed(with: Self.key).bytes) } == "fact_invalid")
    }

    @Test func aFactHasAtMost16KiB() throws {
        let bytes = Self.envelope()
        func padded(_ count: Int) -> [UInt8] { Self.renamed(bytes, String(repeating: "k", count: 64 + count - bytes.count)) }
        let largest = padded(16 * 1024), larger = padded(16 * 1024 + 1)
        #expect(largest.count == 16 * 1024 && larger.count == 16 * 1024 + 1)
        #expect(try Self.read(largest).id == Self.read(bytes).id)
        #expect(code { _ = try Self.read(larger) } == "fact_too_large")
        #expect(code { _ = try Self.read([UInt8](repeating: 0x7b, count: 1 << 20)) } == "fact_too_large")
    }

    /// Refused, or the same fact under another key id.
    @Test func everyByteThatIsAlteredIsNoticed() throws {
        let bytes = Self.envelope(["name": "site"])
        let id = try Self.read(bytes).id
        let text = String(decoding: bytes, as: UTF8.self)
        let hint = try #require(text.firstRange(of: Self.key.publicKey.id.hex))
        let start = text.utf8.distance(from: text.startIndex, to: hint.lowerBound)
        var hints = 0
        for i in bytes.indices {
            for mask: UInt8 in [0x01, 0x20, 0x80] {
                var changed = bytes
                changed[i] ^= mask
                guard let fact = try? Self.read(changed) else { continue }
                #expect((start..<start + 64).contains(i) && fact.id == id, "byte \(i), bits \(mask)")
                hints += 1
            }
        }
        #expect(hints > 0)
    }

    /// Left out, or put in.
    @Test func everyByteCounts() throws {
        let bytes = Self.envelope(["name": "site"])
        let id = try Self.read(bytes).id
        for i in bytes.indices {
            var shorter = bytes, longer = bytes
            shorter.remove(at: i)
            longer.insert(bytes[i], at: i)
            for changed in [shorter, longer, Array(bytes[..<i])] {
                guard let fact = try? Self.read(changed) else { continue }
                #expect(fact.id == id, "byte \(i)")
            }
        }
    }
}

/// docs/formats/facts.md is what other implementations are written from; its vectors were made with other programs.
@Suite struct FactsPageTests {
    static func page() throws -> String {
        let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        return try String(contentsOf: repository.appendingPathComponent("docs/formats/facts.md"), encoding: .utf8)
    }

    static func vectors() throws -> [String: String] {
        let parts = try page().components(separatedBy: "```json vectors\n")
        let block = try #require(parts.count == 2 ? parts[1].components(separatedBy: "\n```").first : nil)
        return try #require(JSONValue.parse(Array(block.utf8)).object).mapValues { try #require($0.string) }
    }

    @Test func theVectorsOfThePageHold() throws {
        let vector = try Self.vectors()
        func text(_ name: String) throws -> String { try #require(vector[name]) }
        func key(_ name: String) throws -> SigningKey {
            let seed = try #require(Hex.decode(try text(name)))
            return try #require(SigningKey(seed: seed))
        }
        let root = try key("rootSeed"), node = try key("nodeSeed")
        #expect(root.publicKey.hex == (try text("rootKey")))
        #expect(root.publicKey.id.hex == (try text("rootKeyId")))
        #expect(node.publicKey.hex == (try text("nodeKey")))
        #expect(node.publicKey.id.hex == (try text("nodeKeyId")))

        let charter = Charter.create(root: root)
        #expect(String(decoding: charter.bytes, as: UTF8.self) == (try text("charterFile")))
        #expect(charter.meshID.hex == (try text("mesh")))
        let payload = Array(try text("charterPayload").utf8), file = Array(try text("charterFile").utf8)
        #expect(charter.meshID == Digest.of(payload))
        #expect(try Charter(parsing: file).meshID == charter.meshID)

        let sample = try #require(Digest(hex: "8ddfbaef881baf530a8903a448946a11e224284fd5ef43c3230a25495fde6f46"))
        let first = Fact.sign(kind: "grant", subject: node.publicKey.id.digest, body: ["role": "publisher", "scope": ["sample"]], mesh: charter.meshID, seq: 1, prev: nil,
                              at: 1_764_000_000_000, by: root)
        let second = Fact.sign(kind: "grant", subject: node.publicKey.id.digest, body: ["role": "member"], mesh: charter.meshID, seq: 2,
                               prev: try Fact(parsing: first, mesh: charter.meshID).id, at: 1_764_000_000_001, by: root)
        let release = Fact.sign(kind: "release", subject: sample, body: ["name": "sample", "version": "1.0.0", "notes": "first"], mesh: charter.meshID, seq: 1, prev: nil,
                                at: 1_764_000_000_002, by: node)
        var facts: [Fact] = []
        for (name, bytes) in [("grantPublisher", first), ("grantMember", second), ("release", release)] {
            let envelope = try Envelope(parsing: bytes)
            #expect(String(decoding: envelope.payload, as: UTF8.self) == (try text(name)), "\(name)")
            let signature = try text(name + "Sig")
            #expect(envelope.signatures.map { Base64.encode($0.bytes) } == [signature], "\(name)")
            let fact = try Fact(parsing: bytes, mesh: charter.meshID)
            #expect(fact.id.hex == (try text(name + "Id")), "\(name)")
            facts.append(fact)
        }
        #expect(MerkleTrie.root(facts.map(\.id).sorted()).hex == (try text("root")))

        let view = CatalogView(AdmittedSet(offered: facts, charter: charter), charter: charter)
        #expect(view.listed == ["sample@1.0.0"])
        #expect(view.releases.first?.capsule == sample && view.releases.first?.notes == "first")
        #expect(view.roles(of: node.publicKey.id.digest) == held([.publisher: ["sample"], .member: []]))
    }
}
