internal import CapsuleFormat
internal import Glibc
internal import MeshCore
internal import Synchronization

/// The packs of a store, opened when they are read from and kept open, the longest unused closed first.
final class PackFiles: Sendable {
    final class Pack: Sendable {
        let file: OpenFile
        init(_ file: consuming OpenFile) { self.file = file }
    }

    fileprivate struct State {
        var open: [Int64: (pack: Pack, used: UInt64)] = [:]
        var clock: UInt64 = 0
    }

    private let folder: String
    private let index: StoreIndex
    fileprivate let state = Mutex(State())

    init(_ folder: String, _ index: StoreIndex) {
        self.folder = folder
        self.index = index
    }

    static func name(_ digest: Digest) -> String { digest.hex + ".pack" }

    /// nil when the pack's file is gone.
    func open(_ id: Int64) throws(MeshError) -> Pack? {
        let known: Pack? = state.withLock { state in
            state.clock += 1
            state.open[id]?.used = state.clock
            return state.open[id]?.pack
        }
        if let known { return known }
        guard let digest = try index.packDigest(id) else { return nil }
        let path = folder + "/" + Self.name(digest)
        let pack: Pack
        do throws(MeshError) { pack = Pack(try OpenFile(reading: path)) } catch {
            if error.code == .fileNotFound { return nil }
            throw error
        }
        state.withLock { state in
            if state.open.count >= Limits.packsOpenMax, let oldest = state.open.min(by: { $0.value.used < $1.value.used }) {
                state.open[oldest.key] = nil
            }
            state.open[id] = (pack, state.clock)
        }
        return pack
    }
}

extension PackFiles {
    /// Their files are gone; whoever reads from one at the moment still has it.
    func close(_ ids: [Int64]) { state.withLock { state in for id in ids { state.open[id] = nil } } }
}

/// Reads and verifies chunks. One thread uses one; the frames read last are kept, since neighbours in a file are neighbours in a frame.
final class ChunkReader: @unchecked Sendable {  // proof: whoever took it from ReaderPool alone uses it until it is given back
    private struct Slot {
        var pack: Int64 = -1
        var start: Int64 = 0
        var count = 0
        var used: UInt64 = 0
        let content: SharedBuffer
    }

    private let packs: PackFiles
    private let decompressor: ZstdDecompressor
    private let frame: SharedBuffer
    private var slots: [Slot] = []
    private var clock: UInt64 = 0

    private static let slotsMax = 8

    init(_ packs: PackFiles) throws(MeshError) {
        self.packs = packs
        decompressor = try ZstdContexts.takeDecompressor()
        frame = SharedBuffer(Zstd.frameBytesMax(Limits.packFrameContentBytesMax))
    }

    deinit { ZstdContexts.give(decompressor) }

    enum Outcome {
        case good(UnsafeRawBufferPointer)
        case damaged
        /// The pack's file is gone.
        case gone
    }

    /// The chunk's bytes, verified; valid until the next call.
    func read(_ chunk: ChunkReference, at place: ChunkPlace) throws(MeshError) -> Outcome {
        guard let slot = try slot(for: place) else { return .damaged }
        guard slot >= 0 else { return .gone }
        guard let bytes = bytes(in: slot, at: place) else { return .damaged }
        return Digest.of(bytes) == chunk.digest ? .good(bytes) : .damaged
    }

    /// The bytes at this place, for whoever checks what they belong to; nil where there is nothing. Valid until the next call.
    func unverified(at place: ChunkPlace) throws(MeshError) -> UnsafeRawBufferPointer? {
        guard let slot = try slot(for: place), slot >= 0 else { return nil }
        return bytes(in: slot, at: place)
    }

    private func bytes(in slot: Int, at place: ChunkPlace) -> UnsafeRawBufferPointer? {
        guard place.place >= 0, place.length <= slots[slot].count - place.place else { return nil }
        return UnsafeRawBufferPointer(rebasing: slots[slot].content.bytes[place.place..<place.place + place.length])
    }

    /// The slot that holds the frame; -1 when the pack is gone, nil when the frame is none.
    private func slot(for place: ChunkPlace) throws(MeshError) -> Int? {
        clock += 1
        if let slot = slots.firstIndex(where: { $0.pack == place.pack && $0.start == place.start }) {
            slots[slot].used = clock
            return slot
        }
        guard let pack = try packs.open(place.pack) else { return -1 }
        guard place.frameBytes > 0, place.frameBytes <= frame.bytes.count else { return nil }
        var filled = 0
        while filled < place.frameBytes {
            let got = pread(
                pack.file.descriptor, frame.bytes.baseAddress.map { $0 + filled }, place.frameBytes - filled,
                off_t(place.start) + off_t(filled))
            if got < 0, errno == EINTR { continue }
            guard got >= 0 else { throw Files.failure("read", pack.file.path) }
            if got == 0 { return nil }
            filled += got
        }
        let slot = freeSlot()
        slots[slot].pack = -1
        let bytes = frame.prefix(place.frameBytes)
        do throws(MeshError) {
            let count = try Zstd.contentBytes(of: bytes, max: Limits.packFrameContentBytesMax)
            try decompressor.decompress(bytes, into: UnsafeMutableRawBufferPointer(rebasing: slots[slot].content.bytes[..<count]))
            slots[slot].count = count
        } catch { return nil }
        slots[slot].pack = place.pack
        slots[slot].start = place.start
        slots[slot].used = clock
        return slot
    }

    private func freeSlot() -> Int {
        if slots.count < Self.slotsMax {
            slots.append(Slot(content: SharedBuffer(Limits.packFrameContentBytesMax)))
            return slots.count - 1
        }
        return slots.indices.min { slots[$0].used < slots[$1].used } ?? 0
    }

    /// Forgets what it holds of a frame.
    func forget(_ place: ChunkPlace) {
        for slot in slots.indices where slots[slot].pack == place.pack && slots[slot].start == place.start { slots[slot].pack = -1 }
    }
}

/// Readers in reserve, so that a thread comes back to the frames it read last.
final class ReaderPool: Sendable {
    private let free = Mutex<[ChunkReader]>([])
    let packs: PackFiles

    init(_ packs: PackFiles) { self.packs = packs }

    func take() throws(MeshError) -> ChunkReader {
        if let reader = free.withLock({ $0.popLast() }) { return reader }
        return try ChunkReader(packs)
    }

    func give(_ reader: ChunkReader) { free.withLock { if $0.count < 8 { $0.append(reader) } } }
}
