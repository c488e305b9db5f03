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
        var chunks = 0, bytes: Int64 = 0, inPacks: [FsckReport.Problem] = []
        // The tables of all packs at once could be large.
        for start in stride(from: 0, to: packs.count, by: Self.packsAtOnce) {
            let result = try check(Array(packs[start..<min(start + Self.packsAtOnce, packs.count)]), read: read, meter)
            chunks += result.chunks
            bytes += result.bytes
            inPacks += result.problems
        }
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
    private static let packsAtOnce = 16

    /// First their tables, then what is in them.
    private func check(_ packs: [StoreIndex.Pack], read: Bool, _ meter: ProgressMeter) throws(MeshError) -> PackCheck {
        let found = Mutex<PackCheck>((0, 0, [])), readable = Mutex<[(pack: StoreIndex.Pack, footer: PackFooter)]>([])
        try Threads.each(packs.count) { (i) throws(MeshError) in
            let (footer, problems) = try self.checkTable(packs[i])
            found.withLock { found in
                found.chunks += footer?.chunks.count ?? 0
                found.bytes += footer?.frames.reduce(0) { $0 + Int64($1.contentBytes) } ?? 0
                found.problems += problems
            }
            if read, let footer { readable.withLock { $0.append((packs[i], footer)) } } else { meter.add(files: 1, bytes: packs[i].bytes) }
        }
        // Runs of frames rather than packs, so that no core is without work while another reads the last pack.
        var work: [PackReading] = []
        for (pack, footer) in readable.withLock({ $0 }) { work += PackReading.all(of: pack, footer) }
        let todo = work
        try Threads.each(todo.count) { (i) throws(MeshError) in
            let problems = try self.read(todo[i])
            found.withLock { $0.problems += problems }
            meter.add(files: todo[i].isWholeFile ? 1 : 0, bytes: todo[i].bytes)
        }
        var result = found.withLock { $0 }
        // Where a chunk was found damaged, it is known why the file is not what its name says.
        let all = result.problems
        result.problems.removeAll { problem in
            problem.detail == Self.notItsName && all.contains { $0.kind == .chunkDamaged && $0.detail.hasSuffix(problem.what) }
        }
        return result
    }

    /// The table, if it can be read.
    private func checkTable(_ pack: StoreIndex.Pack) throws(MeshError) -> (PackFooter?, [FsckReport.Problem]) {
        let name = PackFiles.name(pack.digest), path = folders.packs + "/" + name
        let footer: PackFooter
        do throws(MeshError) {
            let size = try OpenFile(reading: path).size()
            guard size == pack.bytes else {
                return (nil, [.init(kind: .packDamaged, what: name, detail: "it has \(size) bytes; it had \(pack.bytes)")])
            }
            footer = try PackFooter.read(path)
        } catch {
            switch error.code {
            case .fileNotFound: return (nil, [.init(kind: .packGone, what: name, detail: "its file is gone")])
            case .packInvalid: return (nil, [.init(kind: .packDamaged, what: name, detail: error.message)])
            default: throw error
            }
        }
        guard pack.content == footer.frames.reduce(0, { $0 + Int64($1.contentBytes) }), try index.agrees(with: footer, pack: pack.id) else {
            let detail = "the index has other places for its chunks than its own table; `capsule fsck --rebuild` mends that"
            return (footer, [.init(kind: .packDamaged, what: name, detail: detail)])
        }
        return (footer, [])
    }

    /// A run of chunks of a pack, or its file's bytes.
    private struct PackReading: Sendable {
        let pack: StoreIndex.Pack
        /// Empty for the whole file.
        let chunks: [(reference: ChunkReference, place: ChunkPlace)]
        /// Of frames; for the whole file, of all else in it.
        let bytes: Int64

        var isWholeFile: Bool { chunks.isEmpty }
        private static let contentBytes = 8 << 20

        static func all(of pack: StoreIndex.Pack, _ footer: PackFooter) -> [PackReading] {
            let starts = StoreIndex.starts(footer)
            var out = [PackReading(pack: pack, chunks: [], bytes: pack.bytes - footer.frames.reduce(0) { $0 + Int64($1.bytes) })]
            var run: [(ChunkReference, ChunkPlace)] = [], content = 0, firstFrame = 0
            func close(_ end: Int) {
                if run.isEmpty { return }
                out.append(PackReading(pack: pack, chunks: run, bytes: footer.frames[firstFrame..<end].reduce(0) { $0 + Int64($1.bytes) }))
                (run, content, firstFrame) = ([], 0, end)
            }
            for chunk in footer.chunks {
                if content >= contentBytes, chunk.place == 0 { close(chunk.frame) }
                let frame = footer.frames[chunk.frame]
                run.append((
                    ChunkReference(digest: chunk.digest, length: chunk.length),
                    ChunkPlace(pack: pack.id, start: starts[chunk.frame], frameBytes: frame.bytes, place: chunk.place, length: chunk.length)
                ))
                content += chunk.length
            }
            close(footer.frames.count)
            return out
        }
    }

    private func read(_ work: PackReading) throws(MeshError) -> [FsckReport.Problem] {
        let name = PackFiles.name(work.pack.digest)
        guard !work.isWholeFile else {
            // Frames say all that chunks are read from; the name covers the rest of the file too, so that no byte goes unseen.
            guard try Self.digest(ofFile: folders.packs + "/" + name) != work.pack.digest else { return [] }
            return [.init(kind: .packDamaged, what: name, detail: Self.notItsName)]
        }
        var problems: [FsckReport.Problem] = []
        let reader = try readers.take()
        defer { readers.give(reader) }
        // What another pack has in its place is not read from here any more.
        for (chunk, known) in zip(work.chunks, try index.places(work.chunks.map(\.reference.digest))) where known == nil || known?.pack == work.pack.id {
            do throws(MeshError) { try withChunk(chunk.reference, at: chunk.place, of: nil, reader) { _ throws(MeshError) in } } catch {
                guard error.code == .chunkCorrupt else { throw error }
                problems.append(.init(kind: .chunkDamaged, what: chunk.reference.digest.description, detail: "it is not what its digest says, in \(name)"))
            }
        }
        return problems
    }

    private static let notItsName = "its bytes are not what its name says, though every chunk in it is whole"

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
