import MeshCore
import Signing
import Testing

@Suite struct EnvelopeTests {
    static let key = SigningKey(seed: [UInt8](repeating: 1, count: 32)) ?? .generate()
    static let other = SigningKey(seed: [UInt8](repeating: 2, count: 32)) ?? .generate()

    /// The example of the DSSE specification (protocol.md), and lengths that count bytes.
    @Test(arguments: [("http://example.com/HelloWorld", "hello world", "DSSEv1 29 http://example.com/HelloWorld 11 hello world"),
                      ("", "", "DSSEv1 0  0 "), ("é", "€", "DSSEv1 2 é 3 €"), ("a", "2 b", "DSSEv1 1 a 3 2 b")])
    func encodesWhatIsSigned(_ vector: (String, String, String)) {
        #expect(Envelope.preAuthenticationEncoding(vector.0, Array(vector.1.utf8)) == Array(vector.2.utf8))
    }

    @Test func carriesWhatWasSigned() throws {
        let payload = Array("hello world".utf8)
        let envelope = Envelope.sign(payload: payload, payloadType: "http://example.com/HelloWorld", with: Self.key)
        let text = String(decoding: envelope.bytes, as: UTF8.self)
        #expect(text.hasPrefix(#"{"payload":"aGVsbG8gd29ybGQ=","payloadType":"http://example.com/HelloWorld","signatures":[{"keyid":"\#(Self.key.publicKey.id.hex)","sig":""#))
        let read = try Envelope(parsing: envelope.bytes)
        #expect(read == envelope)
        let verified = try read.verify(with: [Self.other.publicKey, Self.key.publicKey])
        #expect(verified.payload == payload && verified.payloadType == "http://example.com/HelloWorld" && verified.signers == [Self.key.publicKey])
        #expect(envelope.contentID == Digest.of(Array("DSSEv1 29 http://example.com/HelloWorld 11 hello world".utf8)))
    }

    @Test func countsKeysNotSignatures() throws {
        let twice = Envelope.sign(payload: [1], payloadType: "t", with: Self.key).signed(with: Self.key)
        #expect(twice.signatures.count == 2)
        #expect(try twice.verify(with: [Self.key.publicKey, Self.key.publicKey, Self.other.publicKey]).signers.count == 1)
        let both = twice.signed(with: Self.other)
        #expect(try Set(both.verify(with: [Self.key.publicKey, Self.other.publicKey]).signers) == [Self.key.publicKey, Self.other.publicKey])
        #expect(both.contentID == Envelope.sign(payload: [1], payloadType: "t", with: Self.other).contentID)
    }

    @Test func refusesOtherKeysTypesAndPayloads() throws {
        let envelope = Envelope.sign(payload: Array("hello".utf8), payloadType: "t", with: Self.key)
        #expect(code { _ = try envelope.verify(with: [Self.other.publicKey]) } == "signature_invalid")
        #expect(code { _ = try envelope.verify(with: []) } == "signature_invalid")
        let text = String(decoding: envelope.bytes, as: UTF8.self)
        for (old, new) in [("aGVsbG8=", "aGVsbG4="), (#""payloadType":"t""#, #""payloadType":"u""#)] {
            let changed = try Envelope(parsing: Array(text.replacing(old, with: new).utf8))
            #expect(code { _ = try changed.verify(with: [Self.key.publicKey]) } == "signature_invalid", "\(new)")
        }
        // The key id is a hint: it decides nothing.
        let renamed = try Envelope(parsing: Array(text.replacing(Self.key.publicKey.id.hex, with: Self.other.publicKey.id.hex).utf8))
        #expect(code { _ = try renamed.verify(with: [Self.other.publicKey]) } == "signature_invalid")
        _ = try renamed.verify(with: [Self.key.publicKey])
    }

    static let strict: [(String, String)] = [
        (#"{"payload":"","payloadType":"t","signatures":[]}"#, "field_invalid"),
        (#"{"payload":"","payloadType":"t"}"#, "field_missing"),
        (#"{"payload":"","signatures":[{"keyid":"","sig":""}]}"#, "field_missing"),
        (#"{"payload":"","payloadType":"t","signatures":[{"sig":""}]}"#, "field_missing"),
        (#"{"extra":1,"payload":"","payloadType":"t","signatures":[{"keyid":"","sig":""}]}"#, "field_unknown"),
        (#"{"payload":"","payloadType":"t","signatures":[{"cert":"","keyid":"","sig":""}]}"#, "field_unknown"),
        (#"{"payloadType":"t","payload":"","signatures":[{"keyid":"","sig":""}]}"#, "json_not_canonical"),
        (#"{ "payload":"","payloadType":"t","signatures":[{"keyid":"","sig":""}]}"#, "json_not_canonical"),
        (#"{"payload":"YQ","payloadType":"t","signatures":[{"keyid":"","sig":""}]}"#, "field_invalid"),
        (#"{"payload":"YR==","payloadType":"t","signatures":[{"keyid":"","sig":""}]}"#, "field_invalid"),
        (#"{"payload":"-_8=","payloadType":"t","signatures":[{"keyid":"","sig":""}]}"#, "field_invalid"),
        (#"{"payload":"","payloadType":"t","signatures":[{"keyid":"","sig":"YQ"}]}"#, "field_invalid"),
        (#"{"payload":"","payload":"","payloadType":"t","signatures":[{"keyid":"","sig":""}]}"#, "json_invalid"),
        ("[]", "field_invalid"), ("", "json_invalid"),
    ]

    @Test(arguments: strict) func readsOneSpellingOnly(_ vector: (String, String)) {
        #expect(code { _ = try Envelope(parsing: Array(vector.0.utf8)) } == vector.1)
    }

    @Test func boundsWhatItReads() throws {
        let signature = #"{"keyid":"","sig":""}"#
        func envelope(_ count: Int) -> [UInt8] {
            Array(#"{"payload":"","payloadType":"t","signatures":[\#([String](repeating: signature, count: count).joined(separator: ","))]}"#.utf8)
        }
        #expect(try Envelope(parsing: envelope(16)).signatures.count == 16)
        #expect(code { _ = try Envelope(parsing: envelope(17)) } == "field_invalid")
        let many = Array(("[" + String(repeating: "[0],", count: 10_000) + "0]").utf8)
        #expect(code { _ = try Envelope(parsing: many) } == "json_invalid", "told before it is taken apart: an array would be field_invalid")
        let large = Envelope.sign(payload: [UInt8](repeating: 0x20, count: Limits.envelopeBytesMax), payloadType: "t", with: Self.key)
        #expect(code { _ = try Envelope(parsing: large.bytes) } == "json_invalid")
    }
}

@Suite struct StatementTests {
    static let digest = String(repeating: "ab", count: 32)

    @Test func writesAndReadsTheInTotoForm() throws {
        let statement = Statement(subjects: [.init(name: nil, digest: Digest.of([1])), .init(name: "a.caps", digest: Digest.of([2]))], predicateType: "urn:x",
                                  predicate: ["b": 1, "a": []])
        #expect(String(decoding: statement.bytes, as: UTF8.self) == #"{"_type":"https://in-toto.io/Statement/v1","predicate":{"a":[],"b":1},"predicateType":"urn:x","#
            + #""subject":[{"digest":{"sha256":"\#(Digest.of([1]).hex)"}},{"digest":{"sha256":"\#(Digest.of([2]).hex)"},"name":"a.caps"}]}"#)
        #expect(try Statement(parsing: statement.bytes) == statement)
    }

    static let strict: [(String, String)] = [
        (#"{"_type":"https://in-toto.io/Statement/v0.1","predicate":{},"predicateType":"t","subject":[]}"#, "field_invalid"),
        (#"{"_type":"https://in-toto.io/Statement/v1","predicateType":"t","subject":[]}"#, "field_missing"),
        (#"{"_type":"https://in-toto.io/Statement/v1","more":1,"predicate":{},"predicateType":"t","subject":[]}"#, "field_unknown"),
        (#"{"_type":"https://in-toto.io/Statement/v1","predicate":{},"predicateType":"t","subject":[{"digest":{"sha512":"00"}}]}"#, "field_missing"),
        (#"{"_type":"https://in-toto.io/Statement/v1","predicate":{},"predicateType":"t","subject":[{"digest":{"sha256":"\#(digest.uppercased())"}}]}"#, "field_invalid"),
        (#"{"_type":"https://in-toto.io/Statement/v1","predicate":{},"predicateType":"t","subject":[{"digest":{"sha256":"\#(digest)","sha512":""}}]}"#, "field_unknown"),
        (#"{"_type":"https://in-toto.io/Statement/v1","predicate":{},"predicateType":"t","subject":[{"digest":{"sha256":"\#(digest)"},"uri":""}]}"#, "field_unknown"),
        (#"{"_type":"https://in-toto.io/Statement/v1","predicate":{},"predicateType":"t", "subject":[]}"#, "json_not_canonical"),
    ]

    @Test(arguments: strict) func readsItsOwnFormOnly(_ vector: (String, String)) {
        #expect(code { _ = try Statement(parsing: Array(vector.0.utf8)) } == vector.1)
    }
}

/// docs/formats/keys-and-envelopes.md is what other implementations are written from.
@Suite struct FormatPageTests {
    @Test func theVectorsOfThePageHold() throws {
        let vector = try vectors("keys-and-envelopes.md")
        func text(_ name: String) throws -> String { try #require(vector[name]) }
        let folder = try Folder()
        let key = try #require(SigningKey(seed: bytes(text("seed"))))
        #expect(key.publicKey.hex == (try text("publicKey")))
        #expect(key.publicKey.id.hex == (try text("keyId")))
        #expect(key.publicKey.id.short == (try text("keyIdShort")))
        #expect(key.publicKey.pem == (try text("pub")))
        let plain = try folder.write(text("key"), to: "plain.key"), sealed = try folder.write(text("sealed"), to: "sealed.key")
        #expect(try KeyFileTests.read(plain).seed == key.seed)
        #expect(try KeyFileTests.read(sealed, Array(text("passphrase").utf8)).seed == key.seed)

        let statement = Statement(subjects: [.init(name: nil, digest: Digest.of(Array("capsule".utf8)))], predicateType: Statement.capsuleSignatureType,
                                  predicate: ["author": .string(key.publicKey.hex)])
        #expect(String(decoding: statement.bytes, as: UTF8.self) == (try text("payload")))
        let envelope = Envelope.sign(payload: statement.bytes, payloadType: Statement.payloadType, with: key)
        #expect(String(decoding: envelope.bytes, as: UTF8.self) == (try text("envelope")))
        #expect(envelope.contentID.hex == (try text("contentId")))
        _ = try Envelope(parsing: Array(text("envelope").utf8)).verify(with: [key.publicKey])
    }
}
