internal import CSodium
internal import MeshCore

/// A secret key under a passphrase: PEM labelled `OURSYNTH SEALED KEY` around 137 bytes,
///
/// | bytes | what |
/// |---|---|
/// | 1 | form, `01` |
/// | 8, 8 | Argon2id (version 1.3, one lane): passes; memory in bytes; u64 little-endian |
/// | 16 | salt |
/// | 24 | nonce |
/// | 32 | public key |
/// | 48 | XChaCha20-Poly1305 of the 32-byte seed; associated data: the 89 bytes before |
///
/// under the 32-byte key Argon2id(passphrase, salt). docs/formats/keys-and-envelopes.md has a vector.
struct SealedKey {
    private static let label = "OURSYNTH SEALED KEY"
    private static let form: UInt8 = 1
    private static let headerBytes = 89, boxBytes = 48
    /// What a file may ask of this machine: libsodium's "sensitive" setting, four times what `seal` asks.
    private static let memoryBytesMax: UInt64 = 1 << 30, passesMax: UInt64 = 4

    private let header: [UInt8]
    private let box: [UInt8]
    let publicKey: PublicKey

    static func isSealed(_ text: String) -> Bool { text.hasPrefix("-----BEGIN \(label)-----") }

    /// nil when the text is no sealed key of this form.
    init?(_ text: String) {
        guard let bytes = KeyPEM.content(of: text, labelled: Self.label), bytes.count == Self.headerBytes + Self.boxBytes, bytes[0] == Self.form,
              let key = PublicKey(bytes: Array(bytes[57..<89])) else { return nil }
        header = Array(bytes[..<Self.headerBytes])
        box = Array(bytes[Self.headerBytes...])
        publicKey = key
    }

    /// With libsodium's "moderate" setting: 3 passes over 256 MiB.
    static func seal(_ key: SigningKey, _ passphrase: [UInt8]) throws(MeshError) -> String {
        let passes = UInt64(crypto_pwhash_argon2id_opslimit_moderate()), memory = UInt64(crypto_pwhash_argon2id_memlimit_moderate())
        let salt = randomBytes(16), nonce = randomBytes(24)
        guard let derived = derive(passphrase, salt, passes, memory) else { throw noMemory(memory) }
        let header = [form] + littleEndian(passes) + littleEndian(memory) + salt + nonce + key.publicKey.bytes
        var box = [UInt8](repeating: 0, count: boxBytes)
        crypto_aead_xchacha20poly1305_ietf_encrypt(&box, nil, key.seed, UInt64(key.seed.count), header, UInt64(header.count), nil, nonce, derived)
        return KeyPEM.text(header + box, labelled: label)
    }

    /// - Parameter name: what to call the key when it does not open.
    /// - Throws: `passphrase_wrong`; `key_invalid` when it asks for more work than a key may.
    func open(_ passphrase: [UInt8], named name: String) throws(MeshError) -> SigningKey {
        let passes = Self.number(header[1..<9]), memory = Self.number(header[9..<17])
        guard passes <= Self.passesMax, memory <= Self.memoryBytesMax else {
            throw MeshError(.keyInvalid, "\(name) asks for more memory or time than a key may", hint: "this file was not made by this program")
        }
        guard let derived = Self.derive(passphrase, Array(header[17..<33]), passes, memory) else { throw Self.noMemory(memory) }
        var seed = [UInt8](repeating: 0, count: 32)
        guard crypto_aead_xchacha20poly1305_ietf_decrypt(&seed, nil, nil, box, UInt64(box.count), header, UInt64(header.count), Array(header[33..<57]), derived) == 0 else {
            throw MeshError(.passphraseWrong, "the passphrase does not open \(name)", hint: "try again; nobody can recover a forgotten one")
        }
        guard let key = SigningKey(seed: seed), key.publicKey == publicKey else { throw MeshError(.keyInvalid, "\(name) holds another key than it names") }
        return key
    }

    private static func derive(_ passphrase: [UInt8], _ salt: [UInt8], _ passes: UInt64, _ memory: UInt64) -> [UInt8]? {
        guard Sodium.isReady else { return nil }
        var key = [UInt8](repeating: 0, count: 32)
        let status = crypto_pwhash_argon2id(&key, UInt64(key.count), passphrase.map { CChar(bitPattern: $0) }, UInt64(passphrase.count), salt, passes,
                                            Int(memory), crypto_pwhash_argon2id_alg_argon2id13())
        return status == 0 ? key : nil
    }

    private static func noMemory(_ memory: UInt64) -> MeshError {
        MeshError(.passphraseFailed, "the passphrase could not be worked on", hint: "it takes \(memory >> 20) MiB of memory for a moment; free some and try again")
    }

    private static func littleEndian(_ value: UInt64) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64($0))) } }
    private static func number(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) } }
}
