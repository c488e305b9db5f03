internal import CapsuleFormat
internal import CapsuleStore
internal import Glibc
public import MeshCore
internal import Signing

/// A home that came out of a backup.
public struct RestoredHome: Sendable, Hashable {
    public let home: String
    public let name: String
    /// 64 hexadecimal digits each.
    public let nodeID: String
    public let mesh: String
    public let files: Int
    public let bytes: Int64
    /// The capsules that the home knows and whose contents were left out of the backup.
    public let missing: [Digest]

    /// `{home, name, nodeId, mesh, files, bytes, missing}`
    public var json: JSONValue {
        ["home": .string(home), "name": .string(name), "nodeId": .string(nodeID), "mesh": .string(mesh), "files": JSONValue(files), "bytes": .integer(bytes),
         "missing": .array(missing.map { JSONValue($0) })]
    }
}

extension HomeBackup {
    /// Makes a home of a backup: all of it or nothing. It is filled beside its place, and takes it when the whole file was
    /// read, held what it must, and is on the disk.
    ///
    /// Owners are those of the backup when root restores it, else the caller. No file gets the set-user-id or set-group-id bit.
    ///
    /// - Parameter home: must not be there, or be an empty folder.
    /// - Throws: `already_exists`, `backup_damaged`, `passphrase_wrong`, `home_format`, and what keeps files from being written.
    public static func restore(from path: String, to home: HomeLayout, passphrase: [UInt8], clock: any WallClock, emit: EventSink = { _ in }) throws(MeshError) -> RestoredHome {
        let place = try NewHome.place(home.path)
        var reader = BackupReader(try SealedReader(OpenFile(reading: path), passphrase: passphrase))
        let folder = try NewHome(place)
        do throws(MeshError) {
            let (start, files, bytes) = try folder.fill(from: &reader, emit)
            let inside = HomeLayout(path: folder.path)
            try verify(inside, start, path)
            let missing = try CapsuleStore.journaledCapsules(in: inside)
            try EventLog(home: inside, clock: clock, continues: false).append(NodeEvent(source: "home.restore", type: "home.restored", data: [
                "createdAt": .integer(start.createdAt), "files": JSONValue(files), "bytes": .integer(bytes), "missing": JSONValue(missing.count),
            ]))
            try folder.finish()
            return RestoredHome(home: home.path, name: TreePath.printable(start.name), nodeID: start.nodeID, mesh: start.mesh, files: files, bytes: bytes, missing: missing)
        } catch {
            folder.discard()
            throw error
        }
    }

    /// What can be known before the passphrase: that the file can be read, and that the home may be made.
    ///
    /// - Throws: as `restore`.
    public static func check(_ path: String, _ home: HomeLayout) throws(MeshError) {
        _ = try OpenFile(reading: path)
        _ = try NewHome.place(home.path)
    }

    /// That it is a home, and whose it says it is.
    private static func verify(_ home: HomeLayout, _ start: BackupEntry.Start, _ path: String) throws(MeshError) {
        let key: SigningKey
        do throws(MeshError) {
            _ = try NodeSettings.read(home)
            key = try KeyFile.readSecret(home.nodeKey, passphrase: { () throws(MeshError) in throw NodeParts.sealedNodeKey(home.nodeKey) })
        } catch {
            throw error.code == .homeFormat ? error : backupDamaged(path, error.message)
        }
        guard key.publicKey.id.hex == start.nodeID else { throw backupDamaged(path, "its node key is another node's") }
    }
}

/// Reads entries out of a sealed stream.
struct BackupReader: ~Copyable {
    private var sealed: SealedReader
    private var message: [UInt8] = []
    private var used = 0

    init(_ sealed: consuming SealedReader) { self.sealed = sealed }

    func damaged(_ why: String) -> MeshError { backupDamaged(sealed.path, why) }

    /// The next entry's header; its content must be read before the next.
    mutating func entry() throws(MeshError) -> BackupEntry {
        let length = try bytes(4).reversed().reduce(0) { $0 << 8 | Int($1) }
        guard length <= BackupEntry.headerBytesMax else { throw damaged("a header has \(length) bytes") }
        let header = try bytes(length)
        do throws(MeshError) { return try BackupEntry(header: header) } catch { throw damaged(error.message) }
    }

    /// Hands on the next bytes in pieces, each given out authentic.
    mutating func content(_ count: Int64, _ body: (UnsafeRawBufferPointer) throws(MeshError) -> Void) throws(MeshError) {
        var left = count
        while left > 0 {
            if used == message.count { try advance() }
            let part = Int(min(left, Int64(message.count - used))), from = used
            try message.withRawBytes { (raw) throws(MeshError) in try body(UnsafeRawBufferPointer(rebasing: raw[from..<from + part])) }
            used += part
            left -= Int64(part)
        }
    }

    /// - Throws: `backup_damaged` unless everything was read.
    mutating func end() throws(MeshError) {
        while used == message.count {
            guard let next = try sealed.next() else { return }
            (message, used) = (next, 0)
        }
        throw damaged("something follows its last entry")
    }

    private mutating func bytes(_ count: Int) throws(MeshError) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(count)
        try content(Int64(count)) { (raw) throws(MeshError) in out.append(contentsOf: raw) }
        return out
    }

    private mutating func advance() throws(MeshError) {
        guard let next = try sealed.next() else { throw damaged("it ends within an entry") }
        (message, used) = (next, 0)
    }
}
