internal import MeshCore
internal import Signing

/// One charter of a chain, as its roots signed it. Whether it may follow another is for `Charter` to say.
struct CharterDocument: Sendable, Hashable {
    /// SHA-256 of the payload.
    let id: Digest
    let version: Int
    let roots: [PublicKey]
    let threshold: Int
    let policy: JSONValue
    /// Roots of an earlier charter that are none any more → the last fact of theirs that still counts.
    let keep: [PublicKey: Digest]
    /// Charters that contradict each other and are all set aside by this one.
    let replaces: [Digest]
    let envelope: Envelope

    /// Checks the form; signatures are not looked at.
    init(_ envelope: Envelope) throws(MeshError) {
        guard envelope.payloadType == Charter.payloadType else { throw Self.invalid("the charter has the payload type “\(envelope.payloadType.prefix(80))”") }
        var reader = try FieldReader(JSONValue.parseCanonical(envelope.payload))
        version = try reader.integer("version")
        threshold = try reader.integer("threshold")
        let policy = try reader.required("policy")
        guard case .object = policy else { throw reader.invalid("policy", "not an object") }
        self.policy = policy
        var roots: [PublicKey] = []
        for text in try reader.strings("roots") {
            guard let key = Self.key(text), !roots.contains(key) else { throw reader.invalid("roots", "not distinct Ed25519 keys in hex") }
            roots.append(key)
        }
        var keep: [PublicKey: Digest] = [:]
        if let object = reader.optional("keep") {
            guard case .object(let members) = object, (1...Limits.charterRootsMax).contains(members.count) else { throw reader.invalid("keep", "not an object of 1 to \(Limits.charterRootsMax) keys") }
            for (text, fact) in members {
                guard let key = Self.key(text), !roots.contains(key), let digest = fact.string.flatMap({ Digest(hex: $0) }) else {
                    throw reader.invalid("keep", "not a key that is no root, and the id of a fact, in hex")
                }
                keep[key] = digest
            }
        }
        var replaces: [Digest] = []
        if let list = reader.optional("replaces") {
            for item in list.array ?? [] {
                guard let digest = item.string.flatMap({ Digest(hex: $0) }), replaces.last.map({ $0 < digest }) ?? true else { throw reader.invalid("replaces", "not ascending ids of charters in hex") }
                replaces.append(digest)
            }
            guard (2...Limits.charterForksMax).contains(replaces.count) else { throw reader.invalid("replaces", "not 2 to \(Limits.charterForksMax) ids of charters") }
        }
        try reader.finish()
        self.roots = roots
        self.keep = keep
        self.replaces = replaces
        guard (1...Limits.charterVersionMax).contains(version), (1...Limits.charterRootsMax).contains(roots.count), (1...roots.count).contains(threshold) else {
            throw Self.invalid("a charter has a version from 1 to \(Limits.charterVersionMax), 1 to \(Limits.charterRootsMax) roots, and a threshold that they can reach")
        }
        guard version > 1 || (keep.isEmpty && replaces.isEmpty) else { throw Self.invalid("a first charter follows none") }
        id = Digest.of(envelope.payload)
        self.envelope = envelope
    }

    private static func key(_ hex: String) -> PublicKey? { Hex.decode(hex).flatMap { Hex.encode($0) == hex ? PublicKey(bytes: $0) : nil } }

    static func payload(version: Int, roots: [PublicKey], threshold: Int, policy: JSONValue, keep: [PublicKey: Digest] = [:], replaces: [Digest] = []) -> [UInt8] {
        var members: [String: JSONValue] = [
            "policy": policy, "roots": .array(roots.map { .string($0.hex) }), "threshold": JSONValue(threshold), "version": JSONValue(version),
        ]
        if !keep.isEmpty { members["keep"] = .object(Dictionary(uniqueKeysWithValues: keep.map { ($0.key.hex, .string($0.value.hex)) })) }
        if !replaces.isEmpty { members["replaces"] = .array(replaces.sorted().map { .string($0.hex) }) }
        return JSONValue.object(members).canonicalBytes
    }

    /// How many of these keys signed it.
    func signers(among keys: [PublicKey]) -> Int { (try? envelope.verify(with: keys).signers.count) ?? 0 }

    /// Whether it may stand right after `last`: signed by as many roots as that one asks for, and as many as it asks for itself (the
    /// rule of TUF §5.3.4), with the next version; or a later version that sets aside charters which contradict each other.
    func mayFollow(_ last: CharterDocument) -> Bool {
        guard replaces.isEmpty ? version == last.version + 1 : version >= last.version + 2 else { return false }
        return signers(among: last.roots) >= last.threshold && signers(among: roots) >= threshold
    }

    static func invalid(_ why: String) -> MeshError { MeshError(.charterInvalid, why) }

    /// Another envelope around the same words adds nothing but signatures.
    static func == (a: CharterDocument, b: CharterDocument) -> Bool { a.id == b.id }
    func hash(into hasher: inout Hasher) { hasher.combine(id) }
}
