package import Catalog
package import Discovery
package import MeshCore
package import Signing

/// A one-time invitation, as its text carries it: `oursynth-invite-1:` and base32 of
/// `1 ‖ issuer key[32] ‖ mesh id[32] ‖ secret[16] ‖ u64le expires ‖ u8 roles ‖ u8 n ‖ n × (u8 length ‖ address) ‖ check[4]`,
/// where check is the beginning of the SHA-256 of all before it, so that a slip in copying is told as one.
package struct Invitation: Sendable, Hashable {
    package static let prefix = "oursynth-invite-1:"
    package static let secretBytes = 16

    package let issuer: PublicKey
    package let mesh: Digest
    package let secret: [UInt8]
    package let expires: Milliseconds
    /// For the person who reads it; what is granted is in the issuer's journal.
    package let roles: [Role]
    package let addresses: [PeerAddress]

    /// Names the invitation to its issuer without showing the secret.
    package var id: String { Self.id(of: secret) }

    static func id(of secret: [UInt8]) -> String {
        Hex.encode(Digest.of(Array("oursynth-invite-id-v1".utf8) + secret).bytes.prefix(16))
    }

    package var text: String {
        var out: [UInt8] = [1]
        out += issuer.bytes + mesh.bytes + secret
        for shift in stride(from: 0, to: 64, by: 8) { out.append(UInt8(truncatingIfNeeded: expires >> Int64(shift))) }
        out.append(RoleBits.encode(roles))
        let texts = addresses.map { Array($0.description.utf8) }.filter { $0.count <= 255 }.prefix(Limits.addressesPerPeerMax)
        out.append(UInt8(texts.count))
        for text in texts {
            out.append(UInt8(text.count))
            out += text
        }
        return Self.prefix + Base32.encode(out + Digest.of(out).bytes.prefix(4))
    }

    package init(issuer: PublicKey, mesh: Digest, secret: [UInt8], expires: Milliseconds, roles: [Role], addresses: [PeerAddress]) {
        self.issuer = issuer
        self.mesh = mesh
        self.secret = secret
        self.expires = expires
        self.roles = roles
        self.addresses = addresses
    }

    /// White space and line breaks that a mail or a chat put in are passed over.
    package init(parsing text: String) throws(MeshError) {
        func invalid(_ what: String) -> MeshError {
            MeshError(.invitationInvalid, "this is not an invitation: \(what)", hint: "paste the whole text that `capsule invite` printed, beginning with \(Self.prefix)")
        }
        let packed = String(text.filter { !$0.isWhitespace })
        guard packed.utf8.count <= 8192, packed.hasPrefix(Self.prefix) else { throw invalid("it does not begin with \(Self.prefix)") }
        guard let bytes = Base32.decode(packed.dropFirst(Self.prefix.count).lowercased()), bytes.count > 4 else { throw invalid("a character is wrong or missing") }
        let content = Array(bytes.dropLast(4))
        guard Array(Digest.of(content).bytes.prefix(4)) == Array(bytes.suffix(4)) else { throw invalid("a character is wrong or missing") }
        var reader = ByteReader(content)
        guard reader.byte() == 1 else { throw invalid("it is of another version") }
        guard let issuer = reader.take(32).flatMap({ PublicKey(bytes: $0) }), let mesh = reader.take(32).flatMap({ Digest(bytes: $0) }),
              let secret = reader.take(Self.secretBytes), let time = reader.take(8), let roles = reader.byte(), let count = reader.byte(),
              count <= Limits.addressesPerPeerMax else { throw invalid("it is cut short") }
        self.issuer = issuer
        self.mesh = mesh
        self.secret = secret
        expires = time.reversed().reduce(0) { $0 << 8 | Int64($1) }
        self.roles = RoleBits.decode(roles)
        var addresses: [PeerAddress] = []
        for _ in 0..<count {
            guard let length = reader.byte(), let bytes = reader.take(Int(length)), let text = String(validating: bytes, as: UTF8.self) else { throw invalid("it is cut short") }
            addresses.append(try PeerAddress(parsing: text, defaultPort: PeerExchange.defaultPort))
        }
        guard reader.isAtEnd else { throw invalid("something follows it") }
        self.addresses = addresses
    }
}

/// Roles as bits, in an order that stays.
enum RoleBits {
    private static let order: [Role] = [.member, .publisher, .builder, .operator, .grantor]

    static func encode(_ roles: [Role]) -> UInt8 {
        order.enumerated().reduce(0) { roles.contains($1.element) ? $0 | 1 << UInt8($1.offset) : $0 }
    }

    static func decode(_ bits: UInt8) -> [Role] {
        order.enumerated().filter { bits & 1 << UInt8($0.offset) != 0 }.map(\.element)
    }
}

/// What both sides of a pairing prove: that they hold the secret, for these keys, in this conversation. The keys are the
/// ones TLS proved, so that nobody in the middle can pass a proof on.
struct PairingTranscript: Sendable, Hashable {
    static let nonceBytes = 32

    let mesh: Digest
    let issuer: PublicKey
    let joiner: PublicKey
    let joinerNonce: [UInt8]
    let issuerNonce: [UInt8]

    func joinerProof(secret: [UInt8]) -> [UInt8] { proof("joiner", secret) }
    func issuerProof(secret: [UInt8]) -> [UInt8] { proof("issuer", secret) }

    private func proof(_ side: String, _ secret: [UInt8]) -> [UInt8] {
        hmacSHA256(key: secret, Array("oursynth-pair-v1 \(side)\0".utf8) + mesh.bytes + issuer.bytes + joiner.bytes + joinerNonce + issuerNonce)
    }
}

private struct ByteReader {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) { rest = bytes[...] }

    var isAtEnd: Bool { rest.isEmpty }

    mutating func byte() -> UInt8? { rest.popFirst() }

    mutating func take(_ count: Int) -> [UInt8]? {
        guard rest.count >= count else { return nil }
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
    }
}
