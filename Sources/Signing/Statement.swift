public import MeshCore

/// An in-toto Statement v1 (in-toto.io/Statement/v1): what is said (`predicate`) about which things (`subjects`).
public struct Statement: Sendable, Hashable {
    public struct Subject: Sendable, Hashable {
        public let name: String?
        public let digest: Digest

        public init(name: String?, digest: Digest) {
            self.name = name
            self.digest = digest
        }
    }

    public static let payloadType = "application/vnd.in-toto+json"
    /// "I made this capsule": belongs to no mesh.
    public static let capsuleSignatureType = "urn:oursynth:attestation:signature:v1"
    private static let type = "https://in-toto.io/Statement/v1"
    private static let subjectsMax = 1024

    public let subjects: [Subject]
    public let predicateType: String
    public let predicate: JSONValue

    public init(subjects: [Subject], predicateType: String, predicate: JSONValue) {
        self.subjects = subjects
        self.predicateType = predicateType
        self.predicate = predicate
    }

    /// From canonical JSON; subjects carry exactly a `sha256` digest.
    public init(parsing payload: [UInt8]) throws(MeshError) {
        var reader = try FieldReader(JSONValue.parseCanonical(payload, bytesMax: Limits.envelopeBytesMax))
        guard try reader.string("_type") == Self.type else { throw reader.invalid("_type", "not an in-toto Statement v1") }
        predicateType = try reader.string("predicateType")
        predicate = try reader.required("predicate")
        var subjects: [Subject] = []
        for (i, item) in try reader.array("subject").enumerated() {
            var subject = try FieldReader(item, at: "/subject/\(i)")
            let name = try subject.stringIfPresent("name")
            var digests = try subject.object("digest")
            let text = try digests.string("sha256")
            guard let digest = Digest(hex: text) else { throw digests.invalid("sha256", "not 64 lower-case hexadecimal digits") }
            try digests.finish()
            try subject.finish()
            subjects.append(Subject(name: name, digest: digest))
        }
        guard subjects.count <= Self.subjectsMax else { throw reader.invalid("subject", "at most \(Self.subjectsMax) subjects are read") }
        self.subjects = subjects
        try reader.finish()
    }

    /// Whose key a capsule's signature statement names; nil for a statement of another kind.
    ///
    /// - Throws: `field_missing`, `field_invalid`, `field_unknown` unless its predicate is `{"author": 64 lower-case hexadecimal digits}`.
    public func capsuleSigner() throws(MeshError) -> PublicKey? {
        guard predicateType == Self.capsuleSignatureType else { return nil }
        var reader = try FieldReader(predicate, at: "/predicate")
        let text = try reader.string("author")
        guard let bytes = Hex.decode(text), Hex.encode(bytes) == text, let key = PublicKey(bytes: bytes) else {
            throw reader.invalid("author", "not an Ed25519 public key in lower-case hexadecimal digits")
        }
        try reader.finish()
        return key
    }

    /// Canonical JSON.
    public var bytes: [UInt8] {
        let list = subjects.map { subject -> JSONValue in
            var members: [String: JSONValue] = ["digest": ["sha256": .string(subject.digest.hex)]]
            if let name = subject.name { members["name"] = .string(name) }
            return .object(members)
        }
        return JSONValue.object(["_type": .string(Self.type), "predicate": predicate, "predicateType": .string(predicateType),
                                 "subject": .array(list)]).canonicalBytes
    }
}
