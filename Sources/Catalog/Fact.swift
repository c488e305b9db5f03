public import MeshCore
public import Signing

/// Something an author signed about a capsule, a key or a fact. Only the check makes one: canonical, in shape, of this mesh,
/// signed by the author that it names. docs/formats/facts.md has the form.
public struct Fact: Sendable, Hashable {
    private static let typePrefix = "urn:oursynth:fact:", typeSuffix = ":v1"
    private static let common: Set<String> = ["mesh", "author", "seq", "prev", "at", "until"]

    /// SHA-256 of what is signed: the same words in another envelope are the same fact.
    public let id: Digest
    public let kind: String
    let mesh: Digest
    /// The capsule, key or fact that it is about.
    public let subject: Digest?
    public let author: PublicKey
    /// Counts an author's facts in a mesh, from 1.
    public let seq: Int
    /// The author's fact before.
    public let prev: Digest?
    /// The author's clock: for people, never for decisions.
    public let at: Milliseconds
    public let body: JSONValue
    /// The author says nothing more to the point after this (milliseconds since 1970), if it says nothing before: a channel that is
    /// silent for longer is stale. Nothing else is read from it.
    public let until: Milliseconds?
    /// Of a `successor`: the key that takes the author's place, if it agreed.
    let successor: PublicKey?
    /// As it travels.
    public let envelope: [UInt8]

    /// - Throws: `fact_too_large`, `fact_invalid`, `fact_foreign` (another mesh), `signature_invalid`, `json_not_canonical`.
    public init(parsing envelope: [UInt8], mesh: Digest) throws(MeshError) { try self.init(parsing: envelope, mesh: mesh, isChecked: false) }

    /// One that was admitted here before: its signature was checked then.
    init(stored envelope: [UInt8], mesh: Digest) throws(MeshError) { try self.init(parsing: envelope, mesh: mesh, isChecked: true) }

    private init(parsing envelope: [UInt8], mesh: Digest, isChecked: Bool) throws(MeshError) {
        guard envelope.count <= Limits.factBytesMax else { throw MeshError(.factTooLarge, "a fact has \(envelope.count) bytes; at most \(Limits.factBytesMax) are read") }
        let parsed = try Envelope(parsing: envelope)
        guard parsed.payloadType == Statement.payloadType, parsed.signatures.count == 1 else { throw Self.invalid("it is no statement with one signature") }
        let statement = try Statement(parsing: parsed.payload)
        let type = statement.predicateType
        guard type.hasPrefix(Self.typePrefix), type.hasSuffix(Self.typeSuffix), type.utf8.count > Self.typePrefix.utf8.count + Self.typeSuffix.utf8.count else {
            throw Self.invalid("“\(type.prefix(80))” is no kind of fact")
        }
        guard case .object(let members) = statement.predicate else { throw Self.invalid("its predicate is no object") }
        var reader = try FieldReader(statement.predicate, at: "/predicate")
        guard let meshID = Digest(hex: try reader.string("mesh")), let author = Hex.decode(try reader.string("author")).flatMap(PublicKey.init(bytes:)) else {
            throw Self.invalid("mesh or author is not in hex")
        }
        guard meshID == mesh else { throw Self.foreign(meshID) }
        self.mesh = mesh
        seq = try reader.integer("seq")
        at = Int64(try reader.integer("at"))
        let prevText = try reader.stringIfPresent("prev")
        prev = prevText.flatMap { Digest(hex: $0) }
        guard (1...Limits.factSequenceRaisedMax).contains(seq), (prevText == nil) == (seq == 1), (prev == nil) == (prevText == nil) else { throw Self.invalid("seq \(seq) or prev is out of bounds") }
        until = try reader.integerIfPresent("until").map(Int64.init)
        if let until, until < 0 { throw Self.invalid("until is negative") }
        guard statement.subjects.count == 1 else { throw Self.invalid("it has \(statement.subjects.count) subjects") }
        if !isChecked { _ = try parsed.verify(with: [author]) }
        id = parsed.contentID
        kind = String(type.dropFirst(Self.typePrefix.count).dropLast(Self.typeSuffix.count))
        subject = statement.subjects[0].digest
        self.author = author
        body = .object(members.filter { !Self.common.contains($0.key) })
        successor = kind == Self.successorKind ? Self.successor(body, subject: statement.subjects[0].digest, of: author, in: mesh) : nil
        self.envelope = envelope
    }

    static let successorKind = "successor"

    /// The name of a capsule that it is about, if its kind has one.
    var name: CapsuleName? { Self.namedKinds.contains(kind) ? body["name"]?.string.flatMap { try? CapsuleName(parsing: $0) } : nil }
    private static let namedKinds: Set<String> = ["release", "withdraw", "channel"]

    /// Whether it says who may say what.
    var isControl: Bool { Self.isControl(kind) }
    static func isControl(_ kind: String) -> Bool { kind == "grant" || kind == "revoke" || kind == successorKind }

    /// What a new key signs to agree that it takes an old one's place.
    static func successionMessage(from old: PublicKey, to new: PublicKey, in mesh: Digest) -> [UInt8] {
        Envelope.preAuthenticationEncoding("application/vnd.oursynth.successor.v1", mesh.bytes + old.bytes + new.bytes)
    }

    private static func successor(_ body: JSONValue, subject: Digest, of author: PublicKey, in mesh: Digest) -> PublicKey? {
        guard let key = body["key"]?.string.flatMap({ Hex.decode($0) }).flatMap(PublicKey.init(bytes:)), key.subject == subject, key != author,
              let proof = body["proof"]?.string.flatMap({ Base64.decode($0) }),
              key.isValid(signature: proof, for: successionMessage(from: author, to: key, in: mesh)) else { return nil }
        return key
    }

    /// Writes and signs one. `body` holds none of the common members.
    package static func sign(kind: String, subject: Digest, body: [String: JSONValue], mesh: Digest, seq: Int, prev: Digest?, at: Milliseconds, until: Milliseconds? = nil, by key: SigningKey) -> [UInt8] {
        var predicate = body
        predicate["mesh"] = .string(mesh.hex)
        predicate["author"] = .string(key.publicKey.hex)
        predicate["seq"] = JSONValue(seq)
        predicate["at"] = .integer(at)
        if let prev { predicate["prev"] = .string(prev.hex) }
        if let until { predicate["until"] = .integer(until) }
        let statement = Statement(subjects: [.init(name: nil, digest: subject)], predicateType: typePrefix + kind + typeSuffix, predicate: .object(predicate))
        return Envelope.sign(payload: statement.bytes, payloadType: Statement.payloadType, with: key).bytes
    }

    public static func == (a: Fact, b: Fact) -> Bool { a.id == b.id }
    public func hash(into hasher: inout Hasher) { hasher.combine(id) }

    static func foreign(_ mesh: Digest) -> MeshError {
        MeshError(.factForeign, "a fact belongs to the mesh \(mesh.hex.prefix(16))…, not to this one",
                  hint: "facts are never taken over from another mesh; join that mesh to see them")
    }

    private static func invalid(_ why: String) -> MeshError { MeshError(.factInvalid, "a fact is not valid: \(why)") }
}
