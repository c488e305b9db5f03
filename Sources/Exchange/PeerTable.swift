package import Discovery
package import MeshCore
package import Signing

/// All peers that were heard of, however often and by whatever way: several sightings of one node are one peer. A pure
/// value; sightings are hints, and who a peer is was decided by TLS.
package struct PeerTable: Sendable {
    /// A peer by its node id, or, until someone answered there, by an address alone.
    package enum Key: Sendable, Hashable {
        case node(KeyID)
        case address(PeerAddress)
    }

    package enum State: String, Sendable {
        case connected, reachable, unreachable, stranger, otherMesh = "other-mesh"
    }

    package struct Entry: Sendable {
        package var name: String?
        /// The first 16 hex of the mesh it announced or said; a hint.
        package var mesh: String?
        /// The first 16 hex of the catalog root it announced last; a hint that it has news.
        package var root: String?
        package var addresses: [Sighting.Source: [PeerAddress]] = [:]
        package var lastGood: PeerAddress?
        package var state = State.unreachable
        package var why: String? = "not tried yet"
        package var lastSeen: Milliseconds?

        /// The one that last answered first, then those seen now, then those remembered; each once.
        package var candidates: [PeerAddress] {
            var out: [PeerAddress] = []
            let ordered = [Sighting.Source.avahi, .written, .typed, .lastKnown].flatMap { addresses[$0] ?? [] }
            for address in (lastGood.map { [$0] } ?? []) + ordered where !out.contains(address) { out.append(address) }
            return Array(out.prefix(Limits.addressesPerPeerMax))
        }
    }

    private let own: KeyID
    package private(set) var entries: [Key: Entry] = [:]
    private var ownAddresses: Set<PeerAddress> = []

    package init(own: KeyID) { self.own = own }

    /// The peer that the event is about, when it is worth looking at now: it is new, or it is somewhere new.
    package mutating func note(_ event: SightingEvent) -> Key? {
        switch event {
        case .seen(let sighting): return note(sighting)
        case .gone(let id, let source):
            entries[.node(id)]?.addresses[source] = nil
            if let entry = entries[.node(id)], entry.candidates.isEmpty { entries[.node(id)] = nil }
            return nil
        case .trouble, .recovered: return nil
        }
    }

    private mutating func note(_ sighting: Sighting) -> Key? {
        let usable = sighting.addresses.filter { !ownAddresses.contains($0) }.prefix(Limits.addressesPerPeerMax)
        guard let id = sighting.nodeID else {
            // An address that a known node answers at is that node.
            guard let first = usable.first, !entries.values.contains(where: { entry in usable.contains { entry.candidates.contains($0) } }),
                  entries.count < Limits.peersMax else { return nil }
            entries[.address(first)] = Entry(addresses: [sighting.source: Array(usable)])
            return .address(first)
        }
        guard id != own else { return nil }
        let key = Key.node(id)
        guard entries[key] != nil || entries.count < Limits.peersMax else { return nil }
        let isNew = entries[key] == nil
        var entry = entries[key] ?? Entry()
        let before = entry.candidates
        entry.addresses[sighting.source] = Self.merged(entry.addresses[sighting.source] ?? [], with: Array(usable), of: sighting.source)
        if let name = sighting.name { entry.name = name }
        let meshBefore = entry.mesh, rootBefore = entry.root
        if let mesh = sighting.mesh { entry.mesh = mesh }
        if let root = sighting.catalogRoot { entry.root = root }
        entries[key] = entry
        return isNew || before != entry.candidates || meshBefore != entry.mesh || rootBefore != entry.root ? key : nil
    }

    /// A sighting says all that its source knows; what is remembered adds up, the newest first.
    private static func merged(_ known: [PeerAddress], with seen: [PeerAddress], of source: Sighting.Source) -> [PeerAddress] {
        source == .lastKnown ? Array((seen + known.filter { !seen.contains($0) }).prefix(4)) : seen
    }

    /// Someone answered at an address that had no node id yet: it is that node, or this one.
    package mutating func identified(_ address: PeerAddress, as id: KeyID) -> Key? {
        let found = entries.removeValue(forKey: .address(address))
        guard id != own else {
            ownAddresses.insert(address)
            return nil
        }
        var entry = entries[.node(id)] ?? Entry()
        for (source, addresses) in found?.addresses ?? [:] {
            entry.addresses[source] = Array(((entry.addresses[source] ?? []) + addresses).prefix(Limits.addressesPerPeerMax))
        }
        entries[.node(id)] = entry
        return .node(id)
    }

    /// It answered as a node of this mesh; `isMember` says whether this catalog knows its key.
    package mutating func answered(_ key: Key, name: String, mesh: Digest, at address: PeerAddress?, isMember: Bool, now: Milliseconds) {
        guard var entry = entries[key] else { return }
        entry.name = name
        entry.mesh = mesh.meshPrefix
        if let address {
            entry.lastGood = address
            entry.addresses[.lastKnown] = Self.merged(entry.addresses[.lastKnown] ?? [], with: [address], of: .lastKnown)
        }
        entry.state = isMember ? .connected : .stranger
        entry.why = isMember ? nil : "no grant for its key has reached this node"
        entry.lastSeen = now
        entries[key] = entry
    }

    package mutating func stillThere(_ key: Key, now: Milliseconds) { entries[key]?.lastSeen = now }

    package mutating func failed(_ key: Key, _ error: MeshError, now: Milliseconds) {
        guard var entry = entries[key] else { return }
        entry.why = error.message + (error.hint.isEmpty ? "" : "; " + error.hint)
        switch error.code {
        case .notMember, .peerProtocol, .peerMisbehaved:
            entry.state = .reachable
            entry.lastSeen = now
        case .otherMesh: entry.state = .otherMesh
        case .peerStranger: entry.state = .stranger
        default: entry.state = .unreachable
        }
        entries[key] = entry
    }

    /// Said by a peer that is not contacted, because it announces another mesh.
    package mutating func passedOver(_ key: Key) {
        guard var entry = entries[key] else { return }
        entry.state = .otherMesh
        entry.why = "it belongs to the mesh \(entry.mesh ?? "?")"
        entries[key] = entry
    }

    /// Peers to fetch from, those that answered last first.
    package var connected: [KeyID] {
        entries.compactMap { key, entry in
            if case .node(let id) = key, entry.state == .connected { (id, entry.lastSeen ?? 0) } else { nil }
        }.sorted { ($1.1, $0.0) < ($0.1, $1.0) }.map(\.0)
    }
}

extension Digest {
    /// What announcements carry of a mesh id: its first 16 hex.
    var meshPrefix: String { String(hex.prefix(16)) }
}
