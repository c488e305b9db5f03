public import MeshCore

/// The files of an OCI image layout, wherever they lie. Nothing about them has been checked but what `read` needs.
public protocol LayoutSource: Sendable {
    /// Path within the layout → size in bytes.
    var members: [String: Int64] { get }
    /// Exactly `count` bytes of a member at `offset`.
    func read(_ member: String, offset: Int64, count: Int) throws(MeshError) -> [UInt8]
}

extension LayoutSource {
    /// The whole member, if it has at most `bytesMax` bytes; `layout_invalid` when it is missing or larger.
    func read(_ member: String, bytesMax: Int) throws(MeshError) -> [UInt8] {
        guard let size = members[member] else { throw layoutInvalid("\(member) is missing") }
        guard size <= Int64(bytesMax) else { throw layoutInvalid("\(member) has \(size) bytes; at most \(bytesMax) are read") }
        return try read(member, offset: 0, count: Int(size))
    }

    /// The blob that `descriptor` names, with its size and digest checked.
    func readBlob(_ descriptor: OCIDescriptor, bytesMax: Int) throws(MeshError) -> [UInt8] {
        let bytes = try read(LayoutPlan.blobMember(descriptor.digest), bytesMax: bytesMax)
        guard Int64(bytes.count) == descriptor.size, Digest.of(bytes) == descriptor.digest else {
            throw MeshError(.digestMismatch, "the blob \(descriptor.digest) of the layout is not what its descriptor says",
                            hint: "the layout was damaged or altered; ask for it again")
        }
        return bytes
    }
}

func layoutInvalid(_ why: String) -> MeshError {
    MeshError(.layoutInvalid, "the OCI layout does not hold a capsule: \(why)",
              hint: "a capsule's layout is what `capsule export` writes; see docs/formats/oci-and-caps.md")
}

/// Opens whatever holds an OCI layout: a folder, a `.caps` file, or an uncompressed tar of a layout (`oci-archive`).
public enum Layout {
    public static func open(_ path: String, codec: any FrameCodec) throws(MeshError) -> any LayoutSource {
        if Files.isDirectory(path) { return try DirectoryLayout(path: path) }
        if try TarLayout.recognises(path) { return try TarLayout(path: path) }
        return try CapsReader(path: path, codec: codec)
    }
}
