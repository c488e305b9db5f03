@testable import Catalog
import MeshCore
import Signing
import Testing

@Suite struct CharterTests {
    static let keys = (UInt8(1)...17).map { SigningKey(seed: [UInt8](repeating: $0, count: 32)) ?? .generate() }

    static func payload(roots: [SigningKey], threshold: Int = 1, version: Int = 1, policy: JSONValue = [:]) -> [String: JSONValue] {
        let names = roots.map { JSONValue.string($0.publicKey.hex) }
        return ["policy": policy, "roots": .array(names), "threshold": JSONValue(threshold), "version": JSONValue(version)]
    }

    static func envelope(_ payload: [UInt8], type: String = Charter.payloadType, by signers: [SigningKey]) -> [UInt8] {
        var envelope = Envelope.sign(payload: payload, payloadType: type, with: signers[0])
        for key in signers.dropFirst() { envelope = envelope.signed(with: key) }
        return envelope.bytes
    }

    static func file(_ envelopes: [[UInt8]]) -> [UInt8] {
        var out = [UInt8(ascii: "[")]
        for (i, envelope) in envelopes.enumerated() {
            if i > 0 { out.append(UInt8(ascii: ",")) }
            out += envelope
        }
        out.append(UInt8(ascii: "]"))
        return out
    }

    static func file(_ members: [String: JSONValue], type: String = Charter.payloadType, by signers: [SigningKey]) -> [UInt8] {
        file([envelope(JSONValue.object(members).canonicalBytes, type: type, by: signers)])
    }

    @Test func whatIsFoundedIsRead() throws {
        let made = Charter.create(root: Self.keys[0])
        let read = try Charter(parsing: made.bytes)
        #expect(read.version == 1 && read.threshold == 1)
        #expect(read.roots == [Self.keys[0].publicKey])
        #expect(read.meshID == made.meshID && read.bytes == made.bytes)
        #expect(made.bytes == Self.file(Self.payload(roots: [Self.keys[0]]), by: [Self.keys[0]]))
        let payload = JSONValue.object(Self.payload(roots: [Self.keys[0]])).canonicalBytes
        #expect(read.meshID == Digest.of(payload))
        #expect(Charter.create(root: Self.keys[1]).meshID != made.meshID)
        #expect(Charter.create(root: Self.keys[0]).bytes == made.bytes)
        #expect(try Charter(envelopes: made.envelopes).bytes == made.bytes)
    }

    @Test func asManyRootsAsItSaysMustSign() throws {
        let three = Array(Self.keys.prefix(3))
        let members = Self.payload(roots: three, threshold: 2)
        #expect(code { _ = try Charter(parsing: Self.file(members, by: [three[0]])) } == "charter_invalid")
        #expect(code { _ = try Charter(parsing: Self.file(members, by: [three[0], three[0]])) } == "charter_invalid")
        #expect(code { _ = try Charter(parsing: Self.file(members, by: [three[0], Self.keys[9]])) } == "charter_invalid")
        #expect(code { _ = try Charter(parsing: Self.file(members, by: [Self.keys[8], Self.keys[9]])) } == "signature_invalid")
        let charter = try Charter(parsing: Self.file(members, by: [three[2], three[0]]))
        #expect(charter.roots == three.map(\.publicKey) && charter.threshold == 2)
        // Who else signed does not matter, nor who did: the mesh is the same.
        let others = try Charter(parsing: Self.file(members, by: [Self.keys[9], three[1], three[2]]))
        #expect(others.meshID == charter.meshID)
    }

    @Test func sixteenRootsAtMost() throws {
        let sixteen = Array(Self.keys.prefix(16))
        let charter = try Charter(parsing: Self.file(Self.payload(roots: sixteen, threshold: 16), by: sixteen))
        #expect(charter.roots.count == 16 && charter.threshold == 16)
        #expect(code { _ = try Charter(parsing: Self.file(Self.payload(roots: Self.keys), by: [Self.keys[0]])) } == "charter_invalid")
        #expect(code { _ = try Charter(parsing: Self.file(Self.payload(roots: []), by: [Self.keys[0]])) } == "charter_invalid")
    }

    private func refuses(_ name: String, _ file: [UInt8], _ expected: String) {
        #expect(code { _ = try Charter(parsing: file) } == expected, "\(name)")
    }

    @Test func whatBreaksARuleIsRefused() {
        let key = Self.keys[0], good = Self.payload(roots: [key])
        func changed(_ name: String, _ value: JSONValue) -> [UInt8] {
            var members = good
            members.updateValue(value, forKey: name)
            return Self.file(members, by: [key])
        }
        func without(_ name: String) -> [UInt8] {
            var members = good
            members.removeValue(forKey: name)
            return Self.file(members, by: [key])
        }
        let hex = key.publicKey.hex
        refuses("version 0", changed("version", 0), "charter_invalid")
        refuses("version 2", changed("version", 2), "charter_invalid")
        refuses("a version in words", changed("version", "1"), "field_invalid")
        refuses("no signature needed", changed("threshold", 0), "charter_invalid")
        refuses("a negative threshold", changed("threshold", -1), "charter_invalid")
        refuses("a threshold out of reach", changed("threshold", 2), "charter_invalid")
        refuses("a root twice", changed("roots", .array([.string(hex), .string(hex)])), "field_invalid")
        refuses("a root in upper case", changed("roots", .array([.string(hex.uppercased())])), "field_invalid")
        refuses("a part of a root", changed("roots", .array([.string(String(hex.dropLast(2)))])), "field_invalid")
        refuses("a key id for a root", changed("roots", .array([.string(key.publicKey.id.hex)])), "signature_invalid")
        refuses("a root that is a number", changed("roots", [1]), "field_invalid")
        refuses("roots that are no list", changed("roots", .string(hex)), "field_invalid")
        refuses("a policy that is a list", changed("policy", []), "field_invalid")
        refuses("something more", changed("expires", 0), "field_unknown")
        refuses("kept facts in a first charter", changed("keep", [Self.keys[1].publicKey.hex: .string(String(repeating: "a", count: 64))]), "charter_invalid")
        for name in ["version", "threshold", "roots", "policy"] { refuses("no \(name)", without(name), "field_missing") }
        refuses("another payload type", Self.file(good, type: Statement.payloadType, by: [key]), "charter_invalid")
        var spaced = JSONValue.object(good).canonicalBytes
        spaced.append(0x20)
        refuses("a payload with a space", Self.file([Self.envelope(spaced, by: [key])]), "json_not_canonical")
    }

    @Test func whatIsNoListOfCharters() {
        let envelope = Self.envelope(JSONValue.object(Self.payload(roots: [Self.keys[0]])).canonicalBytes, by: [Self.keys[0]])
        refuses("an empty chain", Self.file([[UInt8]]()), "charter_invalid")
        refuses("the first one twice", Self.file([envelope, envelope]), "charter_invalid")
        refuses("an envelope without a chain", envelope, "charter_invalid")
        refuses("no envelope", Array("[1]".utf8), "field_invalid")
        refuses("null", Array("null".utf8), "charter_invalid")
        refuses("nothing", [], "json_invalid")
        var late = Self.file([envelope])
        late.append(0x0a)
        refuses("a line end", late, "json_not_canonical")
    }

    /// Refused, or the same mesh with another key id beside the signature.
    @Test func everyByteThatIsAlteredIsNoticed() throws {
        let made = Charter.create(root: Self.keys[0])
        let hint = Self.keys[0].publicKey.id.hex
        for i in made.bytes.indices {
            for mask: UInt8 in [0x01, 0x80] {
                var changed = made.bytes
                changed[i] ^= mask
                guard let charter = try? Charter(parsing: changed) else { continue }
                #expect(charter.meshID == made.meshID && charter.roots == made.roots, "byte \(i)")
                #expect(!String(decoding: changed, as: UTF8.self).contains(hint), "byte \(i)")
            }
        }
    }
}
