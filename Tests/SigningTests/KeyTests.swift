import MeshCore
import Signing
import Testing

@Suite struct KeyTests {
    /// RFC 8032 §7.1, tests 1 to 3: seed, public key, message, signature.
    static let rfc8032: [(String, String, String, String)] = [
        ("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
         "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
        ("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
         "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
        ("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7", "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
         "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"),
    ]

    @Test(arguments: rfc8032) func signsAsTheStandardSays(_ vector: (String, String, String, String)) throws {
        let key = try #require(SigningKey(seed: bytes(vector.0)))
        let message = try bytes(vector.2), signature = try bytes(vector.3)
        #expect(key.publicKey.hex == vector.1)
        #expect(key.sign(message) == signature)
        #expect(key.publicKey.isValid(signature: signature, for: message))
    }

    @Test func everyFlippedBitOfASignatureIsNoticed() throws {
        let key = try #require(SigningKey(seed: bytes(Self.rfc8032[1].0)))
        let message: [UInt8] = [0x72], signature = key.sign(message)
        for bit in 0..<512 {
            var changed = signature
            changed[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(!key.publicKey.isValid(signature: changed, for: message), "bit \(bit)")
        }
        #expect(!key.publicKey.isValid(signature: signature, for: [0x73]))
        #expect(!key.publicKey.isValid(signature: signature, for: []))
        #expect(!key.publicKey.isValid(signature: Array(signature.dropLast()), for: message))
        #expect(!key.publicKey.isValid(signature: signature + [0], for: message))
    }

    /// With a key of small order one signature verifies for every message; with S + L a second signature verifies for one.
    @Test func refusesSmallOrderKeysAndMalleatedSignatures() throws {
        let identity = try #require(PublicKey(bytes: [1] + [UInt8](repeating: 0, count: 31)))
        #expect(!identity.isValid(signature: [1] + [UInt8](repeating: 0, count: 63), for: Array("anything".utf8)))
        let order = try bytes("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
        let key = try #require(SigningKey(seed: bytes(Self.rfc8032[0].0)))
        var signature = key.sign([]), carry = 0
        for i in 0..<32 {
            let sum = Int(signature[32 + i]) + Int(order[i]) + carry
            signature[32 + i] = UInt8(sum & 255)
            carry = sum >> 8
        }
        #expect(!key.publicKey.isValid(signature: signature, for: []))
    }

    /// Computed with securesystemslib 1.6.0: SSlibKey.from_crypto(key, scheme="ed25519").keyid
    @Test(arguments: [
        ("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "74c181c7ad8a0855d4b55e44d2ba87aabdddb196832571f15f92fece332e4916",
         "otay-dr5n-rief-lvfv-lzcn-fouh-vk65-3mmw"),
        ("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "eaf1e23f6c823132f437a2eaa299a7950f7386631deff273db195bbd26209e2b",
         "5ly6-ep3m-qiyt-f5bx-ulvk-fgnh-suhx-hbtd"),
    ]) func keyIDIsTheOneThatOthersCompute(_ vector: (String, String, String)) throws {
        let key = try #require(PublicKey(bytes: bytes(vector.0)))
        #expect(key.id.hex == vector.1)
        #expect(key.id.short == vector.2)
        #expect(KeyID(hex: vector.1) == key.id)
        #expect(KeyID(hex: vector.1.uppercased()) == nil)
        #expect(KeyID(hex: vector.1.dropLast()) == nil)
        #expect(KeyID(key.id.digest) == key.id)
    }

    @Test func lengthsAreExact() {
        for count in [0, 31, 33, 64] {
            #expect(PublicKey(bytes: [UInt8](repeating: 7, count: count)) == nil)
            #expect(SigningKey(seed: [UInt8](repeating: 7, count: count)) == nil)
        }
        #expect(SigningKey.generate().seed != SigningKey.generate().seed)
    }

    /// RFC 4231, cases 1 and 2, and 6 (a key longer than a block).
    @Test(arguments: [
        (String(repeating: "0b", count: 20), "4869205468657265", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        ("4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (String(repeating: "aa", count: 131), "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d2048617368204b6579204669727374",
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
    ]) func authenticatesAsTheStandardSays(_ vector: (String, String, String)) throws {
        #expect(Hex.encode(hmacSHA256(key: try bytes(vector.0), try bytes(vector.1))) == vector.2)
    }

    @Test func comparesAllBytes() {
        let random = randomBytes(32)
        #expect(random.count == 32 && random != randomBytes(32))
        #expect(constantTimeEqual(random, random))
        #expect(!constantTimeEqual(random, Array(random.dropLast())))
        for i in 0..<32 {
            var other = random
            other[i] ^= 0x80
            #expect(!constantTimeEqual(random, other))
        }
        #expect(constantTimeEqual([], []))
    }
}
