import MeshCore
import Testing

/// The vectors in capsules/testdata, which other implementations can read too.
enum Vectors {
    static func read(_ name: String) throws -> JSONValue {
        let repository = String(#filePath.dropLast("/Tests/CapsuleFormatTests/Vectors.swift".count))
        return try JSONValue.parse(try Files.read(repository + "/capsules/testdata/" + name, bytesMax: 1 << 20), bytesMax: 1 << 20)
    }
}

extension JSONValue {
    /// The same document with `value` at a JSON Pointer (RFC 6901) of object members; nil removes what is there.
    func with(_ value: JSONValue?, at pointer: String) -> JSONValue {
        guard !pointer.isEmpty else { return value ?? .null }
        let parts = pointer.dropFirst().split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        let key = String(parts[0]).replacing("~1", with: "/").replacing("~0", with: "~")
        var members = object ?? [:]
        members[key] = parts.count == 1 ? value : (members[key] ?? [:]).with(value, at: "/" + parts[1])
        return .object(members)
    }

    /// A case of a vector file: `base` with the values of `set`, without those of `remove`.
    func changed(by vector: JSONValue) -> JSONValue {
        var document = self
        for (pointer, value) in vector["set"]?.object ?? [:] { document = document.with(value, at: pointer) }
        for pointer in vector["remove"]?.array ?? [] { document = document.with(nil, at: pointer.string ?? "") }
        return document
    }
}
