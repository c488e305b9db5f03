internal import CapsuleStore
internal import Catalog
public import MeshCore
public import Signing
internal import Synchronization

extension PeerExchange {
    public struct PullResult: Sendable, Hashable {
        public let digest: Digest
        /// Bytes of chunks that came from peers now, and that were here before.
        public let bytesFetched: Int64
        public let bytesReused: Int64
        public let sources: [KeyID]
        public let seconds: Double
    }

    /// Fetches a capsule from whichever peers have it, chunk by chunk, and lists it in the store once all of it is there
    /// and verified. What an interrupted fetch committed is not fetched again.
    ///
    /// - Parameters:
    ///   - source: asks this peer only.
    ///   - progress: bytes fetched and bytes to fetch, now and then.
    /// - Throws: `no_source`, `peer_unknown`, `release_mismatch`, `disk_full`, `pull_running`, `pull_interrupted`, or what is
    ///   wrong with the capsule itself.
    public func pull(_ digest: Digest, from source: KeyID?, progress: (@Sendable (Int64, Int64) -> Void)?) async throws(MeshError) -> PullResult {
        guard pulling.withLock({ $0.insert(digest).inserted }) else {
            throw MeshError(.pullRunning, "\(digest) is being fetched already", hint: "wait for it; `capsule events -f` shows how far it is")
        }
        defer { pulling.withLock { _ = $0.remove(digest) } }
        try neighbours.load()
        if let source, neighbours.entry(.node(source)) == nil {
            throw MeshError(.peerUnknown, "no peer with the key id \(source.short) is known", hint: "`capsule peers` lists those that are")
        }
        let store = store, catalog = catalog
        let release = try await offEventLoops { () throws(MeshError) in
            try catalog.releases(matching: nil).first { $0.capsule == digest }.map { CapsuleID(name: $0.name, version: $0.version) }
        }
        // One that lost chunks to a bad disk is fetched again, which asks for just these.
        let isHere = try await offEventLoops { () throws(MeshError) in try store.isWhole(digest) }
        let fetch = PullSession(exchange: self, plan: FetchPlan(wanted: digest, release: release), only: source, progress: progress)
        if isHere {
            await fetch.fetchReferrers(from: neighbours.connected)
            return PullResult(digest: digest, bytesFetched: 0, bytesReused: 0, sources: [], seconds: 0)
        }
        do throws(MeshError) {
            return try await fetch.run()
        } catch {
            events(NodeEvent(source: "exchange", type: "pull.failed", data: ["capsule": JSONValue(digest), "error": error.json]))
            throw error
        }
    }
}
