public import MeshCore
public import Signing
internal import Catalog
internal import Discovery

extension PeerExchange {
    /// One peer, however it was found, for people to read.
    public struct PeerStatus: Sendable, Hashable {
        public let nodeID: KeyID?
        public let name: String?
        /// How it was found: `avahi`, `written`, `lastKnown`, `typed`.
        public let via: [String]
        public let addresses: [String]
        /// `connected`, `reachable` (it answers, but not as a member would), `unreachable`, `stranger` or `other-mesh`.
        public let state: String
        public let lastSeen: Milliseconds?
        /// Why it is not connected, in plain words.
        public let why: String?
    }

    /// Every known peer, connected ones first, then by name.
    public func peers() async -> [PeerStatus] {
        try? neighbours.load()
        return neighbours.entries.map { key, entry in
            let id: KeyID? = if case .node(let id) = key { id } else { nil }
            return PeerStatus(nodeID: id, name: entry.name, via: entry.addresses.filter { !$0.value.isEmpty }.map(\.key.rawValue).sorted(),
                              addresses: entry.candidates.map(\.description), state: entry.state.rawValue, lastSeen: entry.lastSeen, why: entry.why)
        }.sorted { a, b in
            let first = (a.state == "connected" ? 0 : 1, a.name ?? "", a.nodeID?.hex ?? a.addresses.first ?? "")
            return first < (b.state == "connected" ? 0 : 1, b.name ?? "", b.nodeID?.hex ?? b.addresses.first ?? "")
        }
    }

    /// Waits until a peer's state changes, or `limit` has passed; with the number of changes until then.
    public func peersChanged(after heard: Int, upTo limit: Duration) async -> Int {
        await neighbours.changed.wait(after: heard, upTo: limit)
    }

    struct Contact: Sendable {
        let key: PeerTable.Key
        let client: PeerClient
        let hello: Hello
        let isMember: Bool
    }

    /// Says hello to a peer, and enters what came of it in the table.
    func contact(_ asked: PeerTable.Key) async throws(MeshError) -> Contact {
        if let entry = neighbours.entry(asked), let mesh = entry.mesh, mesh != catalog.meshID.meshPrefix {
            neighbours.passedOver(asked)
            throw MeshError(.otherMesh, "the peer belongs to the mesh \(mesh)", hint: "join one of the two to the other with an invitation")
        }
        if case .node(let id) = asked, catalog.isRevoked(id) {
            let error = MeshError(.peerRevoked, "the key of the peer \(id.short) was revoked", hint: "if that was a mistake, it needs a new key and a new grant: capsule catalog show says who revoked it")
            neighbours.failed(asked, error, now: clock.now)
            throw error
        }
        var key = asked
        let client = try await neighbours.client(for: asked, identity: try identity)
        do throws(MeshError) {
            let result: Result<(hello: Hello, peer: PublicKey), MeshError>
            do throws(MeshError) { result = .success(try await client.hello(ownHello)) } catch { result = .failure(error) }
            if case .address(let address) = asked, let id = await client.peerID {
                guard let known = neighbours.identified(address, as: id) else {
                    throw MeshError(.peerUnknown, "\(address) is this node itself", hint: "nothing to do")
                }
                key = known
            }
            let (hello, peer) = try result.get()
            guard hello.mesh == catalog.meshID else {
                throw MeshError(.otherMesh, "the peer belongs to the mesh \(hello.mesh.meshPrefix)", hint: "join one of the two to the other with an invitation")
            }
            let catalog = catalog
            let isMember = try await offEventLoops { () throws(MeshError) in try catalog.isMember(peer) }
            neighbours.answered(key, hello, at: await client.lastGood, isMember: isMember, now: clock.now)
            return Contact(key: key, client: client, hello: hello, isMember: isMember)
        } catch {
            if !Task.isCancelled { neighbours.failed(key, error, now: clock.now) }
            throw error
        }
    }
}
