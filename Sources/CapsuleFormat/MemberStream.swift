internal import MeshCore

/// Reads one member from start to end, one piece ahead of its reader on another thread, and hashes it on the way.
struct MemberStream {
    private struct Piece: Sendable {
        let bytes: [UInt8]
        let hasher: DigestHasher
    }

    private static let pieceBytes = 2 << 20

    private let member: String
    private let layout: any LayoutSource
    private let size: Int64
    private var ahead: SharedWork<Piece>?
    private var asked: Int64 = 0
    private var current: [UInt8] = []
    private var position = 0
    private var hasher = DigestHasher()

    init(_ member: String, of layout: any LayoutSource, size: Int64) {
        self.member = member
        self.layout = layout
        self.size = size
        readAhead()
    }

    /// The next `count` bytes; `layout_invalid` when fewer are left.
    mutating func read(_ count: Int) throws(MeshError) -> [UInt8] {
        if count <= current.count - position {
            defer { position += count }
            return Array(current[position..<position + count])
        }
        var out = Array(current[position...])
        out.reserveCapacity(count)
        position = current.count
        while out.count < count {
            try nextPiece()
            let part = min(current.count, count - out.count)
            out.append(contentsOf: current[..<part])
            position = part
        }
        return out
    }

    /// The next byte, left in place; nil at the end.
    mutating func peek() throws(MeshError) -> UInt8? {
        if position == current.count {
            guard ahead != nil else { return nil }
            try nextPiece()
        }
        return current[position]
    }

    /// The digest of the whole member, once all of it has been read; `layout_invalid` when bytes are left.
    mutating func finish() throws(MeshError) -> Digest {
        guard ahead == nil, position == current.count else { throw layoutInvalid("\(member) is longer than its content") }
        return hasher.finish()
    }

    /// Gives up what is being read ahead.
    func drop() { ahead?.drop() }

    private mutating func nextPiece() throws(MeshError) {
        guard let work = ahead else { throw layoutInvalid("\(member) is shorter than its content") }
        let piece = try work.result()
        current = piece.bytes
        position = 0
        hasher = piece.hasher
        ahead = nil
        readAhead()
    }

    private mutating func readAhead() {
        guard asked < size else { return }
        let offset = asked, count = Int(min(Int64(Self.pieceBytes), size - asked))
        asked += Int64(count)
        ahead = SharedWork { [member, layout, hasher] () throws(MeshError) in
            let bytes = try layout.read(member, offset: offset, count: count)
            var hasher = hasher
            hasher.update(bytes)
            return Piece(bytes: bytes, hasher: hasher)
        }
    }
}
