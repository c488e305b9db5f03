package import CapsuleFormat
internal import Glibc
package import MeshCore

/// A file in `tmp/` that goes away with the value. Once it was renamed there is nothing under its old name any more.
final class TemporaryFile: Sendable {
    let file: OpenFile

    init(_ file: consuming OpenFile) { self.file = file }
    deinit { unlink(file.path) }
}

/// A pack whose bytes are all written, and not yet promised to be there.
package struct WrittenPack: Sendable {
    let file: TemporaryFile
    package let digest: Digest
    package let bytes: Int64
    package let footer: PackFooter
}

/// Writes one pack into `tmp/`: frame after frame, then the footer.
package final class PackWriter {
    private let file: TemporaryFile
    private var hasher = DigestHasher()
    private var position: Int64 = 0
    private var footer = PackFooter()
    private var footerBytes: Int

    package init(in folder: String) throws(MeshError) {
        file = TemporaryFile(try OpenFile(creating: "\(folder)/pack-\(getpid())-\(UInt64.random(in: 0 ... .max))"))
        footerBytes = footer.frameBytes
    }

    package var isEmpty: Bool { footer.chunks.isEmpty && footer.blobs.isEmpty }

    /// Whether a frame of this size with so many chunks still goes in.
    func hasRoom(frameBytes: Int, chunks: Int) -> Bool {
        let table = footerBytes + PackFooter.frameEntryBytes + chunks * PackFooter.chunkEntryBytes
        return position + Int64(frameBytes + table) <= Int64(Limits.packBytesMax) && table <= Limits.packFooterBytesMax / 2
    }

    func hasRoom(blobPieces: Int) -> Bool {
        let table = footerBytes + PackFooter.blobEntryBytes + PackFooter.baseBytes + blobPieces * PackFooter.pieceEntryBytes
        return position + Int64(table) <= Int64(Limits.packBytesMax) && table <= Limits.packFooterBytesMax
    }

    /// `chunks` in the order in which they lie in the frame's content.
    package func append(frame: UnsafeRawBufferPointer, chunks: [ChunkReference]) throws(MeshError) {
        try file.file.write(frame)
        hasher.update(frame)
        position += Int64(frame.count)
        var place = 0
        for chunk in chunks {
            footer.chunks.append(PackFooter.Chunk(digest: chunk.digest, frame: footer.frames.count, place: place, length: chunk.length))
            place += chunk.length
        }
        footer.frames.append(PackFooter.Frame(bytes: frame.count, contentBytes: place))
        footerBytes += PackFooter.frameEntryBytes + chunks.count * PackFooter.chunkEntryBytes
    }

    package func append(_ blob: PackFooter.Blob) {
        footer.blobs.append(blob)
        footerBytes += PackFooter.blobEntryBytes + PackFooter.baseBytes + blob.pieces.count * PackFooter.pieceEntryBytes
    }

    /// Writes the footer. The file is then the caller's to make durable and to name.
    package func finish() throws(MeshError) -> WrittenPack {
        let end = footer.frame
        try file.file.write(end)
        hasher.update(end)
        return WrittenPack(file: file, digest: hasher.finish(), bytes: position + Int64(end.count), footer: footer)
    }
}
