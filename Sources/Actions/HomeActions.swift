internal import Builder
internal import CapsuleStore
internal import Catalog
internal import Deployments
internal import Discovery
internal import Exchange
internal import Glibc
internal import MeshCore
internal import Signing

let homeActions: [Action] = [
    Action("capsule.init", "Make a home", "Makes the home, its node key, its root key and a mesh of one; a home that is there is left as it is.", scope: .admin,
           input: .object([.optional("name", .string(), "What the node is called; the host's name unless given")]), output: homeSchema) { context, _ throws(MeshError) in
        // A context exists only for a home that exists: the answer is what `init` found.
        homeJSON(context.parts)
    },
    Action("node.status", "Status", "What this node is, what it holds and what runs.", scope: .read,
           output: .object([
               .init("home", .string(), "Where the home is"), .init("name", .string(), "What the node is called"), .init("nodeId", .string(), "Key id"),
               .init("short", .string(), "The id as people compare it"), .init("mesh", .string(), "Mesh id"), .init("roles", .array(.string()), "This node's roles"),
               .init("running", .boolean, "Whether `capsule up` runs"), .optional("pid", .integer, "Its process id"), .init("facts", .integer, "Facts in the catalog"), .init("root", .string(), "Digest over them"),
               .init("capsules", .integer, "Capsules in the store"), .init("peers", .integer, "Neighbours known"), .init("connected", .integer, "Of them reachable now"),
               .init("deployments", .integer, "Apps deployed here"), .optional("meshPort", .integer, "Port of the peer protocol"),
               .optional("controlPort", .integer, "Port of the control API"), .optional("frontPort", .integer, "Port that apps answer on"),
               .optional("trouble", .any, "Why discovery does not work at the moment"),
           ])) { context, _ throws(MeshError) in
        let parts = context.parts, current = parts.current
        let peers = await parts.exchange.peers()
        var out: [String: JSONValue] = [
            "home": .string(parts.home.path), "name": .string(parts.settings.name), "nodeId": .string(parts.key.publicKey.id.hex),
            "short": .string(parts.key.publicKey.id.short), "mesh": .string(parts.catalog.meshID.hex), "roles": .array(try roleTexts(of: parts.key.publicKey, parts.catalog)),
            "running": .bool(current.isServing), "facts": JSONValue(parts.catalog.count), "root": .string(parts.catalog.root.hex),
            "capsules": JSONValue(try parts.store.capsules().count), "peers": JSONValue(peers.count),
            "connected": JSONValue(peers.filter { $0.state == "connected" || $0.state == "reachable" }.count),
            "deployments": JSONValue(try await parts.deployments.list().count),
        ]
        if current.isServing { out["pid"] = .integer(Int64(getpid())) }
        for (name, port) in [("meshPort", current.meshPort), ("controlPort", current.controlPort), ("frontPort", current.frontPort)] {
            if let port { out[name] = JSONValue(port) }
        }
        if let trouble = current.discoveryTrouble { out["trouble"] = trouble.json }
        return .object(out)
    },
    Action("node.doctor", "Doctor", "Looks for what keeps this node from working, and says how to mend it.", scope: .read,
           output: .object([
               .init("ok", .boolean, "Whether all is well"),
               .init("checks", .array(.object([
                   .init("name", .string(), "What was looked at"), .init("ok", .boolean, "Outcome"), .init("detail", .string(), "What was found"), .init("hint", .string(), "What to do"),
                   .optional("code", .string(), "Error code"),
               ])), "Each check"),
           ])) { context, _ throws(MeshError) in
        let parts = context.parts
        let checks: [(String, String, @Sendable () throws(MeshError) -> Void)] = [
            ("sandbox", "bubblewrap runs builds and apps", { () throws(MeshError) in try Replayer.checkSandbox() }),
            ("discovery", "avahi-daemon answers on D-Bus", { () throws(MeshError) in try AvahiDiscovery.check() }),
            ("home", "\(parts.home.path) can be written", { () throws(MeshError) in try checkWritable(parts.home) }),
            ("disk", "there is room", { () throws(MeshError) in try checkRoom(parts.home) }),
        ]
        var rows: [JSONValue] = [], ok = true
        for (name, detail, check) in checks {
            do throws(MeshError) {
                try await offEventLoops(check)
                rows.append(["name": .string(name), "ok": true, "detail": .string(detail), "hint": ""])
            } catch {
                ok = false
                rows.append(["name": .string(name), "ok": false, "detail": .string(error.message), "hint": .string(error.hint), "code": .string(error.code.name)])
            }
        }
        return ["ok": .bool(ok), "checks": .array(rows)]
    },
]

private let homeSchema = Schema.object([
    .init("home", .string(), "Where the home is"), .init("name", .string(), "What the node is called"), .init("nodeId", .string(), "Key id"),
    .init("short", .string(), "The id as people compare it"), .init("mesh", .string(), "Mesh id"),
])

private func homeJSON(_ parts: NodeParts) -> JSONValue {
    ["home": .string(parts.home.path), "name": .string(parts.settings.name), "nodeId": .string(parts.key.publicKey.id.hex),
     "short": .string(parts.key.publicKey.id.short), "mesh": .string(parts.catalog.meshID.hex)]
}

private func checkWritable(_ home: HomeLayout) throws(MeshError) {
    let probe = home.state + "/doctor"
    try Files.writeDurably([], to: probe)
    try Files.remove(probe)
}

private func checkRoom(_ home: HomeLayout) throws(MeshError) {
    let free = try Files.freeBytes(at: home.path)
    guard free >= 1 << 30 else {
        throw MeshError(.diskFull, "\(free >> 20) MiB are free at \(home.path)", hint: "free at least 1 GiB, or move the home to a larger disk (--home DIR)")
    }
}
