internal import CapsuleFormat
internal import Glibc
public import MeshCore
internal import Synchronization

/// What a look at the whole store found.
public struct FsckReport: Sendable, Hashable {
    public struct Problem: Sendable, Hashable {
        public enum Kind: String, Sendable {
            /// A pack that the index relies on is gone, shorter than it was, or is none any more.
            case packGone = "pack-gone", packDamaged = "pack-damaged"
            /// Bytes that are not the chunk's. Set aside: it counts as missing from now on.
            case chunkDamaged = "chunk-damaged"
            /// A listed capsule, or a build's output, lacks a chunk or a document.
            case incomplete
            /// The index is not what packs and journal make.
            case indexDamaged = "index-damaged"
        }

        public let kind: Kind
        /// The pack's file, the chunk's digest, or what is incomplete.
        public let what: String
        /// One sentence without a full stop.
        public let detail: String
    }

    public let packs: Int
    /// Chunks looked at, and the bytes of their content; without reading, as the packs' tables list them.
    public let chunks: Int
    public let bytes: Int64
    public let problems: [Problem]
    /// Capsules that are not whole, by digest.
    public let affected: [Digest]

    public var isClean: Bool { problems.isEmpty }
}

extension CapsuleStore {
    /// Holds index, packs and journal against each other; with `read`, also every byte of every pack: its digest against its name,
    /// every frame decompressed, every chunk against its digest. Damaged chunks are set aside, as any read does. Packs, reads
    /// and fetches may go on beside it; a garbage collection may not.
    public func fsck(read: Bool, progress: StoreProgressSink? = nil) throws(MeshError) -> FsckReport {
        // A pack that a collection took away in between would seem to be lost.
        let hold = try hold()
        defer { hold.end() }
        let packs = try index.packs()
        let meter = ProgressMeter("fsck", files: packs.count, bytes: packs.reduce(0) { $0 + $1.bytes }, progress)
        let found = Mutex<(chunks: Int, bytes: Int64, problems: [FsckReport.Problem])>((0, 0, []))
        try Threads.each(packs.count) { (i) throws(MeshError) in
            let result = try self.check(packs[i], read: read)
            found.withLock { found in
                found.chunks += result.chunks
                found.bytes += result.bytes
                found.problems += result.problems
            }
            meter.add(files: 1, bytes: packs[i].bytes)
        }
        let (chunks, bytes, inPacks) = found.withLock { $0 }
        var inIndex = try index.faults(thorough: read)
        var incomplete: [FsckReport.Problem] = [], affected: [Digest] = []
        // Journal and index change together, with the journal locked; looked at in between they would seem to differ, and what is being
        // removed to be lost.
        try journal.settled { _ throws(MeshError) in
            (incomplete, affected) = try checkListed()
            inIndex += try checkPromises()
        }
        let indexDamaged = inIndex.sorted().map {
            FsckReport.Problem(kind: .indexDamaged, what: "index.sqlite", detail: $0 + "; `capsule fsck --rebuild` mends that")
        }
        let problems = (inPacks + incomplete + indexDamaged).sorted { ($0.kind.rawValue, $0.what) < ($1.kind.rawValue, $1.what) }
        return FsckReport(packs: packs.count, chunks: chunks, bytes: bytes, problems: problems, affected: affected)
    }

    /// Whether a listed capsule is all here: documents that can be read, and a place for every chunk.
    public func isWhole(_ digest: Digest) throws(MeshError) -> Bool {
        guard try index.contains(capsule: digest) else { return false }
        do throws(MeshError) { return try missing(readCapsule(digest).tree.chunks.chunks).isEmpty } catch {
            guard error.code.exit == .badData || error.code.exit == .unavailable else { throw error }
            return false
        }
    }

    // MARK: - Packs

    private typealias PackCheck = (chunks: Int, bytes: Int64, problems: [FsckReport.Problem])

    private func check(_ pack: StoreIndex.Pack, read: Bool) throws(MeshError) -> PackCheck {
        let name = PackFiles.name(pack.digest), path = folders.packs + "/" + name
        func problem(_ kind: FsckReport.Problem.Kind, _ detail: String) -> PackCheck { (0, 0, [.init(kind: kind, what: name, detail: detail)]) }
        let footer: PackFooter
        do throws(MeshError) {
            let size = try OpenFile(reading: path).size()
            guard size == pack.bytes else { return problem(.packDamaged, "it has \(size) bytes; it had \(pack.bytes)") }
            footer = try PackFooter.read(path)
        } catch {
            switch error.code {
            case .fileNotFound: return problem(.packGone, "its file is gone")
            case .packInvalid: return problem(.packDamaged, error.message)
            default: throw error
            }
        }
        var problems: [FsckReport.Problem] = []
        let content = footer.frames.reduce(0) { $0 + Int64($1.contentBytes) }
        let agrees = try index.agrees(with: footer, pack: pack.id)
        if pack.content != content || !agrees {
            problems.append(.init(kind: .packDamaged, what: name, detail: "the index has other places for its chunks than its own table; `capsule fsck --rebuild` mends that"))
        }
        if read { problems += try readAll(pack, footer, path) }
        return (footer.chunks.count, content, problems)
    }

    private func readAll(_ pack: StoreIndex.Pack, _ footer: PackFooter, _ path: String) throws(MeshError) -> [FsckReport.Problem] {
        var problems: [FsckReport.Problem] = []
        let reader = try readers.take()
        defer { readers.give(reader) }
        var starts: [Int64] = []
        var start: Int64 = 0
        for frame in footer.frames {
            starts.append(start)
            start += Int64(frame.bytes)
        }
        let places = try index.places(footer.chunks.map(\.digest))
        // What another pack has in its place is not read from here any more.
        for (chunk, known) in zip(footer.chunks, places) where known == nil || known?.pack == pack.id {
            let reference = ChunkReference(digest: chunk.digest, length: chunk.length)
            let place = ChunkPlace(
                pack: pack.id, start: starts[chunk.frame], frameBytes: footer.frames[chunk.frame].bytes, place: chunk.place, length: chunk.length)
            do throws(MeshError) { try withChunk(reference, at: place, of: nil, reader) { _ throws(MeshError) in } } catch {
                guard error.code == .chunkCorrupt else { throw error }
                problems.append(.init(kind: .chunkDamaged, what: chunk.digest.description, detail: "it is not what its digest says, in \(PackFiles.name(pack.digest))"))
            }
        }
        // Frames say all that chunks are read from; the name covers the rest of the file too, so that no byte goes unseen.
        guard problems.isEmpty else { return problems }
        if try Self.digest(ofFile: path) != pack.digest {
            problems.append(.init(kind: .packDamaged, what: PackFiles.name(pack.digest), detail: "its bytes are not what its name says, though every chunk in it is whole"))
        }
        return problems
    }

    private static func digest(ofFile path: String) throws(MeshError) -> Digest {
        let file = try OpenFile(reading: path)
        var hasher = DigestHasher(), buffer = [UInt8](repeating: 0, count: 1 << 20), offset: Int64 = 0
        while case let count = try file.read(into: &buffer, at: offset), count > 0 {
            buffer.withUnsafeBytes { hasher.update(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
            offset += Int64(count)
        }
        return hasher.finish()
    }

    // MARK: - What is listed

    private func checkListed() throws(MeshError) -> (problems: [FsckReport.Problem], affected: [Digest]) {
        var problems: [FsckReport.Problem] = [], affected: [Digest] = []
        var ofCapsules: Set<Digest> = []
        for capsule in try capsules() {
            if let root = try? CapsuleRoot(parsing: blob(capsule.digest)) { ofCapsules.insert(root.index) }
            let name = "\(capsule.name)@\(capsule.version) \(capsule.digest)"
            let why = try incompleteness { () throws(MeshError) in try self.readCapsule(capsule.digest).tree.chunks.chunks }
            guard let why else { continue }
            problems.append(.init(kind: .incomplete, what: name, detail: why))
            affected.append(capsule.digest)
        }
        // A capsule's own tree was told with it; the others are what builds made.
        for tree in try index.treeDigests() where !ofCapsules.contains(tree) {
            if let why = try incompleteness({ () throws(MeshError) in try self.tree(index: tree).chunks.chunks }) {
                problems.append(.init(kind: .incomplete, what: "the build output \(tree)", detail: why))
            }
        }
        return (problems, affected)
    }

    /// Why something listed cannot be had as a whole; nil where it can.
    private func incompleteness(_ chunks: () throws(MeshError) -> [ChunkReference]) throws(MeshError) -> String? {
        do throws(MeshError) {
            let absent = try missing(try chunks())
            return absent.isEmpty ? nil : "\(absent.count) of its chunks are not here, \(absent.reduce(0) { $0 + $1.length }) bytes"
        } catch {
            guard error.code.exit == .badData || error.code.exit == .unavailable else { throw error }
            return "its documents cannot be read: \(error.message)"
        }
    }

    // MARK: - The index anew

    /// Makes the index again from packs and journal, also where it is damaged so that no store can be opened on it. The old one is
    /// set aside in `quarantine/`. Interrupted anywhere, the next opening finishes it.
    ///
    /// - Throws: `store_busy` when another process has the store open.
    public static func rebuildIndex(home: HomeLayout, clock: any WallClock = SystemClock()) throws(MeshError) {
        let folders = Folders(path: home.capsules)
        do {
            let lock = try StoreLock(folders.lock)
            guard lock.isAlone else {
                throw MeshError(.storeBusy, "another process has the store in \(folders.path) open", hint: "stop the node that runs there, then try again")
            }
            for ending in ["-shm", "-wal", ""] where Files.exists(folders.index + ending) {
                try Files.rename(folders.index + ending, folders.quarantine + "/index-\(clock.now).sqlite" + ending)
            }
            try Files.syncDirectory(folders.path)
        }
        _ = try CapsuleStore(home: home, clock: clock)
    }
}
