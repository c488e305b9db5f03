internal import CapsuleFormat
internal import CapsuleStore
internal import Catalog
internal import HTTPTypes
internal import Hummingbird
internal import HummingbirdCore
internal import MeshCore
internal import NIOCore
internal import Signing

/// Every request from a peer. Without a member's key there is one door, `POST /mesh/v1/pair`; at all others a stranger is
/// answered 403 and nothing else, whether they exist or not.
struct PeerRoutes: Sendable {
    let connections: ConnectionTable
    let store: CapsuleStore
    let catalog: Catalog
    let issuer: InvitationIssuer
    let own: @Sendable () -> Hello
    /// A member said hello: its key, its words, and the numeric host it spoke from.
    let heard: @Sendable (PublicKey, Hello, String?) -> Void
    let events: EventSink

    func respond(to request: Request, on channel: any Channel) async throws -> Response {
        guard let key = connections.key(of: channel) else { return Self.refusal(.forbidden) }
        let parts = request.uri.path.split(separator: "/", omittingEmptySubsequences: false).dropFirst().map(String.init)
        if request.method == .post, parts == ["mesh", "v1", "pair"] { return await pair(request, key, channel) }
        let catalog = catalog
        guard (try? await offEventLoops({ () throws(MeshError) in try catalog.isMember(key) })) == true else { return Self.refusal(.forbidden) }
        connections.admitted(channel)
        do {
            switch (request.method, parts.count, parts.prefix(3)) {
            case (.get, 3, ["mesh", "v1", "hello"]): return Self.json(own().bytes)
            case (.post, 3, ["mesh", "v1", "hello"]): return try await hello(request, key, channel)
            case (.get, 4, ["mesh", "v1", "same"]): return Response(status: catalog.stateDigest.hex.prefix(Limits.stateDigestDigits) == parts[3] ? .noContent : .notFound)
            case (.get, 3, ["mesh", "v1", "charters"]): return Self.binary(Frames.encode(catalog.charter.envelopes))
            case (.post, 3, ["mesh", "v1", "charters"]): return try await newCharters(request)
            case (.post, 3, ["mesh", "v1", "reconcile"]): return try await reconcile(request)
            case (.post, 3, ["mesh", "v1", "exchange"]): return try await exchange(request, key)
            case (.get, 4, ["mesh", "v1", "facts"]) where parts[3] == "ids": return try await factIDs(request)
            case (.post, 3, ["mesh", "v1", "facts"]): return try await facts(request)
            case (.post, 4, ["mesh", "v1", "facts"]) where parts[3] == "new": return try await newFacts(request, key)
            case (.post, 3, ["mesh", "v1", "have"]): return try await have(request)
            case (.post, 3, ["mesh", "v1", "chunks"]): return try await chunks(request)
            case (.get, 5, ["mesh", "v1", "capsules"]) where parts[4] == "referrers": return try await referrers(parts[3])
            case (.get, 4, _) where parts[0] == "v2" && parts[2] == "blobs": return try await blob(request, parts[3])
            default: return Response(status: .notFound)
            }
        } catch let error as MeshError {
            return Self.refusal(error.code.exit == .badData || error.code.exit == .usage ? .badRequest : .internalServerError)
        } catch is NIOTooManyBytesError {
            return Self.refusal(.contentTooLarge)
        } catch is RequestTooSlow {
            return Self.refusal(.requestTimeout)
        }
    }

    // MARK: Facts

    private func hello(_ request: Request, _ key: PublicKey, _ channel: any Channel) async throws -> Response {
        let hello = try Hello(parsing: try await Self.body(request, bytesMax: 4096))
        guard hello.node == key.id else { throw Frames.broken("a hello that names another node than the one that speaks") }
        heard(key, hello, channel.remoteAddress?.ipAddress)
        return Self.json(own().bytes)
    }

    private func reconcile(_ request: Request) async throws -> Response {
        let question = try Reconciliation.Question(parsing: try await Self.body(request, bytesMax: Reconciliation.questionBytesMax))
        let catalog = catalog
        return Self.binary(try await offEventLoops { () throws(MeshError) in try catalog.answer(question).bytes })
    }

    private func exchange(_ request: Request, _ key: PublicKey) async throws -> Response {
        let message = try Reconciliation.Exchange(parsing: try await Self.body(request, bytesMax: FactMessage.bytesMax + 32 + 8 * Limits.factsPerMessageMax))
        let catalog = catalog
        let (admission, found) = try await offEventLoops { () throws(MeshError) in
            // Those that are given were not here when the ids were told, so what is looked for does not depend on them.
            let found = FactMessage.fitting(FactMessage.ordered(try catalog.facts(message.wanted, under: message.key)))
            return (try catalog.admit(message.given, from: key.id), Array(found))
        }
        tellReceived(admission, key)
        return Self.binary(Frames.encode(found))
    }

    private func tellReceived(_ admission: Catalog.Admission, _ key: PublicKey) {
        guard !admission.admitted.isEmpty else { return }
        events(NodeEvent(source: "exchange", type: "facts.received", data: ["from": .string(key.id.hex), "count": JSONValue(admission.admitted.count)]))
    }

    private func newCharters(_ request: Request) async throws -> Response {
        let envelopes = try Frames.decode(try await Self.body(request, bytesMax: Limits.charterFileBytesMax), countMax: Limits.charterDocumentsMax,
                                          partBytesMax: Limits.controlMessageBytesMax)
        let catalog = catalog
        let isNew = try await offEventLoops { () throws(MeshError) in try catalog.adopt(charters: envelopes) }
        if isNew { events(NodeEvent(source: "exchange", type: "charter.changed", data: ["version": JSONValue(catalog.charter.version), "id": JSONValue(catalog.charter.id)])) }
        return Self.json(JSONValue.object(["new": .bool(isNew)]).canonicalBytes)
    }

    private func factIDs(_ request: Request) async throws -> Response {
        let after: Digest?
        if let text = request.uri.queryParameters["after"] {
            guard let digest = Digest(hex: text) else { throw Frames.broken("a page that begins after no digest") }
            after = digest
        } else {
            after = nil
        }
        let catalog = catalog
        return Self.binary(try await offEventLoops { () throws(MeshError) in
            let ids = try catalog.factIDs().sorted()
            let start = after.map { after in ids.partitioningIndex { $0 > after } } ?? 0
            return Frames.encode(digests: ids[start...].prefix(Limits.factIDsPerPageMax))
        })
    }

    private func facts(_ request: Request) async throws -> Response {
        let ids = try Frames.decodeDigests(try await Self.body(request, bytesMax: 32 * Limits.factsPerMessageMax), countMax: Limits.factsPerMessageMax)
        let catalog = catalog
        return Self.binary(try await offEventLoops { () throws(MeshError) in
            Frames.encode(Array(FactMessage.fitting(FactMessage.ordered(try catalog.facts(ids)))))
        })
    }

    private func newFacts(_ request: Request, _ key: PublicKey) async throws -> Response {
        let envelopes = try Frames.decode(try await Self.body(request, bytesMax: FactMessage.bytesMax), countMax: Limits.factsPerMessageMax,
                                          partBytesMax: Limits.factEnvelopeBytesMax)
        let catalog = catalog
        let admission = try await offEventLoops { () throws(MeshError) in try catalog.admit(envelopes, from: key.id) }
        tellReceived(admission, key)
        return Self.json(JSONValue.object(["admitted": JSONValue(admission.admitted.count), "known": JSONValue(admission.known),
                                           "waiting": JSONValue(admission.waiting), "refused": JSONValue(admission.refused.count)]).canonicalBytes)
    }

    // MARK: Capsules

    private func have(_ request: Request) async throws -> Response {
        let digests = try Frames.decodeDigests(try await Self.body(request, bytesMax: Limits.controlMessageBytesMax), countMax: Limits.digestsPerQuestionMax)
        let store = store
        return Self.binary(Frames.encode(flags: try await offEventLoops { () throws(MeshError) in try store.has(digests) }))
    }

    private func chunks(_ request: Request) async throws -> Response {
        let wanted = try ChunkMessage.parse(question: try await Self.body(request, bytesMax: ChunkMessage.entryBytes * Limits.chunksPerRequestMax))
        let store = store, events = events
        return Self.binary(try await offEventLoops { () throws(MeshError) in
            var out: [UInt8] = []
            out.reserveCapacity(wanted.reduce(0) { $0 + 4 + $1.length })
            for chunk in wanted {
                do throws(MeshError) {
                    Frames.append(try store.read(chunk: chunk), to: &out)
                } catch {
                    // Not here, or no longer good here: either way this node cannot give it.
                    Frames.append(0, to: &out)
                    if error.code.name == "chunk_corrupt" {
                        events(NodeEvent(source: "exchange", type: "chunk.corrupt", data: ["chunk": JSONValue(chunk.digest)]))
                    }
                }
            }
            return out
        })
    }

    private func referrers(_ text: String) async throws -> Response {
        let digest = try Digest(parsing: text)
        let store = store
        let bytes: [UInt8]? = try await offEventLoops { () throws(MeshError) in
            store.contains(capsule: digest) ? ReferrerMessage.encode(try store.referrers(of: digest)) : nil
        }
        return bytes.map(Self.binary) ?? Response(status: .notFound)
    }

    private func blob(_ request: Request, _ text: String) async throws -> Response {
        let digest = try Digest(parsing: text)
        let store = store
        guard let bytes = try? await offEventLoops({ () throws(MeshError) in try store.blob(digest) }) else { return Response(status: .notFound) }
        guard let header = request.headers[.range] else { return Self.binary(bytes) }
        guard let range = ByteRange(header, of: bytes.count) else {
            return Response(status: .rangeNotSatisfiable, headers: [.contentRange: "bytes */\(bytes.count)"])
        }
        var response = Self.binary(Array(bytes[range.bounds]))
        response.status = .partialContent
        response.headers[.contentRange] = "bytes \(range.bounds.lowerBound)-\(range.bounds.upperBound - 1)/\(bytes.count)"
        return response
    }

    // MARK: Pairing

    private func pair(_ request: Request, _ key: PublicKey, _ channel: any Channel) async -> Response {
        guard let body = try? await Self.body(request, bytesMax: 4096), let message = try? JSONValue.parse(body, bytesMax: 4096) else {
            return Self.refusal(.badRequest)
        }
        let reply = await issuer.answer(message, from: key, at: channel.remoteAddress?.ipAddress ?? "")
        var response = Self.json(reply.body.canonicalBytes)
        response.status = .init(code: reply.status)
        return response
    }

    // MARK: Parts of answers

    private struct RequestTooSlow: Error {}

    private static func body(_ request: Request, bytesMax: Int) async throws -> [UInt8] {
        if let declared = request.headers[.contentLength].flatMap({ Int($0) }), declared > bytesMax { throw NIOTooManyBytesError(maxBytes: bytesMax) }
        return try await withThrowingTaskGroup(of: [UInt8].self) { group in
            defer { group.cancelAll() }
            group.addTask { Array(try await request.body.collect(upTo: bytesMax).readableBytesView) }
            group.addTask {
                try await Task.sleep(for: .seconds(Limits.idleSecondsServed))
                throw RequestTooSlow()
            }
            return try await group.next() ?? []
        }
    }

    private static func json(_ bytes: [UInt8]) -> Response {
        Response(status: .ok, headers: [.contentType: "application/json"], body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
    }

    private static func binary(_ bytes: [UInt8]) -> Response {
        Response(status: .ok, headers: [.contentType: "application/octet-stream"], body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
    }

    /// An empty answer after which the connection ends.
    private static func refusal(_ status: HTTPResponse.Status) -> Response {
        Response(status: status, headers: [.connection: "close"])
    }
}

/// One range of a `Range` header (RFC 9110 §14.2): `bytes=A-B`, `bytes=A-`, `bytes=-N`; nil where it asks for nothing that is there.
package struct ByteRange: Hashable {
    package let bounds: Range<Int>

    package init?(_ header: String, of count: Int) {
        guard header.hasPrefix("bytes="), !header.contains(",") else { return nil }
        let ends = header.dropFirst(6).split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        guard ends.count == 2 else { return nil }
        func number(_ text: Substring) -> Int? { text.utf8.allSatisfy { (0x30...0x39).contains($0) } ? Int(text) : nil }
        switch (ends[0].isEmpty, ends[1].isEmpty) {
        case (true, true): return nil
        case (true, false):
            guard let last = number(ends[1]), last > 0, count > 0 else { return nil }
            bounds = max(0, count - last) ..< count
        case (false, let open):
            guard let first = number(ends[0]), first < count else { return nil }
            guard let last = open ? count - 1 : number(ends[1]), last >= first else { return nil }
            bounds = first ..< min(last, count - 1) + 1
        }
    }
}

extension Array where Element: Comparable {
    /// The first place whose element satisfies `predicate`, in an array where all that do come last.
    func partitioningIndex(where predicate: (Element) -> Bool) -> Int {
        var low = 0, high = count
        while low < high {
            let middle = (low + high) / 2
            if predicate(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
