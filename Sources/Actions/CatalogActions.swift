internal import CapsuleFormat
internal import CapsuleStore
internal import Catalog
internal import MeshCore
internal import Signing

private let signing: [Schema.Property] = [
    .optional("key", .string(), "Key to sign with: its name in this home, or the absolute path of its file; the node key unless given"),
    .optional("passphrase", .string(), "Of that key, if it is sealed"),
]
private let factAnswer: [Schema.Property] = [.init("fact", .string(), "Digest of the fact"), .init("kind", .string(), "Kind of the fact")]

/// What a mesh says of its capsules and keys.
let catalogActions: [Action] = [
    Action("capsule.withdraw", "Withdraw", "Says to the mesh that a capsule is no release any more.", scope: .deploy,
           input: .object([.init("ref", .string(), "What to withdraw"), .init("reason", .string(), "Why, for people"),
                           .optional("security", .boolean, "Final: it stays even if the key that signs it turns out to be stolen")] + signing),
           output: .object(factAnswer + [.init("digest", .string(), "The capsule"), .init("name", .string(), "Its name")])) { context, params throws(MeshError) in
        let parts = context.parts, digest = try parts.digest(of: params["ref"]?.string ?? "")
        let signer = try parts.signingKey(named: params["key"]?.string, passphrase: params["passphrase"]?.string)
        let released = try parts.catalog.releases(of: digest).first?.name
        let name: CapsuleName
        if let released { name = released } else { name = try parts.store.capsule(digest).manifest.id.name }
        let fact = try parts.catalog.withdraw(digest, name: name, reason: params["reason"]?.string ?? "", security: params["security"]?.bool == true, by: signer)
        return ["fact": JSONValue(fact.id), "kind": "withdraw", "digest": JSONValue(digest), "name": .string(name.description)]
    },
    Action("channel.set", "Set a channel", "Points a channel of a name to one of its releases.", scope: .deploy,
           input: .object([.init("channel", .string(), "NAME@CHANNEL"), .init("ref", .string(), "The release"),
                           .optional("newEpoch", .boolean, "Sets aside whatever was said of the channel before; a root's to do"),
                           .optional("validDays", .integer, "The channel is stale after so many days, unless more is said before")] + signing),
           output: .object(factAnswer + [.init("digest", .string(), "The capsule"), .init("epoch", .integer, "Raised by roots alone"), .init("ver", .integer, "The highest of its epoch counts")])) { context, params throws(MeshError) in
        let parts = context.parts
        guard case .channel(let name, let channel) = try Reference(parsing: params["channel"]?.string ?? "") else {
            throw MeshError(.paramsInvalid, "“\(params["channel"]?.string ?? "")” is no channel", hint: "write NAME@CHANNEL, the channel beginning with a letter: shop@stable", pointer: "/channel")
        }
        let digest = try parts.digest(of: params["ref"]?.string ?? "")
        let signer = try parts.signingKey(named: params["key"]?.string, passphrase: params["passphrase"]?.string)
        var until: Milliseconds?
        if let days = params["validDays"]?.integer {
            guard (1...36_500).contains(days) else { throw MeshError(.paramsInvalid, "a channel is valid for 1 to 36,500 days", pointer: "/validDays") }
            until = parts.clock.now + days * 86_400_000
        }
        let fact = try parts.catalog.set(channel, of: name, to: digest, newEpoch: params["newEpoch"]?.bool == true, until: until, by: signer)
        return ["fact": JSONValue(fact.id), "kind": "channel", "digest": JSONValue(digest), "epoch": fact.body["epoch"] ?? 0, "ver": fact.body["ver"] ?? 0]
    },
    Action("keys.revoke", "Revoke a key", "Takes a key's word away in this mesh. What it said before still counts, up to a fact that can be named.", scope: .admin,
           input: .object([.init("id", .string(), "Key id, or the beginning of one (8 digits)"), .init("reason", .string(), "Why, for people"),
                           .optional("keep", .string(), "The last honest fact of the key; without it, the last that is known here")] + signing),
           output: .object(factAnswer + [.init("id", .string(), "Key id"), .optional("keep", .string(), "The last fact of the key that counts")])) { context, params throws(MeshError) in
        let parts = context.parts, id = try parts.keyID(beginning: params["id"]?.string ?? "")
        let signer = try parts.signingKey(named: params["key"]?.string, passphrase: params["passphrase"]?.string)
        var keep: Digest?
        if let text = params["keep"]?.string {
            keep = Digest(hex: text.hasPrefix("sha256:") ? String(text.dropFirst(7)) : text)
            guard keep != nil else { throw MeshError(.paramsInvalid, "“\(text)” is no fact", hint: "`capsule catalog show --author ID` lists them", pointer: "/keep") }
        }
        let fact = try parts.catalog.revoke(id, keep: keep, reason: params["reason"]?.string ?? "", by: signer)
        var answer: [String: JSONValue] = ["fact": JSONValue(fact.id), "kind": "revoke", "id": .string(id.hex)]
        if let kept = fact.body["keep"] { answer["keep"] = kept }
        return .object(answer)
    },
    Action("catalog.show", "Catalog", "What the mesh says: its charter, its keys, its channels, its facts, and which of them decided.", scope: .read,
           input: .object([.optional("name", .string(), "Only what is about names like this, e.g. shop-*"), .optional("author", .string(), "Only facts by this key (id, or its beginning)"),
                           .optional("kind", .string(), "Only facts of this kind"), .optional("limit", .integer, "So many facts at most; 100 unless given")]),
           output: .object([
               .init("mesh", .string(), "Mesh id"), .init("root", .string(), "Over all facts: nodes with the same one know the same"), .init("facts", .integer, "How many there are"),
               .init("waiting", .integer, "Facts of authors that nobody here has granted anything"),
               .init("charter", .object([.init("version", .integer, "Of the charter in force"), .init("id", .string(), "Its id"), .init("threshold", .integer, "So many roots must agree"),
                                         .init("roots", .array(.string()), "Key ids"), .init("contested", .array(.string()), "Ids of charters that contradict each other")]), "The root of trust"),
               .init("keys", .array(.object([.init("id", .string(), "Key id"), .init("roles", .array(.string()), "With their scopes"), .init("state", .string(), "active, revoked, succeeded, contested or root"),
                                             .optional("successor", .string(), "Key id of who took its place"), .init("facts", .integer, "How many it has signed")])), "Everybody who was granted anything, or has"),
               .init("channels", .array(.object([.init("name", .string(), "Name"), .init("channel", .string(), "Channel"), .init("digest", .string(), "The capsule"), .init("epoch", .integer, "Epoch"), .init("ver", .integer, "Place in it"),
                                                 .init("fact", .string(), "Which decided"), .optional("trouble", .string(), "contested, withdrawn or unreleased"), .init("stale", .boolean, "Silent for longer than it said")])), "By name"),
               .init("withdrawn", .array(.object([.init("name", .string(), "Name"), .init("digest", .string(), "The capsule"), .init("fact", .string(), "Which decided"), .init("security", .boolean, "Final"), .optional("reason", .string(), "For people")])), "By name"),
               .init("list", .array(.object([.init("fact", .string(), "Its id"), .init("kind", .string(), "Kind"), .init("author", .string(), "Key id"), .init("seq", .integer, "Place among the author's"), .init("at", .integer, "By the author's clock, milliseconds since 1970"),
                                             .init("subject", .string(), "What it is about"), .init("counts", .boolean, "Whether it is kept of its author"), .init("body", .any, "What it says")])), "The newest first, by their authors' clocks"),
           ])) { context, params throws(MeshError) in
        let parts = context.parts
        return try await offEventLoops { () throws(MeshError) in try parts.catalogDocument(params) }
    },
    Action("catalog.verify", "Verify the catalog", "Reads every fact again from the disk, checks every signature, and works everything out anew.", scope: .read, isLong: true,
           output: .object([.init("ok", .boolean, "Whether all of it holds"), .init("mesh", .string(), "Mesh id"), .init("root", .string(), "Over all facts"), .init("facts", .integer, "How many there are"),
                            .init("problems", .array(.string()), "What does not hold"), .init("remarks", .array(.string()), "What holds and somebody should know")])) { context, _ throws(MeshError) in
        let catalog = context.parts.catalog
        let report = try await offEventLoops { () throws(MeshError) in try catalog.verify() }
        return ["ok": .bool(report.problems.isEmpty), "mesh": .string(catalog.meshID.hex), "root": JSONValue(report.root), "facts": JSONValue(report.facts),
                "problems": .array(report.problems.map(JSONValue.string)), "remarks": .array(report.remarks.map(JSONValue.string))]
    },
    Action("catalog.export", "Export facts", "Writes charter and facts of the mesh to a file.", scope: .read, isLong: true,
           input: .object([.init("output", .string(), "Absolute path of the file")]),
           output: .object([.init("path", .string(), "The file"), .init("mesh", .string(), "Mesh id"), .init("root", .string(), "Over all facts"), .init("facts", .integer, "How many there are"), .init("bytes", .integer, "Size of the file")])) { context, params throws(MeshError) in
        let catalog = context.parts.catalog, path = params["output"]?.string ?? ""
        let written = try await offEventLoops { () throws(MeshError) in try FactFile.write(catalog, to: path) }
        return ["path": .string(path), "mesh": .string(catalog.meshID.hex), "root": JSONValue(written.root), "facts": JSONValue(written.facts), "bytes": .integer(written.bytes)]
    },
    Action("catalog.import", "Import facts", "Takes in charter and facts of this mesh from a file, by the same rules as from a peer.", scope: .write, isLong: true,
           input: .object([.init("path", .string(), "Absolute path of the file")]),
           output: .object([.init("mesh", .string(), "Mesh id"), .init("root", .string(), "Over all facts, now"), .init("facts", .integer, "New ones"), .init("known", .integer, "Known before"),
                            .init("waiting", .integer, "Of authors that nobody here has granted anything"), .init("refused", .integer, "Not valid")])) { context, params throws(MeshError) in
        let catalog = context.parts.catalog, path = params["path"]?.string ?? ""
        let taken = try await offEventLoops { () throws(MeshError) in try FactFile.read(path, into: catalog) }
        return ["mesh": .string(catalog.meshID.hex), "root": JSONValue(catalog.root), "facts": JSONValue(taken.admitted), "known": JSONValue(taken.known), "waiting": JSONValue(taken.waiting), "refused": JSONValue(taken.refused)]
    },
]

extension NodeParts {
    /// The one key of the mesh whose id begins so.
    func keyID(beginning text: String) throws(MeshError) -> KeyID {
        if let id = KeyID(hex: text) { return id }
        let found = try catalog.members().map(\.id).filter { $0.hex.hasPrefix(text) || $0.short.hasPrefix(text) }
        guard text.utf8.count >= 8, let only = found.first, found.count == 1 else {
            throw MeshError(.memberUnknown, found.count > 1 ? "\(text) begins more than one key id" : "nobody in this mesh has the key \(text)", hint: "`capsule catalog show` lists the keys; give at least 8 digits")
        }
        return only
    }

    func catalogDocument(_ params: JSONValue) throws(MeshError) -> JSONValue {
        let charter = catalog.charter, glob = params["name"]?.string.map(Glob.init)
        let author = try params["author"]?.string.map { (text) throws(MeshError) in try keyID(beginning: text) }
        let limit = Int(clamping: params["limit"]?.integer ?? 100)
        guard (0...10_000).contains(limit) else { throw MeshError(.paramsInvalid, "at most 10,000 facts are listed", hint: "`capsule catalog export` writes all of them", pointer: "/limit") }
        var channels: [JSONValue] = []
        for channel in try catalog.channels(matching: glob) {
            var row: [String: JSONValue] = [
                "name": .string(channel.name.description), "channel": .string(channel.channel), "digest": JSONValue(channel.capsule), "epoch": JSONValue(channel.epoch), "ver": JSONValue(channel.ver),
                "fact": JSONValue(channel.fact), "stale": .bool(channel.isStale(at: clock.now)),
            ]
            if let trouble = channel.trouble { row["trouble"] = .string(trouble.rawValue) }
            channels.append(.object(row))
        }
        let withdrawn = try catalog.withdrawals(matching: glob).map { withdrawal -> JSONValue in
            var row: [String: JSONValue] = ["name": .string(withdrawal.name.description), "digest": JSONValue(withdrawal.capsule), "fact": JSONValue(withdrawal.fact), "security": .bool(withdrawal.isForSecurity)]
            if let reason = withdrawal.reason { row["reason"] = .string(reason) }
            return .object(row)
        }
        let keys = try catalog.members().map { member -> JSONValue in
            var row: [String: JSONValue] = ["id": .string(member.id.hex), "roles": .array(member.roles.map(JSONValue.string)), "state": .string(member.state.rawValue), "facts": JSONValue(member.facts)]
            if let successor = member.successor { row["successor"] = .string(successor.hex) }
            return .object(row)
        }
        let list = try catalog.statements(author: author, kind: params["kind"]?.string, name: glob, limit: limit).map { statement -> JSONValue in
            let fact = statement.fact
            return ["fact": JSONValue(fact.id), "kind": .string(fact.kind), "author": .string(fact.author.id.hex), "seq": JSONValue(fact.seq), "at": .integer(fact.at),
                    "subject": fact.subject.map(JSONValue.init) ?? "", "counts": .bool(statement.counts), "body": fact.body]
        }
        return [
            "mesh": .string(charter.meshID.hex), "root": JSONValue(catalog.root), "facts": JSONValue(catalog.count), "waiting": JSONValue(catalog.waitingCount),
            "charter": ["version": JSONValue(charter.version), "id": JSONValue(charter.id), "threshold": JSONValue(charter.threshold),
                        "roots": .array(charter.roots.map { .string($0.id.hex) }), "contested": .array(charter.contested.map(JSONValue.init))],
            "keys": .array(keys), "channels": .array(channels), "withdrawn": .array(withdrawn), "list": .array(list),
        ]
    }
}
