internal import Discovery
internal import MeshCore
internal import Signing
internal import Synchronization

/// The peer table with what belongs to it while a node runs: a client and a bell for each peer, the memory on disk, and
/// the stream of peers that nobody follows yet.
final class Neighbours: Sendable {
    private struct State {
        var table: PeerTable
        var clients: [PeerTable.Key: PeerClient] = [:]
        var bells: [PeerTable.Key: Bell] = [:]
        var remembered: [PeerMemory.Known] = []
        var isLoaded = false
        var newcomers: AsyncStream<PeerTable.Key>.Continuation?
    }

    /// Rings when any peer's state changed.
    let changed = Bell()
    private let memory: PeerMemory
    private let writtenFolder: String
    private let state: Mutex<State>

    init(home: HomeLayout, own: KeyID) {
        memory = PeerMemory(home: home)
        writtenFolder = home.peers
        state = Mutex(State(table: PeerTable(own: own)))
    }

    /// Takes in what is remembered, once, and what is written in `peers/`, each time; the error names a written file that
    /// cannot be read.
    func load() throws(MeshError) {
        let isFirst = state.withLock { state in
            defer { state.isLoaded = true }
            return !state.isLoaded
        }
        if isFirst {
            let known = memory.read()
            state.withLock { $0.remembered = known }
            for peer in known {
                note(.seen(Sighting(nodeID: peer.node, name: peer.name, addresses: peer.addresses, source: .lastKnown)))
            }
        }
        guard Files.isDirectory(writtenFolder) else { return }
        for peer in try WrittenPeers.read(in: writtenFolder) {
            note(.seen(Sighting(nodeID: peer.nodeID, addresses: peer.addresses, source: .written)))
        }
    }

    func note(_ event: SightingEvent) {
        guard let key = state.withLock({ $0.table.note(event) }) else { return }
        announce(key)
    }

    /// Every peer of now, then each new one, until the stream's reader ends.
    func follow() -> AsyncStream<PeerTable.Key> {
        AsyncStream { continuation in
            let keys = state.withLock { state in
                state.newcomers = continuation
                return Array(state.table.entries.keys)
            }
            for key in keys { continuation.yield(key) }
        }
    }

    private func announce(_ key: PeerTable.Key) {
        bell(of: key).ring()
        state.withLock { $0.newcomers }?.yield(key)
        changed.ring()
    }

    func bell(of key: PeerTable.Key) -> Bell {
        state.withLock { state in
            if let bell = state.bells[key] { return bell }
            let bell = Bell()
            state.bells[key] = bell
            return bell
        }
    }

    func ringAll() {
        for bell in state.withLock({ Array($0.bells.values) }) { bell.ring() }
    }

    func entry(_ key: PeerTable.Key) -> PeerTable.Entry? { state.withLock { $0.table.entries[key] } }
    var entries: [PeerTable.Key: PeerTable.Entry] { state.withLock { $0.table.entries } }
    var connected: [KeyID] { state.withLock { $0.table.connected } }

    /// The client for a peer, told of its present addresses.
    func client(for key: PeerTable.Key, identity: NodeIdentity) async throws(MeshError) -> PeerClient {
        let found: (PeerClient, [PeerAddress])? = state.withLock { state in
            guard let entry = state.table.entries[key] else { return nil }
            if let client = state.clients[key] { return (client, entry.candidates) }
            let expected: KeyID? = if case .node(let id) = key { id } else { nil }
            let client = PeerClient(identity: identity, expecting: expected, addresses: entry.candidates)
            state.clients[key] = client
            return (client, entry.candidates)
        }
        guard let (client, addresses) = found else {
            throw MeshError(.peerUnknown, "no such peer is known", hint: "`capsule peers` lists those that are; `capsule peers add ADDRESS` adds one")
        }
        await client.update(addresses)
        return client
    }

    /// The peer at an address turned out to be a node; nil when it is this one.
    func identified(_ address: PeerAddress, as id: KeyID) -> PeerTable.Key? {
        let key = state.withLock { state in
            let client = state.clients.removeValue(forKey: .address(address))
            state.bells[.address(address)] = nil
            let key = state.table.identified(address, as: id)
            if let key, state.clients[key] == nil, let client { state.clients[key] = client }
            return key
        }
        if let key { announce(key) }
        return key
    }

    func answered(_ key: PeerTable.Key, _ hello: Hello, at address: PeerAddress?, isMember: Bool, now: Milliseconds) {
        let toWrite: [PeerMemory.Known]? = state.withLock { state in
            state.table.answered(key, name: hello.name, mesh: hello.mesh, at: address, isMember: isMember, now: now)
            guard isMember, case .node(let id) = key, let entry = state.table.entries[key] else { return nil }
            let known = PeerMemory.Known(node: id, name: hello.name, addresses: entry.addresses[.lastKnown] ?? [], lastSeen: now)
            let before = state.remembered.first { $0.node == id }
            guard before?.addresses != known.addresses || before?.name != known.name else { return nil }
            state.remembered.removeAll { $0.node == id }
            state.remembered.append(known)
            return state.remembered
        }
        // Losing this costs a slower start at most, so a full disk does not stop the exchange.
        if let toWrite { try? memory.write(toWrite) }
        changed.ring()
    }

    /// A connected peer answered and has nothing new.
    func stillThere(_ key: PeerTable.Key, now: Milliseconds) { state.withLock { $0.table.stillThere(key, now: now) } }

    func failed(_ key: PeerTable.Key, _ error: MeshError, now: Milliseconds) {
        state.withLock { $0.table.failed(key, error, now: now) }
        changed.ring()
    }

    func passedOver(_ key: PeerTable.Key) {
        state.withLock { $0.table.passedOver(key) }
        changed.ring()
    }

    func closeAll() async {
        let clients = state.withLock { Array($0.clients.values) }
        for client in clients { await client.closeAll() }
    }

    /// The connections to those peers that this node opened.
    func close(where isGone: (KeyID) -> Bool) async {
        let clients = state.withLock { state in state.clients.filter { key, _ in if case .node(let id) = key { isGone(id) } else { false } }.map(\.value) }
        for client in clients { await client.closeAll() }
    }
}
