internal import Glibc
internal import MeshCore

/// A home that is being filled beside its place, `HOME.restoring-…`, closed to everybody else until it takes that place.
///
/// Everything is made new and below the folder that is held open; a path's parts are opened one by one and never through a
/// link, so that no entry reaches what another entry made a link to.
final class NewHome {
    let path: String
    private let target: String
    private let descriptor: Descriptor
    /// Folders above that were not there before, the topmost first.
    private let made: [String]
    /// What the home gets in the end.
    private var mode: mode_t
    private var owner: (uid: uid_t, gid: gid_t)?
    /// Folders get their mode, owner and time when nothing more is made in them.
    private var folders: [BackupEntry.Item] = []

    private static let kind = "restoring"

    /// Where a home of this path will be, links followed.
    ///
    /// - Throws: `already_exists` unless nothing or an empty folder is there.
    static func place(_ path: String) throws(MeshError) -> String {
        var info = stat(), above = stat()
        guard lstat(path, &info) == 0 else {
            guard errno == ENOENT else { throw Files.failure("look at", path) }
            return path
        }
        guard stat(path, &info) == 0, info.st_mode & S_IFMT == S_IFDIR, try Files.names(in: path).isEmpty, let real = realpath(path, nil) else { throw occupied(path) }
        defer { free(real) }
        let place = String(cString: real)
        guard stat(Files.parent(of: place), &above) == 0, above.st_dev == info.st_dev else {
            throw MeshError(.alreadyExists, "\(path) is a mount point, which a restored home cannot replace", hint: "restore to a new folder below it: --home \(path)/home")
        }
        return place
    }

    /// - Parameter target: from `place`.
    init(_ target: String) throws(MeshError) {
        self.target = target
        let parent = Files.parent(of: target)
        made = Self.missing(parent)
        try Files.makeDirectory(parent)
        Leftovers.remove(beside: target, kind: Self.kind)
        path = Leftovers.newPath(beside: target, kind: Self.kind)
        var info = stat()
        // 0755 less the umask is what a new home has; one that is there keeps what it has.
        guard mkdir(path, 0o755) == 0, stat(path, &info) == 0, chmod(path, 0o700) == 0 else {
            let error = Files.failure("create the folder", path)
            for folder in [path] + made.reversed() { rmdir(folder) }
            throw error
        }
        mode = info.st_mode & 0o7777
        if stat(target, &info) == 0 {
            mode = info.st_mode & 0o7777
            owner = (info.st_uid, info.st_gid)
        }
        do throws(MeshError) { descriptor = try Descriptor.directory(path) } catch {
            for folder in [path] + made.reversed() { rmdir(folder) }
            throw error
        }
        flock(descriptor.number, LOCK_EX | LOCK_NB)
    }

    /// Reads a whole backup into the folder.
    ///
    /// - Throws: `backup_damaged` for what no home holds, whoever made it.
    func fill(from reader: inout BackupReader, _ emit: EventSink) throws(MeshError) -> (start: BackupEntry.Start, files: Int, bytes: Int64) {
        guard case .start(let start) = try reader.entry() else { throw reader.damaged("it does not begin with whose it is") }
        var cursor = Cursor(descriptor.number), entries = 0, files = 0, bytes: Int64 = 0, told: Int64 = 0
        while true {
            switch try reader.entry() {
            case .start: throw reader.damaged("it begins twice")
            case .end(let filesSaid, let bytesSaid):
                guard filesSaid == files, bytesSaid == bytes else { throw reader.damaged("it holds \(files) files of \(bytes) bytes and says \(filesSaid) of \(bytesSaid)") }
                try reader.end()
                return (start, files, bytes)
            case .item(let item):
                entries += 1
                guard entries <= Limits.treeEntriesMax else { throw reader.damaged("it holds more than \(Limits.treeEntriesMax) files and folders") }
                try make(item, &cursor, &reader)
                guard case .file(let size) = item.kind else { continue }
                files += 1
                bytes += size
                guard bytes - told >= 4 << 20 else { continue }
                told = bytes
                emit(NodeEvent(source: "home.restore", type: "progress", data: [
                    "phase": "restoring", "files": JSONValue(files), "bytes": .integer(bytes), "totalFiles": 0, "totalBytes": 0,
                ]))
            }
        }
    }

    private func make(_ item: BackupEntry.Item, _ cursor: inout Cursor, _ reader: inout BackupReader) throws(MeshError) {
        let place = HomePlace(item.path)
        guard let (folder, name) = try cursor.parent(of: item.path) else { throw reader.damaged("“\(place.shown)” is in no folder of it") }
        var status: Int32 = 0, number: Int32 = 0
        switch item.kind {
        case .folder:
            status = mkdirat(folder, name, 0o700)
            number = errno
            folders.append(item)
        case .link(let target):
            guard place.mayBeLink else { throw reader.damaged("“\(place.shown)” is a link where a home has none") }
            status = symlinkat(target.map { CChar(bitPattern: $0) } + [0], folder, name)
            number = errno
            if status == 0 { try give(item, folder, name) }
        case .file(let size):
            status = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
            number = errno
            if status >= 0 { try write(Descriptor(owning: status), item, size, &reader) }
        }
        guard status >= 0 else {
            throw number == EEXIST ? reader.damaged("“\(place.shown)” is in it twice") : Files.failure("create", "\(path)/\(place.shown)", number)
        }
    }

    private func write(_ file: Descriptor, _ item: BackupEntry.Item, _ size: Int64, _ reader: inout BackupReader) throws(MeshError) {
        let shown = "\(path)/\(HomePlace(item.path).shown)"
        try reader.content(size) { (bytes) throws(MeshError) in
            var done = 0
            while done < bytes.count {
                let count = Glibc.write(file.number, bytes.baseAddress.map { $0 + done }, bytes.count - done)
                if count < 0, errno == EINTR { continue }
                guard count >= 0 else { throw Files.failure("write", shown) }
                done += count
            }
        }
        try give(item, file)
    }

    /// Owner, mode and time, in this order: giving a file away clears bits of its mode.
    private func give(_ item: BackupEntry.Item, _ file: Descriptor) throws(MeshError) {
        let shown = "\(path)/\(HomePlace(item.path).shown)"
        if geteuid() == 0, fchown(file.number, item.uid, item.gid) != 0 { throw Files.failure("change the owner of", shown) }
        guard fchmod(file.number, mode_t(item.mode & 0o1777)) == 0 else { throw Files.failure("set the mode of", shown) }
        var times = item.times
        guard futimens(file.number, &times) == 0 else { throw Files.failure("set the time of", shown) }
    }

    /// A link itself: it has no mode of its own.
    private func give(_ item: BackupEntry.Item, _ folder: Int32, _ name: [CChar]) throws(MeshError) {
        let shown = "\(path)/\(HomePlace(item.path).shown)"
        if geteuid() == 0, fchownat(folder, name, item.uid, item.gid, AT_SYMLINK_NOFOLLOW) != 0 { throw Files.failure("change the owner of", shown) }
        var times = item.times
        guard utimensat(folder, name, &times, AT_SYMLINK_NOFOLLOW) == 0 else { throw Files.failure("set the time of", shown) }
    }

    /// Takes its place, durably.
    func finish() throws(MeshError) {
        var cursor = Cursor(descriptor.number)
        // What is in a folder first: afterwards its mode may keep us out.
        for item in folders.reversed() {
            let opened = try cursor.parent(of: item.path).map { (folder, name) in openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) } ?? -1
            guard opened >= 0 else { throw Files.failure("open the folder", "\(path)/\(HomePlace(item.path).shown)") }
            try give(item, Descriptor(owning: opened))
        }
        if let owner, geteuid() == 0, fchown(descriptor.number, owner.uid, owner.gid) != 0 { throw Files.failure("change the owner of", path) }
        guard fchmod(descriptor.number, mode) == 0 else { throw Files.failure("set the mode of", path) }
        try Files.syncFileSystem(holding: path)
        try Files.rename(path, target)
        try Files.syncDirectory(Files.parent(of: target))
    }

    func discard() {
        try? Files.removeTree(path)
        for folder in made.reversed() { rmdir(folder) }
    }

    private static func missing(_ path: String) -> [String] {
        var out: [String] = [], path = path
        while path != "/", !Files.exists(path) {
            out.insert(path, at: 0)
            path = Files.parent(of: path)
        }
        return out
    }

    private static func occupied(_ path: String) -> MeshError {
        MeshError(.alreadyExists, "\(path) is there already and is no empty folder", hint: "restore to another with --home DIR; a home is never overwritten")
    }

    /// Finds the folder that something lies in. Neighbours share their open parents.
    private struct Cursor: ~Copyable {
        private let root: Int32
        private var parts: [ArraySlice<UInt8>] = []
        private var folders: [Descriptor] = []

        init(_ root: Int32) { self.root = root }

        /// nil when no folder of this path was made.
        mutating func parent(of path: [UInt8]) throws(MeshError) -> (folder: Int32, name: [CChar])? {
            var wanted = path.split(separator: UInt8(ascii: "/"))
            guard let name = wanted.popLast() else { return nil }
            let shared = zip(parts, wanted).prefix { $0 == $1 }.count
            parts.removeSubrange(shared...)
            folders.removeSubrange(shared...)
            for part in wanted[shared...] {
                let opened = openat(folders.last?.number ?? root, Self.text(part), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                guard opened >= 0 else {
                    if errno == ENOENT || errno == ENOTDIR || errno == ELOOP { return nil }
                    throw Files.failure("open the folder of", HomePlace(path).shown)
                }
                parts.append(part)
                folders.append(Descriptor(owning: opened))
            }
            return (folders.last?.number ?? root, Self.text(name))
        }

        private static func text(_ name: ArraySlice<UInt8>) -> [CChar] { name.map { CChar(bitPattern: $0) } + [0] }
    }
}
