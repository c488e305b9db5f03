import CapsuleFormat
import CapsuleStore
import Catalog
import Discovery
import Exchange
import MeshCore
import Signing
import Synchronization
import Testing

@Suite(.serialized) struct PullTests {
    /// Ada with a packed and released capsule, and bob, who joined her; both running while `body` runs.
    private func withCapsule(files: Int = 12, kibibytes: Int = 300, _ body: (TestNode, TestNode, VerifiedCapsule, String) async throws -> Void) async throws {
        try await withDirectory { directory in
            let ada = try TestNode("ada", in: directory), bob = try TestNode("bob", in: directory)
            let capsule = try await pack(directory, files: files, kibibytes: kibibytes, into: ada)
            _ = try ada.catalog.publish(kind: "release", subject: capsule.digest, body: ["name": "sample", "version": "1.0.0"], by: ada.key)
            try await running([ada, bob]) {
                _ = try await bob.exchange.join(invitation: try await ada.exchange.invite(roles: [.grantor], scope: []))
                try await body(ada, bob, capsule, directory)
            }
        }
    }

    private func pack(_ directory: String, files: Int, kibibytes: Int, into node: TestNode) async throws -> VerifiedCapsule {
        try await offEventLoops { () throws(MeshError) in
            try writeSource(directory + "/source", files: files, kibibytes: kibibytes)
            return try node.store.pack(directory: directory + "/source", options: .init(), progress: nil).capsule
        }
    }

    private func distinct(_ capsule: VerifiedCapsule) -> [ChunkReference] {
        var seen: Set<Digest> = []
        return capsule.tree.chunks.chunks.filter { seen.insert($0.digest).inserted }
    }

    private func bytes(_ chunks: some Sequence<ChunkReference>) -> Int64 { chunks.reduce(0) { $0 + Int64($1.length) } }

    private func expectSame(_ a: TestNode, _ b: TestNode, _ capsule: VerifiedCapsule, _ directory: String) throws {
        for (node, name) in [(a, "a"), (b, "b")] {
            _ = try node.store.restore(try node.store.capsule(capsule.digest).tree, manifest: nil, to: "\(directory)/restored-\(name)")
        }
        #expect(try output(of: "/usr/bin/diff", ["-r", directory + "/restored-a", directory + "/restored-b"]) == "")
        #expect(try Files.names(in: directory + "/restored-b").count == capsule.tree.index.entries.count)
    }

    @Test func aCapsuleComesWhole() async throws {
        try await withCapsule { ada, bob, capsule, directory in
            let seen = Mutex<[(Int64, Int64)]>([])
            let result = try await bob.exchange.pull(capsule.digest, from: nil) { done, all in seen.withLock { $0.append((done, all)) } }
            let all = bytes(distinct(capsule))
            #expect(result.digest == capsule.digest)
            #expect(result.bytesFetched == all)
            #expect(result.bytesReused == 0)
            #expect(result.sources == [ada.id])
            #expect(seen.withLock { $0.last?.0 } == all)
            try bob.store.verifyContents(of: try bob.store.capsule(capsule.digest).tree)
            try expectSame(ada, bob, capsule, directory)
            #expect(await bob.log.first("pull.completed") != nil)
            // Again: nothing to do.
            #expect(try await bob.exchange.pull(capsule.digest, from: ada.id, progress: nil).bytesFetched == 0)
        }
    }

    @Test func documentsThatReferToItComeAlong() async throws {
        try await withCapsule(files: 1, kibibytes: 1) { ada, bob, capsule, _ in
            let statement = Statement(subjects: [.init(name: "sample", digest: capsule.digest)], predicateType: Statement.capsuleSignatureType, predicate: ["author": .string(ada.key.publicKey.hex)])
            let envelope = Envelope.sign(payload: statement.bytes, payloadType: Statement.payloadType, with: ada.key)
            let document = ReferrerDocument(bytes: envelope.bytes, artifactType: "application/vnd.in-toto+json")
            try ada.store.addReferrer(document, to: capsule.digest)
            _ = try await bob.exchange.pull(capsule.digest, from: nil, progress: nil)
            #expect(try bob.store.referrers(of: capsule.digest) == [document])
        }
    }

    @Test func whatIsThereAlreadyIsNotFetchedAgain() async throws {
        try await withCapsule { ada, bob, capsule, directory in
            let some = distinct(capsule).prefix(20)
            try bob.store.addChunks(try some.map { ($0, try ada.store.read(chunk: $0)) })
            let result = try await bob.exchange.pull(capsule.digest, from: nil, progress: nil)
            #expect(result.bytesReused == bytes(some))
            #expect(result.bytesFetched == bytes(distinct(capsule)) - bytes(some))
            try expectSame(ada, bob, capsule, directory)
        }
    }

    @Test func anInterruptedFetchGoesOnFromWhereItWas() async throws {
        try await withCapsule(files: 12, kibibytes: 1024) { ada, bob, capsule, directory in
            let pull = Task { () -> String? in
                await MeshError.code {
                    _ = try await bob.exchange.pull(capsule.digest, from: nil) { done, all in
                        if done > 0, done < all { withUnsafeCurrentTask { $0?.cancel() } }
                    }
                }
            }
            #expect(await pull.value == "pull_interrupted")
            #expect(!bob.store.contains(capsule: capsule.digest))
            let result = try await bob.exchange.pull(capsule.digest, from: nil, progress: nil)
            #expect(result.bytesReused > 0)
            #expect(result.bytesReused + result.bytesFetched == bytes(distinct(capsule)))
            try expectSame(ada, bob, capsule, directory)
        }
    }

    @Test func severalPeersServeIncludingOneThatHasOnlyAPart() async throws {
        try await withCapsule(files: 30) { ada, bob, capsule, directory in
            let carl = try TestNode("carl", in: directory)
            let half = distinct(capsule).enumerated().filter { $0.offset % 2 == 0 }.map(\.element)
            try bob.store.addChunks(try half.map { ($0, try ada.store.read(chunk: $0)) })
            try await running([carl]) {
                _ = try await carl.exchange.join(invitation: try await bob.exchange.invite(roles: [], scope: []))
                try carl.sight(ada)
                #expect(await carl.peer(ada, becomes: "connected")?.state == "connected")
                #expect(await carl.peer(bob, becomes: "connected")?.state == "connected")
                let result = try await carl.exchange.pull(capsule.digest, from: nil, progress: nil)
                #expect(Set(result.sources) == [ada.id, bob.id])
                try expectSame(ada, carl, capsule, directory)
            }
        }
    }

    @Test func aPeerThatLiesIsDroppedAndTheFetchFinishesFromTheOthers() async throws {
        try await withCapsule { ada, bob, capsule, directory in
            let mallory = try hostile(isLying: true, ada, capsule, directory)
            _ = try await bob.exchange.syncNow(ada.id)
            bob.sight(Sighting(nodeID: mallory.key.publicKey.id, addresses: [try PeerAddress(parsing: "127.0.0.1:\(mallory.port)", defaultPort: 1)], source: .avahi))
            #expect(await bob.connected(to: mallory.key.publicKey.id))
            // From it alone: it has nothing true to give.
            #expect(await MeshError.code { _ = try await bob.exchange.pull(capsule.digest, from: mallory.key.publicKey.id, progress: nil) } == "no_source")
            #expect(try bob.store.missing(distinct(capsule)).count == distinct(capsule).count)
            let result = try await bob.exchange.pull(capsule.digest, from: nil, progress: nil)
            #expect(result.sources == [ada.id])
            #expect(await bob.log.first("pull.peer.dropped") { $0.data["peer"]?.string == mallory.key.publicKey.id.hex } != nil)
            try expectSame(ada, bob, capsule, directory)
        }
    }

    /// The same foreign program telling the truth: the protocol is what its description says.
    @Test func aForeignPeerThatFollowsTheDescriptionIsASource() async throws {
        try await withCapsule { ada, bob, capsule, directory in
            let honest = try hostile(isLying: false, ada, capsule, directory)
            _ = try await bob.exchange.syncNow(ada.id)
            bob.sight(Sighting(nodeID: honest.key.publicKey.id, addresses: [try PeerAddress(parsing: "127.0.0.1:\(honest.port)", defaultPort: 1)], source: .avahi))
            #expect(await bob.connected(to: honest.key.publicKey.id))
            let result = try await bob.exchange.pull(capsule.digest, from: honest.key.publicKey.id, progress: nil)
            #expect(result.sources == [honest.key.publicKey.id])
            try expectSame(ada, bob, capsule, directory)
        }
    }

    private func hostile(isLying: Bool, _ ada: TestNode, _ capsule: VerifiedCapsule, _ directory: String) throws -> HostilePeer {
        var files: [Digest: [UInt8]] = [:]
        for digest in [capsule.digest, capsule.root.index, capsule.root.chunks] { files[digest] = try ada.store.blob(digest) }
        for chunk in distinct(capsule) { files[chunk.digest] = try ada.store.read(chunk: chunk) }
        let peer = try HostilePeer(in: directory, mesh: ada.catalog.meshID, isLying: isLying, files: files)
        _ = try ada.catalog.grant(.member, scope: [], to: peer.key.publicKey, by: ada.key)
        return peer
    }

    @Test func whatNobodyHasIsSaid() async throws {
        try await withCapsule(files: 1, kibibytes: 1) { ada, bob, _, _ in
            #expect(await MeshError.code { _ = try await bob.exchange.pull(Digest.of([9]), from: nil, progress: nil) } == "no_source")
            let nobody = SigningKey.generate().publicKey.id
            #expect(await MeshError.code { _ = try await bob.exchange.pull(Digest.of([9]), from: nobody, progress: nil) } == "peer_unknown")
        }
    }

    @Test func aReleaseThatContradictsItsCapsuleIsRefused() async throws {
        try await withDirectory { directory in
            let ada = try TestNode("ada", in: directory), bob = try TestNode("bob", in: directory)
            let capsule = try await pack(directory, files: 1, kibibytes: 1, into: ada)
            _ = try ada.catalog.publish(kind: "release", subject: capsule.digest, body: ["name": "another", "version": "1.0.0"], by: ada.key)
            try await running([ada, bob]) {
                _ = try await bob.exchange.join(invitation: try await ada.exchange.invite(roles: [], scope: []))
                #expect(await MeshError.code { _ = try await bob.exchange.pull(capsule.digest, from: nil, progress: nil) } == "release_mismatch")
            }
        }
    }
}
