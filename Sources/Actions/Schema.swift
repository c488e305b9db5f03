public import MeshCore

/// The part of JSON Schema 2020-12 that actions need: enough to say exactly what goes in and out, and small enough to
/// check every request against it. Objects take no members but those named.
public indirect enum Schema: Sendable, Hashable {
    case string(oneOf: [String]? = nil)
    case integer
    case boolean
    case array(Schema)
    case object([Property])
    /// A table of any names, each holding the given kind of value.
    case table(Schema)
    /// Any JSON: a manifest, an event's data.
    case any

    public struct Property: Sendable, Hashable {
        public let name: String
        public let schema: Schema
        public let isRequired: Bool
        public let description: String

        public init(_ name: String, _ schema: Schema, required: Bool = true, _ description: String) {
            self.name = name
            self.schema = schema
            isRequired = required
            self.description = description
        }

        public static func optional(_ name: String, _ schema: Schema, _ description: String) -> Property {
            Property(name, schema, required: false, description)
        }
    }

    public static let empty = Schema.object([])

    /// The JSON Schema document.
    public var json: JSONValue {
        switch self {
        case .string(nil): ["type": "string"]
        case .string(let values?): ["type": "string", "enum": .array(values.map(JSONValue.string))]
        case .integer: ["type": "integer"]
        case .boolean: ["type": "boolean"]
        case .array(let items): ["type": "array", "items": items.json]
        case .table(let values): ["type": "object", "additionalProperties": values.json]
        case .any: [:]
        case .object(let properties): object(properties)
        }
    }

    private func object(_ properties: [Property]) -> JSONValue {
        var members: [String: JSONValue] = [:]
        for property in properties {
            guard case .object(var schema) = property.schema.json else { continue }
            schema["description"] = .string(property.description)
            members[property.name] = .object(schema)
        }
        return [
            "type": "object", "properties": .object(members), "additionalProperties": false,
            "required": .array(properties.filter(\.isRequired).map { .string($0.name) }),
        ]
    }

    public struct Problem: Sendable, Hashable {
        /// JSON Pointer into the checked value.
        public let pointer: String
        public let message: String
    }

    /// Everything in `value` that the schema does not allow; empty when it conforms.
    public func problems(in value: JSONValue, at pointer: String = "") -> [Problem] {
        switch (self, value) {
        case (.any, _), (.integer, .integer), (.boolean, .bool), (.string(nil), .string): return []
        case (.string(let values?), .string(let text)):
            return values.contains(text) ? [] : [Problem(pointer: pointer, message: "must be one of \(values.joined(separator: ", "))")]
        case (.array(let items), .array(let elements)):
            return elements.enumerated().flatMap { items.problems(in: $1, at: "\(pointer)/\($0)") }
        case (.table(let values), .object(let members)):
            return members.keys.sorted().flatMap { values.problems(in: members[$0] ?? .null, at: "\(pointer)/\(FieldReader.escape($0))") }
        case (.object(let properties), .object(let members)):
            var out: [Problem] = []
            for property in properties {
                if let member = members[property.name] {
                    out += property.schema.problems(in: member, at: "\(pointer)/\(FieldReader.escape(property.name))")
                } else if property.isRequired {
                    out.append(Problem(pointer: "\(pointer)/\(FieldReader.escape(property.name))", message: "is missing"))
                }
            }
            let known = Set(properties.map(\.name))
            for unknown in members.keys.filter({ !known.contains($0) }).sorted() {
                out.append(Problem(pointer: "\(pointer)/\(FieldReader.escape(unknown))", message: "is not known"))
            }
            return out
        default: return [Problem(pointer: pointer, message: "must be \(kind)")]
        }
    }

    private var kind: String {
        switch self {
        case .string: "a string"
        case .integer: "an integer"
        case .boolean: "true or false"
        case .array: "an array"
        case .object, .table: "an object"
        case .any: "any value"
        }
    }
}
