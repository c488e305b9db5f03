internal import Catalog
internal import Discovery
internal import Exchange
internal import MeshCore
internal import Signing

let peerActions: [Action] = [
    Action("peers.list", "Peers", "The neighbours of this node: how each was found, when last spoken to, and why one cannot be reached.", scope: .read,
           output: .array(.object([
               .optional("nodeId", .string(), "Key id"), .optional("name", .string(), "What it calls itself"), .init("via", .array(.string()), "How it was found"),
               .init("addresses", .array(.string()), "Where it was seen"), .init("state", .string(), "connected, reachable, unreachable, stranger or other-mesh"),
               .optional("lastSeen", .string(), "When it last answered"), .optional("why", .string(), "Why it cannot be reached, in words"),
           ]))) { context, _ throws(MeshError) in
        .array(await context.parts.exchange.peers().map(peerJSON))
    },
    Action("peers.add", "Add a peer", "Writes down a peer's address, for networks that discovery does not cross.", scope: .admin,
           input: .object([.init("address", .string(), "HOST:PORT, numeric"), .optional("nodeId", .string(), "Its key id, if known")]),
           output: .object([.init("address", .string(), "As written")])) { context, params throws(MeshError) in
        let address = try PeerAddress(parsing: params["address"]?.string ?? "", defaultPort: 7423)
        let id = try keyID(params["nodeId"]?.string)
        try WrittenPeers.add(WrittenPeer(nodeID: id, addresses: [address]), in: context.parts.home.peers)
        return ["address": .string(address.description)]
    },
    Action("peers.forget", "Forget a peer", "Removes a written peer.", scope: .admin,
           input: .object([.init("address", .string(), "HOST:PORT or key id, as `peers` shows it")]),
           output: .object([.init("forgotten", .integer, "How many entries were removed")])) { context, params throws(MeshError) in
        ["forgotten": JSONValue(try WrittenPeers.forget(params["address"]?.string ?? "", in: context.parts.home.peers))]
    },
    Action("peers.invite", "Invite", "Makes a one-time invitation to this mesh; this node redeems it, once, within 24 hours.", scope: .admin,
           input: .object([
               .optional("roles", .array(.string(oneOf: Role.allCases.map(\.rawValue))), "Roles besides member; a publisher of its own names unless given"),
               .optional("scope", .array(.string()), "Name globs that the newcomer may release"),
           ]),
           output: .object([.init("invitation", .string(), "Give this text to one person; whoever has it may join")])) { context, params throws(MeshError) in
        try context.parts.requireServing()
        let roles = (params["roles"]?.array ?? []).compactMap(\.string).compactMap(Role.init(rawValue:))
        let scope = (params["scope"]?.array ?? []).compactMap(\.string).map(Glob.init)
        return ["invitation": .string(try await context.parts.exchange.invite(roles: roles, scope: scope))]
    },
    Action("peers.join", "Join", "Joins the mesh that an invitation is for; it takes the place of this home's mesh.", scope: .admin,
           input: .object([.init("invitation", .string(), "The text from `capsule invite`")]),
           output: .object([.init("mesh", .string(), "Mesh id"), .init("nodeId", .string(), "This node's key id"), .init("roles", .array(.string()), "Roles that were granted")])) { context, params throws(MeshError) in
        let parts = context.parts
        let mesh = try await parts.exchange.join(invitation: params["invitation"]?.string ?? "")
        return ["mesh": .string(mesh.hex), "nodeId": .string(parts.key.publicKey.id.hex), "roles": .array(try roleTexts(of: parts.key.publicKey, parts.catalog))]
    },
    Action("peers.sync", "Sync", "Exchanges facts with peers now.", scope: .write, isLong: true,
           input: .object([.optional("nodeId", .string(), "Only with this peer")]),
           output: .object([.init("received", .integer, "Facts that were new here"), .init("facts", .integer, "Facts now"), .init("root", .string(), "Digest over them")])) { context, params throws(MeshError) in
        let received = try await context.parts.exchange.syncNow(try keyID(params["nodeId"]?.string))
        return ["received": JSONValue(received), "facts": JSONValue(context.parts.catalog.count), "root": .string(context.parts.catalog.root.hex)]
    },
]

private func keyID(_ text: String?) throws(MeshError) -> KeyID? {
    guard let text else { return nil }
    guard let id = KeyID(hex: text) else { throw MeshError(.paramsInvalid, "“\(text)” is not a key id", hint: "`capsule peers` lists them", pointer: "/nodeId") }
    return id
}

private func peerJSON(_ peer: PeerExchange.PeerStatus) -> JSONValue {
    var row: [String: JSONValue] = [
        "via": .array(peer.via.map(JSONValue.string)), "addresses": .array(peer.addresses.map(JSONValue.string)), "state": .string(peer.state),
    ]
    if let id = peer.nodeID { row["nodeId"] = .string(id.hex) }
    if let name = peer.name { row["name"] = .string(name) }
    if let seen = peer.lastSeen { row["lastSeen"] = .string(seen.rfc3339) }
    if let why = peer.why { row["why"] = .string(why) }
    return .object(row)
}
