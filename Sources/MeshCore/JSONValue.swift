/// A JSON document. Numbers are integers of at most 2^53−1 in magnitude: nothing that is hashed, signed or sent by this
/// node needs another kind, and every JSON implementation agrees on these.
public enum JSONValue: Sendable, Hashable {
    case null
    case bool(Bool)
    case integer(Int64)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    public subscript(key: String) -> JSONValue? {
        if case .object(let members) = self { members[key] } else { nil }
    }

    public subscript(index: Int) -> JSONValue? {
        if case .array(let items) = self, items.indices.contains(index) { items[index] } else { nil }
    }

    public var string: String? { if case .string(let value) = self { value } else { nil } }
    public var integer: Int64? { if case .integer(let value) = self { value } else { nil } }
    public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
    public var array: [JSONValue]? { if case .array(let value) = self { value } else { nil } }
    public var object: [String: JSONValue]? { if case .object(let value) = self { value } else { nil } }

    public init(_ value: Int) { self = .integer(Int64(value)) }
    public init(_ value: Digest) { self = .string(value.description) }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral, ExpressibleByNilLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByStringInterpolation {
    public init(stringLiteral value: String) { self = .string(value) }
    public init(integerLiteral value: Int64) { self = .integer(value) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(nilLiteral: ()) { self = .null }
    public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    public init(dictionaryLiteral elements: (String, JSONValue)...) {
        self = .object(Dictionary(elements, uniquingKeysWith: { _, last in last }))
    }
}

// MARK: - Writing

extension JSONValue {
    /// RFC 8785 (JCS): members by UTF-16 code units, no white space, the shortest escapes.
    public var canonicalBytes: [UInt8] {
        var out: [UInt8] = []
        write(to: &out, indent: nil)
        return out
    }

    public var canonicalText: String { String(decoding: canonicalBytes, as: UTF8.self) }

    /// For people: the same order, two spaces a level, a newline at the end.
    public var prettyText: String {
        var out: [UInt8] = []
        write(to: &out, indent: 0)
        out.append(UInt8(ascii: "\n"))
        return String(decoding: out, as: UTF8.self)
    }

    private func write(to out: inout [UInt8], indent: Int?) {
        func newline(_ level: Int) {
            out.append(UInt8(ascii: "\n"))
            out.append(contentsOf: repeatElement(UInt8(ascii: " "), count: level * 2))
        }
        switch self {
        case .null: out.append(contentsOf: "null".utf8)
        case .bool(let value): out.append(contentsOf: (value ? "true" : "false").utf8)
        case .integer(let value): out.append(contentsOf: String(value).utf8)
        case .string(let value): Self.write(string: value, to: &out)
        case .array(let items):
            out.append(UInt8(ascii: "["))
            for (i, item) in items.enumerated() {
                if i > 0 { out.append(UInt8(ascii: ",")) }
                if let indent { newline(indent + 1) }
                item.write(to: &out, indent: indent.map { $0 + 1 })
            }
            if let indent, !items.isEmpty { newline(indent) }
            out.append(UInt8(ascii: "]"))
        case .object(let members):
            out.append(UInt8(ascii: "{"))
            for (i, key) in members.keys.sorted(by: Self.precedes).enumerated() {
                if i > 0 { out.append(UInt8(ascii: ",")) }
                if let indent { newline(indent + 1) }
                Self.write(string: key, to: &out)
                out.append(UInt8(ascii: ":"))
                if indent != nil { out.append(UInt8(ascii: " ")) }
                (members[key] ?? .null).write(to: &out, indent: indent.map { $0 + 1 })
            }
            if let indent, !members.isEmpty { newline(indent) }
            out.append(UInt8(ascii: "}"))
        }
    }

    /// By UTF-16 units (RFC 8785 §3.2.3), which for ASCII are the bytes.
    fileprivate static func precedes(_ a: String, _ b: String) -> Bool {
        let isBefore = a.utf8.withContiguousStorageIfAvailable { a in
            b.utf8.withContiguousStorageIfAvailable { b -> Bool? in
                a.contains { $0 >= 0x80 } || b.contains { $0 >= 0x80 } ? nil : a.lexicographicallyPrecedes(b)
            } ?? nil
        } ?? nil
        return isBefore ?? a.utf16.lexicographicallyPrecedes(b.utf16)
    }

    fileprivate static func write(string: String, to out: inout [UInt8]) {
        out.append(UInt8(ascii: "\""))
        // Nearly all strings are written as they are.
        if string.utf8.withContiguousStorageIfAvailable({ bytes in
            guard !bytes.contains(where: { $0 < 0x20 || $0 == 0x22 || $0 == 0x5c }) else { return false }
            out.append(contentsOf: bytes)
            return true
        }) ?? false {
            out.append(UInt8(ascii: "\""))
            return
        }
        for byte in string.utf8 {
            switch byte {
            case 0x08: out.append(contentsOf: "\\b".utf8)
            case 0x09: out.append(contentsOf: "\\t".utf8)
            case 0x0a: out.append(contentsOf: "\\n".utf8)
            case 0x0c: out.append(contentsOf: "\\f".utf8)
            case 0x0d: out.append(contentsOf: "\\r".utf8)
            case 0x22: out.append(contentsOf: "\\\"".utf8)
            case 0x5c: out.append(contentsOf: "\\\\".utf8)
            case 0..<0x20: out.append(contentsOf: ("\\u00" + Hex.encode([byte])).utf8)
            default: out.append(byte)
            }
        }
        out.append(UInt8(ascii: "\""))
    }
}

// MARK: - Reading

extension JSONValue {
    /// Parses UTF-8 text (RFC 8259). Refused: more than `bytesMax` bytes, depth over 32, duplicate keys, fractions and
    /// exponents, integers beyond ±(2^53−1), lone surrogates, invalid UTF-8, anything after the document.
    public static func parse(_ bytes: [UInt8], bytesMax: Int = Limits.controlMessageBytesMax) throws(MeshError) -> JSONValue {
        var reader = try parser(bytes, bytesMax)
        return try reader.document()
    }

    private static func parser(_ bytes: [UInt8], _ bytesMax: Int) throws(MeshError) -> JSONParser {
        guard bytes.count <= bytesMax else {
            throw MeshError(.jsonInvalid, "the JSON document has \(bytes.count) bytes; at most \(bytesMax) are read")
        }
        guard String(validating: bytes, as: UTF8.self) != nil else { throw MeshError(.jsonInvalid, "the JSON document is not valid UTF-8") }
        return JSONParser(bytes: bytes)
    }

    /// As `parse`, and the bytes must be the canonical ones: what is signed or hashed has one spelling only.
    public static func parseCanonical(_ bytes: [UInt8], bytesMax: Int = Limits.controlMessageBytesMax) throws(MeshError) -> JSONValue {
        var reader = try parser(bytes, bytesMax)
        let value = try reader.document()
        guard reader.isCanonical else {
            throw MeshError(.jsonNotCanonical, "the JSON document is not in canonical form (RFC 8785)",
                            hint: "it was altered, or written by a program that does not canonicalise")
        }
        return value
    }
}

private struct JSONParser {
    let bytes: [UInt8]
    var position = 0
    /// Whether what was read is what would be written: no space, members in order, the shortest escapes. Integers have one spelling.
    private(set) var isCanonical = true

    init(bytes: [UInt8]) { self.bytes = bytes }

    func invalid(_ what: String) -> MeshError {
        let line = bytes[..<min(position, bytes.count)].reduce(1) { $1 == 0x0a ? $0 + 1 : $0 }
        return MeshError(.jsonInvalid, "not valid JSON: \(what) at byte \(position), line \(line)")
    }

    mutating func document() throws(MeshError) -> JSONValue {
        let value = try value(depth: 0)
        skipSpace()
        guard position == bytes.count else { throw invalid("something follows the document") }
        return value
    }

    private var current: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipSpace() {
        while let byte = current, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 {
            position += 1
            isCanonical = false
        }
    }

    private mutating func expect(_ word: StaticString, _ value: JSONValue) throws(MeshError) -> JSONValue {
        for i in 0..<word.utf8CodeUnitCount {
            guard current == word.utf8Start[i] else { throw invalid("an unknown word") }
            position += 1
        }
        return value
    }

    private mutating func value(depth: Int) throws(MeshError) -> JSONValue {
        guard depth <= Limits.jsonDepthMax else { throw invalid("nested deeper than \(Limits.jsonDepthMax)") }
        skipSpace()
        guard let byte = current else { throw invalid("the text ends early") }
        switch byte {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try expect("true", .bool(true))
        case UInt8(ascii: "f"): return try expect("false", .bool(false))
        case UInt8(ascii: "n"): return try expect("null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default: throw invalid("an unexpected character")
        }
    }

    private mutating func object(depth: Int) throws(MeshError) -> JSONValue {
        position += 1
        var members: [String: JSONValue] = [:], last: String?
        skipSpace()
        if current == UInt8(ascii: "}") { position += 1; return .object(members) }
        while true {
            skipSpace()
            guard current == UInt8(ascii: "\"") else { throw invalid("a member without a name") }
            let key = try string()
            if let last, !JSONValue.precedes(last, key) { isCanonical = false }
            last = key
            skipSpace()
            guard current == UInt8(ascii: ":") else { throw invalid("a member without a colon") }
            position += 1
            let member = try value(depth: depth + 1)
            // Two spellings of one name under Unicode normalisation count as duplicates too: String compares that way.
            guard members.updateValue(member, forKey: key) == nil else { throw invalid("the member “\(key)” stands twice") }
            skipSpace()
            if current == UInt8(ascii: ",") { position += 1; continue }
            guard current == UInt8(ascii: "}") else { throw invalid("an unclosed object") }
            position += 1
            return .object(members)
        }
    }

    private mutating func array(depth: Int) throws(MeshError) -> JSONValue {
        position += 1
        var items: [JSONValue] = []
        skipSpace()
        if current == UInt8(ascii: "]") { position += 1; return .array(items) }
        while true {
            items.append(try value(depth: depth + 1))
            skipSpace()
            if current == UInt8(ascii: ",") { position += 1; continue }
            guard current == UInt8(ascii: "]") else { throw invalid("an unclosed array") }
            position += 1
            return .array(items)
        }
    }

    private mutating func number() throws(MeshError) -> JSONValue {
        let start = position
        if current == UInt8(ascii: "-") { position += 1 }
        let digits = position
        while let byte = current, (0x30...0x39).contains(byte) { position += 1 }
        guard position > digits, position - digits == 1 || bytes[digits] != 0x30 else { throw invalid("a malformed number") }
        if let byte = current, byte == UInt8(ascii: ".") || byte == UInt8(ascii: "e") || byte == UInt8(ascii: "E") {
            throw invalid("a number that is not an integer")
        }
        guard let value = Int64(String(decoding: bytes[start..<position], as: UTF8.self)), value.magnitude <= Limits.jsonIntegerMax,
              !(value == 0 && digits > start) else { throw invalid("an integer out of range") }
        return .integer(value)
    }

    private mutating func string() throws(MeshError) -> String {
        position += 1
        // Up to the first escape there is nothing to put together, and mostly there is none.
        let start = position
        bytes.withUnsafeBufferPointer { bytes in
            while position < bytes.count, bytes[position] != 0x22, bytes[position] != 0x5c, bytes[position] >= 0x20 { position += 1 }
        }
        if current == UInt8(ascii: "\"") {
            defer { position += 1 }
            return String(decoding: bytes[start..<position], as: UTF8.self)
        }
        var out = Array(bytes[start..<position])
        while true {
            guard let byte = current else { throw invalid("an unclosed string") }
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                let string = String(decoding: out, as: UTF8.self)
                var written: [UInt8] = []
                JSONValue.write(string: string, to: &written)
                if !written.elementsEqual(bytes[(start - 1)..<position]) { isCanonical = false }
                return string
            case UInt8(ascii: "\\"): try escape(into: &out)
            case 0..<0x20: throw invalid("a control character in a string")
            default: out.append(byte)
            }
        }
    }

    private mutating func escape(into out: inout [UInt8]) throws(MeshError) {
        guard let byte = current else { throw invalid("an unclosed string") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): out.append(byte)
        case UInt8(ascii: "b"): out.append(0x08)
        case UInt8(ascii: "f"): out.append(0x0c)
        case UInt8(ascii: "n"): out.append(0x0a)
        case UInt8(ascii: "r"): out.append(0x0d)
        case UInt8(ascii: "t"): out.append(0x09)
        case UInt8(ascii: "u"):
            var scalar = UInt32(try hexUnit())
            if (0xd800..<0xdc00).contains(scalar) {
                guard current == UInt8(ascii: "\\"), position + 1 < bytes.count, bytes[position + 1] == UInt8(ascii: "u") else {
                    throw invalid("a lone surrogate")
                }
                position += 2
                let low = UInt32(try hexUnit())
                guard (0xdc00..<0xe000).contains(low) else { throw invalid("a lone surrogate") }
                scalar = 0x10000 + (scalar - 0xd800) << 10 + (low - 0xdc00)
            }
            guard let unicode = Unicode.Scalar(scalar) else { throw invalid("a lone surrogate") }
            out.append(contentsOf: Array(String(Character(unicode)).utf8))
        default: throw invalid("an unknown escape")
        }
    }

    private mutating func hexUnit() throws(MeshError) -> UInt16 {
        guard position + 4 <= bytes.count,
              let unit = UInt16(String(decoding: bytes[position..<position + 4], as: UTF8.self).lowercased(), radix: 16),
              bytes[position] != UInt8(ascii: "+"), bytes[position] != UInt8(ascii: "-") else { throw invalid("a malformed \\u escape") }
        position += 4
        return unit
    }
}
