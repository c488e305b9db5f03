internal import Catalog
internal import Discovery
package import MeshCore
internal import Signing
internal import Synchronization

/// The issuing side of an invitation: makes them, and redeems each once, for whoever proves the secret first.
final class InvitationIssuer: Sendable {
    struct Reply: Sendable {
        let status: Int
        let body: JSONValue

        static func refused(_ reason: String, status: Int = 403) -> Reply { Reply(status: status, body: ["error": .string(reason)]) }
    }

    private struct State {
        var conversations: [KeyID: Conversation] = [:]
        var tries = TryLimiter()
    }

    private struct Conversation {
        let joinerNonce: [UInt8]
        let issuerNonce: [UInt8]
        let begun: Milliseconds
    }

    private static let conversationsMax = 64
    private static let conversationMilliseconds: Milliseconds = 60_000

    private let journal: InvitationJournal
    private let key: SigningKey
    private let catalog: Catalog
    private let clock: any WallClock
    private let events: EventSink
    private let state = Mutex(State())
    /// Held over every read-and-write of the journal.
    private let redeeming = Mutex(())

    init(home: HomeLayout, key: SigningKey, catalog: Catalog, clock: any WallClock, events: @escaping EventSink) {
        journal = InvitationJournal(home: home)
        self.key = key
        self.catalog = catalog
        self.clock = clock
        self.events = events
    }

    /// Journals a new secret for these roles. `not_granted` when this node may not grant them.
    func issue(roles: [Role], scope: [Glob]) throws(MeshError) -> (secret: [UInt8], expires: Milliseconds, roles: [Role]) {
        let own = try catalog.roles(of: key.publicKey)
        let granted: [Role] = [.member] + (roles.isEmpty ? [.publisher] : roles.filter { $0 != .member })
        guard own[.grantor] != nil else { throw Self.notGranted("this node may not invite", "ask a node with the grantor role to invite, or to grant it to this one") }
        for role in roles where own[role] == nil {
            throw Self.notGranted("this node may not grant the role \(role.rawValue), which it does not hold", "a node grants only roles that it holds itself")
        }
        for glob in scope where glob.matchesEverything || !(own[.publisher] ?? []).contains(where: { $0.covers(glob) }) {
            throw Self.notGranted("this node may not grant releases of \(glob)", "its own scope does not cover that, or it is all names, which only a root key grants")
        }
        let secret = randomBytes(Invitation.secretBytes)
        let expires = clock.now + Milliseconds(Limits.invitationHoursValid) * 3600 * 1000
        let record = InvitationJournal.Record(id: Invitation.id(of: secret), secret: secret, roles: granted, scope: scope, expires: expires, redeemedBy: nil)
        let result: Result<Void, MeshError> = redeeming.withLock { _ in Result { () throws(MeshError) in try journal.add(record, now: clock.now) } }
        try result.get()
        return (secret, expires, granted)
    }

    /// One message of the pairing protocol (docs/formats/exchange.md), from a peer whose key TLS proved.
    func answer(_ message: JSONValue, from joiner: PublicKey, at address: String) async -> Reply {
        let now = clock.now
        guard state.withLock({ $0.tries.allows(address, now: now) }) else { return .refused("paused", status: 429) }
        guard let step = message["step"]?.string, let id = message["invitation"]?.string else { return .refused("malformed", status: 400) }
        switch step {
        case "begin":
            guard let nonce = message["nonce"]?.string.flatMap({ Hex.decode($0) }), nonce.count == PairingTranscript.nonceBytes else {
                return .refused("malformed", status: 400)
            }
            let own = randomBytes(PairingTranscript.nonceBytes)
            state.withLock { state in
                state.conversations = state.conversations.filter { now - $0.value.begun < Self.conversationMilliseconds }
                if state.conversations.count >= Self.conversationsMax, let oldest = state.conversations.min(by: { $0.value.begun < $1.value.begun }) {
                    state.conversations[oldest.key] = nil
                }
                state.conversations[joiner.id] = Conversation(joinerNonce: nonce, issuerNonce: own, begun: now)
            }
            return Reply(status: 200, body: ["nonce": .string(Hex.encode(own))])
        case "prove":
            guard let proof = message["proof"]?.string.flatMap({ Hex.decode($0) }), let name = message["name"]?.string,
                  let conversation = state.withLock({ $0.conversations.removeValue(forKey: joiner.id) }) else { return .refused("malformed", status: 400) }
            let transcript = PairingTranscript(mesh: catalog.meshID, issuer: key.publicKey, joiner: joiner, joinerNonce: conversation.joinerNonce,
                                               issuerNonce: conversation.issuerNonce)
            let reply = try? await offEventLoops { () throws(MeshError) in try self.redeem(id, transcript, proof, name: displayName(Array(name.utf8)) ?? "", at: address) }
            return reply ?? .refused("failed", status: 500)
        default:
            return .refused("malformed", status: 400)
        }
    }

    private func redeem(_ id: String, _ transcript: PairingTranscript, _ proof: [UInt8], name: String, at address: String) throws(MeshError) -> Reply {
        let result: Result<Reply, MeshError> = redeeming.withLock { _ in
            Result { () throws(MeshError) in try redeemAlone(id, transcript, proof, name: name, at: address) }
        }
        return try result.get()
    }

    private func redeemAlone(_ id: String, _ transcript: PairingTranscript, _ proof: [UInt8], name: String, at address: String) throws(MeshError) -> Reply {
        let now = clock.now
        var records = try journal.read(now: now)
        guard let place = records.firstIndex(where: { $0.id == id }), constantTimeEqual(transcript.joinerProof(secret: records[place].secret), proof) else {
            state.withLock { $0.tries.failed(address, now: now) }
            events(NodeEvent(source: "exchange", type: "pair.refused", data: ["node": .string(transcript.joiner.id.hex), "address": .string(address)]))
            return .refused("refused")
        }
        let record = records[place]
        // The same key may come again: its first answer may have been lost on the way.
        guard record.redeemedBy == nil || record.redeemedBy == transcript.joiner else { return .refused("used", status: 410) }
        guard record.expires > now else { return .refused("expired", status: 410) }
        let own = try catalog.roles(of: key.publicKey)
        guard own[.grantor] != nil else { return .refused("issuer_not_permitted") }
        if record.redeemedBy == nil {
            records[place].redeemedBy = transcript.joiner
            try journal.write(records)
        }
        let roles = try grant(record, to: transcript.joiner, named: name, own: own)
        guard !roles.isEmpty else { return .refused("issuer_not_permitted") }
        events(NodeEvent(source: "exchange", type: "pair.joined", data: ["node": .string(transcript.joiner.id.hex), "name": .string(name),
                                                                        "roles": .array(roles.map { .string($0.rawValue) })]))
        return Reply(status: 200, body: [
            "charter": .string(Base64.encode(catalog.charter.bytes)), "proof": .string(Hex.encode(transcript.issuerProof(secret: record.secret))),
            "roles": .array(roles.map { .string($0.rawValue) }),
        ])
    }

    /// Grants what of the invitation is not granted yet and this node can give; the roles that the joiner then has of it.
    private func grant(_ record: InvitationJournal.Record, to joiner: PublicKey, named name: String, own: [Role: [Glob]]) throws(MeshError) -> [Role] {
        let held = try catalog.roles(of: joiner)
        var roles: [Role] = []
        for role in record.roles {
            var scope: [Glob] = []
            if role == .publisher {
                scope = record.scope.isEmpty ? PublisherScope.own(of: name) : record.scope
                guard !scope.isEmpty, scope.allSatisfy({ glob in (own[.publisher] ?? []).contains { $0.covers(glob) } }) else { continue }
            }
            guard own[role] != nil else { continue }
            do throws(MeshError) {
                if held[role] == nil { _ = try catalog.grant(role, scope: scope, to: joiner, by: key) }
                roles.append(role)
            } catch {
                // This node's own chain is as long as chains may be, or was cut meanwhile.
                guard error.code == .notGranted else { throw error }
            }
        }
        return roles
    }

    private static func notGranted(_ message: String, _ hint: String) -> MeshError { MeshError(.notGranted, message, hint: hint) }
}

/// The names that a newcomer may release by itself: those that begin with its node's name and a dash.
package enum PublisherScope {
    package static func own(of nodeName: String) -> [Glob] {
        var slug = ""
        for byte in nodeName.lowercased().utf8 {
            let isPlain = (0x61...0x7a).contains(byte) || (0x30...0x39).contains(byte)
            if isPlain { slug.unicodeScalars.append(Unicode.Scalar(byte)) } else if !slug.isEmpty, !slug.hasSuffix("-") { slug += "-" }
        }
        while slug.hasSuffix("-") { slug.removeLast() }
        // A name cannot begin with a digit, and must leave room for what follows the dash.
        guard let first = slug.utf8.first, (0x61...0x7a).contains(first), slug.utf8.count <= 61 else { return [] }
        return [Glob(slug + "-*")]
    }
}

/// Wrong tries by address: after three, that address pauses. Bounded; when full of pausing addresses, all others pause too.
package struct TryLimiter: Sendable {
    package init() {}

    private var tries: [String: (count: Int, last: Milliseconds)] = [:]
    private static let pause: Milliseconds = Milliseconds(Limits.pairingPauseSeconds) * 1000

    package func allows(_ address: String, now: Milliseconds) -> Bool {
        guard let entry = tries[address], now - entry.last < Self.pause else { return tries.count < Limits.peersMax }
        return entry.count < Limits.pairingTriesMax
    }

    package mutating func failed(_ address: String, now: Milliseconds) {
        tries = tries.filter { now - $0.value.last < Self.pause }
        tries[address] = ((tries[address]?.count ?? 0) + 1, now)
    }
}
