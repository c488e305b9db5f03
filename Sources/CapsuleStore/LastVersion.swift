internal import CapsuleFormat
internal import MeshCore

/// The files of the capsule of the same name that came last. A file with the same chunks has the same content, and so the same digest:
/// SHA-256 says both. What is listed was checked byte for byte before.
struct LastVersion: Sendable {
    struct File: Sendable {
        let digest: Digest
        let chunks: ArraySlice<ChunkReference>

        func isMade(of digests: ArraySlice<Digest>) -> Bool {
            digests.count == chunks.count && zip(digests, chunks).allSatisfy { $0 == $1.digest }
        }
    }

    private let tree: VerifiedTree?

    static let none = LastVersion(nil)

    init(_ tree: VerifiedTree?) { self.tree = tree }

    /// nil where there was no such file of that size. The same size does not say that it is the same.
    func file(_ path: String, size: Int64) -> File? {
        guard let tree, let i = tree.index.position(of: path), case .file(size, let digest) = tree.index.entries[i].content else { return nil }
        return File(digest: digest, chunks: tree.chunks.chunks[tree.fileChunks[i]])
    }
}
