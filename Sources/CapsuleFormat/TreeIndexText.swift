internal import MeshCore

/// How an index is spelt: one way only, so that reading can hold each entry against the bytes it came from.
enum TreeIndexText {
    static let opening = Array("{\"entries\":[".utf8)
    static let closing = Array("]}".utf8)

    static func write(_ entry: TreeEntry, to out: inout [UInt8]) {
        out += "{\"mode\":".utf8
        write(Int64(entry.mode), to: &out)
        out += ",\"path\":".utf8
        write(entry.path, to: &out)
        switch entry.content {
        case .file(let size, let sha256):
            out += ",\"sha256\":\"".utf8
            write(sha256, to: &out)
            out += "\",\"size\":".utf8
            write(size, to: &out)
            out += ",\"type\":\"f\"}".utf8
        case .directory: out += ",\"type\":\"d\"}".utf8
        case .link(let target):
            out += ",\"target\":".utf8
            write(target, to: &out)
            out += ",\"type\":\"l\"}".utf8
        }
    }

    private static func write(_ number: Int64, to out: inout [UInt8]) { out += String(number).utf8 }

    /// No path or target in an index has a control character, so only these two characters are ever escaped.
    private static func write(_ text: String, to out: inout [UInt8]) {
        out.append(UInt8(ascii: "\""))
        TreePath.withBytes(text) { bytes in
            if bytes.contains(where: { $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\\") || $0 < 0x20 }) {
                out += JSONValue.string(text).canonicalBytes.dropFirst().dropLast()
            } else {
                out += bytes
            }
        }
        out.append(UInt8(ascii: "\""))
    }

    private static func write(_ digest: Digest, to out: inout [UInt8]) {
        let words = digest.words
        for word in [words.0, words.1, words.2, words.3] {
            for shift in stride(from: UInt64(60), through: 0, by: -4) {
                let nibble = UInt8(truncatingIfNeeded: word >> shift & 15)
                out.append(nibble < 10 ? 0x30 + nibble : 0x57 + nibble)
            }
        }
    }
}

/// Reads an index of millions of entries without making a JSON document of it. It accepts the canonical spelling only, and
/// compares each entry's bytes with those that writing the entry gives.
struct TreeIndexReader {
    private let bytes: UnsafeBufferPointer<UInt8>
    private var position = 0
    private var count = 0

    /// - Throws: `index_invalid` with the entry's JSON Pointer.
    static func entries(of bytes: [UInt8]) throws(MeshError) -> [TreeEntry] {
        let result: Result<[TreeEntry], MeshError> = bytes.withUnsafeBufferPointer { buffer in
            var reader = TreeIndexReader(bytes: buffer)
            do throws(MeshError) { return .success(try reader.entries()) } catch { return .failure(error) }
        }
        return try result.get()
    }

    private init(bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    private mutating func entries() throws(MeshError) -> [TreeEntry] {
        var out: [TreeEntry] = []
        var again: [UInt8] = []
        try expect(TreeIndexText.opening)
        if take(UInt8(ascii: "]")) {
            position -= 1
        } else {
            repeat {
                guard count < Limits.treeEntriesMax else { throw TreeIndex.invalid("it has more than \(Limits.treeEntriesMax) entries", nil) }
                let start = position
                let entry = try entry()
                again.removeAll(keepingCapacity: true)
                TreeIndexText.write(entry, to: &again)
                guard again.elementsEqual(bytes[start..<position]) else { throw notCanonical() }
                out.append(entry)
                count += 1
            } while take(UInt8(ascii: ","))
        }
        try expect(TreeIndexText.closing)
        guard position == bytes.count else { throw TreeIndex.invalid("something follows it at byte \(position)", nil) }
        return out
    }

    private mutating func entry() throws(MeshError) -> TreeEntry {
        try expect(Self.modeKey)
        let mode = try number()
        try expect(Self.pathKey)
        let path = try text()
        let content: TreeEntry.Content
        if takes(Self.sha256Key) {
            guard position + 64 <= bytes.count, let sha256 = digest() else { throw notCanonical() }
            try expect(Self.sizeKey)
            let size = try number()
            try expect(Self.fileEnd)
            content = .file(size: size, sha256: sha256)
        } else if takes(Self.targetKey) {
            let target = try text()
            try expect(Self.linkEnd)
            content = .link(target: target)
        } else {
            try expect(Self.directoryEnd)
            content = .directory
        }
        return TreeEntry(path: path, mode: Int(mode), content: content)
    }

    private static let modeKey = Array("{\"mode\":".utf8), pathKey = Array(",\"path\":".utf8), sha256Key = Array(",\"sha256\":\"".utf8)
    private static let sizeKey = Array("\",\"size\":".utf8), targetKey = Array(",\"target\":".utf8)
    private static let fileEnd = Array(",\"type\":\"f\"}".utf8), linkEnd = Array(",\"type\":\"l\"}".utf8), directoryEnd = Array(",\"type\":\"d\"}".utf8)

    private mutating func take(_ byte: UInt8) -> Bool {
        guard position < bytes.count, bytes[position] == byte else { return false }
        position += 1
        return true
    }

    private mutating func takes(_ words: [UInt8]) -> Bool {
        guard bytes.count - position >= words.count else { return false }
        for i in 0..<words.count where bytes[position + i] != words[i] { return false }
        position += words.count
        return true
    }

    private mutating func expect(_ words: [UInt8]) throws(MeshError) {
        guard takes(words) else { throw notCanonical() }
    }

    private mutating func number() throws(MeshError) -> Int64 {
        var value: Int64 = 0
        let start = position
        while position < bytes.count, position - start < 16, bytes[position] >= 0x30, bytes[position] <= 0x39 {
            value = value * 10 + Int64(bytes[position] - 0x30)
            position += 1
        }
        guard position > start, value.magnitude <= Limits.jsonIntegerMax else { throw notCanonical() }
        return value
    }

    private mutating func text() throws(MeshError) -> String {
        guard take(UInt8(ascii: "\"")) else { throw notCanonical() }
        let start = position
        var escapes = false
        while position < bytes.count, bytes[position] != UInt8(ascii: "\"") {
            if bytes[position] == UInt8(ascii: "\\") {
                escapes = true
                position += 1
            }
            position += 1
        }
        guard position < bytes.count else { throw notCanonical() }
        let raw = bytes[start..<position]
        position += 1
        guard escapes else {
            guard let text = String(validating: raw, as: UTF8.self) else { throw notCanonical() }
            return text
        }
        var plain: [UInt8] = [], isEscaped = false
        for byte in raw {
            isEscaped = !isEscaped && byte == UInt8(ascii: "\\")
            if !isEscaped { plain.append(byte) }
        }
        // `\n` becomes n here, and is refused when the entry is written again.
        guard let text = String(validating: plain, as: UTF8.self) else { throw notCanonical() }
        return text
    }

    private mutating func digest() -> Digest? {
        func word(_ offset: Int) -> UInt64? {
            var word: UInt64 = 0
            for i in offset..<offset + 16 {
                switch bytes[position + i] {
                case let digit where digit >= 0x30 && digit <= 0x39: word = word << 4 | UInt64(digit - 0x30)
                case let letter where letter >= 0x61 && letter <= 0x66: word = word << 4 | UInt64(letter - 0x57)
                default: return nil
                }
            }
            return word
        }
        guard let a = word(0), let b = word(16), let c = word(32), let d = word(48) else { return nil }
        position += 64
        return Digest(words: (a, b, c, d))
    }

    private func notCanonical() -> MeshError {
        let place = min(position, bytes.count)
        return MeshError(.indexInvalid, "the file index is not valid: not the canonical JSON of an index, at byte \(place)", hint: TreeIndex.hint,
                         pointer: TreeIndex.pointer(count))
    }
}
