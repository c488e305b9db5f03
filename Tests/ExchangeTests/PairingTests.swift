import Catalog
import Discovery
import Exchange
import MeshCore
import Signing
import Testing

@Suite(.serialized) struct PairingTests {
    @Test func joiningBringsTheMeshItsFactsAndRoles() async throws {
        try await withDirectory { directory in
            let ada = try TestNode("ada", in: directory), bob = try TestNode("Bob's laptop", in: directory)
            let capsule = Digest.of([1])
            _ = try ada.catalog.publish(kind: "release", subject: capsule, body: ["name": "site", "version": "1.0.0"], by: ada.key)
            try await running([ada, bob]) {
                let text = try await ada.exchange.invite(roles: [], scope: [])
                #expect(try await bob.exchange.join(invitation: text) == ada.catalog.meshID)
                #expect(bob.catalog.meshID == ada.catalog.meshID)
                #expect(bob.catalog.root == ada.catalog.root)
                #expect(try bob.catalog.roles(of: bob.key.publicKey) == [.member: [], .publisher: [Glob("bob-s-laptop-*")]])
                #expect(try bob.catalog.releases(matching: nil).map(\.capsule) == [capsule])
                // Both reach each other from then on, although nothing announced either.
                #expect(await bob.peer(ada, becomes: "connected")?.state == "connected")
                #expect(await ada.peer(bob, becomes: "connected")?.state == "connected")
            }
        }
    }

    @Test func anInvitationIsGoodOnce() async throws {
        try await withDirectory { directory in
            let ada = try TestNode("ada", in: directory), bob = try TestNode("bob", in: directory), eve = try TestNode("eve", in: directory)
            try await running([ada]) {
                let text = try await ada.exchange.invite(roles: [], scope: [])
                _ = try await bob.exchange.join(invitation: text)
                let before = eve.catalog.meshID
                #expect(await MeshError.code { _ = try await eve.exchange.join(invitation: text) } == "invitation_used")
                #expect(eve.catalog.meshID == before)
                #expect(try !ada.catalog.isMember(eve.key.publicKey))
                #expect(await MeshError.code { _ = try await bob.exchange.join(invitation: text) } == "already_joined")
            }
        }
    }

    @Test func aRedemptionIsRememberedByARestartedIssuerAndRepeatedForTheSameKeyOnly() async throws {
        try await withDirectory { directory in
            let ada = try TestNode("ada", in: directory), bob = try TestNode("bob", in: directory)
            let text = try await running([ada]) {
                let text = try await ada.exchange.invite(roles: [], scope: [])
                _ = try await bob.exchange.join(invitation: text)
                return text
            }
            let facts = ada.catalog.count
            // The port is another one now: the invitation is asked for at the new address.
            let again = try TestNode("ada-again", in: directory, key: ada.key)
            try Files.removeTree(again.home.state)
            try Files.rename(ada.home.state, again.home.state)
            try again.catalog.replaceMesh(charter: ada.catalog.charter.bytes, facts: try ada.catalog.facts(try ada.catalog.factIDs()))
            let bobReborn = try TestNode("bob-again", in: directory, key: bob.key), eve = try TestNode("eve", in: directory)
            try await running([again]) {
                let old = try Invitation(parsing: text)
                let moved = Invitation(issuer: old.issuer, mesh: old.mesh, secret: old.secret, expires: old.expires, roles: old.roles, addresses: [try again.address()]).text
                #expect(await MeshError.code { _ = try await eve.exchange.join(invitation: moved) } == "invitation_used")
                // His first answer might have been lost: the same key gets the same again, and no second grant.
                _ = try await bobReborn.exchange.join(invitation: moved)
                #expect(again.catalog.count == facts)
                #expect(bobReborn.catalog.root == ada.catalog.root)
            }
        }
    }

    @Test func anInvitationExpires() async throws {
        try await withDirectory { directory in
            let clock = TestClock()
            let ada = try TestNode("ada", in: directory, clock: clock), bob = try TestNode("bob", in: directory), carl = try TestNode("carl", in: directory)
            try await running([ada]) {
                let text = try await ada.exchange.invite(roles: [], scope: [])
                clock.advance(24 * 3600 * 1000 - 1)
                _ = try await bob.exchange.join(invitation: text)
                let later = try await ada.exchange.invite(roles: [], scope: [])
                clock.advance(24 * 3600 * 1000)
                #expect(await MeshError.code { _ = try await carl.exchange.join(invitation: later) } == "invitation_expired")
                #expect(try !ada.catalog.isMember(carl.key.publicKey))
            }
        }
    }

    @Test func aWrongSecretIsRefusedAndThriceIsEnough() async throws {
        try await withDirectory { directory in
            let clock = TestClock()
            let ada = try TestNode("ada", in: directory, clock: clock), bob = try TestNode("bob", in: directory)
            try await running([ada]) {
                let text = try await ada.exchange.invite(roles: [], scope: [])
                let right = try Invitation(parsing: text)
                for _ in 0..<Limits.pairingTriesMax {
                    let wrong = Invitation(issuer: right.issuer, mesh: right.mesh, secret: randomBytes(16), expires: right.expires, roles: right.roles, addresses: right.addresses)
                    #expect(await MeshError.code { _ = try await bob.exchange.join(invitation: wrong.text) } == "invitation_refused")
                }
                #expect(await MeshError.code { _ = try await bob.exchange.join(invitation: text) } == "pairing_paused")
                clock.advance(Milliseconds(Limits.pairingPauseSeconds) * 1000)
                _ = try await bob.exchange.join(invitation: text)
                #expect(try ada.catalog.isMember(bob.key.publicKey))
            }
        }
    }

    /// The id alone, which goes over the wire, is not enough.
    @Test func theRightIdWithAWrongProofIsRefused() async throws {
        try await withDirectory { directory in
            let ada = try TestNode("ada", in: directory), eve = try TestNode("eve", in: directory)
            try await running([ada]) {
                let invitation = try Invitation(parsing: try await ada.exchange.invite(roles: [], scope: []))
                let client = try eve.client(of: ada)
                let begin: JSONValue = ["step": "begin", "invitation": .string(invitation.id), "nonce": .string(Hex.encode(randomBytes(32)))]
                #expect(try await client.send(PeerRequest(.post, "/mesh/v1/pair", body: begin.canonicalBytes)).answer.status == 200)
                let prove: JSONValue = ["step": "prove", "invitation": .string(invitation.id), "name": "eve", "proof": .string(Hex.encode(randomBytes(32)))]
                let answer = try await client.send(PeerRequest(.post, "/mesh/v1/pair", body: prove.canonicalBytes)).answer
                #expect(answer.status == 403)
                #expect(String(decoding: answer.body, as: UTF8.self) == #"{"error":"refused"}"#)
                // A proof without a conversation, and no sense at all.
                #expect(try await client.send(PeerRequest(.post, "/mesh/v1/pair", body: prove.canonicalBytes)).answer.status == 400)
                #expect(try await client.send(PeerRequest(.post, "/mesh/v1/pair", body: Array("x".utf8))).answer.status == 400)
                #expect(try !ada.catalog.isMember(eve.key.publicKey))
                await client.closeAll()
            }
        }
    }

    @Test func theIssuersKeyIsPinned() async throws {
        try await withDirectory { directory in
            let ada = try TestNode("ada", in: directory), eve = try TestNode("eve", in: directory), bob = try TestNode("bob", in: directory)
            try await running([ada, eve]) {
                let right = try Invitation(parsing: try await ada.exchange.invite(roles: [], scope: []))
                let astray = Invitation(issuer: right.issuer, mesh: right.mesh, secret: right.secret, expires: right.expires, roles: right.roles, addresses: [try eve.address()])
                #expect(await MeshError.code { _ = try await bob.exchange.join(invitation: astray.text) } == "peer_key_mismatch")
            }
        }
    }

    @Test func aHomeWithReleasesAsksFirst() async throws {
        try await withDirectory { directory in
            let ada = try TestNode("ada", in: directory), bob = try TestNode("bob", in: directory)
            _ = try bob.catalog.publish(kind: "release", subject: Digest.of([1]), body: ["name": "site", "version": "1.0.0"], by: bob.key)
            try await running([ada]) {
                let text = try await ada.exchange.invite(roles: [], scope: [])
                #expect(await MeshError.code { _ = try await bob.exchange.join(invitation: text) } == "home_has_releases")
                #expect(try await bob.exchange.join(invitation: text, leavingReleases: true) == ada.catalog.meshID)
            }
        }
    }

    @Test func aGrantorInvitesOthersWithWhatItHolds() async throws {
        try await withDirectory { directory in
            let ada = try TestNode("ada", in: directory), bob = try TestNode("bob", in: directory), carl = try TestNode("carl", in: directory)
            try await running([ada, bob]) {
                _ = try await bob.exchange.join(invitation: try await ada.exchange.invite(roles: [.grantor], scope: []))
                #expect(try bob.catalog.roles(of: bob.key.publicKey) == [.member: [], .grantor: []])
                #expect(await MeshError.code { _ = try await bob.exchange.invite(roles: [.builder], scope: []) } == "not_granted")
                // Publisher is not bob's to give: carl becomes a member.
                _ = try await carl.exchange.join(invitation: try await bob.exchange.invite(roles: [], scope: []))
                #expect(try carl.catalog.roles(of: carl.key.publicKey) == [.member: []])
                #expect(await MeshError.code { _ = try await carl.exchange.invite(roles: [], scope: []) } == "not_granted")
                // Ada, who was not asked, hears of him.
                #expect(await ada.log.first("facts.received") != nil)
                #expect(try ada.catalog.isMember(carl.key.publicKey))
            }
        }
    }
}
