package import CapsuleFormat
package import MeshCore

/// What the files of a packed folder were when they were read: size, times, inode, digest, chunks. docs/formats/packs.md has the
/// layout. It promises nothing: what is not in it, or not as it says, is read again.
package struct SourceMemory: Sendable {
    /// The state of a store in which certain chunks were there.
    package struct Mark: Sendable, Hashable {
        /// Another one whenever chunks were removed since.
        package let generation: Int64
        /// The pack that was added last: an index that was put back to an older state has another one under this number, or none.
        package let pack: Int64
        package let packDigest: Digest

        package init(generation: Int64, pack: Int64, packDigest: Digest) {
            self.generation = generation
            self.pack = pack
            self.packDigest = packDigest
        }
    }

    package struct Record: Sendable, Hashable {
        package let size: Int64
        /// Nanoseconds since 1970.
        package let modified: Int64
        package let changed: Int64
        package let inode: UInt64
        package let digest: Digest
        /// Whether secrets were looked for in it, by the scanner of `scannerVersion`, and none were found.
        package let wasScanned: Bool
        /// Where its path is in the memory's bytes, and its chunks; no chunks for a file that is one chunk, or empty.
        fileprivate let path: Range<Int>
        fileprivate let chunks: Range<Int>
    }

    package let mark: Mark
    package let scannerVersion: UInt32
    /// In the tree's order.
    package let records: [Record]
    private let bytes: [UInt8]

    fileprivate static let header: [UInt8] = Array("OSSM".utf8) + [1, 0, 0, 0]
    fileprivate static let digestBytes = 32, chunkBytes = 36

    /// nil for bytes that are damaged, of another version, or of another folder than this one.
    package init?(parsing bytes: [UInt8], folder: String) {
        let body = bytes.count - Self.digestBytes
        guard body >= Self.header.count, bytes.starts(with: Self.header) else { return nil }
        let parsed: (Mark, UInt32, [Record])? = bytes.withUnsafeBytes { raw in
            let content = UnsafeRawBufferPointer(rebasing: raw[..<body])
            var end = Reader(raw, at: body)
            guard end.digest() == Digest.of(content) else { return nil }
            return Self.parse(content, folder)
        }
        guard let (mark, scannerVersion, records) = parsed else { return nil }
        self.mark = mark
        self.scannerVersion = scannerVersion
        self.records = records
        self.bytes = bytes
    }

    private static func parse(_ content: UnsafeRawBufferPointer, _ folder: String) -> (Mark, UInt32, [Record])? {
        var reader = Reader(content, at: header.count)
        guard let scannerVersion = reader.integer(UInt32.self), let folderBytes = reader.integer(UInt32.self), let generation = reader.integer(Int64.self),
            let pack = reader.integer(Int64.self), let packDigest = reader.digest(), let name = reader.skip(Int(folderBytes)),
            content[name].elementsEqual(folder.utf8)
        else { return nil }
        var records: [Record] = []
        records.reserveCapacity(content.count / 160)
        while !reader.isAtEnd {
            guard let record = record(&reader) else { return nil }
            records.append(record)
        }
        return (Mark(generation: generation, pack: pack, packDigest: packDigest), scannerVersion, records)
    }

    private static func record(_ reader: inout Reader) -> Record? {
        guard let pathBytes = reader.integer(UInt16.self), let flags = reader.integer(UInt16.self), let count = reader.integer(UInt32.self),
            let size = reader.integer(Int64.self), let modified = reader.integer(Int64.self), let changed = reader.integer(Int64.self),
            let inode = reader.integer(UInt64.self), let digest = reader.digest(), let path = reader.skip(Int(pathBytes)),
            let chunks = reader.skip(Int(count) * chunkBytes)
        else { return nil }
        // What does not add up would make an index and a chunk list that do not fit each other.
        var left = size
        for chunk in stride(from: chunks.lowerBound, to: chunks.upperBound, by: chunkBytes) {
            let length = reader.length(of: chunk)
            guard (1...Limits.chunkBytesMax).contains(length) else { return nil }
            left -= Int64(length)
        }
        guard count == 0 ? (0...Int64(Limits.chunkBytesMax)).contains(size) : left == 0 else { return nil }
        return Record(
            size: size, modified: modified, changed: changed, inode: inode, digest: digest, wasScanned: flags & 1 == 1, path: path, chunks: chunks)
    }

    /// The chunks of a file, in order.
    package func chunks(of record: Record) -> [ChunkReference] {
        if record.size == 0 { return [] }
        if record.chunks.isEmpty { return [ChunkReference(digest: record.digest, length: Int(record.size))] }
        return bytes.withUnsafeBytes { raw in
            stride(from: record.chunks.lowerBound, to: record.chunks.upperBound, by: Self.chunkBytes).compactMap { position in
                var reader = Reader(raw, at: position)
                return reader.digest().map { ChunkReference(digest: $0, length: reader.length(of: position)) }
            }
        }
    }

    /// For each item of a scan, in order, the place of its record if it is the file that was read; nil for what has to be read.
    package func places(of items: [SourceTree.Item]) -> [Int?] {
        bytes.withUnsafeBytes { raw in
            let bytes = raw.assumingMemoryBound(to: UInt8.self)
            var next = 0
            return items.map { item in
                guard case .file(let size) = item.kind else { return nil }
                return TreePath.withBytes(item.path) { path in
                    func recorded(_ place: Int) -> UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(rebasing: bytes[records[place].path]) }
                    while next < records.count, TreePath.precedes(recorded(next), path) { next += 1 }
                    guard next < records.count, recorded(next).elementsEqual(path) else { return nil }
                    let record = records[next]
                    let isSame = record.size == size && record.modified == item.modified && record.changed == item.changed && record.inode == item.inode
                    return isSame ? next : nil
                }
            }
        }
    }
}

/// Every length is held against the bytes that are left before it is believed.
private struct Reader {
    private let raw: UnsafeRawBufferPointer
    private var position: Int

    init(_ raw: UnsafeRawBufferPointer, at position: Int) {
        self.raw = raw
        self.position = position
    }

    var isAtEnd: Bool { position == raw.count }

    mutating func integer<I: FixedWidthInteger>(_ type: I.Type) -> I? {
        guard let range = skip(MemoryLayout<I>.size) else { return nil }
        return I(littleEndian: raw.loadUnaligned(fromByteOffset: range.lowerBound, as: I.self))
    }

    mutating func digest() -> Digest? {
        guard let range = skip(SourceMemory.digestBytes) else { return nil }
        func word(_ i: Int) -> UInt64 { UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: range.lowerBound + 8 * i, as: UInt64.self)) }
        return Digest(words: (word(0), word(1), word(2), word(3)))
    }

    /// Where `count` bytes are that are passed over; nil when fewer are left.
    mutating func skip(_ count: Int) -> Range<Int>? {
        guard raw.count - position >= count else { return nil }
        defer { position += count }
        return position..<position + count
    }

    /// Of a chunk that was found to be there.
    func length(of chunk: Int) -> Int {
        Int(UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: chunk + SourceMemory.digestBytes, as: UInt32.self)))
    }
}

/// Writes what `SourceMemory` reads. Files come in the tree's order.
package struct SourceMemoryWriter {
    private var bytes = SourceMemory.header

    /// - Parameter expected: how many files will come, about.
    package init(folder: String, mark: SourceMemory.Mark, scannerVersion: UInt32 = SecretScanner.version, expecting expected: Int) {
        bytes.reserveCapacity(expected * 160 + 4096)
        append(scannerVersion)
        append(UInt32(folder.utf8.count))
        append(mark.generation)
        append(mark.pack)
        append(mark.packDigest)
        bytes.append(contentsOf: folder.utf8)
    }

    /// `item` is a file, and was read as its size says: the chunks are of its content, all of it.
    package mutating func add(_ item: SourceTree.Item, digest: Digest, chunks: ArraySlice<ChunkReference>, wasScanned: Bool) {
        let path = item.path.utf8, listed = chunks.count > 1 ? chunks : []
        append(UInt16(path.count))
        append(UInt16(wasScanned ? 1 : 0))
        append(UInt32(listed.count))
        append(chunks.reduce(Int64(0)) { $0 + Int64($1.length) })
        append(item.modified)
        append(item.changed)
        append(item.inode)
        append(digest)
        bytes.append(contentsOf: path)
        for chunk in listed {
            append(chunk.digest)
            append(UInt32(chunk.length))
        }
    }

    package consuming func finish() -> [UInt8] {
        append(Digest.of(bytes))
        return bytes
    }

    private mutating func append(_ value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    private mutating func append(_ digest: Digest) {
        let words = digest.words
        for word in [words.0, words.1, words.2, words.3] { append(word.byteSwapped) }
    }
}
