internal import CSodium
public import MeshCore

/// A key's name everywhere (DSSE, node id, file names): SHA-256 of the canonical JSON of the key, which is what
/// securesystemslib and TUF compute.
public struct KeyID: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// As a digest: what a statement about a key has as its subject.
    public let digest: Digest

    public init(_ digest: Digest) { self.digest = digest }

    /// From 64 lower-case hexadecimal digits.
    public init?(hex: some StringProtocol) {
        guard let digest = Digest(hex: hex) else { return nil }
        self.digest = digest
    }

    init(of publicKey: [UInt8]) {
        // Canonical JSON as it stands: a node looks at thousands of keys a second.
        digest = Digest.of(Array(#"{"keytype":"ed25519","keyval":{"public":""#.utf8) + Array(Hex.encode(publicKey).utf8) + Array(#""},"scheme":"ed25519"}"#.utf8))
    }

    public var hex: String { digest.hex }
    public var description: String { hex }

    /// For people to compare: the first eight groups of four in base32 (160 bits).
    public var short: String {
        let text = Array(Base32.encode(digest.bytes.prefix(20)))
        return stride(from: 0, to: 32, by: 4).map { String(text[$0..<$0 + 4]) }.joined(separator: "-")
    }

    public static func < (a: KeyID, b: KeyID) -> Bool { a.digest < b.digest }
}

/// An Ed25519 public key (RFC 8032), 32 bytes.
public struct PublicKey: Hashable, Sendable {
    public let bytes: [UInt8]
    public let id: KeyID

    public init?(bytes: [UInt8]) {
        guard bytes.count == 32 else { return nil }
        self.bytes = bytes
        id = KeyID(of: bytes)
    }

    public var hex: String { Hex.encode(bytes) }

    /// Strict verification (libsodium refuses small-order keys and non-canonical signatures).
    public func isValid(signature: [UInt8], for message: [UInt8]) -> Bool {
        guard signature.count == 64, Sodium.isReady else { return false }
        return crypto_sign_ed25519_verify_detached(signature, message, UInt64(message.count), bytes) == 0
    }
}

/// An Ed25519 secret key, held as its 32-byte seed.
public struct SigningKey: Sendable {
    public let seed: [UInt8]
    public let publicKey: PublicKey
    private let expanded: [UInt8]

    public static func generate() -> SigningKey {
        while true {
            if let key = SigningKey(seed: randomBytes(32)) { return key }
        }
    }

    public init?(seed: [UInt8]) {
        guard seed.count == 32, Sodium.isReady else { return nil }
        var publicBytes = [UInt8](repeating: 0, count: 32), secret = [UInt8](repeating: 0, count: 64)
        guard crypto_sign_ed25519_seed_keypair(&publicBytes, &secret, seed) == 0, let key = PublicKey(bytes: publicBytes) else { return nil }
        self.seed = seed
        publicKey = key
        expanded = secret
    }

    /// 64 bytes; the same message gives the same signature.
    public func sign(_ message: [UInt8]) -> [UInt8] {
        var signature = [UInt8](repeating: 0, count: 64)
        crypto_sign_ed25519_detached(&signature, nil, message, UInt64(message.count), expanded)
        return signature
    }
}

enum Sodium {
    /// libsodium must choose its implementations once before anything else is called.
    static let isReady = sodium_init() >= 0
}

/// Cryptographically secure random bytes.
public func randomBytes(_ count: Int) -> [UInt8] {
    _ = Sodium.isReady
    var out = [UInt8](repeating: 0, count: count)
    randombytes_buf(&out, count)
    return out
}

/// HMAC-SHA-256 (RFC 2104), 32 bytes.
public func hmacSHA256(key: [UInt8], _ message: [UInt8]) -> [UInt8] {
    _ = Sodium.isReady
    var state = crypto_auth_hmacsha256_state(), out = [UInt8](repeating: 0, count: 32)
    crypto_auth_hmacsha256_init(&state, key, key.count)
    crypto_auth_hmacsha256_update(&state, message, UInt64(message.count))
    crypto_auth_hmacsha256_final(&state, &out)
    return out
}

/// Compares without telling by its time where the difference is.
public func constantTimeEqual(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    a.count == b.count && sodium_memcmp(a, b, a.count) == 0
}
