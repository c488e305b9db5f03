internal import CSodium
public import MeshCore

/// SipHash-2-4 under a secret or fresh key: 64 bits that nobody who does not know the key can make collide. By libsodium.
public struct ShortHashKey: Sendable, Hashable {
    public static let byteCount = 16
    public let bytes: [UInt8]

    /// A fresh one.
    public init() { bytes = randomBytes(Self.byteCount) }

    /// From exactly 16 bytes; nil for any other count.
    public init?(_ bytes: some Collection<UInt8>) {
        guard bytes.count == Self.byteCount else { return nil }
        self.bytes = Array(bytes)
    }

    public func hash(_ input: UnsafeRawBufferPointer) -> UInt64 {
        var out: UInt64 = 0
        withUnsafeMutableBytes(of: &out) { out in
            guard let target = out.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return }
            _ = crypto_shorthash_siphash24(target, input.baseAddress?.assumingMemoryBound(to: UInt8.self), UInt64(input.count), bytes)
        }
        return UInt64(littleEndian: out)
    }

    /// Of a digest's 32 bytes.
    public func hash(_ digest: Digest) -> UInt64 {
        let words = digest.words
        return withUnsafeBytes(of: (words.0.bigEndian, words.1.bigEndian, words.2.bigEndian, words.3.bigEndian)) { hash($0) }
    }
}
