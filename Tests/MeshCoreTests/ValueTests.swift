import MeshCore
import Testing

@Suite struct DigestTests {
    /// FIPS 180-4 examples.
    @Test(arguments: [
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"), ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"),
    ])
    func matchesTheStandard(text: String, hex: String) throws {
        let digest = Digest.of(Array(text.utf8))
        #expect(digest.hex == hex)
        #expect(try Digest(parsing: "sha256:" + hex) == digest)
        #expect(Digest(bytes: digest.bytes) == digest)
        var pieces = DigestHasher()
        for byte in text.utf8 { pieces.update([byte]) }
        #expect(pieces.finish() == digest)
    }

    @Test(arguments: ["sha256:", "e3b0", "sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855", "sha512:" + String(repeating: "0", count: 64), "sha256:" + String(repeating: "0", count: 65)])
    func refuses(text: String) {
        #expect(throws: MeshError.self) { try Digest(parsing: text) }
    }

    @Test func ordersByBytes() throws {
        let digests = (0..<200).map { Digest.of([UInt8($0)]) }
        #expect(digests.sorted().map(\.hex) == digests.map(\.hex).sorted())
    }
}

@Suite struct EncodingTests {
    /// RFC 4648 §10.
    @Test(arguments: [("", "", ""), ("f", "Zg==", "my"), ("fo", "Zm8=", "mzxq"), ("foo", "Zm9v", "mzxw6"), ("foob", "Zm9vYg==", "mzxw6yq"), ("fooba", "Zm9vYmE=", "mzxw6ytb"), ("foobar", "Zm9vYmFy", "mzxw6ytboi")])
    func matchesTheStandard(text: String, base64: String, base32: String) {
        let bytes = Array(text.utf8)
        #expect(Base64.encode(bytes) == base64)
        #expect(Base64.decode(base64) == bytes)
        #expect(Base32.encode(bytes) == base32)
        #expect(Base32.decode(base32) == bytes)
    }

    @Test(arguments: ["Zg", "Zg=", "Zh==", "Zm9=", "Zg==Zg==", "Z===", "====", "Zm 9", "Zm9-"])
    func refusesOtherSpellings(text: String) { #expect(Base64.decode(text) == nil) }

    @Test(arguments: ["A0", "0g", "abc"]) func hexRefuses(text: String) { #expect(Hex.decode(text) == nil) }
}

@Suite struct SemanticVersionTests {
    /// semver.org §11, in ascending order.
    @Test func ordersAsTheSpecificationDoes() throws {
        let texts = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "2.0.0", "2.1.0", "2.1.1"]
        let versions = try texts.map { try SemanticVersion(parsing: $0) }
        #expect(versions.shuffled().sorted().map(\.description) == texts)
    }

    @Test(arguments: ["1", "1.2", "1.2.3.4", "01.2.3", "1.02.3", "1.2.3-", "1.2.3-01", "1.2.3-a..b", "1.2.3+", "1.2.3+a+b", "v1.2.3", " 1.2.3", "1.2.-3", "1.2.3-é", "", "99999999999999999999.0.0"])
    func refuses(text: String) {
        let error = #expect(throws: MeshError.self) { try SemanticVersion(parsing: text) }
        #expect(error?.code == .versionInvalid)
    }

    @Test(arguments: ["0.0.4", "1.0.0-0A.is.legal", "1.2.3----RC-SNAPSHOT.12.9.1--.12", "1.1.2+meta-valid", "2.0.0+build.1848", "1.0.0-alpha+001"])
    func accepts(text: String) throws { #expect(try SemanticVersion(parsing: text).description == text) }
}

@Suite struct ReferenceTests {
    @Test func readsEachForm() throws {
        let digest = Digest.of([])
        let shop = try CapsuleName(parsing: "shop")
        #expect(try Reference(parsing: digest.description) == .digest(digest))
        #expect(try Reference(parsing: "sha256:0123abcd") == .digestPrefix("0123abcd"))
        #expect(try Reference(parsing: "shop") == .name(shop))
        #expect(try Reference(parsing: "shop@1.2.0") == .version(shop, try SemanticVersion(parsing: "1.2.0")))
        #expect(try Reference(parsing: "shop@stable") == .channel(shop, "stable"))
        #expect(try Reference(parsing: "./shop") == .path("./shop"))
        #expect(try Reference(parsing: "shop.caps") == .path("shop.caps"))
    }

    @Test(arguments: ["", "Shop", "sha256:0123", "sha256:0123456G", "shop@", "shop@1.2", "-shop", "shop-", "sh op"])
    func refuses(text: String) {
        let error = #expect(throws: MeshError.self) { try Reference(parsing: text) }
        #expect(error?.code == .referenceInvalid)
    }
}

@Suite struct GlobTests {
    @Test(arguments: [("*", "anything", true), ("shop-*", "shop-a", true), ("shop-*", "shop", false), ("*-x", "a-x", true), ("a*c*e", "abcde", true), ("a*c*e", "abcdf", false), ("shop", "shop", true), ("shop", "shops", false), ("", "", true), ("**", "", true)])
    func matches(pattern: String, text: String, expected: Bool) { #expect(Glob(pattern).matches(text) == expected) }

    @Test(arguments: [("*", "shop-*", true), ("shop-*", "shop-a*", true), ("shop-a*", "shop-*", false), ("shop", "shop", true), ("shop", "*", false)])
    func covers(outer: String, inner: String, expected: Bool) { #expect(Glob(outer).covers(Glob(inner)) == expected) }
}

@Suite struct TimeTests {
    @Test(arguments: [(Milliseconds(0), "1970-01-01T00:00:00Z"), (1_000_000_000_999, "2001-09-09T01:46:40Z"), (315_532_800_000, "1980-01-01T00:00:00Z")])
    func formats(at: Milliseconds, text: String) { #expect(at.rfc3339 == text) }
}
