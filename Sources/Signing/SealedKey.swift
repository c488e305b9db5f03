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

    private let header: [UInt8]
    private let box: [UInt8]
    private let work: PassphraseWork
    let publicKey: PublicKey

    static func isSealed(_ text: String) -> Bool { text.hasPrefix("-----BEGIN \(label)-----") }

    /// nil when the text is no sealed key of this form.
    init?(_ text: String) {
        guard let bytes = KeyPEM.content(of: text, labelled: Self.label), bytes.count == Self.headerBytes + Self.boxBytes, bytes[0] == Self.form,
              let work = PassphraseWork(bytes[1..<33]), let key = PublicKey(bytes: Array(bytes[57..<89])) else { return nil }
        header = Array(bytes[..<Self.headerBytes])
        box = Array(bytes[Self.headerBytes...])
        self.work = work
        publicKey = key
    }

    static func seal(_ key: SigningKey, _ passphrase: [UInt8]) throws(MeshError) -> String {
        let work = PassphraseWork(), nonce = randomBytes(24)
        let derived = try work.key(from: passphrase)
        let header = [form] + work.bytes + nonce + key.publicKey.bytes
        var box = [UInt8](repeating: 0, count: boxBytes)
        crypto_aead_xchacha20poly1305_ietf_encrypt(&box, nil, key.seed, UInt64(key.seed.count), header, UInt64(header.count), nil, nonce, derived)
        return KeyPEM.text(header + box, labelled: label)
    }

    /// - Parameter name: what to call the key when it does not open.
    /// - Throws: `passphrase_wrong`; `key_invalid` when it asks for more work than a key may; `passphrase_failed`.
    func open(_ passphrase: [UInt8], named name: String) throws(MeshError) -> SigningKey {
        guard work.isBearable else {
            throw MeshError(.keyInvalid, "\(name) asks for more memory or time than a key may", hint: "this file was not made by this program")
        }
        let derived = try work.key(from: passphrase)
        var seed = [UInt8](repeating: 0, count: 32)
        guard crypto_aead_xchacha20poly1305_ietf_decrypt(&seed, nil, nil, box, UInt64(box.count), header, UInt64(header.count), Array(header[33..<57]), derived) == 0 else {
            throw MeshError(.passphraseWrong, "the passphrase does not open \(name)", hint: "try again; nobody can recover a forgotten one")
        }
        guard let key = SigningKey(seed: seed), key.publicKey == publicKey else { throw MeshError(.keyInvalid, "\(name) holds another key than it names") }
        return key
    }
}
