internal import Crypto

/// A SHA-256 digest, written `sha256:<64 lower-case hex>`.
///
/// Ordered by its bytes. Four machine words rather than an array: a store holds millions of them.
public struct Digest: Hashable, Sendable, Comparable, CustomStringConvertible {
    private let w0: UInt64, w1: UInt64, w2: UInt64, w3: UInt64

    /// From exactly 32 bytes; nil for any other count.
    public init?(bytes: some Collection<UInt8>) {
        guard bytes.count == 32 else { return nil }
        // Millions of them are read: without asking the collection for each byte where it need not be asked.
        if let digest = bytes.withContiguousStorageIfAvailable({ Digest(uncheckedWords: UnsafeRawBufferPointer($0)) }) {
            self = digest
            return
        }
        var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        var i = 0
        for byte in bytes {
            switch i >> 3 {
            case 0: words.0 = words.0 << 8 | UInt64(byte)
            case 1: words.1 = words.1 << 8 | UInt64(byte)
            case 2: words.2 = words.2 << 8 | UInt64(byte)
            default: words.3 = words.3 << 8 | UInt64(byte)
            }
            i += 1
        }
        (w0, w1, w2, w3) = words
    }

    /// From 64 lower-case hexadecimal digits.
    public init?(hex: some StringProtocol) {
        guard hex.utf8.count == 64, let bytes = Hex.decode(hex) else { return nil }
        self.init(bytes: bytes)
    }

    /// From `sha256:<hex>`.
    public init(parsing text: some StringProtocol) throws(MeshError) {
        guard text.hasPrefix("sha256:"), let digest = Digest(hex: text.dropFirst(7)) else {
            throw MeshError(.digestInvalid, "“\(text)” is not a digest", hint: "a digest is sha256: and 64 lower-case hexadecimal digits")
        }
        self = digest
    }

    public static func of(_ bytes: [UInt8]) -> Digest {
        bytes.withUnsafeBytes { of($0) }
    }

    public static func of(_ bytes: UnsafeRawBufferPointer) -> Digest {
        var hasher = DigestHasher()
        hasher.update(bytes)
        return hasher.finish()
    }

    public var bytes: [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(32)
        for word in [w0, w1, w2, w3] {
            for shift in stride(from: 56, through: 0, by: -8) { out.append(UInt8(truncatingIfNeeded: word >> UInt64(shift))) }
        }
        return out
    }

    /// The 32 bytes as four big-endian words, for tables and hashes that hold millions of digests.
    public var words: (UInt64, UInt64, UInt64, UInt64) { (w0, w1, w2, w3) }

    public init(words: (UInt64, UInt64, UInt64, UInt64)) { (w0, w1, w2, w3) = words }

    public var hex: String { Hex.encode(bytes) }
    public var description: String { "sha256:" + hex }

    public static func < (a: Digest, b: Digest) -> Bool {
        (a.w0, a.w1, a.w2, a.w3) < (b.w0, b.w1, b.w2, b.w3)
    }
}

/// SHA-256 over bytes that arrive in pieces; `finish` may be called once.
public struct DigestHasher: Sendable {
    private var inner = SHA256()

    public init() {}

    public mutating func update(_ bytes: UnsafeRawBufferPointer) { inner.update(bufferPointer: bytes) }
    public mutating func update(_ bytes: [UInt8]) { bytes.withUnsafeBytes { inner.update(bufferPointer: $0) } }

    public mutating func finish() -> Digest {
        let digest = inner.finalize()
        return digest.withUnsafeBytes { Digest(uncheckedWords: $0) }
    }
}

extension Digest {
    /// Precondition: 32 bytes.
    fileprivate init(uncheckedWords raw: UnsafeRawBufferPointer) {
        w0 = UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: 0, as: UInt64.self))
        w1 = UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        w2 = UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
        w3 = UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: 24, as: UInt64.self))
    }
}
