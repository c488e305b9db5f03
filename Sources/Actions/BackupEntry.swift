internal import CapsuleFormat
internal import Glibc
internal import MeshCore

/// What a backup of a home holds under its seal: entries, each `u32 length ‖ header ‖ content`, the header canonical JSON. The
/// first is a `start`, the last an `end`, a folder stands before what is in it. docs/formats/backup.md is the normative page.
enum BackupEntry: Sendable, Hashable {
    case start(Start)
    case item(Item)
    /// How many files there were, and their sizes together.
    case end(files: Int, bytes: Int64)

    /// Whose home it is.
    struct Start: Sendable, Hashable {
        let name: String
        /// 64 hexadecimal digits each.
        let nodeID: String
        let mesh: String
        let createdAt: Milliseconds
    }

    /// One thing in the home. Only a file has content, `size` bytes of it.
    struct Item: Sendable, Hashable {
        enum Kind: Sendable, Hashable {
            case file(size: Int64)
            case folder
            case link(target: [UInt8])
        }

        /// Below the home, as bytes: the names of an app's files need not be UTF-8.
        let path: [UInt8]
        let kind: Kind
        /// The twelve permission bits.
        let mode: UInt32
        let uid: UInt32
        let gid: UInt32
        let modified: Milliseconds
    }

    private static let format = 1
    /// A path and a target of 4,095 bytes each in base64, and the numbers.
    static let headerBytesMax = 16 * 1024

    /// Length and header, without content.
    var bytes: [UInt8] {
        let header = json.canonicalBytes
        return (0..<4).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) } + header
    }

    private var json: JSONValue {
        switch self {
        case .start(let start):
            return ["format": JSONValue(Self.format), "name": .string(start.name), "nodeId": .string(start.nodeID), "mesh": .string(start.mesh),
                    "createdAt": .integer(start.createdAt)]
        case .end(let files, let bytes): return ["end": true, "files": JSONValue(files), "bytes": .integer(bytes)]
        case .item(let item):
            var out: [String: JSONValue] = [
                "path": .string(Base64.encode(item.path)), "mode": .integer(Int64(item.mode)), "uid": .integer(Int64(item.uid)), "gid": .integer(Int64(item.gid)),
                "mtime": .integer(item.modified), "size": 0,
            ]
            switch item.kind {
            case .file(let size): (out["type"], out["size"]) = ("f", .integer(size))
            case .folder: out["type"] = "d"
            case .link(let target): (out["type"], out["target"]) = ("l", .string(Base64.encode(target)))
            }
            return .object(out)
        }
    }

    /// From a header. Everything in it is held against its bounds.
    ///
    /// - Throws: `json_invalid`, `json_not_canonical`, `field_missing`, `field_invalid`, `field_unknown`.
    init(header: [UInt8]) throws(MeshError) {
        var reader = try FieldReader(JSONValue.parseCanonical(header, bytesMax: Self.headerBytesMax))
        if reader.optional("format") != nil {
            guard try reader.integer("format") == Self.format else { throw reader.invalid("format", "this program knows \(Self.format)") }
            let name = try reader.string("name")
            let nodeID = try reader.string("nodeId"), mesh = try reader.string("mesh")
            for (key, hex) in [("nodeId", nodeID), ("mesh", mesh)] where Digest(hex: hex) == nil { throw reader.invalid(key, "not 64 hexadecimal digits") }
            self = .start(Start(name: name, nodeID: nodeID, mesh: mesh, createdAt: Int64(try reader.integer("createdAt"))))
        } else if reader.optional("end") != nil {
            guard try reader.bool("end") else { throw reader.invalid("end", "not true") }
            self = .end(files: try reader.integer("files"), bytes: Int64(try reader.integer("bytes")))
        } else {
            self = .item(try Item(&reader))
        }
        try reader.finish()
    }
}

extension BackupEntry.Item {
    fileprivate init(_ reader: inout FieldReader) throws(MeshError) {
        func number(_ key: String, _ range: ClosedRange<Int>) throws(MeshError) -> Int {
            let value = try reader.integer(key)
            guard range.contains(value) else { throw reader.invalid(key, "out of range") }
            return value
        }
        /// At most a path's length, without a zero byte.
        func bytes(_ key: String) throws(MeshError) -> [UInt8] {
            guard let bytes = Base64.decode(try reader.string(key)), !bytes.isEmpty, bytes.count <= Limits.pathBytesMax, !bytes.contains(0) else {
                throw reader.invalid(key, "not a path in base64")
            }
            return bytes
        }
        let type = try reader.string("type"), size = try number("size", 0...Int(Limits.fileBytesMax))
        switch type {
        case "f": kind = .file(size: Int64(size))
        case "d": kind = .folder
        case "l": kind = .link(target: try bytes("target"))
        default: throw reader.invalid("type", "not known")
        }
        guard type == "f" || size == 0 else { throw reader.invalid("size", "only files have one") }
        path = try bytes("path")
        guard HomePlace(path).isBelowHome else { throw reader.invalid("path", "it leads out of the home") }
        mode = UInt32(try number("mode", 0...0o7777))
        // The last number means “no such user” to the kernel.
        uid = UInt32(try number("uid", 0...Int(UInt32.max) - 1))
        gid = UInt32(try number("gid", 0...Int(UInt32.max) - 1))
        modified = Int64(try reader.integer("mtime"))
    }

    init(_ path: [UInt8], _ kind: Kind, _ info: stat) {
        self.path = path
        self.kind = kind
        mode = UInt32(info.st_mode) & 0o7777
        uid = info.st_uid
        gid = info.st_gid
        modified = Self.milliseconds(info.st_mtim)
    }

    /// File systems know more times than JSON's integers; the nearest will do.
    private static func milliseconds(_ time: timespec) -> Milliseconds {
        let bound = Int64(Limits.jsonIntegerMax) / 1000 - 1
        return min(max(Int64(time.tv_sec), -bound), bound) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }

    /// For access and modification.
    var times: [timespec] {
        let milliseconds = (modified % 1000 + 1000) % 1000
        let time = timespec(tv_sec: Int((modified - milliseconds) / 1000), tv_nsec: Int(milliseconds) * 1_000_000)
        return [time, time]
    }
}

/// A path below a home, and what a backup does with what is there.
struct HomePlace: Sendable {
    let path: [UInt8]
    private let parts: [ArraySlice<UInt8>]

    init(_ path: [UInt8]) {
        self.path = path
        parts = path.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    }

    /// To be compared with names that are ASCII; what is not UTF-8 is repaired, and is none of them.
    private var text: String { String(decoding: path, as: UTF8.self) }

    /// For people: an app chooses the names of its files, and must not get at the terminal with them.
    var shown: String { TreePath.printable(text) }

    var depth: Int { parts.count }

    /// Relative, every part a name that a folder can hold, and no deeper than folders are walked.
    var isBelowHome: Bool {
        path.count <= Limits.pathBytesMax && parts.count <= Limits.pathDepthMax && parts.allSatisfy { part in
            !part.isEmpty && part.count <= Limits.pathPartBytesMax && !part.contains(0) && !part.elementsEqual(".".utf8) && !part.elementsEqual("..".utf8)
        }
    }

    /// Made again from other things, or of use to a running node alone.
    var isLeftOut: Bool {
        let text = text
        return Self.leftOut.contains(text) || text.hasPrefix("capsules/index.sqlite") || (text.hasPrefix("state/catalog.sqlite-") && depth == 2)
            || (!isAppContent && parts[depth - 1].firstRange(of: ".tmp-".utf8) != nil)
    }

    private static let leftOut: Set<String> = ["capsules/packs", "capsules/tmp", "capsules/quarantine", "capsules/lock", "capsules/ingest.lock", "capsules/gc.lock", "state/lock", "state/control.sock"]

    /// Copied by SQLite, and never opened here: closing it would drop the locks that the catalog's own connections hold.
    var isCatalog: Bool { text == "state/catalog.sqlite" }

    /// Inside `deployments/APP/ENV/FOLDER/`: whatever is there, and whatever it is called, is the app's.
    private var isAppContent: Bool { depth >= 5 && parts[0].elementsEqual("deployments".utf8) }

    /// What an app keeps and may be writing.
    var isAppData: Bool { isAppContent && parts[3].elementsEqual("data".utf8) }

    /// Content of apps, and logs: not worth losing the rest for.
    var isExpendable: Bool {
        isAppContent || text.hasPrefix("state/builds/") || (depth == 4 && parts[0].elementsEqual("deployments".utf8) && !parts[3].elementsEqual("journal".utf8))
    }

    /// Links that the node or an app makes: `current`, and what is in an app's data or in its output. Anywhere else a link could
    /// lead the node's own writing and removing out of the home.
    var mayBeLink: Bool {
        guard depth >= 4, parts[0].elementsEqual("deployments".utf8) else { return false }
        return depth == 4 ? parts[3].elementsEqual("current".utf8) : depth >= 6 || isAppData
    }
}
