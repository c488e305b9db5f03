package import CapsuleFormat
internal import Glibc
package import MeshCore

/// The table at the end of a pack: its frames, which chunk lies where in them, and which blobs the chunks make up.
/// docs/formats/packs.md is normative.
package struct PackFooter: Sendable, Hashable {
    package struct Frame: Sendable, Hashable {
        /// On disk, and decompressed.
        package let bytes: Int
        package let contentBytes: Int
    }

    package struct Chunk: Sendable, Hashable {
        package let digest: Digest
        package let frame: Int
        /// Where it begins in the frame's content.
        package let place: Int
        package let length: Int
    }

    /// A document: the chunks that make it up, wherever they are.
    package struct Blob: Sendable, Hashable {
        package let digest: Digest
        package let size: Int64
        package let pieces: [ChunkReference]
        /// Another document, itself kept whole, to which the pieces are a difference; nil where they are the document.
        package var base: Digest? = nil

        package init(digest: Digest, size: Int64, pieces: [ChunkReference], base: Digest? = nil) {
            (self.digest, self.size, self.pieces, self.base) = (digest, size, pieces, base)
        }

        package var storedBytes: Int64 { pieces.reduce(0) { $0 + Int64($1.length) } }
    }

    package var frames: [Frame] = []
    package var chunks: [Chunk] = []
    package var blobs: [Blob] = []

    static let skippableMagic: UInt32 = 0x184d_2a53
    /// 2: documents can be differences. Packs without one are still of version 1.
    static func header(version: UInt8) -> [UInt8] { Array("OSPK".utf8) + [version, 0, 0, 0] }
    private static let headerBytes = 20
    /// Length and checksum of the footer, after it.
    static let endBytes = 36
    static let frameHeaderBytes = 8
    static let frameEntryBytes = 8, chunkEntryBytes = 44, blobEntryBytes = 44, pieceEntryBytes = 36, baseBytes = 32

    package init() {}

    /// Of the whole skippable frame that holds it.
    package var frameBytes: Int {
        Self.frameHeaderBytes + Self.headerBytes + frames.count * Self.frameEntryBytes + chunks.count * Self.chunkEntryBytes
            + blobs.reduce(0) { $0 + Self.blobEntryBytes + $1.pieces.count * Self.pieceEntryBytes + (hasDifferences ? Self.baseBytes : 0) }
            + Self.endBytes
    }

    private var hasDifferences: Bool { blobs.contains { $0.base != nil } }

    /// The skippable frame with which a pack ends.
    package var frame: [UInt8] {
        let hasDifferences = hasDifferences
        var body = Self.header(version: hasDifferences ? 2 : 1)
        body.reserveCapacity(frameBytes)
        for count in [frames.count, chunks.count, blobs.count] { body.append(word: UInt32(count)) }
        for frame in frames {
            body.append(word: UInt32(frame.bytes))
            body.append(word: UInt32(frame.contentBytes))
        }
        for chunk in chunks {
            body.append(digest: chunk.digest)
            for value in [chunk.frame, chunk.place, chunk.length] { body.append(word: UInt32(value)) }
        }
        for blob in blobs {
            body.append(digest: blob.digest)
            body.append(word: UInt32(truncatingIfNeeded: blob.size))
            body.append(word: UInt32(truncatingIfNeeded: blob.size >> 32))
            body.append(word: UInt32(blob.pieces.count))
            for piece in blob.pieces {
                body.append(digest: piece.digest)
                body.append(word: UInt32(piece.length))
            }
            if hasDifferences { if let base = blob.base { body.append(digest: base) } else { body += [UInt8](repeating: 0, count: Self.baseBytes) } }
        }
        var out: [UInt8] = []
        out.reserveCapacity(body.count + Self.frameHeaderBytes + Self.endBytes)
        out.append(word: Self.skippableMagic)
        out.append(word: UInt32(body.count + Self.endBytes))
        out += body
        out.append(word: UInt32(body.count))
        out.append(digest: Digest.of(body))
        return out
    }

    /// The footer of the pack at `path`, checked against the file's size. `pack_invalid` for whatever does not hold.
    package static func read(_ path: String) throws(MeshError) -> PackFooter {
        let file = try OpenFile(reading: path)
        let size = try file.size()
        func invalid(_ why: String) -> MeshError { Self.invalid(path, why) }
        guard size >= Int64(frameHeaderBytes + headerBytes + endBytes), size <= Int64(Limits.packBytesMax) else {
            throw invalid("it has \(size) bytes")
        }
        let end = try file.read(count: endBytes, at: size - Int64(endBytes))
        let length = Int(end.word(at: 0))
        guard length >= headerBytes, length <= Limits.packFooterBytesMax, Int64(length + frameHeaderBytes + endBytes) <= size else {
            throw invalid("it does not end with a footer")
        }
        let start = size - Int64(length + frameHeaderBytes + endBytes)
        let bytes = try file.read(count: frameHeaderBytes + length, at: start)
        guard bytes.word(at: 0) == skippableMagic, Int(bytes.word(at: 4)) == length + endBytes else {
            throw invalid("it does not end with a footer")
        }
        let body = Array(bytes[frameHeaderBytes...])
        guard Digest(bytes: end[4...]) == Digest.of(body) else { throw invalid("the checksum of its footer is wrong") }
        return try PackFooter(body: body, framesBytes: start, path)
    }

    private init(body: [UInt8], framesBytes: Int64, _ path: String) throws(MeshError) {
        var reader = Reader(body, path)
        let header = Array(try reader.take(8))
        guard let version = [UInt8(1), 2].first(where: { header == Self.header(version: $0) }) else {
            throw Self.invalid(path, "its footer is of another version")
        }
        let frameCount = try reader.count(Self.frameEntryBytes), chunkCount = try reader.count(Self.chunkEntryBytes)
        let blobCount = try reader.count(Self.blobEntryBytes)
        var position: Int64 = 0
        for _ in 0..<frameCount {
            let frame = Frame(bytes: try reader.word(), contentBytes: try reader.word())
            guard frame.bytes > 0, frame.contentBytes > 0, frame.contentBytes <= Limits.packFrameContentBytesMax else {
                throw Self.invalid(path, "a frame has an impossible size")
            }
            position += Int64(frame.bytes)
            frames.append(frame)
        }
        guard position == framesBytes else { throw Self.invalid(path, "its frames do not fill it") }
        var frame = 0, place = 0
        for _ in 0..<chunkCount {
            let chunk = Chunk(digest: try reader.digest(), frame: try reader.word(), place: try reader.word(), length: try reader.word())
            if frame < frames.count, place == frames[frame].contentBytes { (frame, place) = (frame + 1, 0) }
            guard frame < frames.count, chunk.frame == frame, chunk.place == place, chunk.length > 0, chunk.length <= Limits.chunkBytesMax,
                place + chunk.length <= frames[frame].contentBytes
            else { throw Self.invalid(path, "its chunks do not fill its frames") }
            place += chunk.length
            chunks.append(chunk)
        }
        guard frames.isEmpty ? chunks.isEmpty : frame == frames.count - 1 && place == frames[frame].contentBytes else {
            throw Self.invalid(path, "its chunks do not fill its frames")
        }
        for _ in 0..<blobCount { blobs.append(try Self.blob(&reader, version, path)) }
        guard reader.isAtEnd else { throw Self.invalid(path, "something follows its footer") }
    }

    private static func blob(_ reader: inout Reader, _ version: UInt8, _ path: String) throws(MeshError) -> Blob {
        let digest = try reader.digest()
        let size = Int64(try reader.word()) | Int64(try reader.word()) << 32
        var pieces: [ChunkReference] = []
        for _ in 0..<(try reader.count(pieceEntryBytes)) {
            let piece = ChunkReference(digest: try reader.digest(), length: try reader.word())
            guard piece.length > 0, piece.length <= Limits.chunkBytesMax else { throw invalid(path, "a blob has an impossible piece") }
            pieces.append(piece)
        }
        let none = Digest(words: (0, 0, 0, 0)), named = version > 1 ? try reader.digest() : none
        let blob = Blob(digest: digest, size: size, pieces: pieces, base: named == none ? nil : named)
        guard blob.base != nil ? blob.storedBytes < size && size <= Int64(Limits.differenceBytesMax) && !pieces.isEmpty : blob.storedBytes == size
        else { throw invalid(path, "a blob's pieces do not make it up") }
        return blob
    }

    static func invalid(_ path: String, _ why: String) -> MeshError {
        MeshError(
            .packInvalid, "\(path) is not a pack: \(why)", hint: "it was damaged; what it held can be packed, imported or pulled again")
    }

    /// Every count is held against the bytes that are left before it is believed.
    private struct Reader {
        let bytes: [UInt8]
        let path: String
        var position = 0

        init(_ bytes: [UInt8], _ path: String) {
            self.bytes = bytes
            self.path = path
        }

        var isAtEnd: Bool { position == bytes.count }

        mutating func take(_ count: Int) throws(MeshError) -> ArraySlice<UInt8> {
            guard bytes.count - position >= count else { throw PackFooter.invalid(path, "its footer ends early") }
            defer { position += count }
            return bytes[position..<position + count]
        }

        mutating func word() throws(MeshError) -> Int {
            guard bytes.count - position >= 4 else { throw PackFooter.invalid(path, "its footer ends early") }
            defer { position += 4 }
            return Int(bytes.word(at: position))
        }

        mutating func digest() throws(MeshError) -> Digest {
            guard let digest = Digest(bytes: try take(32)) else { throw PackFooter.invalid(path, "its footer ends early") }
            return digest
        }

        mutating func count(_ entryBytes: Int) throws(MeshError) -> Int {
            let count = try word()
            guard count <= (bytes.count - position) / entryBytes else {
                throw PackFooter.invalid(path, "its footer claims more than it holds")
            }
            return count
        }
    }
}

extension [UInt8] {
    fileprivate func word(at offset: Int) -> UInt32 {
        UInt32(self[offset]) | UInt32(self[offset + 1]) << 8 | UInt32(self[offset + 2]) << 16 | UInt32(self[offset + 3]) << 24
    }

    fileprivate mutating func append(word: UInt32) { Swift.withUnsafeBytes(of: word.littleEndian) { append(contentsOf: $0) } }

    fileprivate mutating func append(digest: Digest) {
        let words = digest.words
        for word in [words.0, words.1, words.2, words.3] { Swift.withUnsafeBytes(of: word.bigEndian) { append(contentsOf: $0) } }
    }
}
