public import CapsuleStore
public import Catalog
public import Discovery
public import MeshCore
public import Signing
internal import Synchronization

/// This node among its peers: who is there, what they know, and what they have. One per running node; an offline command
/// makes one too and does without `run`.
///
/// Peers speak HTTP/1.1 over TLS 1.3, both sides pinned to their node keys (docs/formats/exchange.md).
public final class PeerExchange: Sendable {
    public static let defaultPort = 7423

    let home: HomeLayout
    let key: SigningKey
    let name: String
    let store: CapsuleStore
    let catalog: Catalog
    let clock: any WallClock
    let events: EventSink
    let neighbours: Neighbours
    let issuer: InvitationIssuer
    /// How long a fetch waits for another peer when those there are cannot help.
    let patience: Duration
    let pulling = Mutex<Set<Digest>>([])
    private let identityResult: Result<NodeIdentity, MeshError>
    private let connections = ConnectionTable()
    private let listening = Mutex<(host: String, port: Int)?>(nil)

    public init(home: HomeLayout, key: SigningKey, name: String, store: CapsuleStore, catalog: Catalog, clock: any WallClock,
                patience: Duration = .seconds(10), events: @escaping EventSink) {
        self.home = home
        self.key = key
        self.name = name
        self.store = store
        self.catalog = catalog
        self.clock = clock
        self.patience = patience
        self.events = events
        neighbours = Neighbours(home: home, own: key.publicKey.id)
        issuer = InvitationIssuer(home: home, key: key, catalog: catalog, clock: clock, events: events)
        identityResult = Result { () throws(MeshError) in try NodeIdentity(key: key) }
    }

    var identity: NodeIdentity { get throws(MeshError) { try identityResult.get() } }

    var ownHello: Hello {
        Hello(node: key.publicKey.id, name: name, mesh: catalog.meshID, root: catalog.root, count: catalog.count, charter: catalog.charter.digest, port: listening.withLock { $0?.port })
    }

    /// Serves, follows every peer that is sighted, written or remembered, and keeps the facts alike, until the task is
    /// cancelled or its service group shuts down.
    ///
    /// - Parameters:
    ///   - listen: where to serve; port 0 takes a free one; nil serves nothing.
    ///   - onReady: called once with the bound port.
    /// - Throws: `port_busy`, `listen_failed`, `identity_failed`.
    public func run(listen: (host: String, port: Int)?, sightings: [AsyncStream<SightingEvent>],
                    onReady: @escaping @Sendable (Int) -> Void) async throws(MeshError) {
        enum Ending: Sendable { case part, stopped, failed(MeshError) }
        let identity = try identity
        let newcomers = neighbours.follow()
        let failure: MeshError? = await withTaskGroup(of: Ending.self) { group in
            if let listen {
                let server = PeerServer(identity: identity, connections: connections, routes: routes)
                group.addTask {
                    do throws(MeshError) {
                        try await server.run(host: listen.host, port: listen.port) { port in
                            self.listening.withLock { $0 = (listen.host, port) }
                            onReady(port)
                        }
                        return .stopped
                    } catch { return .failed(error) }
                }
            }
            for stream in sightings {
                group.addTask {
                    for await event in stream { self.sighted(event) }
                    return .part
                }
            }
            let changes = catalog.changes
            group.addTask {
                for await _ in changes {
                    await self.dropRevoked()
                    self.neighbours.ringAll()
                }
                return .part
            }
            group.addTask {
                await self.readWrittenPeers()
                return .part
            }
            group.addTask {
                await self.follow(newcomers)
                return .part
            }
            var failure: MeshError?
            while let ending = await group.next() {
                switch ending {
                case .part: continue
                case .stopped: group.cancelAll()
                case .failed(let error):
                    failure = error
                    group.cancelAll()
                }
            }
            return failure
        }
        listening.withLock { $0 = nil }
        await neighbours.closeAll()
        if let failure { throw failure }
    }

    private var routes: PeerRoutes {
        PeerRoutes(connections: connections, store: store, catalog: catalog, issuer: issuer, own: { self.ownHello },
                   heard: { self.heard($0, $1, from: $2) }, events: events)
    }

    private func sighted(_ event: SightingEvent) {
        neighbours.note(event)
        if case .trouble(let error) = event {
            events(NodeEvent(source: "exchange", type: "discovery.trouble", data: error.json))
        }
    }

    /// A member that connects from somewhere and listens there can be reached there.
    private func heard(_ peer: PublicKey, _ hello: Hello, from host: String?) {
        guard let port = hello.port, var host else { return }
        if host.hasPrefix("::ffff:") { host = String(host.dropFirst(7)) }
        let text = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        guard !host.hasPrefix("fe80"), let address = try? PeerAddress(parsing: text, defaultPort: port) else { return }
        neighbours.note(.seen(Sighting(nodeID: peer.id, name: hello.name, mesh: hello.mesh.meshPrefix, addresses: [address], source: .lastKnown)))
    }

    /// In both directions, as soon as this node knows of a revocation.
    private func dropRevoked() async {
        let catalog = catalog
        connections.close { key in (try? catalog.isMember(key)) == false }
        await neighbours.close { catalog.isRevoked($0) }
    }

    /// Peers may be written down or struck out while the node runs.
    private func readWrittenPeers() async {
        let never = Bell()
        while !Task.isCancelled {
            do throws(MeshError) {
                try neighbours.load()
            } catch {
                events(NodeEvent(source: "exchange", type: "peers.unreadable", data: error.json))
            }
            _ = await never.wait(after: 0, upTo: .seconds(Limits.syncSecondsInterval))
        }
    }

    private func follow(_ newcomers: AsyncStream<PeerTable.Key>) async {
        await withDiscardingTaskGroup { group in
            var followed: Set<PeerTable.Key> = []
            for await key in newcomers where followed.insert(key).inserted {
                group.addTask { await self.follow(key) }
            }
        }
    }

    /// Contact with one peer: now, whenever something changed here or there, and every 15 seconds.
    private func follow(_ key: PeerTable.Key) async {
        let bell = neighbours.bell(of: key)
        while !Task.isCancelled {
            let heard = bell.rings
            // What went wrong is in the table for `peers` to say; the next round tries again.
            if neighbours.entry(key) != nil { _ = try? await sync(key) }
            _ = await bell.wait(after: heard, upTo: .seconds(Limits.syncSecondsInterval))
        }
    }

    /// Where others can reach this node.
    var reachableAddresses: [PeerAddress] {
        let place = listening.withLock { $0 } ?? ("", Self.defaultPort)
        if !["", "0.0.0.0", "::", "*"].contains(place.0) {
            let host = place.0.contains(":") ? "[\(place.0)]" : place.0
            return (try? PeerAddress(parsing: "\(host):\(place.1)", defaultPort: place.1)).map { [$0] } ?? []
        }
        let addresses = InterfaceAddresses.list(port: place.1)
        return addresses.isEmpty ? [try? PeerAddress(parsing: "127.0.0.1:\(place.1)", defaultPort: place.1)].compactMap(\.self) : addresses
    }
}
