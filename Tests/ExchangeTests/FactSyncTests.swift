import Catalog
import Exchange
import MeshCore
import Signing
import TestSupport
import Testing

@Suite(.serialized) struct FactSyncTests {
    private func release(_ name: String, by node: TestNode) throws -> Digest {
        let capsule = Digest.of(Array(name.utf8))
        _ = try node.catalog.publish(kind: "release", subject: capsule, body: ["name": .string(name), "version": "1.0.0"], by: node.key)
        return capsule
    }

    @Test func newsTravelBothWaysAtOnce() async throws {
        try await withDirectory { directory in
            let ada = try TestNode("ada", in: directory), bob = try TestNode("bob", in: directory)
            try await running([ada, bob]) {
                _ = try await bob.exchange.join(invitation: try await ada.exchange.invite(roles: [], scope: []))
                _ = await bob.peer(ada, becomes: "connected")
                _ = await ada.peer(bob, becomes: "connected")
                let site = try release("site", by: ada)
                // Well before the next round of 15 s.
                #expect(await bob.log.first("facts.received", within: .seconds(5)) != nil)
                #expect(try bob.catalog.releases(matching: nil).map(\.capsule) == [site])
                let own = try release("bob-tool", by: bob)
                #expect(await ada.log.first("facts.received", within: .seconds(5)) != nil)
                #expect(Set(try ada.catalog.releases(matching: nil).map(\.capsule)) == [site, own])
                #expect(ada.catalog.root == bob.catalog.root)
            }
        }
    }

    /// Two that know the same find that out in 200 bytes, as the kernel counts them, TLS included.
    @Test func whoKnowsTheSameSaysLittle() async throws {
        func bytes(to port: Int) throws -> Int {
            let sockets = try Shell.run("ss", ["-tinH", "dport = :\(port)"])
            return sockets.output.matches(of: /bytes_(?:sent|received):(\d+)/).reduce(0) { $0 + (Int($1.1) ?? 0) }
        }
        try await withDirectory { directory in
            let ada = try TestNode("ada", in: directory), bob = try TestNode("bob", in: directory)
            try await running([ada, bob]) {
                _ = try await bob.exchange.join(invitation: try await ada.exchange.invite(roles: [], scope: []))
                #expect(await bob.connected(to: ada.id))
                _ = try release("site", by: ada)
                _ = try await bob.exchange.syncNow(ada.id)
                #expect(ada.catalog.root == bob.catalog.root)
                // Either of them may have something else to say at the moment.
                var said: [Int] = []
                for _ in 0..<5 {
                    let before = try bytes(to: ada.port)
                    #expect(try await bob.exchange.syncNow(ada.id) == 0)
                    said.append(try bytes(to: ada.port) - before)
                }
                #expect(said.contains { (1...200).contains($0) }, "\(said)")
                // News is noticed all the same.
                _ = try release("site-2", by: ada)
                _ = try await bob.exchange.syncNow(ada.id)
                #expect(ada.catalog.root == bob.catalog.root && ada.catalog.stateDigest == bob.catalog.stateDigest)
            }
        }
    }

    @Test func newsTravelThroughAnother() async throws {
        try await withDirectory { directory in
            let ada = try TestNode("ada", in: directory), bob = try TestNode("bob", in: directory), carl = try TestNode("carl", in: directory)
            let (invitation, site) = try await running([ada, bob]) {
                _ = try await bob.exchange.join(invitation: try await ada.exchange.invite(roles: [.grantor], scope: []))
                let site = try release("site", by: ada)
                _ = try await bob.exchange.syncNow(ada.id)
                return (try await bob.exchange.invite(roles: [], scope: []), site)
            }
            // Ada is gone; bob, restarted elsewhere, hands her release on.
            try await running([bob, carl]) {
                let old = try Invitation(parsing: invitation)
                let moved = Invitation(issuer: old.issuer, mesh: old.mesh, secret: old.secret, expires: old.expires, roles: old.roles, addresses: [try bob.address()])
                _ = try await carl.exchange.join(invitation: moved.text)
                #expect(try carl.catalog.releases(matching: nil).map(\.capsule) == [site])
            }
        }
    }

    /// Its grant has not reached carl, who nevertheless finds it among its facts.
    @Test func aMemberNobodyHereHasHeardOfIsFoundOut() async throws {
        try await withDirectory { directory in
            let ada = try TestNode("ada", in: directory), bob = try TestNode("bob", in: directory), carl = try TestNode("carl", in: directory)
            try await running([ada]) { _ = try await carl.exchange.join(invitation: try await ada.exchange.invite(roles: [], scope: [])) }
            try await running([ada]) { _ = try await bob.exchange.join(invitation: try await ada.exchange.invite(roles: [], scope: [])) }
            #expect(try !carl.catalog.isMember(bob.key.publicKey))
            try await running([bob, carl]) {
                try carl.sight(bob)
                #expect(await carl.peer(bob, becomes: "connected")?.state == "connected")
                #expect(try carl.catalog.isMember(bob.key.publicKey))
                #expect(carl.catalog.root == bob.catalog.root)
            }
        }
    }

    @Test func manyFactsNeedSeveralMessages() async throws {
        try await withDirectory { directory in
            let ada = try TestNode("ada", in: directory), bob = try TestNode("bob", in: directory)
            try await running([ada, bob]) {
                _ = try await bob.exchange.join(invitation: try await ada.exchange.invite(roles: [], scope: []))
                // Longer together than one frame.
                let notes = String(repeating: "news ", count: 1800)
                try await offEventLoops { () throws(MeshError) in
                    for i in 0..<100 {
                        _ = try ada.catalog.publish(kind: "release", subject: Digest.of(Array("\(i)".utf8)),
                                                    body: ["name": .string("site-\(i)"), "version": "1.0.0", "notes": .string(notes)], by: ada.key)
                    }
                }
                _ = try await bob.exchange.syncNow(ada.id)
                #expect(bob.catalog.root == ada.catalog.root)
                #expect(try bob.catalog.releases(matching: nil).count == 100)
                #expect(try await bob.exchange.syncNow(nil) == 0)
            }
        }
    }

    @Test func anotherMeshIsLeftAlone() async throws {
        try await withDirectory { directory in
            let ada = try TestNode("ada", in: directory), eve = try TestNode("eve", in: directory)
            try await running([ada, eve]) {
                try ada.sight(eve)
                let status = try #require(await ada.peer(eve, becomes: "other-mesh"))
                #expect(status.state == "other-mesh")
                #expect(status.why == "it belongs to the mesh \(eve.catalog.meshID.hex.prefix(16))")
                #expect(await MeshError.code { _ = try await ada.exchange.syncNow(eve.id) } == "other_mesh")
            }
        }
    }

    @Test func whoDoesNotKnowThisNodeAsAMemberIsReachableOnly() async throws {
        try await withDirectory { directory in
            let ada = try TestNode("ada", in: directory), eve = try TestNode("eve", in: directory)
            try await running([ada, eve]) {
                // A written peer: no mesh is announced, and no id.
                try Files.writeDurably(Array(#"{"addresses":["127.0.0.1:\#(eve.port)"]}"#.utf8), to: ada.home.peers + "/eve.json")
                _ = try? await ada.exchange.syncNow(nil)
                let status = try #require(await ada.exchange.peers().first)
                #expect(status.nodeID == eve.id)
                #expect(status.state == "reachable")
                #expect(status.via == ["written"])
                #expect(status.why?.hasPrefix("the peer does not know this node as a member of its mesh") == true)
            }
        }
    }

    @Test func peersAreRememberedOverARestart() async throws {
        try await withDirectory { directory in
            let ada = try TestNode("ada", in: directory), bob = try TestNode("bob", in: directory)
            try await running([ada, bob]) {
                _ = try await bob.exchange.join(invitation: try await ada.exchange.invite(roles: [], scope: []))
                #expect(await bob.peer(ada, becomes: "connected")?.state == "connected")
                let reborn = PeerExchange(home: bob.home, key: bob.key, name: "bob", store: bob.store, catalog: bob.catalog, clock: TestClock()) { _ in }
                let known = try #require(await reborn.peers().first)
                #expect(known.nodeID == ada.id)
                #expect(known.via == ["lastKnown"])
                #expect(known.name == "ada")
                _ = try await reborn.syncNow(ada.id)
                #expect(await reborn.peers().first?.state == "connected")
            }
        }
    }
}
