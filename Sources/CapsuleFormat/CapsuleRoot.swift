public import MeshCore

/// `{"capsule": <capsule.json>, "chunks": "sha256:…", "index": "sha256:…"}`, canonical. Its digest is the capsule's identity.
public struct CapsuleRoot: Sendable {
    public static let mediaType = "application/vnd.oursynth.capsule.v1+json"

    public let manifest: Manifest
    public let index: Digest
    public let chunks: Digest

    public init(manifest: Manifest, index: Digest, chunks: Digest) {
        self.manifest = manifest
        self.index = index
        self.chunks = chunks
    }

    public init(parsing bytes: [UInt8]) throws(MeshError) {
        var reader = try FieldReader(JSONValue.parseCanonical(bytes, bytesMax: Limits.manifestBytesMax + 1024))
        manifest = try Manifest(try reader.required("capsule"))
        index = try reader.digest("index")
        chunks = try reader.digest("chunks")
        try reader.finish()
    }

    public var bytes: [UInt8] {
        JSONValue.object(["capsule": manifest.json, "chunks": JSONValue(chunks), "index": JSONValue(index)]).canonicalBytes
    }

    public var digest: Digest { Digest.of(bytes) }
}
