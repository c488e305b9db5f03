import Actions
import Foundation
import MeshCore
@testable import Signing
import TestSupport
import Testing

/// The entries of a backup as they are written down in docs/formats/backup.md, not as the program makes them.
struct ForgedEntry {
    var header: [String: JSONValue]
    var content: [UInt8] = []

    static let key = SigningKey(seed: [UInt8](repeating: 7, count: 32)) ?? .generate()

    static func item(_ path: [UInt8], _ type: String, mode: Int = 0o755, _ content: [UInt8] = [], target: String? = nil) -> ForgedEntry {
        var header: [String: JSONValue] = ["path": .string(Base64.encode(path)), "type": .string(type), "mode": JSONValue(mode), "uid": JSONValue(Int(geteuid())),
                                           "gid": JSONValue(Int(getegid())), "mtime": 1_700_000_000_123, "size": JSONValue(content.count)]
        if let target { header["target"] = .string(Base64.encode(Array(target.utf8))) }
        return ForgedEntry(header: header, content: content)
    }

    static func item(_ path: String, _ type: String, mode: Int = 0o755, _ content: String = "", target: String? = nil) -> ForgedEntry {
        item(Array(path.utf8), type, mode: mode, Array(content.utf8), target: target)
    }

    static let start = ForgedEntry(header: ["format": 1, "name": "studio", "nodeId": .string(key.publicKey.id.hex), "mesh": .string(String(repeating: "ab", count: 32)),
                                            "createdAt": 1_700_000_000_000])

    static func end(_ entries: [ForgedEntry]) -> ForgedEntry {
        let files = entries.filter { $0.header["type"] == "f" }
        return ForgedEntry(header: ["end": true, "files": JSONValue(files.count), "bytes": JSONValue(files.reduce(0) { $0 + $1.content.count })])
    }

    var bytes: [UInt8] { Self.framed(JSONValue.object(header).canonicalBytes) + content }

    static func framed(_ header: [UInt8]) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) } + header }

    /// The least that is a home, with the secret key of `key`.
    static func home(in folder: TemporaryFolder) throws -> [ForgedEntry] {
        let keys = folder.path + "/keys-\(UInt32.random(in: 0 ... .max))"
        try Files.makeDirectory(keys)
        try KeyFile.create(key, named: "node", in: keys, passphrase: nil)
        let pem = String(decoding: try Files.read(keys + "/node.key", bytesMax: 4096), as: UTF8.self)
        try Files.removeTree(keys)
        return [item("keys", "d", mode: 0o700), item("keys/node.key", "f", mode: 0o600, pem), item("state", "d", mode: 0o700),
                item("state/node.json", "f", mode: 0o644, "{\"format\": 1, \"name\": \"studio\"}")]
    }

    /// start ‖ entries ‖ end
    static func whole(_ entries: [ForgedEntry]) -> [UInt8] { ([start] + entries + [end(entries)]).flatMap(\.bytes) }
}

/// A folder with a backup in it and a place for a home, and nothing else.
struct Bench {
    static let passphrase = Array("correct horse".utf8)
    let folder: TemporaryFolder
    var backup: String { folder.path + "/backup" }
    var home: HomeLayout { HomeLayout(path: folder.path + "/home") }

    init() throws { folder = try TemporaryFolder("restore") }

    /// Under as little work as Argon2id takes.
    func seal(_ content: [UInt8]) throws {
        try Files.remove(backup)
        var writer = try SealedWriter(OpenFile(creating: backup), passphrase: Self.passphrase, work: PassphraseWork(passes: 1, memoryBytes: 8192))
        try writer.write(content)
        try writer.finish()
    }

    @discardableResult
    func restore(to home: HomeLayout? = nil) throws -> RestoredHome {
        try HomeBackup.restore(from: backup, to: home ?? self.home, passphrase: Self.passphrase, clock: SystemClock())
    }

    var names: [String] { get throws { try Files.names(in: folder.path) } }
}

/// The code of the error that `body` throws; nil when it throws none.
func code(_ body: () throws -> Void) -> String? {
    do { try body(); return nil } catch { return (error as? MeshError)?.code.name ?? "\(error)" }
}

func look(_ path: String) throws -> stat {
    var info = stat()
    try #require(lstat(path, &info) == 0, "\(path)")
    return info
}
