internal import MeshCore
internal import NIOCore
internal import NIOSSL
internal import NIOTLS

/// Stands behind TLS on each connection that this node accepts: enters it in the table, closes one that does not finish
/// its handshake in time, speaks another protocol, shows no Ed25519 key, or is one too many.
final class ConnectionGate: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = NIOAny

    private let table: ConnectionTable
    private var handshakeDeadline: Scheduled<Void>?

    init(table: ConnectionTable) { self.table = table }

    func handlerAdded(context: ChannelHandlerContext) {
        guard table.opened(context.channel) else {
            context.close(promise: nil)
            return
        }
        handshakeDeadline = context.eventLoop.assumeIsolated().scheduleTask(in: .seconds(Int64(Limits.handshakeSecondsMax))) {
            context.close(promise: nil)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted(let chosen) = event as? TLSUserEvent {
            handshakeDeadline?.cancel()
            let certificate = try? context.pipeline.syncOperations.nioSSL_peerCertificate()
            guard chosen == NodeIdentity.applicationProtocol, let key = certificate.flatMap({ NodeIdentity.key(of: $0) }),
                  table.identified(context.channel, as: key) else {
                context.close(promise: nil)
                return
            }
        }
        context.fireUserInboundEventTriggered(event)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        handshakeDeadline?.cancel()
        table.closed(context.channel)
    }
}
