package import MeshCore

/// The framings of docs/formats/exchange.md: `u32le length ‖ bytes` one after another, and plain runs of 32-byte digests.
package enum Frames {
    static func append(_ part: some Collection<UInt8>, to out: inout [UInt8]) {
        append(UInt32(part.count), to: &out)
        out.append(contentsOf: part)
    }

    static func append(_ value: UInt32, to out: inout [UInt8]) {
        for shift: UInt32 in [0, 8, 16, 24] { out.append(UInt8(truncatingIfNeeded: value >> shift)) }
    }

    /// The number at `offset`, or nil where the bytes end before it does.
    static func number(in bytes: [UInt8], at offset: Int) -> UInt32? {
        guard offset >= 0, bytes.count - offset >= 4 else { return nil }
        return UInt32(bytes[offset]) | UInt32(bytes[offset + 1]) << 8 | UInt32(bytes[offset + 2]) << 16 | UInt32(bytes[offset + 3]) << 24
    }

    package static func encode(_ parts: [[UInt8]]) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(parts.reduce(0) { $0 + 4 + $1.count })
        for part in parts { append(part, to: &out) }
        return out
    }

    /// All parts, or `peer_misbehaved` when there are too many, one is too long, or the bytes end inside one.
    package static func decode(_ bytes: [UInt8], countMax: Int, partBytesMax: Int) throws(MeshError) -> [[UInt8]] {
        var parts: [[UInt8]] = []
        var offset = 0
        while offset < bytes.count {
            guard parts.count < countMax else { throw broken("more than \(countMax) frames") }
            guard let length = number(in: bytes, at: offset).map(Int.init) else { throw broken("a cut-off frame") }
            guard length <= partBytesMax else { throw broken("a frame of \(length) bytes where at most \(partBytesMax) are read") }
            guard length <= bytes.count - offset - 4 else { throw broken("a cut-off frame") }
            parts.append(Array(bytes[offset + 4 ..< offset + 4 + length]))
            offset += 4 + length
        }
        return parts
    }

    package static func encode(digests: some Collection<Digest>) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(digests.count * 32)
        for digest in digests { out.append(contentsOf: digest.bytes) }
        return out
    }

    package static func decodeDigests(_ bytes: [UInt8], countMax: Int) throws(MeshError) -> [Digest] {
        guard bytes.count % 32 == 0, bytes.count / 32 <= countMax else { throw broken("a list of digests that is cut off or too long") }
        var out: [Digest] = []
        out.reserveCapacity(bytes.count / 32)
        for offset in stride(from: 0, to: bytes.count, by: 32) {
            guard let digest = Digest(bytes: bytes[offset ..< offset + 32]) else { throw broken("a cut-off digest") }
            out.append(digest)
        }
        return out
    }

    /// One bit for each flag, the first in the lowest bit of the first byte.
    package static func encode(flags: [Bool]) -> [UInt8] {
        var out = [UInt8](repeating: 0, count: (flags.count + 7) / 8)
        for (i, flag) in flags.enumerated() where flag { out[i / 8] |= 1 << UInt8(i % 8) }
        return out
    }

    package static func decodeFlags(_ bytes: [UInt8], count: Int) throws(MeshError) -> [Bool] {
        guard bytes.count == (count + 7) / 8 else { throw broken("\(bytes.count) bytes of flags for \(count) questions") }
        return (0..<count).map { bytes[$0 / 8] & (1 << UInt8($0 % 8)) != 0 }
    }

    static func broken(_ what: String) -> MeshError {
        MeshError(.peerMisbehaved, "the message holds \(what)", hint: "the peer runs a broken or altered program; `capsule peers` names it")
    }
}
