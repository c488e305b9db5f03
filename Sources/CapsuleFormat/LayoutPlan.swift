internal import MeshCore

/// The members of a `.caps` file, in order. Writer and reader make it from the same values, so that a file holds exactly
/// what its documents name and nothing besides.
struct LayoutPlan {
    enum Content {
        case bytes([UInt8])
        case filesTar(size: Int64)

        var size: Int64 {
            switch self {
            case .bytes(let bytes): Int64(bytes.count)
            case .filesTar(let size): size
            }
        }
    }

    static let layoutMember = "oci-layout"
    static let layoutBytes: [UInt8] = Array(#"{"imageLayoutVersion":"1.0.0"}"#.utf8)
    static let indexMember = "index.json"

    static func blobMember(_ digest: Digest) -> String { "blobs/sha256/" + digest.hex }
    static func referrersMember(of manifest: Digest) -> String { "referrers/sha256-\(manifest.hex).json" }

    let manifest: OCIDescriptor
    private(set) var members: [(name: String, content: Content)] = []

    /// `referrers` in any order, doubles allowed; they are written once, ordered by the digests of their manifests.
    init(_ capsule: VerifiedCapsule, filesTar: (digest: Digest, size: Int64), referrers: [ReferrerDocument]) throws(MeshError) {
        let root = capsule.root.bytes, index = capsule.tree.index.bytes, chunks = capsule.tree.chunks.bytes
        let ociManifest = OCIManifest.capsule(root: root, index: index, chunks: chunks, filesTar: filesTar)
        manifest = ociManifest.descriptor
        members = [(Self.layoutMember, .bytes(Self.layoutBytes)), (Self.indexMember, .bytes(OCIIndex([manifest]).bytes))]
        var names: Set<Digest> = []
        for bytes in [ociManifest.bytes, root, index, chunks] { add(bytes, &names) }
        names.insert(filesTar.digest)
        members.append((Self.blobMember(filesTar.digest), .filesTar(size: filesTar.size)))
        guard !referrers.isEmpty else { return }

        var known: Set<ReferrerDocument> = []
        let distinct = referrers.filter { known.insert($0).inserted }
        let bytes = distinct.reduce(0) { $0 + $1.bytes.count }
        guard bytes <= Limits.referrersPerCapsuleBytesMax else {
            throw MeshError(.layoutInvalid,
                            "the documents that refer to the capsule have \(bytes) bytes; a layout holds at most \(Limits.referrersPerCapsuleBytesMax)",
                            hint: "leave some of them out")
        }
        var documents: [(manifest: OCIManifest, descriptor: OCIDescriptor, bytes: [UInt8])] = []
        for document in distinct {
            let referrer = try OCIManifest.referrer(document, subject: manifest)
            documents.append((referrer, referrer.descriptor, document.bytes))
        }
        guard documents.count <= Limits.referrersPerCapsuleMax else {
            throw MeshError(.layoutInvalid,
                            "\(documents.count) documents refer to the capsule; a layout holds at most \(Limits.referrersPerCapsuleMax)",
                            hint: "leave some of them out")
        }
        documents.sort { $0.descriptor.digest < $1.descriptor.digest }
        for document in documents {
            for bytes in [document.manifest.bytes, OCIDescriptor.emptyBytes, document.bytes] { add(bytes, &names) }
        }
        members.append((Self.referrersMember(of: manifest.digest), .bytes(OCIIndex(documents.map(\.descriptor)).bytes)))
    }

    private mutating func add(_ bytes: [UInt8], _ known: inout Set<Digest>) {
        let digest = Digest.of(bytes)
        if known.insert(digest).inserted { members.append((Self.blobMember(digest), .bytes(bytes))) }
    }
}
