package import MeshCore

/// Bytes that can be read from any place, of a file or of what a file unpacks to.
package protocol ByteSource: Sendable {
    var size: Int64 { get }
    /// Exactly `count` bytes at `offset`; both lie within the size.
    func read(at offset: Int64, count: Int) throws(MeshError) -> [UInt8]
}

/// One regular file of a tar: where its content starts, and how long it is.
package struct TarMember: Sendable, Hashable {
    package let name: String
    package let offset: Int64
    package let size: Int64
}

/// Reads the table of a tar that holds an OCI layout, strictly: nothing is ever extracted from it, so everything that
/// only makes sense for extraction is refused.
package enum TarReader {
    package enum Dialect: Sendable {
        /// What `CapsWriter` writes: regular files only, each header exactly the one that its name and size make.
        case canonical
        /// What other tools write for `oci-archive`: ustar or GNU headers with any owner, mode and time, and directories.
        case ustar
    }

    /// The regular files, in order. `member_refused` names a member that is absolute, has a `..` part, is a link or a
    /// device, or stands twice; everything else that is wrong is `tar_invalid`.
    package static func members(of source: any ByteSource, _ dialect: Dialect,
                                membersMax: Int = Limits.layoutMembersMax) throws(MeshError) -> [TarMember] {
        var members: [TarMember] = []
        var names: Set<String> = []
        var seen = 0
        var position: Int64 = 0
        let block = Int64(TarHeader.blockBytes)
        guard source.size % block == 0 else { throw invalid("its length is not a multiple of 512") }
        while true {
            guard source.size - position >= 2 * block else { throw invalid("it ends without the two closing blocks") }
            let header = try source.read(at: position, count: TarHeader.blockBytes)
            position += block
            if header.allSatisfy({ $0 == 0 }) { break }
            seen += 1
            guard seen <= membersMax else { throw invalid("it has more than \(membersMax) members") }
            var entry = try Entry(header, dialect)
            if entry.kind == .paxRecords {
                (entry, position) = try large(after: header, at: position, in: source)
            } else if dialect == .canonical,
                      header != TarEntryShape(path: Array(entry.name.utf8), size: entry.size, kind: .file).header(mode: 0o644) {
                throw invalid("the header of \(entry.name) is not the one that its name and size make")
            }
            let padded = entry.size + Int64(CanonicalTar.padding(afterSize: entry.size))
            guard padded <= source.size - position - 2 * block else {
                throw invalid("\(entry.name) announces \(entry.size) bytes, more than there are")
            }
            guard names.insert(entry.name).inserted else { throw refused(entry.name, "stands twice") }
            if entry.kind == .file { members.append(TarMember(name: entry.name, offset: position, size: entry.size)) }
            let padding = try source.read(at: position + entry.size, count: Int(padded - entry.size))
            guard padding.allSatisfy({ $0 == 0 }) else { throw invalid("something hides in the padding after \(entry.name)") }
            position += padded
        }
        try checkEnd(of: source, from: position, dialect)
        return members
    }

    /// The member after a pax header, which the canonical dialect has for one purpose only: a size of 8 GiB or more.
    private static func large(after pax: [UInt8], at start: Int64, in source: any ByteSource) throws(MeshError) -> (Entry, Int64) {
        let block = TarHeader.blockBytes
        guard source.size - start >= Int64(4 * block) else { throw invalid("it ends within a header") }
        let rest = try source.read(at: start, count: 2 * block)
        let text = String(decoding: rest.prefix { $0 != 0x0a }, as: UTF8.self)
        let main = try Entry(Array(rest[block...]), .canonical)
        guard let equals = text.firstIndex(of: "="), let size = Int64(text[text.index(after: equals)...]), size > TarHeader.sizeMax,
              size <= Limits.fileBytesMax, main.kind == .file,
              pax + rest == TarEntryShape(path: Array(main.name.utf8), size: size, kind: .file).header(mode: 0o644) else {
            throw invalid("a pax header that says anything but a size of 8 GiB or more")
        }
        return (Entry(name: main.name, size: size, kind: .file), start + Int64(2 * block))
    }

    private static func checkEnd(of source: any ByteSource, from start: Int64, _ dialect: Dialect) throws(MeshError) {
        if dialect == .canonical, source.size - start != Int64(TarHeader.blockBytes) {
            throw invalid("something follows the two closing blocks")
        }
        var position = start
        while position < source.size {
            let count = Int(min(64 * 1024, source.size - position))
            guard try source.read(at: position, count: count).allSatisfy({ $0 == 0 }) else {
                throw invalid("something follows the two closing blocks")
            }
            position += Int64(count)
        }
    }

    private static func invalid(_ why: String) -> MeshError {
        MeshError(.tarInvalid, "the tar of the layout is not valid: \(why)",
                  hint: "ask for the file again, or export it again from a node that has the capsule")
    }

    private static func refused(_ name: String, _ why: String) -> MeshError {
        MeshError(.memberRefused, "the member “\(name)” of the layout \(why)",
                  hint: "do not use this file: no exporter of capsules writes such a member")
    }

    private struct Entry {
        let name: String
        let size: Int64
        let kind: TarHeader.Kind

        init(name: String, size: Int64, kind: TarHeader.Kind) {
            self.name = name
            self.size = size
            self.kind = kind
        }

        init(_ header: [UInt8], _ dialect: Dialect) throws(MeshError) {
            let magic = Array(header[257..<265])
            guard magic == Array("ustar\u{0}00".utf8) || (dialect == .ustar && magic == Array("ustar  \u{0}".utf8)) else {
                throw invalid("a header without the ustar mark")
            }
            guard try Self.octal(header[148..<156]) == TarHeader.checksum(of: header) else {
                throw invalid("a header with a wrong checksum")
            }
            let raw = header[0..<100].prefix { $0 != 0 }
            let shown = String(decoding: raw.map { (0x20..<0x7f).contains($0) ? $0 : 0x3f }, as: UTF8.self)
            size = try Self.octal(header[124..<136])
            switch header[156] {
            case 0x30: kind = .file
            case 0 where dialect == .ustar: kind = .file
            case 0x35 where dialect == .ustar: kind = .directory
            case 0x78 where dialect == .canonical: kind = .paxRecords
            case 0x31, 0x32: throw refused(shown, "is a link")
            case 0x33, 0x34, 0x36: throw refused(shown, "is a device or a pipe")
            default: throw refused(shown, "is of the kind \(header[156]), which no layout needs")
            }
            name = kind == .directory && shown.hasSuffix("/") ? String(shown.dropLast()) : shown
            guard raw.allSatisfy({ (0x21..<0x7f).contains($0) }), header[345] == 0 else { throw refused(shown, "has a strange name") }
            guard !name.hasPrefix("/") else { throw refused(shown, "has an absolute path") }
            for part in name.split(separator: "/", omittingEmptySubsequences: false) where part.isEmpty || part == "." || part == ".." {
                throw refused(shown, part == ".." ? "would leave the layout" : "has a strange name")
            }
            guard kind != .directory || size == 0 else { throw invalid("the directory \(name) has content") }
        }

        /// Octal digits, then only NUL and spaces. GNU's base-256 numbers are not needed below 8 GiB and are refused.
        private static func octal(_ field: ArraySlice<UInt8>) throws(MeshError) -> Int64 {
            let digits = field.prefix { (0x30...0x37).contains($0) }
            guard !digits.isEmpty, field.dropFirst(digits.count).allSatisfy({ $0 == 0 || $0 == 0x20 }) else {
                throw invalid("a header with a malformed number")
            }
            return digits.reduce(0) { $0 << 3 | Int64($1 - 0x30) }
        }
    }
}
