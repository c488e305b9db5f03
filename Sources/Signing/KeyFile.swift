internal import Glibc
public import MeshCore

/// A key found in a folder.
public struct KeyFileEntry: Sendable {
    public let name: String
    public let publicKey: PublicKey
    public let hasSecret: Bool
    /// Whether the secret needs a passphrase.
    public let sealed: Bool
}

/// Keys in a folder: `NAME.pub`, a PEM `SubjectPublicKeyInfo`, and `NAME.key` with mode 0600, a plain PKCS#8 PEM or one
/// sealed with a passphrase.
public enum KeyFile {
    /// Each form here is under 300 bytes; a text editor may add some.
    private static let bytesMax = 4096

    /// Writes both files durably, the secret one first: with it alone the other can be made again, `list` shows the key all the same.
    ///
    /// - Throws: `key_exists` when either file is there, `name_invalid`.
    public static func create(_ key: SigningKey, named name: String, in directory: String, passphrase: [UInt8]?) throws(MeshError) {
        guard !name.isEmpty, !name.hasPrefix("."), !name.utf8.contains(where: { $0 == UInt8(ascii: "/") || $0 < 0x20 }) else {
            throw MeshError(.nameInvalid, "“\(name)” cannot name a key", hint: "use letters, digits and dashes")
        }
        let secretPath = "\(directory)/\(name).key", publicPath = "\(directory)/\(name).pub"
        for path in [secretPath, publicPath] where Files.exists(path) { throw keyExists(path) }
        let secret = try passphrase.map { (phrase) throws(MeshError) in try SealedKey.seal(key, phrase) } ?? KeyPEM.text(secretSeed: key.seed)
        for (path, text, mode) in [(secretPath, secret, UInt32(0o600)), (publicPath, key.publicKey.pem, 0o644)] {
            do throws(MeshError) { try Files.createDurably(Array(text.utf8), at: path, mode: mode) } catch {
                throw error.code == .alreadyExists ? keyExists(path) : error
            }
        }
    }

    /// Writes `NAME.pub` where it is missing: what an interrupted `create` left undone.
    public static func completePublic(_ key: SigningKey, named name: String, in directory: String) throws(MeshError) {
        let path = "\(directory)/\(name).pub"
        if !Files.exists(path) { try Files.writeDurably(Array(key.publicKey.pem.utf8), to: path) }
    }

    /// Asks for the passphrase only when the file is sealed.
    ///
    /// - Throws: `key_exposed` when the mode lets anyone but the owner at it, `key_invalid`, `passphrase_wrong`.
    public static func readSecret(_ path: String, passphrase: () throws(MeshError) -> [UInt8]) throws(MeshError) -> SigningKey {
        let text = try readGuarded(path)
        if SealedKey.isSealed(text) {
            guard let sealed = SealedKey(text) else { throw MeshError(.keyInvalid, "\(path) is not a sealed key of a known form", hint: "it was altered, or made by a newer version") }
            return try sealed.open(try passphrase(), named: path)
        }
        guard let seed = KeyPEM.secretSeed(text), let key = SigningKey(seed: seed) else { throw notASecret(path) }
        return key
    }

    public static func readPublic(_ path: String) throws(MeshError) -> PublicKey {
        guard let bytes = KeyPEM.publicKey(try read(path)), let key = PublicKey(bytes: bytes) else {
            throw MeshError(.keyInvalid, "\(path) is not an Ed25519 public key in PEM",
                            hint: "it begins with -----BEGIN PUBLIC KEY-----; `openssl pkey -in key.pem -pubout` prints one")
        }
        return key
    }

    /// The keys in a folder, by name.
    public static func list(in directory: String) throws(MeshError) -> [KeyFileEntry] {
        let files = Set(try Files.names(in: directory))
        let names = Set(files.filter { $0.hasSuffix(".pub") || $0.hasSuffix(".key") }.map { String($0.dropLast(4)) })
        var out: [KeyFileEntry] = []
        for name in names.sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) {
            let hasSecret = files.contains(name + ".key")
            let secret = hasSecret ? try read("\(directory)/\(name).key") : ""
            let publicKey = files.contains(name + ".pub") ? try readPublic("\(directory)/\(name).pub") : try publicKey(ofSecret: secret, "\(directory)/\(name).key")
            out.append(KeyFileEntry(name: name, publicKey: publicKey, hasSecret: hasSecret, sealed: SealedKey.isSealed(secret)))
        }
        return out
    }

    private static func publicKey(ofSecret text: String, _ path: String) throws(MeshError) -> PublicKey {
        if let sealed = SealedKey(text) { return sealed.publicKey }
        guard let seed = KeyPEM.secretSeed(text), let key = SigningKey(seed: seed) else { throw notASecret(path) }
        return key.publicKey
    }

    private static func read(_ path: String) throws(MeshError) -> String { String(decoding: try Files.read(path, bytesMax: bytesMax), as: UTF8.self) }

    /// Reads what it has looked at: the same open file, whatever happens to the name meanwhile.
    private static func readGuarded(_ path: String) throws(MeshError) -> String {
        let file = try OpenFile(reading: path)
        var info = stat()
        guard fstat(file.descriptor, &info) == 0 else { throw Files.failure("look at", path) }
        guard info.st_mode & 0o077 == 0 else {
            throw MeshError(.keyExposed, "\(path) can be read by others on this machine", hint: "chmod 600 \(path); if others may have read it, make a new key")
        }
        guard info.st_mode & S_IFMT == S_IFREG, info.st_size <= bytesMax else { throw notASecret(path) }
        return String(decoding: try file.read(count: Int(info.st_size), at: 0), as: UTF8.self)
    }

    private static func keyExists(_ path: String) -> MeshError {
        MeshError(.keyExists, "\(path) is there already", hint: "choose another name; a key is never overwritten")
    }

    private static func notASecret(_ path: String) -> MeshError {
        MeshError(.keyInvalid, "\(path) is not an Ed25519 secret key", hint: "it must be PKCS#8 in PEM, or a key sealed by `capsule keys new --passphrase`")
    }
}
