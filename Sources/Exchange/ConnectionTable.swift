internal import MeshCore
internal import NIOCore
internal import Signing
internal import Synchronization

/// Who is connected to this node's server, and the bounds on that: in total, for one key, and for keys that have not been
/// found to be a member's.
final class ConnectionTable: Sendable {
    private struct Connection {
        let channel: any Channel
        var key: PublicKey?
        var isMember = false
    }

    private let connections = Mutex<[ObjectIdentifier: Connection]>([:])

    /// False when the new connection must be closed at once.
    func opened(_ channel: any Channel) -> Bool {
        connections.withLock { table in
            guard table.count < Limits.connectionsMax, table.values.count(where: { !$0.isMember }) < Limits.strangerConnectionsMax else { return false }
            table[ObjectIdentifier(channel)] = Connection(channel: channel)
            return true
        }
    }

    /// Records the key that TLS proved; false when that peer has too many connections already.
    func identified(_ channel: any Channel, as key: PublicKey) -> Bool {
        connections.withLock { table in
            guard table.values.count(where: { $0.key == key }) < Limits.connectionsPerPeerMax else { return false }
            table[ObjectIdentifier(channel)]?.key = key
            return true
        }
    }

    func admitted(_ channel: any Channel) {
        connections.withLock { $0[ObjectIdentifier(channel)]?.isMember = true }
    }

    func closed(_ channel: any Channel) {
        connections.withLock { _ = $0.removeValue(forKey: ObjectIdentifier(channel)) }
    }

    /// Ends the members' connections whose keys are none any more: a revoked key loses them at once, not with its next request.
    func close(where isGone: (PublicKey) -> Bool) {
        let gone = connections.withLock { table in table.values.filter { $0.isMember && ($0.key.map(isGone) ?? false) }.map(\.channel) }
        for channel in gone { channel.close(mode: .all, promise: nil) }
    }

    func key(of channel: any Channel) -> PublicKey? {
        connections.withLock { $0[ObjectIdentifier(channel)]?.key }
    }

    var count: Int { connections.withLock { $0.count } }
}
