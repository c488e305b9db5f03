internal import CapsuleFormat
internal import CapsuleStore
internal import Glibc
internal import MeshCore
internal import Signing

/// The way through a home that a backup takes: each thing once, folders before what is in them, and in a folder files before
/// folders, so that a journal is never newer than what it speaks of.
struct HomeWalk: ~Copyable {
    private let home: HomeLayout
    private let catalog: OpenFile
    private let isCancelled: () -> Bool
    private let emit: EventSink
    private var out: SealedWriter
    private var written = HomeBackup.Written()
    private var entries = 0
    private var bytesTold: Int64 = 0
    private var buffer = [UInt8](repeating: 0, count: 256 * 1024)

    /// A long file is told of this often; cancelling is heard as often.
    private static let stepBytes: Int64 = 4 << 20, stepEntries = 256

    /// - Parameter catalog: a copy of `state/catalog.sqlite`, which may be written meanwhile.
    init(_ home: HomeLayout, catalog: consuming OpenFile, into out: consuming SealedWriter, _ start: BackupEntry.Start, _ isCancelled: @escaping () -> Bool,
         _ emit: @escaping EventSink) throws(MeshError) {
        try out.write(BackupEntry.start(start).bytes)
        self.home = home
        self.catalog = catalog
        self.out = out
        self.isCancelled = isCancelled
        self.emit = emit
    }

    /// Goes the way; everything is on the disk when this returns.
    consuming func finish() throws(MeshError) -> HomeBackup.Written {
        try enter(SourceFolder(home.path), [])
        try out.write(BackupEntry.end(files: written.files, bytes: written.bytes).bytes)
        try out.finish()
        return written
    }

    private mutating func enter(_ folder: SourceFolder, _ path: [UInt8]) throws(MeshError) {
        var folders: [(name: [UInt8], place: HomePlace, isLink: Bool)] = []
        for name in try folder.names() {
            let place = HomePlace(path.isEmpty ? name : path + [UInt8(ascii: "/")] + name)
            if place.isLeftOut { continue }
            guard place.isBelowHome else {
                written.skip(place.shown, "it lies too deep or has too long a path")
                continue
            }
            guard let info = try look(name, in: folder, place) else { continue }
            switch info.st_mode & S_IFMT {
            case S_IFDIR: folders.append((name, place, false))
            case S_IFREG where place.isCatalog: try add(place, BackupEntry.Item(place.path, .file(size: try catalog.size()), info), catalog.descriptor)
            case S_IFREG: try addFile(name, in: folder, place)
            // The home's own rooms may lie on another disk.
            case S_IFLNK where place.depth == 1 && Files.isDirectory(home.path + "/" + place.shown): folders.append((name, place, true))
            case S_IFLNK: try addLink(name, in: folder, place, info)
            default: written.skip(place.shown, "it is a socket, a pipe or a device")
            }
        }
        for (name, place, isLink) in folders {
            guard let child = try open(name, in: folder, place, isLink) else { continue }
            var info = stat()
            guard fstat(child.descriptor, &info) == 0 else { throw Files.failure("look at", place.shown) }
            try write(BackupEntry.Item(place.path, .folder, info))
            try enter(child, place.path)
        }
    }

    // MARK: Looking

    /// nil for what is gone by now, or cannot be reached and is no loss.
    private mutating func look(_ name: [UInt8], in folder: SourceFolder, _ place: HomePlace) throws(MeshError) -> stat? {
        do throws(MeshError) { return try folder.look(at: name, path: place.shown) } catch {
            try pass(place, error)
            return nil
        }
    }

    private mutating func open(_ name: [UInt8], in folder: SourceFolder, _ place: HomePlace, _ isLink: Bool) throws(MeshError) -> SourceFolder? {
        do throws(MeshError) {
            return isLink ? try SourceFolder(home.path + "/" + place.shown) : try SourceFolder(name, in: folder, path: place.shown)
        } catch {
            try pass(place, error)
            return nil
        }
    }

    private mutating func pass(_ place: HomePlace, _ error: MeshError) throws(MeshError) {
        // What was removed since its name was read is in no backup made a moment later either.
        if error.code == .fileNotFound { return }
        guard place.isExpendable else { throw error }
        written.skip(place.shown, error.message)
    }

    // MARK: Writing

    private mutating func addLink(_ name: [UInt8], in folder: SourceFolder, _ place: HomePlace, _ info: stat) throws(MeshError) {
        guard place.mayBeLink else { return written.skip(place.shown, "it is a link, and what it leads to is not in the home") }
        let target: [UInt8]
        do throws(MeshError) { target = try folder.target(of: name, path: place.shown) } catch { return try pass(place, error) }
        try write(BackupEntry.Item(place.path, .link(target: target), info))
    }

    private mutating func addFile(_ name: [UInt8], in folder: SourceFolder, _ place: HomePlace) throws(MeshError) {
        // By now it may be a link or a pipe: neither is followed or waited for.
        let opened = openat(folder.descriptor, name.map { CChar(bitPattern: $0) } + [0], O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard opened >= 0 else { return try pass(place, Files.failure("read", "\(home.path)/\(place.shown)")) }
        let file = Descriptor(owning: opened)
        var info = stat()
        guard fstat(opened, &info) == 0 else { throw Files.failure("look at", place.shown) }
        guard info.st_mode & S_IFMT == S_IFREG, info.st_size <= Limits.fileBytesMax else {
            return try pass(place, MeshError(.sourceChanged, "\(home.path)/\(place.shown) is no plain file any more, or has more than \(Limits.fileBytesMax) bytes"))
        }
        try add(place, BackupEntry.Item(place.path, .file(size: Int64(info.st_size)), info), file.number)
        guard place.isAppData else { return }
        var after = stat()
        guard fstat(opened, &after) == 0 else { throw Files.failure("look at", place.shown) }
        if after.st_size != info.st_size || after.st_mtim.tv_sec != info.st_mtim.tv_sec || after.st_mtim.tv_nsec != info.st_mtim.tv_nsec {
            written.skip(place.shown, "it was written while it was read: it is in the backup, but may be of two moments")
        }
    }

    /// As much as the item says. What was added since is not in it: all that grows here are journals and logs.
    private mutating func add(_ place: HomePlace, _ item: BackupEntry.Item, _ descriptor: Int32) throws(MeshError) {
        guard case .file(let size) = item.kind else { return }
        try write(item)
        var offset: Int64 = 0
        while offset < size {
            let wanted = Int(min(size - offset, Int64(buffer.count)))
            var count = buffer.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, wanted, off_t(offset)) }
            if count < 0, errno == EINTR { continue }
            if count <= 0 {
                let why = count == 0 ? "became shorter while it was read" : "cannot be read: \(String(cString: strerror(errno)))"
                guard place.isExpendable else {
                    throw MeshError(.sourceChanged, "\(home.path)/\(place.shown) \(why)", hint: "run the backup again; nothing was written")
                }
                written.skip(place.shown, "it \(why): from byte \(offset) on it is zeros in the backup")
                try writeZeros(size - offset)
                break
            }
            count = min(count, wanted)
            try out.writePrefix(of: buffer, count)
            offset += Int64(count)
            try tell(offset)
        }
        written.files += 1
        written.bytes += size
    }

    private mutating func writeZeros(_ count: Int64) throws(MeshError) {
        let zeros = [UInt8](repeating: 0, count: buffer.count)
        var left = count
        while left > 0 {
            let part = Int(min(left, Int64(zeros.count)))
            try out.writePrefix(of: zeros, part)
            left -= Int64(part)
        }
    }

    private mutating func write(_ item: BackupEntry.Item) throws(MeshError) {
        entries += 1
        guard entries <= Limits.treeEntriesMax else {
            throw MeshError(.treeTooLarge, "\(home.path) holds more than \(Limits.treeEntriesMax) files and folders", hint: "look for what an app left in its data folder: \(HomePlace(item.path).shown)")
        }
        try out.write(BackupEntry.item(item).bytes)
        if entries % Self.stepEntries == 0 { try tell(0) }
    }

    /// Says how far things are, now and then.
    private mutating func tell(_ bytesOfFile: Int64) throws(MeshError) {
        let bytes = written.bytes + bytesOfFile
        guard bytes - bytesTold >= Self.stepBytes || bytesOfFile == 0 else { return }
        bytesTold = bytes
        guard !isCancelled() else { throw MeshError(.backupCancelled, "the backup was cancelled", hint: "run it again when it is wanted; nothing was written") }
        emit(NodeEvent(source: "home.backup", type: "progress", data: [
            "phase": "backing up", "files": JSONValue(written.files), "bytes": .integer(bytes), "totalFiles": 0, "totalBytes": 0,
        ]))
    }
}

extension SealedWriter {
    fileprivate mutating func writePrefix(of bytes: [UInt8], _ count: Int) throws(MeshError) {
        try bytes.withRawBytes { (raw) throws(MeshError) in try write(UnsafeRawBufferPointer(rebasing: raw[..<count])) }
    }
}
