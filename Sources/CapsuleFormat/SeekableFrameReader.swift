package import MeshCore
internal import Synchronization

/// The content of a `.caps` file, read from any place. Opening it reads the whole file once: the digest frame and the
/// seek table are recomputed from the data frames, so that one changed byte anywhere is `caps_damaged`.
package final class SeekableFrameReader: ByteSource {
    package let size: Int64
    package let table: SeekTable

    private let file: OpenFile
    private let codec: any FrameCodec
    /// Where each frame starts: in the file, and in the content; one more than there are data frames.
    private let fileOffsets: [Int64]
    private let contentOffsets: [Int64]
    /// The last frames used, newest last: headers and documents lie close together, and a long read goes forward.
    private let cache = Mutex<[(frame: Int, content: [UInt8])]>([])
    private static let cachedFramesMax = 4

    package init(path: String, codec: any FrameCodec) throws(MeshError) {
        let file = try OpenFile(reading: path)
        let table = try Self.readTable(of: file)
        var fileOffsets: [Int64] = [0], contentOffsets: [Int64] = [0]
        var hasher = DigestHasher()
        var position: Int64 = 0, content: Int64 = 0
        for (i, entry) in table.entries.dropLast().enumerated() {
            let frame = try file.read(count: entry.frameBytes, at: position)
            guard ZstdFrame.contentBytes(of: frame) == UInt64(entry.contentBytes) else {
                throw SeekableFrames.damaged(path, "frame \(i) is not the one that the seek table describes")
            }
            hasher.update(frame)
            position += Int64(entry.frameBytes)
            content += Int64(entry.contentBytes)
            fileOffsets.append(position)
            contentOffsets.append(content)
        }
        let digestFrame = SeekableFrames.digestFrameHeader + hasher.finish().bytes
        guard try file.read(count: digestFrame.count, at: position) == digestFrame else {
            throw SeekableFrames.damaged(path, "its bytes do not have the digest that it says")
        }
        self.file = file
        self.codec = codec
        self.table = table
        self.fileOffsets = fileOffsets
        self.contentOffsets = contentOffsets
        size = content
    }

    package func read(at offset: Int64, count: Int) throws(MeshError) -> [UInt8] {
        guard offset >= 0, count >= 0, Int64(count) <= size - offset else {
            throw SeekableFrames.damaged(file.path, "\(count) bytes at \(offset) lie outside of its content")
        }
        var out: [UInt8] = []
        out.reserveCapacity(count)
        var frame = frameIndex(holding: offset)
        while out.count < count {
            let content = try content(ofFrame: frame)
            let start = Int(offset + Int64(out.count) - contentOffsets[frame])
            out.append(contentsOf: content[start..<min(content.count, start + count - out.count)])
            frame += 1
        }
        return out
    }

    private func frameIndex(holding offset: Int64) -> Int {
        var low = 0, high = contentOffsets.count - 1
        while high - low > 1 {
            let middle = (low + high) / 2
            if contentOffsets[middle] <= offset { low = middle } else { high = middle }
        }
        return low
    }

    private func content(ofFrame index: Int) throws(MeshError) -> [UInt8] {
        if let content = cache.withLock({ $0.first { $0.frame == index }?.content }) { return content }
        let entry = table.entries[index]
        let frame = try file.read(count: entry.frameBytes, at: fileOffsets[index])
        let content: [UInt8]
        do throws(MeshError) {
            content = try codec.decompress(frame, contentBytesMax: entry.contentBytes)
        } catch {
            throw SeekableFrames.damaged(file.path, "frame \(index) cannot be decompressed", cause: error)
        }
        guard content.count == entry.contentBytes else {
            throw SeekableFrames.damaged(file.path, "frame \(index) holds \(content.count) bytes and announces \(entry.contentBytes)")
        }
        cache.withLock {
            if $0.count == Self.cachedFramesMax { $0.removeFirst() }
            $0.append((index, content))
        }
        return content
    }

    private static func readTable(of file: borrowing OpenFile) throws(MeshError) -> SeekTable {
        let size = try file.size()
        let path = file.path
        let least = Int64(SeekableFrames.digestFrameBytes + SeekTable.bytes(entryCount: 1))
        guard size > least, try file.read(count: 4, at: 0) == SeekableFrames.frameMagic else {
            throw SeekableFrames.damaged(path, "it does not start like a .caps file")
        }
        let footer = try file.read(count: SeekTable.footerBytes, at: size - Int64(SeekTable.footerBytes))
        guard let count = SeekTable.entryCount(footer: footer) else {
            throw SeekableFrames.damaged(path, "it does not end in a seek table; it may have been cut short")
        }
        guard count >= 2, count <= Limits.capsFramesMax + 1, Int64(SeekTable.bytes(entryCount: count)) < size else {
            throw SeekableFrames.damaged(path, "its seek table announces \(count) frames")
        }
        let tableBytes = SeekTable.bytes(entryCount: count)
        guard let table = SeekTable(parsing: try file.read(count: tableBytes, at: size - Int64(tableBytes))),
              let last = table.entries.last, last == SeekTable.Entry(frameBytes: SeekableFrames.digestFrameBytes, contentBytes: 0) else {
            throw SeekableFrames.damaged(path, "its seek table is not in the documented form")
        }
        for (i, entry) in table.entries.dropLast().enumerated() {
            guard (1...Limits.capsFrameBytesMax).contains(entry.frameBytes),
                  (1...Limits.capsFrameContentBytesMax).contains(entry.contentBytes) else {
                throw SeekableFrames.damaged(path, "frame \(i) announces \(entry.frameBytes) bytes that unpack to \(entry.contentBytes)")
            }
        }
        guard table.entries.reduce(Int64(tableBytes), { $0 + Int64($1.frameBytes) }) == size else {
            throw SeekableFrames.damaged(path, "its frames do not add up to its length")
        }
        return table
    }
}
