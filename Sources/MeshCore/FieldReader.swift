/// Reads the members of one JSON object, naming the path (JSON Pointer, RFC 6901) of whatever is wrong.
///
/// Ask for each known member, then call `finish()`: what was never asked for is unknown, and unknown is an error.
public struct FieldReader {
    public let pointer: String
    private let members: [String: JSONValue]
    private var asked: Set<String> = []

    public init(_ value: JSONValue, at pointer: String = "") throws(MeshError) {
        guard case .object(let members) = value else { throw Self.wrongType("an object", pointer) }
        self.members = members
        self.pointer = pointer
    }

    public func path(_ key: String) -> String { pointer + "/" + Self.escape(key) }
    public static func escape(_ key: String) -> String {
        guard key.utf8.contains(where: { $0 == UInt8(ascii: "~") || $0 == UInt8(ascii: "/") }) else { return key }
        return String(key.flatMap { $0 == "~" ? Array("~0") : $0 == "/" ? Array("~1") : [$0] })
    }

    public mutating func optional(_ key: String) -> JSONValue? {
        asked.insert(key)
        return members[key]
    }

    public mutating func required(_ key: String) throws(MeshError) -> JSONValue {
        guard let value = optional(key) else {
            throw MeshError(.fieldMissing, "the field \(path(key)) is missing", hint: "add it", pointer: path(key))
        }
        return value
    }

    public mutating func string(_ key: String) throws(MeshError) -> String { try Self.string(required(key), path(key)) }
    public mutating func stringIfPresent(_ key: String) throws(MeshError) -> String? { try optional(key).map { (v) throws(MeshError) in try Self.string(v, path(key)) } }
    public mutating func integer(_ key: String) throws(MeshError) -> Int { try Self.integer(required(key), path(key)) }
    public mutating func integerIfPresent(_ key: String) throws(MeshError) -> Int? { try optional(key).map { (v) throws(MeshError) in try Self.integer(v, path(key)) } }
    public mutating func bool(_ key: String) throws(MeshError) -> Bool { try Self.bool(required(key), path(key)) }
    public mutating func boolIfPresent(_ key: String) throws(MeshError) -> Bool? { try optional(key).map { (v) throws(MeshError) in try Self.bool(v, path(key)) } }

    public mutating func array(_ key: String) throws(MeshError) -> [JSONValue] {
        guard let items = try required(key).array else { throw Self.wrongType("an array", path(key)) }
        return items
    }

    public mutating func arrayIfPresent(_ key: String) throws(MeshError) -> [JSONValue]? {
        optional(key) == nil ? nil : try array(key)
    }

    public mutating func strings(_ key: String) throws(MeshError) -> [String] {
        var out: [String] = []
        for (i, item) in try array(key).enumerated() { out.append(try Self.string(item, path(key) + "/\(i)")) }
        return out
    }

    public mutating func stringsIfPresent(_ key: String) throws(MeshError) -> [String]? {
        optional(key) == nil ? nil : try strings(key)
    }

    public mutating func digest(_ key: String) throws(MeshError) -> Digest {
        let text = try string(key)
        guard let digest = try? Digest(parsing: text) else { throw invalid(key, "“\(text)” is not a digest", hint: "write sha256: and 64 lower-case hexadecimal digits") }
        return digest
    }

    public mutating func object(_ key: String) throws(MeshError) -> FieldReader { try FieldReader(required(key), at: path(key)) }
    public mutating func objectIfPresent(_ key: String) throws(MeshError) -> FieldReader? {
        try optional(key).map { (v) throws(MeshError) in try FieldReader(v, at: path(key)) }
    }

    /// A `{name: string}` table.
    public mutating func stringTableIfPresent(_ key: String) throws(MeshError) -> [String: String]? {
        guard let value = optional(key) else { return nil }
        guard let table = value.object else { throw Self.wrongType("an object", path(key)) }
        var out: [String: String] = [:]
        for (name, item) in table { out[name] = try Self.string(item, path(key) + "/" + Self.escape(name)) }
        return out
    }

    /// Every member must have been asked for.
    public func finish() throws(MeshError) {
        guard let unknown = members.keys.filter({ !asked.contains($0) }).min() else { return }
        throw MeshError(.fieldUnknown, "the field \(path(unknown)) is not known",
                        hint: "known here: \(asked.sorted().joined(separator: ", "))", pointer: path(unknown))
    }

    public func invalid(_ key: String, _ what: String, hint: String = "") -> MeshError {
        MeshError(.fieldInvalid, "\(path(key)): \(what)", hint: hint, pointer: path(key))
    }

    private static func wrongType(_ wanted: String, _ pointer: String) -> MeshError {
        MeshError(.fieldInvalid, "\(pointer.isEmpty ? "the document" : pointer) must be \(wanted)", hint: "write \(wanted) there", pointer: pointer)
    }

    private static func string(_ value: JSONValue, _ pointer: @autoclosure () -> String) throws(MeshError) -> String {
        guard let value = value.string else { throw wrongType("a string", pointer()) }
        return value
    }

    private static func integer(_ value: JSONValue, _ pointer: @autoclosure () -> String) throws(MeshError) -> Int {
        guard let value = value.integer else { throw wrongType("an integer", pointer()) }
        return Int(value)
    }

    private static func bool(_ value: JSONValue, _ pointer: @autoclosure () -> String) throws(MeshError) -> Bool {
        guard let value = value.bool else { throw wrongType("true or false", pointer()) }
        return value
    }
}
