public import Catalog
internal import Discovery
public import MeshCore
internal import Signing

extension PeerExchange {
    /// A one-time text, good for 24 hours, that this node alone redeems. Whoever holds it may join: give it to one person.
    ///
    /// - Parameters:
    ///   - roles: what the newcomer gets besides member; empty: publisher of names that begin with its node's name.
    ///   - scope: names that it may release, as a publisher; empty: as above.
    /// - Throws: `not_granted` when this node may not grant that.
    public func invite(roles: [Role], scope: [Glob]) async throws(MeshError) -> String {
        let issuer = issuer
        let made = try await offEventLoops { () throws(MeshError) in try issuer.issue(roles: roles, scope: scope) }
        return Invitation(issuer: key.publicKey, mesh: catalog.meshID, secret: made.secret, expires: made.expires, roles: made.roles,
                          addresses: reachableAddresses).text
    }

    /// Joins the mesh that an invitation is for; it takes the place of this home's mesh, all at once or not at all.
    ///
    /// - Parameter leavingReleases: goes on although this node has released capsules in the mesh that it leaves.
    /// - Returns: the mesh id.
    /// - Throws: `invitation_…`, `already_joined`, `home_has_releases`, `pairing_paused`, or why the issuer cannot be reached.
    public func join(invitation text: String, leavingReleases: Bool = false) async throws(MeshError) -> Digest {
        let invitation = try Invitation(parsing: text)
        guard invitation.issuer != key.publicKey else {
            throw MeshError(.alreadyJoined, "this node issued the invitation itself", hint: "give the text to the node that is to join")
        }
        guard invitation.mesh != catalog.meshID else {
            throw MeshError(.alreadyJoined, "this node belongs to the mesh \(invitation.mesh.meshPrefix) already", hint: "nothing to do; `capsule peers` shows the others")
        }
        let catalog = catalog, own = key.publicKey
        if !leavingReleases, try await offEventLoops({ () throws(MeshError) in try catalog.hasOwnReleases(by: own) }) {
            throw MeshError(.homeHasReleases, "this home has released capsules in the mesh that it would leave", hint: "join from a new home (--home), and release them there anew")
        }
        let client = PeerClient(identity: try identity, expecting: invitation.issuer.id, addresses: invitation.addresses)
        do throws(MeshError) {
            let charter = try await redeem(invitation, with: client)
            let facts = try await allFacts(from: client)
            try await offEventLoops { () throws(MeshError) in try catalog.replaceMesh(charter: charter, facts: facts) }
            await client.closeAll()
        } catch {
            await client.closeAll()
            throw error
        }
        neighbours.note(.seen(Sighting(nodeID: invitation.issuer.id, mesh: invitation.mesh.meshPrefix, addresses: invitation.addresses, source: .lastKnown)))
        neighbours.ringAll()
        events(NodeEvent(source: "exchange", type: "mesh.joined", data: ["mesh": .string(invitation.mesh.hex), "issuer": .string(invitation.issuer.id.hex)]))
        return invitation.mesh
    }

    /// The pairing protocol from the joining side; the charter, once the issuer has proved the secret too.
    private func redeem(_ invitation: Invitation, with client: PeerClient) async throws(MeshError) -> [UInt8] {
        let nonce = randomBytes(PairingTranscript.nonceBytes)
        let begun = try Self.document(in: try await client.pair([
            "step": "begin", "invitation": .string(invitation.id), "nonce": .string(Hex.encode(nonce)),
        ]))
        guard let issuerNonce = begun["nonce"]?.string.flatMap({ Hex.decode($0) }), issuerNonce.count == PairingTranscript.nonceBytes else {
            throw Frames.broken("no nonce in answer to a pairing")
        }
        let transcript = PairingTranscript(mesh: invitation.mesh, issuer: invitation.issuer, joiner: key.publicKey, joinerNonce: nonce, issuerNonce: issuerNonce)
        let proved = try Self.document(in: try await client.pair([
            "step": "prove", "invitation": .string(invitation.id), "name": .string(name),
            "proof": .string(Hex.encode(transcript.joinerProof(secret: invitation.secret))),
        ]))
        guard let proof = proved["proof"]?.string.flatMap({ Hex.decode($0) }),
              constantTimeEqual(proof, transcript.issuerProof(secret: invitation.secret)) else {
            throw MeshError(.invitationRefused, "the issuer did not prove that it made this invitation", hint: "ask for a new one, face to face if you can")
        }
        guard let bytes = proved["charter"]?.string.flatMap({ Base64.decode($0) }), try Charter(parsing: bytes).meshID == invitation.mesh else {
            throw MeshError(.otherMesh, "the issuer gave the charter of another mesh than the invitation is for", hint: "ask for a new invitation")
        }
        return bytes
    }

    private func allFacts(from client: PeerClient) async throws(MeshError) -> [[UInt8]] {
        var rest = Set(try await client.factIDs(countMax: Limits.factIDsMax))
        var facts: [[UInt8]] = []
        while !rest.isEmpty {
            let envelopes = try await client.facts(rest.prefix(Limits.factsPerMessageMax))
            guard !envelopes.isEmpty else { throw Frames.broken("none of the facts that were asked for") }
            for envelope in envelopes {
                guard rest.remove(try Envelope(parsing: envelope).contentID) != nil else { throw Frames.broken("a fact that was not asked for") }
            }
            facts += envelopes
        }
        return facts
    }

    private static func document(in answer: PeerAnswer) throws(MeshError) -> JSONValue {
        let document = (try? JSONValue.parse(answer.body)) ?? .null
        if answer.status == 200 { return document }
        switch document["error"]?.string {
        case "refused":
            throw MeshError(.invitationRefused, "the issuer does not know this invitation", hint: "it may have left that mesh, or the text was altered; ask for a new one")
        case "expired":
            throw MeshError(.invitationExpired, "this invitation has expired", hint: "it was good for \(Limits.invitationHoursValid) hours; ask for a new one")
        case "used":
            throw MeshError(.invitationUsed, "this invitation was used already, by another node", hint: "ask for a new one; if nobody else should have had it, say so to the issuer")
        case "issuer_not_permitted":
            throw MeshError(.invitationRefused, "the issuer may no longer invite", hint: "ask another node for an invitation")
        case "paused":
            throw MeshError(.pairingPaused, "the issuer pauses after too many wrong tries from this address", hint: "try again in \(Limits.pairingPauseSeconds) seconds")
        default:
            throw MeshError(.peerMisbehaved, "the issuer answered with HTTP status \(answer.status)", hint: "try again; it may run another version")
        }
    }
}
