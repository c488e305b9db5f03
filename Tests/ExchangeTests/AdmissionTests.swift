import Discovery
import Exchange
import Foundation
import MeshCore
import Signing
import Testing

@Suite(.serialized) struct AdmissionTests {
    /// Every route of docs/formats/exchange.md but pairing, and some that do not exist.
    private static let routes: [PeerRequest] = {
        let digest = Digest.of([1])
        return [
            PeerRequest(.get, "/mesh/v1/hello"), PeerRequest(.post, "/mesh/v1/hello", body: Array("{}".utf8)), PeerRequest(.get, "/mesh/v1/facts/ids"),
            PeerRequest(.post, "/mesh/v1/facts", body: digest.bytes), PeerRequest(.post, "/mesh/v1/facts/new", body: [0, 0, 0, 0]),
            PeerRequest(.post, "/mesh/v1/have", body: digest.bytes), PeerRequest(.post, "/mesh/v1/chunks", body: digest.bytes + [1, 0, 0, 0]),
            PeerRequest(.get, "/v2/sample/blobs/\(digest)"), PeerRequest(.get, "/mesh/v1/capsules/\(digest)/referrers"),
            PeerRequest(.get, "/"), PeerRequest(.get, "/v2/"), PeerRequest(.get, "/mesh/v1/pair"), PeerRequest(.get, "/mesh/v1/nothing"),
            PeerRequest(.get, "/mesh/v1//pair"), PeerRequest(.post, "/mesh/v1/pair/"),
        ]
    }()

    @Test func aStrangerGetsNothingAnywhere() async throws {
        try await withDirectory { directory in
            let node = try TestNode("ada", in: directory), stranger = try TestNode("eve", in: directory)
            try await running([node]) {
                let client = try stranger.client(of: node)
                for route in Self.routes {
                    let answer = try await client.send(route).answer
                    #expect(answer == PeerAnswer(status: 403, body: []), "\(route.method) \(route.path)")
                }
                // The same questions from a member's key are answered.
                let member = PeerClient(identity: try NodeIdentity(key: node.key), expecting: node.id, addresses: [try node.address()])
                for (route, status) in zip(Self.routes, [200, 400, 200, 200, 200, 200, 200, 404, 404, 404, 404, 404, 404, 404, 404]) {
                    #expect(try await member.send(route).answer.status == status, "\(route.method) \(route.path)")
                }
                await client.closeAll()
                await member.closeAll()
            }
        }
    }

    @Test func anotherKeyThanThePinnedOneIsRefused() async throws {
        try await withDirectory { directory in
            let node = try TestNode("ada", in: directory), other = try TestNode("bob", in: directory)
            try await running([node]) {
                let client = PeerClient(identity: try NodeIdentity(key: other.key), expecting: other.id, addresses: [try node.address()])
                #expect(await MeshError.code { _ = try await client.send(PeerRequest(.get, "/mesh/v1/hello")) } == "peer_key_mismatch")
            }
        }
    }

    @Test func aMemberMayNotHoldMoreThanEightConnections() async throws {
        try await withDirectory { directory in
            let node = try TestNode("ada", in: directory)
            try await running([node]) {
                let identity = try NodeIdentity(key: node.key)
                var connections: [PeerConnection] = []
                for _ in 0..<Limits.connectionsPerPeerMax {
                    let connection = try await PeerConnection.open(to: try node.address(), identity: identity, expecting: node.id)
                    #expect(try await connection.send(PeerRequest(.get, "/mesh/v1/hello")).status == 200)
                    connections.append(connection)
                }
                #expect(await MeshError.code {
                    let ninth = try await PeerConnection.open(to: try node.address(), identity: identity, expecting: node.id)
                    _ = try await ninth.send(PeerRequest(.get, "/mesh/v1/hello"))
                } != nil)
                for connection in connections { connection.close() }
            }
        }
    }

    @Test func aMessageThatIsTooLongIsRefused() async throws {
        try await withDirectory { directory in
            let node = try TestNode("ada", in: directory)
            try await running([node]) {
                let client = PeerClient(identity: try NodeIdentity(key: node.key), expecting: node.id, addresses: [try node.address()])
                let tooMany = [UInt8](repeating: 1, count: 32 * (Limits.digestsPerQuestionMax + 1))
                #expect(try await client.send(PeerRequest(.post, "/mesh/v1/have", body: tooMany)).answer.status == 413)
                #expect(try await client.send(PeerRequest(.post, "/mesh/v1/have", body: [1, 2, 3])).answer.status == 400)
                // And so is an answer, by who asked.
                #expect(await MeshError.code { _ = try await client.send(PeerRequest(.get, "/mesh/v1/hello", answerBytesMax: 10)) } == "peer_misbehaved")
                await client.closeAll()
            }
        }
    }

    @Test func aBusyPortIsSaid() async throws {
        try await withDirectory { directory in
            let node = try TestNode("ada", in: directory), other = try TestNode("bob", in: directory)
            try await running([node]) {
                let port = node.port
                #expect(await MeshError.code { try await other.exchange.run(listen: ("127.0.0.1", port), sightings: []) { _ in } } == "port_busy")
            }
        }
    }

    @Test func nobodyThereIsSaidInWords() async throws {
        try await withDirectory { directory in
            let node = try TestNode("ada", in: directory), other = try TestNode("bob", in: directory)
            try await running([node]) {
                node.sight(Sighting(nodeID: other.id, name: "bob", addresses: [try PeerAddress(parsing: "127.0.0.1:1", defaultPort: 1)], source: .avahi))
                _ = await node.exchange.peersChanged(after: 0, upTo: .seconds(5))
                #expect(await MeshError.code { _ = try await node.exchange.syncNow(other.id) } == "peer_unreachable")
                let status = try #require(await node.exchange.peers().first)
                #expect(status.state == "unreachable")
                #expect(status.why?.hasPrefix("127.0.0.1:1 refuses connections") == true)
            }
        }
    }

    // MARK: Judged by OpenSSL

    private struct Judge {
        let port: Int
        let directory: String
        let hasCertificate: Bool

        func request(_ extra: [String]) throws -> String {
            var arguments = ["s_client", "-connect", "127.0.0.1:\(port)", "-ign_eof"] + extra
            if hasCertificate { arguments += ["-cert", "\(directory)/judge.pem", "-key", "\(directory)/judge.key"] }
            return try output(of: "/usr/bin/openssl", arguments, input: "GET /mesh/v1/hello HTTP/1.1\r\nhost: mesh\r\nconnection: close\r\n\r\n")
        }
    }

    private func judged(withCertificate: Bool, _ body: @Sendable @escaping (Judge) throws -> Void) async throws {
        try await withDirectory { directory in
            if withCertificate {
                _ = try output(of: "/usr/bin/openssl", ["req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "1", "-subj", "/CN=judge",
                                                        "-keyout", "\(directory)/judge.key", "-out", "\(directory)/judge.pem"])
            }
            let node = try TestNode("ada", in: directory)
            try await running([node]) {
                let judge = Judge(port: node.port, directory: directory, hasCertificate: withCertificate)
                let result: Result<Void, any Error> = await withCheckedContinuation { continuation in
                    DispatchQueue.global().async { continuation.resume(returning: Result { try body(judge) }) }
                }
                try result.get()
            }
        }
    }

    @Test func tls13WithACertificateIsLetInAndToldNothing() async throws {
        try await judged(withCertificate: true) { judge in
            let text = try judge.request(["-alpn", "oursynth/1"])
            #expect(text.contains("TLSv1.3"))
            #expect(text.contains("ALPN protocol: oursynth/1"))
            #expect(text.contains("HTTP/1.1 403"))
            #expect(!text.contains("protocol\":"))
        }
    }

    @Test(arguments: [["-tls1_2", "-alpn", "oursynth/1"], ["-alpn", "http/1.1"], []])
    func olderTLSAndOtherProtocolsAreRefused(_ extra: [String]) async throws {
        try await judged(withCertificate: true) { judge in
            let text = try judge.request(extra)
            #expect(!text.contains("HTTP/1.1"))
        }
    }

    @Test func withoutACertificateNothingIsAnswered() async throws {
        try await judged(withCertificate: false) { judge in
            let text = try judge.request(["-alpn", "oursynth/1"])
            #expect(!text.contains("HTTP/1.1"))
        }
    }
}
