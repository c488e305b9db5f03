public import MeshCore

/// A DSSE 1.0.2 envelope (github.com/secure-systems-lab/dsse): a payload, its type, and signatures over both.
public struct Envelope: Sendable, Hashable {
    public struct Signature: Sendable, Hashable {
        /// A hint only: what counts is which key verifies.
        public let keyID: String
        public let bytes: [UInt8]
    }

    public let payloadType: String
    public let payload: [UInt8]
    public let signatures: [Signature]

    private static let signaturesMax = 16
    /// 16 signatures have 33 commas; key ids and payload types may have some.
    private static let commasMax = 1024

    public static func sign(payload: [UInt8], payloadType: String, with key: SigningKey) -> Envelope {
        let signature = key.sign(preAuthenticationEncoding(payloadType, payload))
        return Envelope(payloadType: payloadType, payload: payload, signatures: [Signature(keyID: key.publicKey.id.hex, bytes: signature)])
    }

    /// The same with one signature more, for what needs several keys to agree.
    public func signed(with key: SigningKey) -> Envelope {
        let signature = Self.sign(payload: payload, payloadType: payloadType, with: key).signatures
        return Envelope(payloadType: payloadType, payload: payload, signatures: signatures + signature)
    }

    private init(payloadType: String, payload: [UInt8], signatures: [Signature]) {
        self.payloadType = payloadType
        self.payload = payload
        self.signatures = signatures
    }

    /// Strict: canonical JSON, canonical padded base64, known members only, at most 4 MiB.
    public init(parsing bytes: [UInt8]) throws(MeshError) {
        // An envelope is one long text and a few short ones. JSON of many small values takes 30 times its length in memory.
        guard bytes.count(where: { $0 == UInt8(ascii: ",") }) <= Self.commasMax else {
            throw MeshError(.jsonInvalid, "the JSON document holds too many values to be an envelope", hint: "it was altered, or is no DSSE envelope")
        }
        var reader = try FieldReader(JSONValue.parseCanonical(bytes, bytesMax: Limits.envelopeBytesMax))
        payloadType = try reader.string("payloadType")
        guard let payload = Base64.decode(try reader.string("payload")) else { throw reader.invalid("payload", "not canonical base64") }
        self.payload = payload
        var signatures: [Signature] = []
        for (i, item) in try reader.array("signatures").enumerated() {
            var signature = try FieldReader(item, at: "/signatures/\(i)")
            guard let raw = Base64.decode(try signature.string("sig")) else { throw signature.invalid("sig", "not canonical base64") }
            signatures.append(Signature(keyID: try signature.string("keyid"), bytes: raw))
            try signature.finish()
        }
        guard (1...Self.signaturesMax).contains(signatures.count) else {
            throw reader.invalid("signatures", "1 to \(Self.signaturesMax) signatures are read")
        }
        self.signatures = signatures
        try reader.finish()
    }

    /// The canonical JSON document.
    public var bytes: [UInt8] {
        let list = signatures.map { JSONValue.object(["keyid": .string($0.keyID), "sig": .string(Base64.encode($0.bytes))]) }
        return JSONValue.object(["payload": .string(Base64.encode(payload)), "payloadType": .string(payloadType), "signatures": .array(list)]).canonicalBytes
    }

    /// SHA-256 of what is signed, not of the envelope: signing again or wrapping anew does not make a new thing.
    public var contentID: Digest { Digest.of(Self.preAuthenticationEncoding(payloadType, payload)) }

    /// The payload, if at least one of the keys signed it. Counts distinct keys; whoever else signed does not matter.
    public func verify(with keys: [PublicKey]) throws(MeshError) -> VerifiedPayload {
        let message = Self.preAuthenticationEncoding(payloadType, payload)
        let signers = Set(keys).filter { key in signatures.contains { key.isValid(signature: $0.bytes, for: message) } }
        guard !signers.isEmpty else {
            throw MeshError(.signatureInvalid, "the signature does not verify", hint: "it was altered, or signed with another key than expected")
        }
        return VerifiedPayload(payloadType: payloadType, payload: payload, signers: signers.sorted { $0.id < $1.id })
    }

    /// `DSSEv1 SP LEN(type) SP type SP LEN(payload) SP payload`
    public static func preAuthenticationEncoding(_ type: String, _ payload: [UInt8]) -> [UInt8] {
        Array("DSSEv1 \(type.utf8.count) \(type) \(payload.count) ".utf8) + payload
    }
}

/// A payload whose signature was checked; only the check makes one.
public struct VerifiedPayload: Sendable {
    public let payloadType: String
    public let payload: [UInt8]
    /// The given keys that signed, by id.
    public let signers: [PublicKey]

    init(payloadType: String, payload: [UInt8], signers: [PublicKey]) {
        self.payloadType = payloadType
        self.payload = payload
        self.signers = signers
    }
}
