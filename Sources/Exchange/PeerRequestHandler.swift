internal import MeshCore
internal import NIOCore
internal import NIOHTTP1
internal import NIOTLS

/// The client end of one connection, on its event loop: one request under way, its deadline, and the bound on its answer.
final class PeerRequestHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundIn = Pending
    typealias OutboundOut = HTTPClientRequestPart

    struct Pending: Sendable {
        let request: PeerRequest
        let answer: EventLoopPromise<PeerAnswer>
    }

    private enum State {
        case handshaking
        case idle
        case waiting(Pending)
        case reading(Pending, HTTPResponseHead, ByteBuffer)
        case closed
    }

    private var state = State.handshaking
    private var deadline: Scheduled<Void>?
    private var failure: (any Error)?
    private let ready: EventLoopPromise<Void>

    init(ready: EventLoopPromise<Void>) { self.ready = ready }

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { limit(context, seconds: Limits.handshakeSecondsMax, "did not finish the TLS handshake") }
    }

    func channelActive(context: ChannelHandlerContext) {
        limit(context, seconds: Limits.handshakeSecondsMax, "did not finish the TLS handshake")
        context.fireChannelActive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted(let chosen) = event as? TLSUserEvent, case .handshaking = state {
            deadline?.cancel()
            if chosen == NodeIdentity.applicationProtocol {
                state = .idle
                ready.succeed()
            } else {
                fail(context, MeshError(.peerProtocol, "the peer speaks \(chosen ?? "no protocol") where \(NodeIdentity.applicationProtocol) was offered",
                                        hint: "update the older of the two nodes"))
            }
        }
        context.fireUserInboundEventTriggered(event)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let pending = unwrapOutboundIn(data)
        guard case .idle = state else {
            let error = failure ?? ChannelError.ioOnClosedChannel
            pending.answer.fail(error)
            promise?.fail(error)
            return
        }
        state = .waiting(pending)
        limit(context, seconds: max(Limits.requestSecondsMin, 4 * pending.request.workSeconds), "did not answer")
        var headers = HTTPHeaders([("host", "mesh")])
        if pending.request.method != .get { headers.add(name: "content-length", value: String(pending.request.body.count)) }
        let head = HTTPRequestHead(version: .http1_1, method: HTTPMethod(rawValue: pending.request.method.rawValue), uri: pending.request.path, headers: headers)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        if !pending.request.body.isEmpty {
            context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: pending.request.body)))), promise: nil)
        }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: promise)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch (unwrapInboundIn(data), state) {
        case (.head(let head), .waiting(let pending)):
            let declared = head.headers.first(name: "content-length").flatMap(Int.init) ?? pending.request.answerBytesMax
            guard declared <= pending.request.answerBytesMax else {
                return fail(context, tooLong(declared, pending.request))
            }
            limit(context, seconds: max(Limits.requestSecondsMin, 4 * declared / Limits.peerBytesPerSecondMin), "sends its answer too slowly")
            state = .reading(pending, head, ByteBuffer())
        case (.body(var part), .reading(let pending, let head, var body)):
            // Emptied first, so that the buffer is held once and grows in place.
            state = .closed
            body.writeBuffer(&part)
            guard body.readableBytes <= pending.request.answerBytesMax else {
                state = .reading(pending, head, ByteBuffer())
                return fail(context, tooLong(body.readableBytes, pending.request))
            }
            state = .reading(pending, head, body)
        case (.end, .reading(let pending, let head, let body)):
            deadline?.cancel()
            state = .idle
            pending.answer.succeed(PeerAnswer(status: Int(head.status.code), body: Array(body.readableBytesView)))
            if !head.isKeepAlive { context.close(promise: nil) }
        default:
            fail(context, Frames.broken("an answer that nothing asked for"))
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { fail(context, error) }

    func channelInactive(context: ChannelHandlerContext) {
        finish(failure ?? ChannelError.eof)
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { finish(failure ?? ChannelError.eof) }

    private func tooLong(_ count: Int, _ request: PeerRequest) -> MeshError {
        Frames.broken("\(count) bytes in answer to \(request.path) where at most \(request.answerBytesMax) are read")
    }

    private func limit(_ context: ChannelHandlerContext, seconds: Int, _ what: String) {
        deadline?.cancel()
        deadline = context.eventLoop.assumeIsolated().scheduleTask(in: .seconds(Int64(seconds))) { [self] in
            fail(context, MeshError(.peerTimeout, "the peer \(what) within \(seconds) seconds", hint: "it may be overloaded or cut off; try again"))
        }
    }

    private func fail(_ context: ChannelHandlerContext, _ error: any Error) {
        if failure == nil { failure = error }
        finish(failure ?? error)
        context.close(promise: nil)
    }

    private func finish(_ error: any Error) {
        deadline?.cancel()
        deadline = nil
        switch state {
        case .handshaking: ready.fail(error)
        case .waiting(let pending), .reading(let pending, _, _): pending.answer.fail(error)
        case .idle, .closed: break
        }
        state = .closed
    }
}
