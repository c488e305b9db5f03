internal import CSodium
internal import MeshCore

/// Argon2id (version 1.3, one lane), which turns a passphrase into a key, as a file asks for it: 32 bytes,
///
/// | bytes | what |
/// |---|---|
/// | 8, 8 | passes; memory in bytes; u64 little-endian |
/// | 16 | salt |
struct PassphraseWork: Sendable, Hashable {
    static let byteCount = 32
    /// What a file may ask of this machine: libsodium's "sensitive" setting, four times what is written here.
    private static let memoryBytesMax: UInt64 = 1 << 30, passesMax: UInt64 = 4

    let passes: UInt64
    let memoryBytes: UInt64
    /// 16 bytes.
    private let salt: [UInt8]

    /// With a fresh salt. Unless told otherwise, libsodium's "moderate" setting: 3 passes over 256 MiB.
    init(passes: UInt64 = UInt64(crypto_pwhash_argon2id_opslimit_moderate()), memoryBytes: UInt64 = UInt64(crypto_pwhash_argon2id_memlimit_moderate())) {
        self.passes = passes
        self.memoryBytes = memoryBytes
        salt = randomBytes(16)
    }

    /// From its 32 bytes; nil for any other number of them.
    init?(_ bytes: ArraySlice<UInt8>) {
        guard bytes.count == Self.byteCount else { return nil }
        passes = Self.number(bytes.prefix(8))
        memoryBytes = Self.number(bytes.dropFirst(8).prefix(8))
        salt = Array(bytes.suffix(16))
    }

    var bytes: [UInt8] { Self.littleEndian(passes) + Self.littleEndian(memoryBytes) + salt }

    /// Whether it is no more than a file may ask for.
    var isBearable: Bool { passes <= Self.passesMax && memoryBytes <= Self.memoryBytesMax }

    /// 32 bytes. Only for work that is bearable.
    ///
    /// - Throws: `passphrase_failed` when the memory is not there, or less is asked for than Argon2id takes.
    func key(from passphrase: [UInt8]) throws(MeshError) -> [UInt8] {
        var key = [UInt8](repeating: 0, count: 32)
        guard Sodium.isReady, isBearable,
              crypto_pwhash_argon2id(&key, UInt64(key.count), passphrase.map { CChar(bitPattern: $0) }, UInt64(passphrase.count), salt, passes,
                                     Int(memoryBytes), crypto_pwhash_argon2id_alg_argon2id13()) == 0 else {
            throw MeshError(.passphraseFailed, "the passphrase could not be worked on",
                            hint: "it takes \(memoryBytes >> 20) MiB of memory for a moment; free some and try again")
        }
        return key
    }

    private static func littleEndian(_ value: UInt64) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64($0))) } }
    private static func number(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) } }
}
