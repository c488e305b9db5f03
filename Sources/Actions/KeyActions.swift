internal import Catalog
internal import MeshCore
internal import Signing

let keyActions: [Action] = [
    Action("keys.new", "New key", "Makes an Ed25519 key in this home, sealed when a passphrase is given.", scope: .admin,
           input: .object([
               .init("name", .string(), "File name of the key, without ending"),
               .optional("passphrase", .string(), "Seals the secret key (Argon2id, XChaCha20-Poly1305)"),
           ]),
           output: keySchema) { context, params throws(MeshError) in
        let name = try CapsuleName(parsing: params["name"]?.string ?? "").description
        let key = SigningKey.generate()
        try KeyFile.create(key, named: name, in: context.parts.home.keys, passphrase: params["passphrase"]?.string.map { Array($0.utf8) })
        return describe(name, key.publicKey, hasSecret: true, sealed: params["passphrase"] != nil)
    },
    Action("keys.list", "Keys", "The keys in this home and the roles that each has in the mesh.", scope: .read,
           output: .array(.object(keyProperties + [.init("roles", .array(.string()), "Roles in this mesh, with their scopes")]))) { context, _ throws(MeshError) in
        var out: [JSONValue] = []
        for entry in try KeyFile.list(in: context.parts.home.keys) {
            guard case .object(var object) = describe(entry.name, entry.publicKey, hasSecret: entry.hasSecret, sealed: entry.sealed) else { continue }
            object["roles"] = .array(try roleTexts(of: entry.publicKey, context.parts.catalog))
            out.append(.object(object))
        }
        return .array(out)
    },
    Action("keys.trust", "Trust a key", "Grants a role in this mesh to a public key from a file.", scope: .admin,
           input: .object([
               .init("path", .string(), "Absolute path of a PEM public key"),
               .init("role", .string(oneOf: Role.allCases.map(\.rawValue)), "What the key may do"),
               .optional("scope", .array(.string()), "Name globs a publisher may release; needed for publishers"),
           ]),
           output: .object([.init("fact", .string(), "Digest of the grant"), .init("kind", .string(), "grant"), .init("id", .string(), "Key id")])) { context, params throws(MeshError) in
        let key = try KeyFile.readPublic(params["path"]?.string ?? "")
        guard let role = Role(rawValue: params["role"]?.string ?? "") else { throw MeshError(.paramsInvalid, "/role is not a role") }
        let scope = (params["scope"]?.array ?? []).compactMap(\.string).map(Glob.init)
        guard role != .publisher || !scope.isEmpty else {
            throw MeshError(.paramsInvalid, "a publisher needs a scope", hint: "name what the key may release: --scope 'shop-*'", pointer: "/scope")
        }
        let parts = context.parts
        let fact = try parts.catalog.grant(role, scope: scope, to: key, by: parts.key)
        return ["fact": JSONValue(fact.id), "kind": "grant", "id": .string(key.id.hex)]
    },
    Action("keys.rotate", "Rotate a key", "Makes a new key that takes the place of one of this home, with all that it was granted. A root is changed by a new charter.", scope: .admin,
           input: .object([
               .optional("name", .string(), "The key to rotate: node unless given; root for a root of the mesh"),
               .optional("passphrase", .string(), "Of the old key, if it is sealed; the new one is sealed with it too"),
           ]),
           output: .object([.init("name", .string(), "File name"), .init("old", .string(), "Key id of the old key"), .init("id", .string(), "Key id of the new key"),
                            .optional("fact", .string(), "The succession"), .optional("charter", .string(), "Id of the new charter")])) { context, params throws(MeshError) in
        let parts = context.parts, name = params["name"]?.string ?? "node"
        return try await offEventLoops { () throws(MeshError) in try KeyRotation(parts, name, passphrase: params["passphrase"]?.string).run() }
    },
    Action("keys.move-root", "Move the root key away", "Moves the secret root key out of this home, to a stick for instance. Its public half stays.", scope: .admin,
           input: .object([.init("directory", .string(), "Absolute path of a folder outside of this home")]),
           output: .object([.init("path", .string(), "Where the secret key is now"), .init("id", .string(), "Key id")])) { context, params throws(MeshError) in
        let parts = context.parts, directory = params["directory"]?.string ?? ""
        return try await offEventLoops { () throws(MeshError) in
            let moved = try parts.moveRoot(to: directory)
            return ["path": .string(moved.path), "id": .string(moved.key.id.hex)]
        }
    },
]

private let keyProperties: [Schema.Property] = [
    .init("name", .string(), "File name"), .init("id", .string(), "Key id: hex SHA-256"), .init("short", .string(), "The id as people compare it"),
    .init("publicKey", .string(), "32 bytes in hex"), .init("hasSecret", .boolean, "Whether the secret key is here"),
    .init("sealed", .boolean, "Whether the secret key needs a passphrase"),
]
private let keySchema = Schema.object(keyProperties)

private func describe(_ name: String, _ key: PublicKey, hasSecret: Bool, sealed: Bool) -> JSONValue {
    ["name": .string(name), "id": .string(key.id.hex), "short": .string(key.id.short), "publicKey": .string(key.hex),
     "hasSecret": .bool(hasSecret), "sealed": .bool(sealed)]
}

/// `role` or `role(scope, …)` for each role of a key.
func roleTexts(of key: PublicKey, _ catalog: Catalog) throws(MeshError) -> [JSONValue] { Catalog.texts(try catalog.roles(of: key)).map(JSONValue.string) }
