package import Discovery
package import MeshCore
package import Signing

/// Requests to one peer over a small pool of kept-alive connections, by whichever of its addresses answers.
package actor PeerClient {
    /// nil while only an address is known: then whoever answers there is taken, and the first key seen is kept to.
    private var expected: KeyID?
    private let identity: NodeIdentity
    private var addresses: [PeerAddress]
    private(set) var lastGood: PeerAddress?
    private var idle: [(connection: PeerConnection, since: ContinuousClock.Instant)] = []
    private var leased = 0
    private var waiters: [CheckedContinuation<Void, Never>] = []

    package init(identity: NodeIdentity, expecting: KeyID?, addresses: [PeerAddress]) {
        self.identity = identity
        expected = expecting
        self.addresses = addresses
    }

    func update(_ addresses: [PeerAddress]) { self.addresses = addresses }

    /// The node that this client is for, once it is known.
    var peerID: KeyID? { expected }

    var hasOpenConnection: Bool { leased > 0 || idle.contains { $0.connection.isOpen } }

    package func closeAll() {
        for (connection, _) in idle { connection.close() }
        idle = []
    }

    /// The answer and the key that gave it. A kept connection that turns out closed is replaced once: every request of
    /// this protocol may be repeated.
    package func send(_ request: PeerRequest) async throws(MeshError) -> (answer: PeerAnswer, peer: PublicKey) {
        await lease()
        defer { release() }
        if let connection = takeIdle() {
            do throws(MeshError) {
                let answer = try await connection.send(request)
                keep(connection)
                return (answer, connection.peer)
            } catch {
                guard error.code == .peerClosed, !Task.isCancelled else { throw error }
            }
        }
        let connection = try await connect()
        let answer = try await connection.send(request)
        keep(connection)
        return (answer, connection.peer)
    }

    private func connect() async throws(MeshError) -> PeerConnection {
        var ordered = addresses
        if let lastGood, let place = ordered.firstIndex(of: lastGood) { ordered.swapAt(0, place) }
        var failures: [MeshError] = []
        for address in ordered.prefix(Limits.addressesPerPeerMax) {
            do throws(MeshError) {
                let connection = try await PeerConnection.open(to: address, identity: identity, expecting: expected)
                expected = connection.peer.id
                lastGood = address
                return connection
            } catch {
                failures.append(error)
                if Task.isCancelled { break }
            }
        }
        guard let first = failures.first else {
            throw MeshError(.peerUnreachable, "no address of this peer is known", hint: "add one with `capsule peers add ADDRESS`")
        }
        throw MeshError(first.code, first.message, hint: first.hint, details: failures.count > 1 ? failures.map(\.message) : [], cause: first.cause)
    }

    private func lease() async {
        while leased >= Limits.connectionsPerPeerOpened {
            await withCheckedContinuation { waiters.append($0) }
        }
        leased += 1
    }

    private func release() {
        leased -= 1
        if !waiters.isEmpty { waiters.removeFirst().resume() }
    }

    private func takeIdle() -> PeerConnection? {
        let oldest = ContinuousClock.now - .seconds(Limits.idleSecondsOpened)
        while let (connection, since) = idle.popLast() {
            if since > oldest, connection.isOpen { return connection }
            connection.close()
        }
        return nil
    }

    private func keep(_ connection: PeerConnection) {
        if connection.isOpen { idle.append((connection, .now)) }
    }
}
