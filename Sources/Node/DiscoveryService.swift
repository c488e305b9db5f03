internal import Actions
internal import Catalog
internal import Discovery
internal import MeshCore
internal import ServiceLifecycle
internal import Signing

/// Announces the node once its port is known, keeps the announcement true, and passes on whom it sees. Trouble with the
/// daemon is told and waited out: a node without mDNS still has its written peers and last known addresses.
struct DiscoveryService: Service {
    let sightings: AsyncStream<SightingEvent>
    private let seen: AsyncStream<SightingEvent>.Continuation
    private let parts: NodeParts
    private let doors: Doors
    private let onTrouble: @Sendable (MeshError) -> Void

    init(parts: NodeParts, doors: Doors, onTrouble: @escaping @Sendable (MeshError) -> Void) {
        self.parts = parts
        self.doors = doors
        self.onTrouble = onTrouble
        (sightings, seen) = AsyncStream.makeStream(of: SightingEvent.self, bufferingPolicy: .bufferingNewest(Limits.peersMax))
    }

    func run() async throws {
        await cancelWhenGracefulShutdown {
            var ports = doors.meshPort.makeAsyncIterator()
            guard let port = await ports.next() else { return }
            let discovery = AvahiDiscovery(announcement: announcement(port))
            await withDiscardingTaskGroup { group in
                group.addTask { await discovery.run() }
                group.addTask { for await _ in parts.catalog.changes { discovery.update(announcement(port)) } }
                group.addTask {
                    for await event in discovery.events {
                        switch event {
                        case .trouble(let error):
                            parts.update { $0.discoveryTrouble = error }
                            onTrouble(error)
                        case .recovered: parts.update { $0.discoveryTrouble = nil }
                        case .seen, .gone: break
                        }
                        seen.yield(event)
                    }
                }
            }
        }
    }

    private func announcement(_ port: Int) -> Announcement {
        Announcement(nodeID: parts.key.publicKey.id, mesh: parts.catalog.meshID, catalogRoot: parts.catalog.root, name: parts.settings.name, port: port)
    }
}
