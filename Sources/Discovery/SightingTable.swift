internal import MeshCore
internal import Signing

/// What mDNS shows now, one row for each (interface, protocol, instance): the same peer is there once for every way on
/// which it is seen, and is one sighting to the outside. Decides only; asks and tells nobody.
package struct SightingTable {
    package struct Key: Hashable, Sendable {
        package let interface: Int32
        /// Avahi's: 0 IPv4, 1 IPv6.
        package let `protocol`: Int32
        package let name: String
        package let type: String
        package let domain: String

        package init(interface: Int32, protocol: Int32, name: String, type: String, domain: String) {
            self.interface = interface
            self.protocol = `protocol`
            self.name = name
            self.type = type
            self.domain = domain
        }
    }

    private struct Row {
        var nodeID: KeyID?
        var address: PeerAddress?
        /// Rows are told in the order in which they came, so that a flood of late ones does not push out the first.
        let order: Int
        /// Not shown again since the daemon was lost.
        var isStale = false
    }

    private struct Peer {
        var text: ServiceText
        var interface: String?
        var told: Sighting?
    }

    private let rowsMax: Int
    private var rows: [Key: Row] = [:]
    private var peers: [KeyID: Peer] = [:]
    /// Of each peer, its rows: no event walks the whole table.
    private var keys: [KeyID: Set<Key>] = [:]
    private var nextOrder = 0

    package init(rowsMax: Int = Limits.avahiResolversMax) { self.rowsMax = rowsMax }

    package var count: Int { rows.count }

    /// Whether the instance is to be resolved: it was not there before, and there is room.
    package mutating func appeared(_ key: Key) -> Bool {
        if rows[key] != nil {
            rows[key]?.isStale = false
            return true
        }
        guard rows.count < rowsMax else { return false }
        rows[key] = Row(order: nextOrder)
        nextOrder += 1
        return true
    }

    /// An instance that turned out to be no node's (`text` nil) is seen no more.
    package mutating func resolved(_ key: Key, text: ServiceText?, address: PeerAddress?, interface: String?) -> [SightingEvent] {
        guard let row = rows[key] else { return [] }
        var out: [SightingEvent] = []
        if let before = row.nodeID, before != text?.nodeID || address == nil { out += leave(key, before) }
        guard let text, let address else { return out }
        rows[key]?.nodeID = text.nodeID
        rows[key]?.address = address
        keys[text.nodeID, default: []].insert(key)
        peers[text.nodeID] = Peer(text: text, interface: interface, told: peers[text.nodeID]?.told)
        return out + tell(text.nodeID)
    }

    package mutating func vanished(_ key: Key) -> [SightingEvent] {
        guard let row = rows.removeValue(forKey: key), let nodeID = row.nodeID else { return [] }
        return leave(key, nodeID)
    }

    /// The daemon is gone. That is no news about the peers: they stay until it is back and does not show them.
    package mutating func daemonLost() {
        for key in rows.keys { rows[key]?.isStale = true }
    }

    /// The daemon is back and had its time to show them again.
    package mutating func settled() -> [SightingEvent] {
        rows.filter(\.value.isStale).keys.flatMap { vanished($0) }
    }

    private mutating func leave(_ key: Key, _ nodeID: KeyID) -> [SightingEvent] {
        rows[key]?.nodeID = nil
        rows[key]?.address = nil
        keys[nodeID]?.remove(key)
        guard keys[nodeID]?.isEmpty ?? true else { return tell(nodeID) }
        keys[nodeID] = nil
        let told = peers.removeValue(forKey: nodeID)?.told
        return told == nil ? [] : [.gone(nodeID, .avahi)]
    }

    private mutating func tell(_ nodeID: KeyID) -> [SightingEvent] {
        guard let peer = peers[nodeID] else { return [] }
        var addresses: [PeerAddress] = []
        for row in (keys[nodeID] ?? []).compactMap({ rows[$0] }).sorted(by: { $0.order < $1.order }) {
            if let address = row.address, !addresses.contains(address), addresses.count < Limits.addressesPerPeerMax { addresses.append(address) }
        }
        let sighting = Sighting(nodeID: nodeID, name: peer.text.name, mesh: peer.text.mesh, addresses: addresses, interface: peer.interface,
                                source: .avahi, catalogRoot: peer.text.catalogRoot)
        guard sighting != peer.told else { return [] }
        peers[nodeID]?.told = sighting
        return [.seen(sighting)]
    }
}
