import Actions
import MeshCore
import Testing

@Suite struct SchemaTests {
    static let schema = Schema.object([
        .init("name", .string(), "A name"), .optional("count", .integer, "How many"), .optional("kind", .string(oneOf: ["a", "b"]), "Which"),
        .optional("tags", .array(.string()), "Tags"), .optional("env", .table(.string()), "Variables"),
    ])

    @Test(arguments: [
        (["name": "x"], []), (["name": "x", "count": 1, "kind": "a", "tags": ["t"], "env": ["A": "b"]], []), ([:], ["/name"]), (["name": 1], ["/name"]),
        (["name": "x", "kind": "c"], ["/kind"]), (["name": "x", "tags": ["t", 1]], ["/tags/1"]), (["name": "x", "env": ["A": 1]], ["/env/A"]),
        (["name": "x", "other": 1, "count": "1"], ["/count", "/other"]), ("text", [""]),
    ] as [(JSONValue, [String])])
    func findsEveryProblem(value: JSONValue, pointers: [String]) {
        #expect(Self.schema.problems(in: value).map(\.pointer) == pointers)
    }

    @Test func saysItAsJSONSchema() {
        let json = Self.schema.json
        #expect(json["additionalProperties"] == false)
        #expect(json["required"] == ["name"])
        #expect(json["properties"]?["kind"]?["enum"] == ["a", "b"])
        #expect(json["properties"]?["tags"]?["items"]?["type"] == "string")
    }

    @Test func everyActionIsWhole() throws {
        let actions = ActionRegistry.standard.actions
        #expect(actions.map(\.name) == actions.map(\.name).sorted())
        #expect(Set(actions.map(\.name)).count == actions.count)
        for name in ["capsule.init", "capsule.pack", "capsule.verify", "capsule.unpack", "capsule.inspect", "capsule.export", "capsule.import", "capsule.release", "capsule.list",
                     "capsule.pull", "keys.new", "keys.list", "keys.trust", "peers.list", "peers.invite", "peers.join", "build.run", "deploy.create", "deploy.status", "deploy.logs",
                     "deploy.rollback", "deploy.stop", "node.status", "node.doctor", "home.backup"] {
            #expect(try ActionRegistry.standard.action(name).name == name)
        }
        for action in actions {
            #expect(action.name.contains("."))
            #expect(!action.title.isEmpty && action.description.hasSuffix("."), "\(action.name)")
            #expect(action.input.json["type"] == "object", "\(action.name)")
        }
        #expect(ActionRegistry.standard.toolsDocument == ActionRegistry.standard.toolsDocument)
    }
}
