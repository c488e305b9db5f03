internal import Dispatch
internal import Glibc
package import MeshCore

/// Cuts what it is given into frames of 1 MiB of content (the last one shorter), compresses them on all cores and writes
/// them in order, then the digest frame and the seek table. At most two frames a core are in memory.
package final class SeekableFrameWriter {
    private let file: OpenFile
    private let codec: any FrameCodec
    private let inFlightMax: Int
    private var content: [UInt8] = []
    private var inFlight: [(work: SharedWork<[UInt8]>, contentBytes: Int)] = []
    private var entries: [SeekTable.Entry] = []
    private var hasher = DigestHasher()

    package init(to file: consuming OpenFile, codec: any FrameCodec) {
        self.file = file
        self.codec = codec
        inFlightMax = 2 * ProcessorCount.here
    }

    deinit { for job in inFlight { job.work.drop() } }

    package func append(_ bytes: [UInt8]) throws(MeshError) {
        var start = 0
        while start < bytes.count {
            if content.isEmpty { content.reserveCapacity(Limits.capsFrameContentBytesMax) }
            let count = min(Limits.capsFrameContentBytesMax - content.count, bytes.count - start)
            content.append(contentsOf: bytes[start..<start + count])
            start += count
            if content.count == Limits.capsFrameContentBytesMax { try submit() }
        }
    }

    /// Writes what is left and makes the file durable.
    package func finish() throws(MeshError) {
        if !content.isEmpty { try submit() }
        while !inFlight.isEmpty { try writeOldest() }
        let digestFrame = SeekableFrames.digestFrameHeader + hasher.finish().bytes
        try file.write(digestFrame)
        entries.append(SeekTable.Entry(frameBytes: digestFrame.count, contentBytes: 0))
        try file.write(SeekTable(entries).bytes)
        try file.sync()
    }

    private func submit() throws(MeshError) {
        guard entries.count + inFlight.count < Limits.capsFramesMax else {
            throw MeshError(.fileTooLarge, "the capsule needs more than \(Limits.capsFramesMax) frames of 1 MiB",
                            hint: "split it into several capsules")
        }
        if inFlight.count == inFlightMax { try writeOldest() }
        let piece = content
        content = []
        let work = SharedWork<[UInt8]> { [codec] () throws(MeshError) in try codec.compress(piece) }
        inFlight.append((work, piece.count))
    }

    private func writeOldest() throws(MeshError) {
        let (work, contentBytes) = inFlight.removeFirst()
        let frame = try work.result()
        guard frame.count <= Limits.capsFrameBytesMax, ZstdFrame.contentBytes(of: frame) == UInt64(contentBytes) else {
            throw SeekableFrames.damaged(file.path, "the compressor made a frame that no reader would accept")
        }
        hasher.update(frame)
        try file.write(frame)
        entries.append(SeekTable.Entry(frameBytes: frame.count, contentBytes: contentBytes))
    }
}
