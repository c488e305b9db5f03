internal import CapsuleFormat
internal import CapsuleStore
internal import Catalog
internal import Exchange
internal import MeshCore
internal import Signing

let shareActions: [Action] = [
    Action("capsule.release", "Release", "Says to the mesh that a capsule is a release of its name and version.", scope: .deploy,
           input: .object([
               .init("ref", .string(), "What to release"), .optional("key", .string(), "Key to sign with; the node key unless given"),
               .optional("passphrase", .string(), "Of that key, if it is sealed"), .optional("notes", .string(), "What is new, for people"),
           ]),
           output: .object([.init("fact", .string(), "Digest of the fact"), .init("kind", .string(), "release"), .init("digest", .string(), "The capsule")])) { context, params throws(MeshError) in
        let parts = context.parts
        let capsule = try parts.storedCapsule(params["ref"]?.string ?? "")
        let signer = try parts.signingKey(named: params["key"]?.string, passphrase: params["passphrase"]?.string)
        try parts.requireTrust(in: capsule)
        let fact = try parts.release(capsule, by: signer, notes: params["notes"]?.string)
        return ["fact": JSONValue(fact.id), "kind": "release", "digest": JSONValue(capsule.digest)]
    },
    Action("capsule.pull", "Pull", "Fetches a capsule from whichever peers have it, verified chunk by chunk; goes on where an interrupted pull ended.", scope: .write, isLong: true,
           input: .object([.init("ref", .string(), "What to fetch"), .optional("from", .string(), "Key id of the only peer to ask")]),
           output: .object([
               .init("digest", .string(), "The capsule's identity"), .init("bytesFetched", .integer, "Bytes of chunks that came over the network"),
               .init("bytesReused", .integer, "Bytes of chunks that were here already"), .init("sources", .array(.string()), "Key ids of the peers that gave chunks"),
               .init("milliseconds", .integer, "How long it took"),
           ])) { context, params throws(MeshError) in
        let parts = context.parts
        let digest = try parts.digest(of: params["ref"]?.string ?? "", acting: true)
        var from: KeyID?
        if let text = params["from"]?.string {
            from = KeyID(hex: text)
            guard from != nil else { throw MeshError(.paramsInvalid, "“\(text)” is not a key id", hint: "`capsule peers` lists them", pointer: "/from") }
        }
        return pullJSON(try await parts.exchange.pull(digest, from: from, progress: context.pullProgress(digest)))
    },
]

extension ActionContext {
    func pullProgress(_ digest: Digest) -> @Sendable (Int64, Int64) -> Void {
        let emit = emit
        return { done, total in
            emit(NodeEvent(source: "capsule.pull", type: "progress", data: [
                "phase": "fetching", "digest": JSONValue(digest), "bytes": .integer(done), "totalBytes": .integer(total),
            ]))
        }
    }

    /// A capsule that is here, fetching it first when only the mesh has it.
    func localCapsule(_ text: String) async throws(MeshError) -> VerifiedCapsule {
        if case .path = try Reference(parsing: text) { return try parts.storedCapsule(text) }
        let digest = try parts.digest(of: text, acting: true)
        if !parts.store.contains(capsule: digest) {
            _ = try await parts.exchange.pull(digest, from: nil, progress: pullProgress(digest))
        }
        return try parts.store.capsule(digest)
    }
}

private func pullJSON(_ result: PeerExchange.PullResult) -> JSONValue {
    ["digest": JSONValue(result.digest), "bytesFetched": .integer(result.bytesFetched), "bytesReused": .integer(result.bytesReused),
     "sources": .array(result.sources.map { .string($0.hex) }), "milliseconds": .integer(Int64(result.seconds * 1000))]
}
