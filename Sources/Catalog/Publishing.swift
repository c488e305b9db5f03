public import MeshCore
public import Signing

// Signing facts. Nothing is written without the permission to say it.
extension Catalog {
    /// Signs a fact and takes it in. Without the permission nothing is written: `not_granted`.
    public func publish(kind: String, subject: Digest?, body: [String: JSONValue], until: Milliseconds? = nil, by key: SigningKey) throws(MeshError) -> Fact {
        try drafting { () throws(MeshError) in try draftAndAdmit(kind, subject, body, until, key) }
    }

    private func draftAndAdmit(_ kind: String, _ subject: Digest?, _ body: [String: JSONValue], _ until: Milliseconds?, _ key: SigningKey) throws(MeshError) -> Fact {
        guard let author = key.publicKey.subject, let subject else { throw MeshError(.factInvalid, "a \(kind) needs a subject") }
        let charter = charter, authorities = authorities
        try Self.requirePermission(kind, subject, body, author, authorities, charter)
        // A home that was restored, or copied, and had gone on elsewhere: more of it would be contested like the rest. It can still leave.
        guard !authorities.isEquivocator(key.publicKey) || kind == "revoke" || kind == Fact.successorKind else {
            throw MeshError(.keyContested, "this key has signed two facts at one place, so that nothing more is believed of it",
                            hint: authorities.isRoot(key.publicKey) ? "put another root in its place: capsule keys rotate root"
                                : "somebody above it can revoke it and keep what was honest: capsule keys revoke; make a new key and ask for a new grant")
        }
        let last = try lastFact(by: key.publicKey), seq = (last?.seq ?? 0) + 1, seqMax = authorities.grants.seqMax(of: author)
        guard seq <= seqMax else {
            throw MeshError(.factLimit, "this key has signed \(seqMax) facts, which is all it may", hint: "make a new key and have it granted the same roles: capsule keys rotate")
        }
        let envelope = Fact.sign(kind: kind, subject: subject, body: body, mesh: charter.meshID, seq: seq, prev: last?.id, at: clock.now, until: until, by: key)
        let fact = try Fact(parsing: envelope, mesh: charter.meshID)
        if let refused = try admit([fact], []).refused.first { throw refused }
        return fact
    }

    public func grant(_ role: Role, scope: [Glob], to key: PublicKey, by issuer: SigningKey) throws(MeshError) -> Fact {
        guard let subject = key.subject else { throw MeshError(.factInvalid, "a grant needs a key") }
        var body: [String: JSONValue] = ["role": .string(role.rawValue)]
        if !scope.isEmpty { body["scope"] = .array(scope.map { .string($0.description) }) }
        return try publish(kind: "grant", subject: subject, body: body, by: issuer)
    }

    /// - Parameter security: final; nothing takes it back, not even that the key turns out to be stolen.
    public func withdraw(_ capsule: Digest, name: CapsuleName, reason: String, security: Bool, by key: SigningKey) throws(MeshError) -> Fact {
        var body: [String: JSONValue] = ["name": .string(name.description), "reason": .string(reason)]
        if security { body["security"] = true }
        return try publish(kind: "withdraw", subject: capsule, body: body, by: key)
    }

    /// Points a channel to a release; its place is one above the highest that counts.
    ///
    /// - Parameters:
    ///   - newEpoch: sets aside whatever was said of the channel before, whoever has run ahead with it; a root's to do.
    ///   - until: the channel is stale after this, unless more is said before.
    /// - Throws: `channel_invalid`, `withdrawn`, `release_not_found`, `contested`, `not_granted`.
    public func set(_ channel: String, of name: CapsuleName, to capsule: Digest, newEpoch: Bool = false, until: Milliseconds? = nil, by key: SigningKey) throws(MeshError) -> Fact {
        guard Self.isChannelName(channel) else {
            throw MeshError(.channelInvalid, "“\(channel)” is not a channel", hint: "a channel begins with a letter and has lower-case letters, digits, dots and dashes: stable, beta-2")
        }
        let view = try view(of: name)
        if let withdrawal = view.withdrawals.first(where: { $0.capsule == capsule }) { throw Self.withdrawn(withdrawal) }
        guard let release = view.releases.first(where: { $0.capsule == capsule }) else {
            throw MeshError(.releaseNotFound, "\(capsule) is no release of \(name)", hint: "release it first: capsule release \(capsule)")
        }
        guard !release.contested else {
            throw MeshError(.contested, "\(name)@\(release.version) is contested", hint: "release another version, or have somebody above its publisher decide")
        }
        let last = view.channels.first { $0.channel == channel }
        if newEpoch, !authorities.isRoot(key.publicKey) {
            throw MeshError(.notGranted, "a new epoch is a root's to open", hint: "sign with a root key: --key root")
        }
        let epoch = (last?.epoch ?? 0) + (newEpoch ? 1 : 0), ver = newEpoch ? 1 : (last?.ver ?? 0) + 1
        guard UInt64(ver) <= Limits.jsonIntegerMax, UInt64(epoch) <= Limits.jsonIntegerMax else {
            throw MeshError(.factLimit, "the channel \(name)@\(channel) has been run to its end", hint: "a root opens a new epoch: capsule channel set \(name)@\(channel) REF --new-epoch --key root")
        }
        return try publish(kind: "channel", subject: capsule, body: [
            "name": .string(name.description), "channel": .string(channel), "epoch": JSONValue(epoch), "ver": JSONValue(ver),
        ], until: until, by: key)
    }

    /// Takes a key's word away, for good. What it said up to `keep` still counts; without it, up to what is known here now.
    ///
    /// - Throws: `member_unknown`, `fact_not_found` (`keep` is none of the key's), `not_granted`.
    public func revoke(_ id: KeyID, keep: Digest?, reason: String, by key: SigningKey) throws(MeshError) -> Fact {
        guard let known = authors[id.digest]?.key ?? charter.roots.first(where: { $0.id == id }) else {
            guard authorities.everGranted.isKnown(id.digest) else { throw MeshError(.memberUnknown, "nobody in this mesh has the key \(id.short)", hint: "`capsule catalog show` lists the keys") }
            return try publish(kind: "revoke", subject: id.digest, body: ["reason": .string(reason)], by: key)
        }
        var body: [String: JSONValue] = ["reason": .string(reason)]
        if known != key.publicKey {
            if let keep {
                guard try fact(keep)?.author == known else { throw MeshError(.factNotFound, "\(keep) is no fact of the key \(id.short)", hint: "`capsule catalog show --author \(id.short)` lists them") }
                body["keep"] = .string(keep.hex)
            } else if let last = try lastFact(by: known) {
                body["keep"] = .string(last.id.hex)
            }
        }
        return try publish(kind: "revoke", subject: id.digest, body: body, by: key)
    }

    /// Another key takes the place of `old`, with all that it was granted.
    public func succeed(_ old: SigningKey, by new: SigningKey) throws(MeshError) -> Fact {
        let proof = new.sign(Fact.successionMessage(from: old.publicKey, to: new.publicKey, in: meshID))
        return try publish(kind: Fact.successorKind, subject: new.publicKey.subject, body: ["key": .string(new.publicKey.hex), "proof": .string(Base64.encode(proof))], by: old)
    }

    private static func requirePermission(_ kind: String, _ subject: Digest, _ body: [String: JSONValue], _ author: Digest, _ authorities: Authorities, _ charter: Charter) throws(MeshError) {
        func refuse(_ what: String, _ hint: String) -> MeshError { MeshError(.notGranted, "this key may not \(what) in this mesh", hint: hint) }
        guard authorities.revocations.kept[author] == nil else { throw refuse("say anything more: it was revoked", "make a new key and ask for a grant") }
        switch kind {
        case "grant":
            guard charter.contested.isEmpty else {
                throw MeshError(.charterContested, "two charters contradict each other, so nothing is granted", hint: "the roots sign one that sets both aside: capsule catalog verify says more", details: charter.contested.map(\.description))
            }
            let role = body["role"]?.string.flatMap(Role.init(rawValue:)) ?? .member
            let scope = (body["scope"]?.array ?? []).compactMap(\.string).map(Glob.init)
            guard authorities.grants.mayGrant(role, scope, issuer: author) else {
                throw refuse("grant the role \(role.rawValue)\(scope.isEmpty ? "" : " for \(scope.map(\.description).joined(separator: ", "))")",
                             "it needs the roles grantor and \(role.rawValue) itself, in that scope; ask a root or a grantor who has them")
            }
            guard body["seqMax"] == nil || authorities.grants.isRoot(author) else { throw refuse("raise how many facts a key may sign", "ask a root") }
        case "revoke":
            guard !charter.roots.contains(where: { $0.subject == subject }) else {
                throw MeshError(.notGranted, "a root cannot be revoked", hint: "sign a charter without it: capsule keys rotate")
            }
            guard subject == author || authorities.everGranted.ancestors(of: subject).contains(author) else {
                throw refuse("revoke that one", "ask a root, or somebody in the chain of grants above it")
            }
        case "release", "withdraw", "channel":
            let name = body["name"]?.string ?? ""
            guard authorities.grants.mayPublish(name, author) else {
                throw refuse("publish “\(name)”", "ask a grantor of the mesh: capsule keys trust KEY.pub --role publisher --scope \(name)")
            }
        case "rebuilt", "rebuild-commit":
            guard authorities.roles(of: author)[.builder] != nil else { throw refuse("vouch for builds", "ask a grantor of the mesh: capsule keys trust KEY.pub --role builder") }
        case Fact.successorKind:
            guard !authorities.grants.isRoot(author) else { throw refuse("be succeeded: it is a root", "roots change by a new charter: capsule keys rotate --root") }
            guard authorities.grants.isKnown(author) else { throw refuse("say anything", "ask a member for an invitation") }
        default:
            guard authorities.grants.isKnown(author) else { throw refuse("say anything", "ask a member for an invitation") }
        }
    }
}
