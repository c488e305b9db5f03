public import MeshCore
public import Signing

/// The root of trust of a mesh: which keys are its roots and how many of them must agree. `keys/charter.json` holds the
/// chain of charters as a JSON array of DSSE envelopes; the first one's payload names the mesh.
public struct Charter: Sendable {
    public static let payloadType = "application/vnd.oursynth.charter.v1+json"

    public let version: Int
    public let roots: [PublicKey]
    public let threshold: Int
    /// SHA-256 of the first charter's payload.
    public let meshID: Digest
    /// The file's bytes.
    public let bytes: [UInt8]

    /// Charter 1 of a new mesh with one root.
    public static func create(root: SigningKey) -> Charter {
        let payload: JSONValue = ["policy": [:], "roots": [.string(root.publicKey.hex)], "threshold": 1, "version": 1]
        let envelope = Envelope.sign(payload: payload.canonicalBytes, payloadType: payloadType, with: root)
        return Charter(version: 1, roots: [root.publicKey], threshold: 1, meshID: Digest.of(payload.canonicalBytes), bytes: file([envelope.bytes]))
    }

    private init(version: Int, roots: [PublicKey], threshold: Int, meshID: Digest, bytes: [UInt8]) {
        self.version = version
        self.roots = roots
        self.threshold = threshold
        self.meshID = meshID
        self.bytes = bytes
    }

    /// Checks form and signatures: `charter_invalid`, `signature_invalid`.
    public init(parsing bytes: [UInt8]) throws(MeshError) {
        guard let chain = try JSONValue.parseCanonical(bytes).array, chain.count == 1 else {
            throw MeshError(.charterInvalid, "the charter is not a chain of one: this program knows first charters only", hint: "use the version of capsule that wrote it, or a newer one")
        }
        let envelope = try Envelope(parsing: chain[0].canonicalBytes)
        guard envelope.payloadType == Self.payloadType else { throw MeshError(.charterInvalid, "the charter has the payload type “\(envelope.payloadType.prefix(80))”") }
        var reader = try FieldReader(JSONValue.parseCanonical(envelope.payload))
        version = try reader.integer("version")
        threshold = try reader.integer("threshold")
        _ = try reader.object("policy")
        var roots: [PublicKey] = []
        for text in try reader.strings("roots") {
            guard let key = Hex.decode(text).flatMap(PublicKey.init(bytes:)), !roots.contains(key) else { throw reader.invalid("roots", "not distinct Ed25519 keys in hex") }
            roots.append(key)
        }
        try reader.finish()
        guard version == 1, (1...Limits.charterRootsMax).contains(roots.count), (1...roots.count).contains(threshold) else {
            throw MeshError(.charterInvalid, "a first charter has version 1, 1 to \(Limits.charterRootsMax) roots and a threshold that they can reach")
        }
        let signers = try envelope.verify(with: roots).signers
        guard signers.count >= threshold else { throw MeshError(.charterInvalid, "the charter has \(signers.count) of \(threshold) signatures that it needs") }
        self.roots = roots
        meshID = Digest.of(envelope.payload)
        self.bytes = bytes
    }

    /// The chain from its envelopes, as they travel beside a capsule; `charter_invalid` where they are none.
    public init(envelopes: [[UInt8]]) throws(MeshError) {
        try self.init(parsing: Self.file(envelopes))
    }

    /// The envelopes of the chain, the first charter first.
    public var envelopes: [[UInt8]] {
        get throws(MeshError) { (try JSONValue.parseCanonical(bytes).array ?? []).map(\.canonicalBytes) }
    }

    private static func file(_ envelopes: [[UInt8]]) -> [UInt8] {
        // An envelope's own bytes are canonical JSON, so the array around them is.
        [UInt8(ascii: "[")] + Array(envelopes.joined(separator: [UInt8(ascii: ",")])) + [UInt8(ascii: "]")]
    }
}
