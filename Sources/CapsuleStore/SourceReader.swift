internal import CapsuleFormat
internal import Glibc
internal import MeshCore

/// A share of a folder's content, cut and hashed: chunks in order, their bytes in one buffer, and the files that end in it.
struct CutContent: Sendable {
    let buffer: SharedBuffer
    /// Where each chunk lies in the buffer.
    var ranges: [Range<Int>] = []
    /// Of the chunks.
    var digests: [Digest] = []
    /// Of each file, in order: the digest of its whole content; nil where `LargeFile.digest` tells it.
    var files: [Digest?] = []
    var bytes: Int64 = 0

    init(_ buffer: SharedBuffer) { self.buffer = buffer }

    func chunk(_ i: Int) -> UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: buffer.bytes[ranges[i]]) }

    /// Cuts `start..<end` of the buffer as far as the cuts are certain: all of it when nothing follows, else while a whole
    /// window is there. Gives where the uncut rest begins.
    mutating func cut(_ start: Int, _ end: Int, isLast: Bool) -> Int {
        var position = start
        while position < end, isLast || end - position >= Limits.chunkBytesMax {
            let length = Chunker.nextLength(
                in: UnsafeRawBufferPointer(rebasing: buffer.bytes[position..<min(end, position + Limits.chunkBytesMax)]))
            ranges.append(position..<position + length)
            position += length
        }
        return position
    }

    /// Hashes what was cut since.
    mutating func hash() { for i in digests.count..<ranges.count { digests.append(Digest.of(chunk(i))) } }
}

/// One share of the reading.
enum ReadShare: Sendable {
    /// Items of the tree; what is no file among them, or unchanged, is passed over.
    case files(Range<Int>)
    case part(of: LargeFile)
}

/// Reads the files of a scanned folder. A file that is not the one that was scanned, or changes meanwhile, is `source_changed`.
struct SourceReader: Sendable {
    let tree: SourceTree
    /// What is passed over.
    let unchanged: UnchangedFiles
    /// What the files were before.
    let last: LastVersion
    let buffers = BufferPool(bytes: Limits.ingestUnitBytes + Limits.chunkBytesMax)

    /// What is to be read, in the tree's order.
    func shares() -> [ReadShare] {
        var out: [ReadShare] = []
        var start = 0, bytes: Int64 = 0, files = 0
        func close(_ end: Int) {
            if files > 0 { out.append(.files(start..<end)) }
            (start, bytes, files) = (end, 0, 0)
        }
        for (i, item) in tree.items.enumerated() {
            guard case .file(let size) = item.kind, !unchanged.contains(i) else { continue }
            if size > Int64(Limits.ingestUnitBytes) {
                close(i)
                let file = LargeFile(item, path: path(of: item), scans: tree.scans(item.path), last: last.file(item.path, size: size))
                out += Array(repeating: .part(of: file), count: file.parts)
                start = i + 1
                continue
            }
            if bytes + size > Int64(Limits.ingestUnitBytes) || files == Limits.ingestUnitFilesMax { close(i) }
            bytes += size
            files += 1
        }
        close(tree.items.count)
        return out
    }

    /// The shares of one file must be asked for in order.
    func read(_ share: ReadShare, on workers: WorkerPool) -> Promise<CutContent> {
        let promise = Promise<CutContent>()
        switch share {
        case .files(let items): workers.submit(urgent: true) { promise.fulfil { () throws(MeshError) in try self.read(items) } }
        case .part(let file): file.readNext(into: buffers.take(), on: workers, promise)
        }
        return promise
    }

    private func read(_ items: Range<Int>) throws(MeshError) -> CutContent {
        var content = CutContent(buffers.take())
        var position = 0
        for i in items {
            let item = tree.items[i]
            guard case .file(let size) = item.kind, !unchanged.contains(i) else { continue }
            try read(item, Int(size), at: position, &content)
            position += Int(size)
        }
        return content
    }

    private func path(of item: SourceTree.Item) -> String { tree.directory + "/" + item.path }

    private func read(_ item: SourceTree.Item, _ size: Int, at position: Int, _ content: inout CutContent) throws(MeshError) {
        let file = try SourceFile(item, path(of: item))
        let bytes = UnsafeMutableRawBufferPointer(rebasing: content.buffer.bytes[position..<position + size])
        try file.fill(bytes, at: 0)
        try file.requireUnchanged()
        if tree.scans(item.path) {
            var scanner = SecretScanner()
            if let found = scanner.scan(UnsafeRawBufferPointer(bytes), isLast: true) {
                throw SecretScanner.error(item.path, what: found.what, line: found.line)
            }
        }
        let before = content.digests.count
        _ = content.cut(position, position + size, isLast: true)
        content.hash()
        content.files.append(digest(of: item, UnsafeRawBufferPointer(bytes), chunks: content.digests[before...]))
        content.bytes += Int64(size)
    }

    private func digest(of item: SourceTree.Item, _ bytes: UnsafeRawBufferPointer, chunks: ArraySlice<Digest>) -> Digest {
        if let only = chunks.first, chunks.count == 1 { return only }
        if let last = last.file(item.path, size: Int64(bytes.count)), last.isMade(of: chunks) { return last.digest }
        return Digest.of(bytes)
    }
}

/// An open file of the source, held against what the scan saw: type, size, times and inode.
struct SourceFile: ~Copyable {
    private let item: SourceTree.Item
    private let path: String
    private let descriptor: Int32

    init(_ item: SourceTree.Item, _ path: String) throws(MeshError) {
        self.item = item
        self.path = path
        // Not blocking: what was a file when it was scanned may be a pipe now.
        descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else {
            let number = errno
            guard number == ENOENT || number == ENOTDIR || number == ELOOP else { throw Files.failure("read", path, number) }
            throw changed()
        }
        try requireUnchanged()
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// The pages will be read once, from start to end.
    func adviseSequential() { _ = posix_fadvise(descriptor, 0, 0, POSIX_FADV_SEQUENTIAL) }

    func fill(_ bytes: UnsafeMutableRawBufferPointer, at offset: Int64) throws(MeshError) {
        var filled = 0
        while filled < bytes.count {
            let got = pread(descriptor, bytes.baseAddress.map { $0 + filled }, bytes.count - filled, off_t(offset) + off_t(filled))
            if got < 0, errno == EINTR { continue }
            guard got >= 0 else { throw Files.failure("read", path) }
            guard got > 0 else { throw changed() }
            filled += got
        }
    }

    func requireUnchanged() throws(MeshError) {
        var info = stat()
        guard fstat(descriptor, &info) == 0 else { throw Files.failure("look at", path) }
        guard info.st_mode & S_IFMT == S_IFREG, item.kind == .file(size: Int64(info.st_size)), UInt64(info.st_ino) == item.inode,
            SourceTree.nanoseconds(info.st_mtim) == item.modified, SourceTree.nanoseconds(info.st_ctim) == item.changed
        else { throw changed() }
    }

    private func changed() -> MeshError {
        MeshError(
            .sourceChanged, "\(path) changed while it was read", hint: "stop what writes to the folder and run the same command again")
    }
}
