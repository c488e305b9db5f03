package import Discovery
internal import Glibc
package import MeshCore
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import NIOSSL
package import Signing
internal import Synchronization

/// One request to a peer.
package struct PeerRequest: Sendable {
    package enum Method: String, Sendable { case get = "GET", post = "POST" }

    package let method: Method
    package let path: String
    package let body: [UInt8]
    /// A longer answer is refused before it is read.
    package let answerBytesMax: Int
    /// What the peer should need, at the slowest, before its answer begins.
    package let workSeconds: Int

    package init(_ method: Method, _ path: String, body: [UInt8] = [], answerBytesMax: Int = Limits.controlMessageBytesMax, workSeconds: Int = 1) {
        self.method = method
        self.path = path
        self.body = body
        self.answerBytesMax = answerBytesMax
        self.workSeconds = workSeconds
    }
}

package struct PeerAnswer: Sendable, Hashable {
    package let status: Int
    package let body: [UInt8]

    package init(status: Int, body: [UInt8]) {
        self.status = status
        self.body = body
    }
}

/// One TLS connection to a peer whose key is pinned. Carries one request at a time (HTTP/1.1, kept alive).
package final class PeerConnection: Sendable {
    package let peer: PublicKey
    package let address: PeerAddress
    private let channel: any Channel

    private init(peer: PublicKey, address: PeerAddress, channel: any Channel) {
        self.peer = peer
        self.address = address
        self.channel = channel
    }

    /// Connects and shakes hands. With `expected`, a peer that has another key is refused (`peer_key_mismatch`); without,
    /// any key is taken and told in `peer`.
    package static func open(to address: PeerAddress, identity: NodeIdentity, expecting expected: KeyID?) async throws(MeshError) -> PeerConnection {
        let target = try SocketAddress(peer: address)
        let presented = PresentedKey()
        let opened: (channel: any Channel, ready: EventLoopFuture<Void>)
        do {
            opened = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connectTimeout(.seconds(Int64(Limits.connectSecondsMax)))
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .connect(to: target) { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let ready = channel.eventLoop.makePromise(of: Void.self)
                        let tls = try NIOSSLClientHandler(context: identity.client, serverHostname: nil) { certificates, verdict in
                            let key = NodeIdentity.key(presented: certificates)
                            presented.key.withLock { $0 = key }
                            verdict.succeed(key != nil && (expected == nil || key?.id == expected) ? .certificateVerified : .failed)
                        }
                        try channel.pipeline.syncOperations.addHandler(tls)
                        try channel.pipeline.syncOperations.addHTTPClientHandlers()
                        try channel.pipeline.syncOperations.addHandler(PeerRequestHandler(ready: ready))
                        return (channel, ready.futureResult)
                    }
                }
        } catch {
            throw PeerFailure.explain(error, at: address)
        }
        let result: Result<Void, any Error> = await withTaskCancellationHandler {
            do { return .success(try await opened.ready.get()) } catch { return .failure(error) }
        } onCancel: {
            opened.channel.close(promise: nil)
        }
        let key = presented.key.withLock { $0 }
        switch result {
        case .success:
            guard let key else {
                opened.channel.close(promise: nil)
                throw MeshError(.tlsFailed, "\(address) showed no Ed25519 key", hint: "it is not an OurSynth node")
            }
            return PeerConnection(peer: key, address: address, channel: opened.channel)
        case .failure(let error):
            if let key, let expected, key.id != expected {
                throw MeshError(.peerKeyMismatch, "\(address) has the key \(key.id.short), not the expected \(expected.short)",
                                hint: "another node has this address now; nothing was sent to it")
            }
            throw PeerFailure.explain(error, at: address)
        }
    }

    package var isOpen: Bool { channel.isActive }

    package func close() { channel.close(promise: nil) }

    /// The answer, whatever its status. After any error the connection is closed.
    package func send(_ request: PeerRequest) async throws(MeshError) -> PeerAnswer {
        let promise = channel.eventLoop.makePromise(of: PeerAnswer.self)
        let result: Result<PeerAnswer, any Error> = await withTaskCancellationHandler {
            channel.writeAndFlush(PeerRequestHandler.Pending(request: request, answer: promise)).whenFailure { promise.fail($0) }
            do { return .success(try await promise.futureResult.get()) } catch { return .failure(error) }
        } onCancel: {
            channel.close(promise: nil)
        }
        switch result {
        case .success(let answer): return answer
        case .failure(let error):
            channel.close(promise: nil)
            throw PeerFailure.explain(error, at: address)
        }
    }
}

/// Set by the verification callback on the event loop, read after the handshake.
private final class PresentedKey: Sendable {
    let key = Mutex<PublicKey?>(nil)
}

/// Why a connection failed, in words a person can act on.
enum PeerFailure {
    static func explain(_ error: any Error, at address: PeerAddress) -> MeshError {
        switch error {
        case let error as MeshError: return error
        case let error as IOError: return explain(error, address)
        case ChannelError.connectTimeout:
            return MeshError(.peerTimeout, "\(address) does not answer", hint: "it may be off, or a firewall drops port \(address.port)", cause: error)
        case let error as NIOSSLError: return tls("\(error)", address, error)
        case let error as BoringSSLError: return tls("\(error)", address, error)
        default:
            return MeshError(.peerClosed, "\(address) closed the connection", hint: "try again; it may be restarting", cause: error)
        }
    }

    private static func explain(_ error: IOError, _ address: PeerAddress) -> MeshError {
        switch error.errnoCode {
        case ECONNREFUSED:
            MeshError(.peerUnreachable, "\(address) refuses connections", hint: "no node listens there; start it with `capsule up`", cause: error)
        case EHOSTUNREACH, ENETUNREACH, EADDRNOTAVAIL, EINVAL:
            MeshError(.peerUnreachable, "no route to \(address)", hint: "its network is not reachable from here; the address may be gone", cause: error)
        case ETIMEDOUT:
            MeshError(.peerTimeout, "\(address) does not answer", hint: "it may be off, or a firewall drops port \(address.port)", cause: error)
        case ECONNRESET, EPIPE:
            MeshError(.peerClosed, "\(address) closed the connection", hint: "try again; it may be restarting", cause: error)
        default:
            MeshError(.peerUnreachable, "cannot reach \(address): \(String(cString: strerror(error.errnoCode)))", hint: "check the network", cause: error)
        }
    }

    private static func tls(_ text: String, _ address: PeerAddress, _ error: any Error) -> MeshError {
        MeshError(.tlsFailed, "\(address) does not shake hands as a node of this kind: \(text)",
                  hint: "another program or a much older node listens there", cause: error)
    }
}

extension SocketAddress {
    /// The host is numeric, so that the resolver only reads it; it keeps the interface of a link-local address.
    init(peer address: PeerAddress) throws(MeshError) {
        do {
            self = try SocketAddress.makeAddressResolvingHost(address.host, port: address.port)
        } catch {
            throw MeshError(.peerUnreachable, "\(address) is not usable on this machine", hint: "write 192.0.2.7:7423 or [2001:db8::7]:7423", cause: error)
        }
    }
}
