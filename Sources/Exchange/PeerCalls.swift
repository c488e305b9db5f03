internal import CapsuleFormat
internal import Catalog
internal import MeshCore
internal import Signing

// The routes of docs/formats/exchange.md, from the asking side. Every answer is held against its bounds here.
extension PeerClient {
    /// Says who asks, and learns who answers. The key is what TLS proved, and it must be the one that the hello names.
    func hello(_ own: Hello) async throws(MeshError) -> (hello: Hello, peer: PublicKey) {
        let (answer, peer) = try await send(PeerRequest(.post, "/mesh/v1/hello", body: own.bytes, answerBytesMax: 4096))
        let hello = try Hello(parsing: try Self.body(of: answer))
        guard hello.node == peer.id else { throw Frames.broken("a hello that names another node than the one that speaks") }
        guard hello.protocolVersion == Hello.protocolVersion else {
            throw MeshError(.peerProtocol, "the peer speaks version \(hello.protocolVersion) of the mesh protocol, this node \(Hello.protocolVersion)",
                            hint: "update the older of the two nodes")
        }
        return (hello, peer)
    }

    /// Whether the peer's charters and facts are these. An older peer knows no such question: false.
    func hasSameState(as digest: Digest) async throws(MeshError) -> Bool {
        let (answer, _) = try await send(PeerRequest(.get, "/mesh/v1/same/\(digest.hex.prefix(Limits.stateDigestDigits))", answerBytesMax: 0))
        return answer.status == 204
    }

    /// All fact ids of the peer, ascending; at most `countMax`.
    func factIDs(countMax: Int) async throws(MeshError) -> [Digest] {
        var ids: [Digest] = []
        while true {
            let path = "/mesh/v1/facts/ids" + (ids.last.map { "?after=\($0.hex)" } ?? "")
            let (answer, _) = try await send(PeerRequest(.get, path, answerBytesMax: Limits.frameBytesMax, workSeconds: 2))
            let page = try Frames.decodeDigests(try Self.body(of: answer), countMax: Limits.factIDsPerPageMax)
            for id in page {
                guard ids.last.map({ $0 < id }) ?? true else { throw Frames.broken("fact ids out of order") }
                ids.append(id)
            }
            if page.count < Limits.factIDsPerPageMax || ids.count >= countMax { return ids }
        }
    }

    /// The envelopes of those facts that fit one message; ask again for the others.
    func facts(_ ids: some Collection<Digest>) async throws(MeshError) -> [[UInt8]] {
        let (answer, _) = try await send(PeerRequest(.post, "/mesh/v1/facts", body: Frames.encode(digests: ids),
                                                     answerBytesMax: FactMessage.bytesMax, workSeconds: 2))
        return try Frames.decode(try Self.body(of: answer), countMax: Limits.factsPerMessageMax, partBytesMax: Limits.factEnvelopeBytesMax)
    }

    /// The peer's charters, unverified.
    func charters() async throws(MeshError) -> [[UInt8]] {
        let (answer, _) = try await send(PeerRequest(.get, "/mesh/v1/charters", answerBytesMax: Limits.charterFileBytesMax, workSeconds: 2))
        return try Frames.decode(try Self.body(of: answer), countMax: Limits.charterDocumentsMax, partBytesMax: Limits.controlMessageBytesMax)
    }

    func offer(charters: [[UInt8]]) async throws(MeshError) {
        let (answer, _) = try await send(PeerRequest(.post, "/mesh/v1/charters", body: Frames.encode(charters), workSeconds: 4))
        _ = try Self.body(of: answer)
    }

    /// Sums over the peer's facts: see `Reconciliation`.
    func reconcile(_ question: Reconciliation.Question) async throws(MeshError) -> Reconciliation.Answer {
        let (answer, _) = try await send(PeerRequest(.post, "/mesh/v1/reconcile", body: question.bytes, answerBytesMax: Reconciliation.answerBytesMax, workSeconds: 4))
        return try Reconciliation.Answer(parsing: try Self.body(of: answer))
    }

    /// Gives the peer facts that it lacks, and gets those of the wanted ones that fit one message.
    func exchange(_ message: Reconciliation.Exchange) async throws(MeshError) -> [[UInt8]] {
        let (answer, _) = try await send(PeerRequest(.post, "/mesh/v1/exchange", body: message.bytes, answerBytesMax: FactMessage.bytesMax, workSeconds: 4 + message.given.count / 500))
        return try Frames.decode(try Self.body(of: answer), countMax: Limits.factsPerMessageMax, partBytesMax: Limits.factEnvelopeBytesMax)
    }

    /// Gives the peer facts that it lacks.
    func offer(_ envelopes: [[UInt8]]) async throws(MeshError) {
        let (answer, _) = try await send(PeerRequest(.post, "/mesh/v1/facts/new", body: Frames.encode(envelopes),
                                                     workSeconds: 2 + envelopes.count / 500))
        _ = try Self.body(of: answer)
    }

    /// Which of these chunks the peer has.
    func have(_ digests: [Digest]) async throws(MeshError) -> [Bool] {
        let (answer, _) = try await send(PeerRequest(.post, "/mesh/v1/have", body: Frames.encode(digests: digests), workSeconds: 2))
        return try Frames.decodeFlags(try Self.body(of: answer), count: digests.count)
    }

    /// The bytes of each chunk, unverified, nil where the peer does not have it.
    func chunks(_ chunks: [ChunkReference]) async throws(MeshError) -> [[UInt8]?] {
        let bytes = chunks.reduce(0) { $0 + 4 + $1.length }
        let (answer, _) = try await send(PeerRequest(.post, "/mesh/v1/chunks", body: ChunkMessage.question(chunks), answerBytesMax: bytes,
                                                     workSeconds: 1 + bytes / Limits.peerBytesPerSecondMin))
        return try ChunkMessage.answer(try Self.body(of: answer), to: chunks)
    }

    /// A root, index or chunk list, unverified; nil where the peer does not have it.
    func blob(_ digest: Digest, ofCapsuleNamed name: String, bytesMax: Int) async throws(MeshError) -> [UInt8]? {
        let (answer, _) = try await send(PeerRequest(.get, "/v2/\(name)/blobs/\(digest)", answerBytesMax: bytesMax, workSeconds: 4))
        return answer.status == 404 ? nil : try Self.body(of: answer)
    }

    /// Envelopes that refer to the capsule, unverified.
    func referrers(of capsule: Digest) async throws(MeshError) -> [ReferrerDocument] {
        let (answer, _) = try await send(PeerRequest(.get, "/mesh/v1/capsules/\(capsule)/referrers", answerBytesMax: Limits.referrersBytesMax,
                                                     workSeconds: 2))
        return answer.status == 404 ? [] : try ReferrerMessage.decode(try Self.body(of: answer))
    }

    func pair(_ message: JSONValue) async throws(MeshError) -> PeerAnswer {
        try await send(PeerRequest(.post, "/mesh/v1/pair", body: message.canonicalBytes, workSeconds: 2)).answer
    }

    private static func body(of answer: PeerAnswer) throws(MeshError) -> [UInt8] {
        switch answer.status {
        case 200: return answer.body
        case 403: throw MeshError(.notMember, "the peer does not know this node as a member of its mesh",
                                  hint: "join its mesh with an invitation, or wait until news of this node's grant reaches it")
        default: throw MeshError(.peerMisbehaved, "the peer answered with HTTP status \(answer.status)", hint: "it may run another version")
        }
    }
}

/// A message of fact envelopes, in frames.
enum FactMessage {
    /// Also where one envelope alone is longer than a frame's worth of others.
    static let bytesMax = Limits.frameBytesMax + 4 + Limits.factEnvelopeBytesMax

    /// Whether facts of this kind decide how others are read, and so travel first.
    static func isControl(kind: String) -> Bool { ["charter", "grant", "revoke", "successor", "withdraw"].contains(kind) }

    /// Control facts first, otherwise as they came.
    static func ordered(_ envelopes: [[UInt8]]) -> [[UInt8]] {
        var first: [[UInt8]] = [], rest: [[UInt8]] = []
        for envelope in envelopes { if isControl(envelope) { first.append(envelope) } else { rest.append(envelope) } }
        return first + rest
    }

    /// The longest run from the front that fits one message.
    static func fitting(_ envelopes: [[UInt8]]) -> ArraySlice<[UInt8]> {
        var bytes = 0, count = 0
        for envelope in envelopes.prefix(Limits.factsPerMessageMax) {
            bytes += 4 + envelope.count
            if bytes > Limits.frameBytesMax, count > 0 { break }
            count += 1
        }
        return envelopes.prefix(count)
    }

    private static func isControl(_ envelope: [UInt8]) -> Bool {
        guard let payload = (try? Envelope(parsing: envelope))?.payload, let statement = try? Statement(parsing: payload) else { return false }
        let parts = statement.predicateType.split(separator: ":")
        return parts.count == 5 && parts[2] == "fact" && isControl(kind: String(parts[3]))
    }
}

/// Questions for chunks and their answers: `sha256[32] ‖ u32le length` each, answered in order by `u32le length ‖ bytes`,
/// length 0 for a chunk that is not there.
enum ChunkMessage {
    static let entryBytes = 36

    static func question(_ chunks: [ChunkReference]) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(chunks.count * entryBytes)
        for chunk in chunks {
            out.append(contentsOf: chunk.digest.bytes)
            Frames.append(UInt32(chunk.length), to: &out)
        }
        return out
    }

    static func parse(question bytes: [UInt8]) throws(MeshError) -> [ChunkReference] {
        guard bytes.count % entryBytes == 0, bytes.count / entryBytes <= Limits.chunksPerRequestMax else { throw Frames.broken("a list of chunks that is cut off or too long") }
        var out: [ChunkReference] = []
        var total = 0
        for offset in stride(from: 0, to: bytes.count, by: entryBytes) {
            guard let digest = Digest(bytes: bytes[offset ..< offset + 32]), let length = Frames.number(in: bytes, at: offset + 32).map(Int.init),
                  (1...Limits.chunkBytesMax).contains(length) else { throw Frames.broken("a chunk of impossible length") }
            total += length
            out.append(ChunkReference(digest: digest, length: length))
        }
        guard total <= Limits.frameBytesMax else { throw Frames.broken("chunks of more than \(Limits.frameBytesMax) bytes in one question") }
        return out
    }

    static func answer(_ bytes: [UInt8], to chunks: [ChunkReference]) throws(MeshError) -> [[UInt8]?] {
        let parts = try Frames.decode(bytes, countMax: chunks.count, partBytesMax: Limits.chunkBytesMax)
        guard parts.count == chunks.count else { throw Frames.broken("\(parts.count) chunks in answer to \(chunks.count)") }
        return parts.map { $0.isEmpty ? nil : $0 }
    }
}

/// Documents that refer to a capsule: each as two frames, its artifact type and its bytes.
enum ReferrerMessage {
    /// As many as fit the bound, the shortest first: no large SBOM takes the place of a signature.
    static func encode(_ documents: [ReferrerDocument]) -> [UInt8] {
        var out: [UInt8] = []
        let shortestFirst = documents.indices.sorted { (documents[$0].bytes.count, $0) < (documents[$1].bytes.count, $1) }
        for document in shortestFirst.prefix(Limits.referrersPerCapsuleMax).map({ documents[$0] }) {
            let type = Array(document.artifactType.utf8)
            guard out.count + 8 + type.count + document.bytes.count <= Limits.referrersBytesMax else { break }
            Frames.append(type, to: &out)
            Frames.append(document.bytes, to: &out)
        }
        return out
    }

    static func decode(_ bytes: [UInt8]) throws(MeshError) -> [ReferrerDocument] {
        let parts = try Frames.decode(bytes, countMax: 2 * Limits.referrersPerCapsuleMax, partBytesMax: Limits.envelopeBytesMax)
        guard parts.count % 2 == 0 else { throw Frames.broken("a referrer without its type") }
        var out: [ReferrerDocument] = []
        for i in stride(from: 0, to: parts.count, by: 2) {
            guard parts[i].count <= 255, let type = String(validating: parts[i], as: UTF8.self) else { throw Frames.broken("a referrer whose type is not text") }
            out.append(ReferrerDocument(bytes: parts[i + 1], artifactType: type))
        }
        return out
    }
}
