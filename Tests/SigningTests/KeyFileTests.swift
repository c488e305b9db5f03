import Foundation
import MeshCore
import Signing
import Testing

@Suite struct KeyFileTests {
    static let passphrase = Array("correct horse".utf8)

    static func mode(_ path: String) throws -> Int {
        try #require(FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int)
    }

    static func read(_ path: String, _ passphrase: [UInt8]? = nil) throws -> SigningKey {
        try KeyFile.readSecret(path, passphrase: { () throws(MeshError) in
            guard let passphrase else { throw MeshError(.passphraseWrong, "asked for a passphrase") }
            return passphrase
        })
    }

    /// The examples of RFC 8410 §10.1 and §10.3.
    @Test func readsTheStandardsExamples() throws {
        let folder = try Folder()
        let secret = try folder.write("-----BEGIN PRIVATE KEY-----\r\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp\r\n+K06/nwoy/HU++CXqI9EdVhC\r\n-----END PRIVATE KEY-----\r\n", to: "a.key")
        let key = try PublicKey(pem: "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n")
        #expect(key.hex == "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1")
        #expect(try Self.read(secret).publicKey == key)
        #expect(try PublicKey(pem: key.pem) == key)
    }

    @Test func opensslReadsAndVerifiesWhatIsWritten() throws {
        let folder = try Folder()
        let key = SigningKey.generate()
        try KeyFile.create(key, named: "node", in: folder.path, passphrase: nil)
        let described = try openssl("pkey", "-in", folder.path + "/node.key", "-text", "-noout")
        #expect(described.contains("ED25519 Private-Key"))
        let digits = described.filter { $0.isHexDigit }.lowercased()
        #expect(digits.contains(Hex.encode(key.seed)) && digits.contains(key.publicKey.hex))
        #expect(try openssl("pkey", "-in", folder.path + "/node.key", "-pubout") == key.publicKey.pem)

        let message = Array("what was said".utf8)
        try Files.writeDurably(message, to: folder.path + "/message")
        try Files.writeDurably(key.sign(message), to: folder.path + "/signature")
        func verify() throws -> String {
            try openssl("pkeyutl", "-verify", "-pubin", "-inkey", folder.path + "/node.pub", "-rawin", "-in", folder.path + "/message", "-sigfile", folder.path + "/signature")
        }
        #expect(try verify().contains("Signature Verified Successfully"))
        try Files.writeDurably(Array("what was not".utf8), to: folder.path + "/message")
        #expect(throws: Refused.self) { _ = try verify() }
    }

    @Test func readsWhatOpensslWrites() throws {
        let folder = try Folder()
        _ = try openssl("genpkey", "-algorithm", "ed25519", "-out", folder.path + "/a.key")
        _ = try openssl("pkey", "-in", folder.path + "/a.key", "-pubout", "-out", folder.path + "/a.pub")
        #expect(try Self.read(folder.path + "/a.key").publicKey == KeyFile.readPublic(folder.path + "/a.pub"))
        _ = try openssl("genpkey", "-algorithm", "x25519", "-out", folder.path + "/b.key")
        _ = try openssl("pkey", "-in", folder.path + "/b.key", "-pubout", "-out", folder.path + "/b.pub")
        #expect(code { _ = try Self.read(folder.path + "/b.key") } == "key_invalid")
        #expect(code { _ = try KeyFile.readPublic(folder.path + "/b.pub") } == "key_invalid")
    }

    @Test func filesAreForTheOwnerAndNeverOverwritten() throws {
        let folder = try Folder()
        let key = SigningKey.generate()
        try KeyFile.create(key, named: "node", in: folder.path, passphrase: nil)
        #expect(try Self.mode(folder.path + "/node.key") == 0o600)
        #expect(try Self.mode(folder.path + "/node.pub") & 0o777 == 0o644)
        #expect(code { try KeyFile.create(.generate(), named: "node", in: folder.path, passphrase: nil) } == "key_exists")
        try Files.remove(folder.path + "/node.key")
        #expect(code { try KeyFile.create(.generate(), named: "node", in: folder.path, passphrase: nil) } == "key_exists")
        #expect(try KeyFile.readPublic(folder.path + "/node.pub") == key.publicKey)
        #expect(try Files.names(in: folder.path) == ["node.pub"])
        for name in ["", "../node", "a/b", ".hidden", "a\n"] {
            #expect(code { try KeyFile.create(key, named: name, in: folder.path, passphrase: nil) } == "name_invalid", "\(name)")
        }
    }

    /// Many at once under one name: exactly one wins, and what is there is whole.
    @Test func oneOfManyWritersWins() async throws {
        let folder = try Folder()
        let keys = (0..<16).map { _ in SigningKey.generate() }
        let winners = await withTaskGroup(of: PublicKey?.self) { group in
            for key in keys {
                group.addTask { (try? KeyFile.create(key, named: "node", in: folder.path, passphrase: nil)) == nil ? nil : key.publicKey }
            }
            var out: [PublicKey] = []
            for await winner in group { if let winner { out.append(winner) } }
            return out
        }
        #expect(winners.count == 1)
        #expect(try Self.read(folder.path + "/node.key").publicKey == winners.first)
        #expect(try Files.names(in: folder.path) == ["node.key", "node.pub"])
    }

    @Test(arguments: [0o640, 0o604, 0o660, 0o610, 0o601, 0o644, 0o777]) func refusesAKeyThatOthersCanReach(_ mode: Int) throws {
        let folder = try Folder()
        try KeyFile.create(.generate(), named: "node", in: folder.path, passphrase: nil)
        let path = folder.path + "/node.key"
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
        do {
            _ = try Self.read(path)
            Issue.record("it was read")
        } catch let error as MeshError {
            #expect(error.code.name == "key_exposed" && error.code.exit == .notPermitted)
            #expect(error.hint.contains("chmod 600 \(path)"))
        }
        try FileManager.default.setAttributes([.posixPermissions: 0o400], ofItemAtPath: path)
        _ = try Self.read(path)
    }

    @Test func sealedKeysOpenWithTheirPassphraseOnly() throws {
        let folder = try Folder()
        let key = SigningKey.generate()
        try KeyFile.create(key, named: "courier", in: folder.path, passphrase: Self.passphrase)
        let path = folder.path + "/courier.key"
        #expect(try Self.mode(path) == 0o600)
        #expect(try Self.read(path, Self.passphrase).seed == key.seed)
        #expect(code { _ = try Self.read(path, Array("correct hors".utf8)) } == "passphrase_wrong")
        let text = String(decoding: try Files.read(path, bytesMax: 4096), as: UTF8.self)
        #expect(!text.contains(Base64.encode(key.seed).dropLast(4)))
        try KeyFile.create(.generate(), named: "node", in: folder.path, passphrase: nil)
        _ = try Self.read(folder.path + "/node.key")
    }

    @Test func aSealedKeyIsRefusedWhateverIsChangedInIt() throws {
        let folder = try Folder()
        let vector = try vectors("keys-and-envelopes.md")
        let sealed = try #require(vector["sealed"])
        let body = try #require(Base64.decode(sealed.split(separator: "\n").dropFirst().dropLast().joined()))
        #expect(body.count == 137)
        // Form, passes and memory (asking for far too much, and for nothing), salt, nonce, public key, box, tag.
        for (place, value, expected) in [(0, 2, "key_invalid"), (5, 1, "key_invalid"), (13, 1, "key_invalid"), (1, 0, "passphrase_failed"), (17, 9, "passphrase_wrong"),
                                         (33, 9, "passphrase_wrong"), (57, 9, "passphrase_wrong"), (89, 9, "passphrase_wrong"), (136, 9, "passphrase_wrong")] as [(Int, UInt8, String)] {
            var changed = body
            changed[place] = value
            let path = try folder.write("-----BEGIN OURSYNTH SEALED KEY-----\n\(Base64.encode(changed))\n-----END OURSYNTH SEALED KEY-----\n", to: "a.key")
            #expect(code { _ = try Self.read(path, Self.passphrase) } == expected, "byte \(place)")
        }
        let cut = try folder.write("-----BEGIN OURSYNTH SEALED KEY-----\n\(Base64.encode(Array(body.dropLast())))\n-----END OURSYNTH SEALED KEY-----\n", to: "a.key")
        #expect(code { _ = try Self.read(cut, Self.passphrase) } == "key_invalid")
    }

    @Test func listsEveryKeyByName() throws {
        let folder = try Folder()
        let keys = (0..<4).map { _ in SigningKey.generate() }
        try KeyFile.create(keys[0], named: "node", in: folder.path, passphrase: nil)
        try KeyFile.create(keys[1], named: "courier", in: folder.path, passphrase: Self.passphrase)
        try KeyFile.create(keys[2], named: "root", in: folder.path, passphrase: nil)
        // The root's secret was moved away; a crash or a person took the others' public halves.
        try Files.remove(folder.path + "/root.key")
        for name in ["node", "courier"] { try Files.remove(folder.path + "/\(name).pub") }
        _ = try folder.write("[]", to: "charter.json")
        let list = try KeyFile.list(in: folder.path)
        #expect(list.map(\.name) == ["courier", "node", "root"])
        #expect(list.map(\.publicKey) == [keys[1], keys[0], keys[2]].map(\.publicKey))
        #expect(list.map(\.hasSecret) == [true, true, false])
        #expect(list.map(\.sealed) == [true, false, false])
    }

    @Test(arguments: ["", "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n", "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC",
                      "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhD\n-----END PUBLIC KEY-----\n",
                      "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VuBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n",
                      "-----BEGIN OURSYNTH SEALED KEY-----\nAAAA\n-----END OURSYNTH SEALED KEY-----\n", String(repeating: "A", count: 5000)])
    func refusesWhatIsNoKey(_ text: String) throws {
        let folder = try Folder()
        let path = try folder.write(text, to: "a.key")
        #expect(code { _ = try Self.read(path, Self.passphrase) } == "key_invalid")
        #expect(code { _ = try PublicKey(pem: text) } == "key_invalid")
        #expect(code { _ = try Self.read(folder.path + "/none.key") } == "file_not_found")
    }
}
