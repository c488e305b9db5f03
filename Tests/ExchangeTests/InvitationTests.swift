import Catalog
import Discovery
import Exchange
import MeshCore
import Signing
import Testing

@Suite struct InvitationTests {
    private func make() throws -> Invitation {
        Invitation(issuer: SigningKey.generate().publicKey, mesh: Digest.of([1]), secret: randomBytes(16), expires: 1_800_000_000_000,
                   roles: [.member, .grantor], addresses: [try PeerAddress(parsing: "192.0.2.7:7423", defaultPort: 1),
                                                           try PeerAddress(parsing: "[2001:db8::7]:17423", defaultPort: 1)])
    }

    @Test func textRoundTrips() throws {
        let invitation = try make()
        #expect(try Invitation(parsing: invitation.text) == invitation)
        #expect(invitation.text.hasPrefix("oursynth-invite-1:"))
        #expect(!invitation.text.contains(Hex.encode(invitation.secret)))
    }

    @Test func textSurvivesMailAndChat() throws {
        let invitation = try make()
        var broken = ""
        for (i, character) in invitation.text.enumerated() { broken += i > 0 && i % 40 == 0 ? "\n \(character)" : "\(character)" }
        #expect(try Invitation(parsing: "  " + broken + "\n") == invitation)
    }

    @Test func everySingleSlipIsTold() throws {
        let text = try make().text
        let start = Invitation.prefix.utf8.count
        for place in start..<text.utf8.count {
            var bytes = Array(text.utf8)
            bytes[place] = bytes[place] == UInt8(ascii: "a") ? UInt8(ascii: "b") : UInt8(ascii: "a")
            let altered = String(decoding: bytes, as: UTF8.self)
            #expect { try Invitation(parsing: altered) } throws: { ($0 as? MeshError)?.code.name == "invitation_invalid" }
        }
    }

    @Test(arguments: ["", "hello", "oursynth-invite-1:", "oursynth-invite-1:aaaa", "oursynth-invite-2:aaaa", "oursynth-invite-1:!!!!"])
    func otherTextIsRefused(_ text: String) {
        #expect { try Invitation(parsing: text) } throws: { ($0 as? MeshError)?.code.name == "invitation_invalid" }
    }

    @Test(arguments: [
        ("Ada", "ada-*"), ("ada laptop", "ada-laptop-*"), ("  Büro_3 ", "b-ro-3-*"), ("a--b", "a-b-*"), ("node.local", "node-local-*"),
        ("3pio", nil), ("", nil), ("***", nil), ("-", nil), (String(repeating: "a", count: 62), nil),
    ] as [(String, String?)])
    func ownScope(_ name: String, _ wanted: String?) {
        #expect(PublisherScope.own(of: name).map(\.description) == (wanted.map { [$0] } ?? []))
    }

    @Test func wrongTriesPauseOneAddress() {
        var limiter = TryLimiter()
        for now: Milliseconds in [0, 1000, 2000] {
            #expect(limiter.allows("192.0.2.1", now: now))
            limiter.failed("192.0.2.1", now: now)
        }
        #expect(!limiter.allows("192.0.2.1", now: 3000))
        #expect(limiter.allows("192.0.2.2", now: 3000))
        #expect(!limiter.allows("192.0.2.1", now: 2000 + 59_999))
        #expect(limiter.allows("192.0.2.1", now: 2000 + 60_000))
    }
}
