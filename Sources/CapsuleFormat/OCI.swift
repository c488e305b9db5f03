public import MeshCore
internal import Signing

/// The media types of a capsule as an OCI artifact (OCI image-spec 1.1).
public enum OCIMediaType {
    public static let manifest = "application/vnd.oci.image.manifest.v1+json"
    public static let index = "application/vnd.oci.image.index.v1+json"
    public static let empty = "application/vnd.oci.empty.v1+json"
    public static let capsule = "application/vnd.oursynth.capsule.v1"
    public static let capsuleRoot = CapsuleRoot.mediaType
    public static let capsuleIndex = TreeIndex.mediaType
    public static let envelope = "application/vnd.dsse.envelope.v1+json"
}

/// A document that refers to a capsule from outside: the bytes of a DSSE envelope, and what OCI shall call its kind.
public struct ReferrerDocument: Sendable, Hashable {
    public let bytes: [UInt8]
    public let artifactType: String

    public init(bytes: [UInt8], artifactType: String) {
        self.bytes = bytes
        self.artifactType = artifactType
    }

    /// Throws unless the bytes are a well-formed DSSE envelope, a statement in it is one, and the artifact type is a media type
    /// (RFC 6838 §4.2). Says nothing about who signed. To be asked before a document from outside is kept.
    public func check() throws(MeshError) {
        let parts = artifactType.split(separator: "/", omittingEmptySubsequences: false)
        let wellFormed = parts.count == 2 && parts.allSatisfy { part in
            (1...127).contains(part.utf8.count) && part.utf8.allSatisfy { Self.typeBytes.contains($0) }
        }
        guard wellFormed else {
            throw MeshError(.layoutInvalid, "“\(artifactType.prefix(80))” is not a media type",
                            hint: "a referrer's artifact type is a media type such as application/vnd.in-toto+json")
        }
        let envelope = try Envelope(parsing: bytes)
        if envelope.payloadType == Statement.payloadType { _ = try Statement(parsing: envelope.payload).capsuleSigner() }
    }

    private static let typeBytes = Set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$&-^_.+".utf8)
}

/// What one OCI document says of another: `{mediaType, digest, size, artifactType?}`; size in bytes.
public struct OCIDescriptor: Sendable, Hashable {
    public let mediaType: String
    public let digest: Digest
    public let size: Int64
    public let artifactType: String?

    public init(mediaType: String, digest: Digest, size: Int64, artifactType: String? = nil) {
        self.mediaType = mediaType
        self.digest = digest
        self.size = size
        self.artifactType = artifactType
    }

    public init(mediaType: String, of bytes: [UInt8], artifactType: String? = nil) {
        self.init(mediaType: mediaType, digest: Digest.of(bytes), size: Int64(bytes.count), artifactType: artifactType)
    }

    /// `{}`, the config of an artifact that has none (image-spec 1.1, "Guidance for an Empty Descriptor").
    public static let empty = OCIDescriptor(mediaType: OCIMediaType.empty, of: emptyBytes)
    public static let emptyBytes: [UInt8] = Array("{}".utf8)

    public var json: JSONValue {
        var members: [String: JSONValue] = ["digest": JSONValue(digest), "mediaType": .string(mediaType), "size": .integer(size)]
        if let artifactType { members["artifactType"] = .string(artifactType) }
        return .object(members)
    }

    /// Unknown members are an error, unless `tolerant`: other tools add annotations to the index.json that they write.
    init(_ json: JSONValue, at pointer: String, tolerant: Bool = false) throws(MeshError) {
        var reader = try FieldReader(json, at: pointer)
        mediaType = try reader.string("mediaType")
        digest = try reader.digest("digest")
        size = Int64(try reader.integer("size"))
        artifactType = try reader.stringIfPresent("artifactType")
        guard size >= 0 else { throw reader.invalid("size", "a size is not negative") }
        if !tolerant { try reader.finish() }
    }
}

/// An OCI image manifest (image-spec 1.1) without annotations, in canonical JSON.
public struct OCIManifest: Sendable, Hashable {
    public let artifactType: String
    public let config: OCIDescriptor
    public let layers: [OCIDescriptor]
    public let subject: OCIDescriptor?

    public init(artifactType: String, config: OCIDescriptor, layers: [OCIDescriptor], subject: OCIDescriptor? = nil) {
        self.artifactType = artifactType
        self.config = config
        self.layers = layers
        self.subject = subject
    }

    /// The manifest of a capsule, a pure function of it: config = root, layers = index, chunks, files.tar.
    public static func capsule(_ capsule: VerifiedCapsule, filesTar: (digest: Digest, size: Int64)) -> OCIManifest {
        self.capsule(root: capsule.root.bytes, index: capsule.tree.index.bytes, chunks: capsule.tree.chunks.bytes, filesTar: filesTar)
    }

    static func capsule(root: [UInt8], index: [UInt8], chunks: [UInt8], filesTar: (digest: Digest, size: Int64)) -> OCIManifest {
        OCIManifest(artifactType: OCIMediaType.capsule, config: OCIDescriptor(mediaType: OCIMediaType.capsuleRoot, of: root), layers: [
            OCIDescriptor(mediaType: OCIMediaType.capsuleIndex, of: index),
            OCIDescriptor(mediaType: ChunkList.mediaType, of: chunks),
            OCIDescriptor(mediaType: CanonicalTar.mediaType, digest: filesTar.digest, size: filesTar.size),
        ])
    }

    /// The manifest by which `document` refers to the capsule whose manifest is `subject`. Throws what `document.check()` throws.
    public static func referrer(_ document: ReferrerDocument, subject: OCIDescriptor) throws(MeshError) -> OCIManifest {
        try document.check()
        return OCIManifest(artifactType: document.artifactType, config: .empty,
                           layers: [OCIDescriptor(mediaType: OCIMediaType.envelope, of: document.bytes)],
                           subject: OCIDescriptor(mediaType: subject.mediaType, digest: subject.digest, size: subject.size))
    }

    /// Canonical bytes only; unknown members are an error.
    public init(parsing bytes: [UInt8]) throws(MeshError) {
        var reader = try FieldReader(try JSONValue.parseCanonical(bytes))
        guard try reader.integer("schemaVersion") == 2 else { throw reader.invalid("schemaVersion", "only 2 is known") }
        guard try reader.string("mediaType") == OCIMediaType.manifest else {
            throw reader.invalid("mediaType", "not an OCI image manifest")
        }
        artifactType = try reader.string("artifactType")
        config = try OCIDescriptor(reader.required("config"), at: "/config")
        var layers: [OCIDescriptor] = []
        for (i, layer) in try reader.array("layers").enumerated() { layers.append(try OCIDescriptor(layer, at: "/layers/\(i)")) }
        self.layers = layers
        if let json = reader.optional("subject") { subject = try OCIDescriptor(json, at: "/subject") } else { subject = nil }
        try reader.finish()
    }

    public var bytes: [UInt8] {
        var members: [String: JSONValue] = [
            "artifactType": .string(artifactType), "config": config.json, "layers": .array(layers.map(\.json)),
            "mediaType": .string(OCIMediaType.manifest), "schemaVersion": 2,
        ]
        if let subject { members["subject"] = subject.json }
        return JSONValue.object(members).canonicalBytes
    }

    /// How an index names this manifest.
    public var descriptor: OCIDescriptor { OCIDescriptor(mediaType: OCIMediaType.manifest, of: bytes, artifactType: artifactType) }
}

/// An OCI image index without annotations, in canonical JSON: index.json, and the list of what refers to a capsule.
public struct OCIIndex: Sendable, Hashable {
    public let manifests: [OCIDescriptor]

    public init(_ manifests: [OCIDescriptor]) { self.manifests = manifests }

    public var bytes: [UInt8] {
        let members: [String: JSONValue] = [
            "manifests": .array(manifests.map(\.json)), "mediaType": .string(OCIMediaType.index), "schemaVersion": 2,
        ]
        return JSONValue.object(members).canonicalBytes
    }

    /// With `tolerant`, any JSON form and unknown members: what other tools write.
    public init(parsing bytes: [UInt8], tolerant: Bool = false) throws(MeshError) {
        let limit = Limits.layoutDocumentBytesMax
        let json = tolerant ? try JSONValue.parse(bytes, bytesMax: limit) : try JSONValue.parseCanonical(bytes, bytesMax: limit)
        var reader = try FieldReader(json)
        guard try reader.integer("schemaVersion") == 2 else { throw reader.invalid("schemaVersion", "only 2 is known") }
        let mediaType = try reader.stringIfPresent("mediaType")
        guard mediaType == OCIMediaType.index || (tolerant && mediaType == nil) else {
            throw reader.invalid("mediaType", "not an OCI image index")
        }
        var manifests: [OCIDescriptor] = []
        for (i, item) in try reader.array("manifests").enumerated() {
            manifests.append(try OCIDescriptor(item, at: "/manifests/\(i)", tolerant: tolerant))
        }
        self.manifests = manifests
        if !tolerant { try reader.finish() }
    }
}
