public import MeshCore

/// Looks for what must never travel: private keys, and tokens of well-known services.
///
/// Fed with a file's content in pieces while it is read for packing. It looks at one byte in twenty: what it is after is a
/// run of at least that many token characters. In a file with a zero byte near its start (a compiled program holds such
/// strings by chance and by design) it looks for private keys with their key material only.
public struct SecretScanner: Sendable {
    /// Raised whenever something is found that was not found before: what an older version passed is then looked through again.
    public static let version: UInt32 = 1

    /// What must be seen at once to be recognised: a marker, its key's first line, the longest token. Kept from one piece to
    /// the next.
    private static let overlapBytes = 256
    private static let textProbeBytes = 8192

    /// The end of the piece before, and the byte before that.
    private var carried: [UInt8] = []
    private var beforeCarried: UInt8?
    /// Newlines before `carried`.
    private var newlines = 0
    private var isText: Bool?

    public init() {}

    /// What was found, and in which line (from 1). Pieces may have any length, but the first should have the file's first
    /// 8 KiB. `isLast`: nothing of the file comes after these bytes.
    public mutating func scan(_ bytes: UnsafeRawBufferPointer, isLast: Bool) -> (what: String, line: Int)? {
        if isText == nil { isText = !UnsafeRawBufferPointer(rebasing: bytes.prefix(Self.textProbeBytes)).contains(0) }
        let search = SecretSearch(isText: isText ?? true)
        if !carried.isEmpty {
            // What began in the piece before: its end and this one's beginning, looked at together.
            let seam = carried + bytes.prefix(Self.overlapBytes)
            let isAll = isLast && bytes.count <= Self.overlapBytes
            if let found = seam.withUnsafeBytes({ search.find($0, before: beforeCarried, isLast: isAll) }) {
                return (found.what, 1 + newlines + seam.withUnsafeBytes { Self.countNewlines(UnsafeRawBufferPointer(rebasing: $0[..<found.offset])) })
            }
        }
        let carriedNewlines = carried.withUnsafeBytes { Self.countNewlines($0) }
        if let found = search.find(bytes, before: carried.last, isLast: isLast) {
            return (found.what, 1 + newlines + carriedNewlines + Self.countNewlines(UnsafeRawBufferPointer(rebasing: bytes[..<found.offset])))
        }
        if !isLast { carry(bytes, carriedNewlines) }
        return nil
    }

    private mutating func carry(_ bytes: UnsafeRawBufferPointer, _ carriedNewlines: Int) {
        if bytes.count > Self.overlapBytes {
            let end = bytes.count - Self.overlapBytes
            newlines += carriedNewlines + Self.countNewlines(UnsafeRawBufferPointer(rebasing: bytes[..<end]))
            beforeCarried = bytes[end - 1]
            carried = Array(bytes[end...])
        } else {
            carried += bytes
            let extra = carried.count - Self.overlapBytes
            guard extra > 0 else { return }
            newlines += carried[..<extra].reduce(0) { $1 == 0x0a ? $0 + 1 : $0 }
            beforeCarried = carried[extra - 1]
            carried.removeFirst(extra)
        }
    }

    private static func countNewlines(_ bytes: UnsafeRawBufferPointer) -> Int {
        var count = 0, at = 0
        // Every byte of every large file comes by here: eight at a time. A byte that is a newline is zero after the exclusive or,
        // and only a zero byte keeps its high bit clear through the sum and the two ors.
        let newlines: UInt64 = 0x0a0a_0a0a_0a0a_0a0a, low: UInt64 = 0x7f7f_7f7f_7f7f_7f7f
        while at &+ 8 <= bytes.count {
            let x = bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self) ^ newlines
            count &+= (~(((x & low) &+ low) | x | low)).nonzeroBitCount
            at &+= 8
        }
        while at < bytes.count {
            count &+= bytes[at] == 0x0a ? 1 : 0
            at &+= 1
        }
        return count
    }

    /// Whether the name alone says that a file holds secrets: `.env*`.
    public static func isSecretName(_ path: String) -> Bool {
        let name = path.utf8.suffix(from: path.utf8.lastIndex(of: UInt8(ascii: "/")).map { path.utf8.index(after: $0) } ?? path.utf8.startIndex)
        return name.starts(with: ".env".utf8)
    }

    public static func error(_ path: String, what: String, line: Int?) -> MeshError {
        MeshError(.secretFound, "\(TreePath.printable(path))\(line.map { ", line \($0)," } ?? "") looks like \(what)",
                  hint: "take it out, or list the path in .capsuleallow (or --allow-secret \(TreePath.printable(path))) if everyone may have it")
    }
}
