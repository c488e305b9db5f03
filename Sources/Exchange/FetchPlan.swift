package import CapsuleFormat
package import MeshCore
package import Signing

/// How one capsule is fetched from many peers, as a pure value: events in, actions out. Root → index and chunk list →
/// what the store lacks → batches over all peers that have them → commits → complete. The shell around it does the I/O
/// and checks each chunk's digest; documents are checked here.
package struct FetchPlan: Sendable {
    package enum Document: Sendable, Hashable, CaseIterable {
        case root, index, chunks

        package var bytesMax: Int {
            switch self {
            case .root: Limits.manifestBytesMax + 1024
            case .index: Limits.indexBytesMax
            case .chunks: Limits.chunkListBytesMax
            }
        }
    }

    package enum Request: Sendable, Hashable {
        case document(Document, Digest)
        case have(first: Int, [Digest])
        case chunks(batch: Int, [ChunkReference])
    }

    package enum Event: Sendable {
        /// All peers that can be asked now; one that failed before is tried again.
        case peers([KeyID])
        /// nil: the peer does not have it.
        case document(Document, from: KeyID, [UInt8]?)
        /// What the store lacks of the list, in its order.
        case missing([ChunkReference])
        case have(KeyID, first: Int, [Bool])
        /// For each chunk of the batch: whether it came and was what its digest says, did not come, or was something else.
        case chunks(batch: Int, from: KeyID, [Arrival])
        /// The request got no usable answer.
        case failed(KeyID, Request)
        case committed
        /// Nothing has moved for as long as the shell is willing to wait.
        case impatient
    }

    package enum Arrival: Sendable, Hashable { case verified, absent, wrong }

    package enum Action: Sendable {
        case ask(KeyID, Request)
        /// Find what the store lacks of these distinct chunks, and whether there is room for it.
        case compare([ChunkReference])
        /// Make all chunks that were verified since the last commit durable.
        case commit
        /// The peer sent something that is not what its digest says; it is out of this fetch.
        case drop(KeyID, String)
        case complete(UnverifiedCapsule)
        case fail(MeshError)
    }

    private enum Phase: Hashable { case root, documents, comparing, fetching, completed, failed }
    private enum ChunkState { case wanted, underWay, done }

    private struct Peer {
        var lacks: Set<Document> = []
        var asked: Set<Document> = []
        var has: [Bool] = []
        var isAskedWhatItHas = false
        /// Where in the missing list it looks next; each peer begins in a stretch of its own.
        var cursor = 0
        var underWay = 0
        var failures = 0
        var brokenPromises = 0
        var isAway = false
        /// It has nothing that is wanted, as far as is known; set by a search, cleared when either may have changed.
        var isIdle = false
    }

    private struct Batch {
        let peer: KeyID
        let places: [Int]
    }

    private static let rootAskedAtOnce = 3
    private static let failuresMax = 5
    private static let uncommittedBytesMax = 4 * Limits.fetchCommitBytes

    package let wanted: Digest
    /// What the release that names this digest says; the capsule must agree.
    package let release: CapsuleID?
    package private(set) var missingBytes: Int64 = 0
    package private(set) var fetchedBytes: Int64 = 0
    package private(set) var listedBytes: Int64 = 0
    package private(set) var sources: [KeyID] = []
    private var phase = Phase.root
    private var order: [KeyID] = []
    private var peers: [KeyID: Peer] = [:]
    private var dropped: Set<KeyID> = []
    private var documents: [Document: [UInt8]] = [:]
    private var digests: [Document: Digest]
    private var missing: [ChunkReference] = []
    private var states: [ChunkState] = []
    private var remaining = 0
    private var batches: [Int: Batch] = [:]
    private var nextBatch = 0
    private var requestsUnderWay = 0
    private var uncommittedBytes = 0
    private var isCommitting = false

    package init(wanted: Digest, release: CapsuleID?) {
        self.wanted = wanted
        self.release = release
        digests = [.root: wanted]
    }

    /// Nothing is under way: only another peer can help.
    package var isWaiting: Bool { requestsUnderWay == 0 && !isCommitting && phase != .comparing && !isEnded }
    package var isEnded: Bool { phase == .completed || phase == .failed }

    package mutating func handle(_ event: Event) -> [Action] {
        guard !isEnded else { return [] }
        var actions: [Action] = []
        switch event {
        case .peers(let list): note(list)
        case .document(let document, let peer, let bytes): arrived(document, from: peer, bytes, &actions)
        case .missing(let list): compared(list)
        case .have(let peer, let first, let flags): learned(peer, first, flags)
        case .chunks(let batch, let peer, let arrivals): arrived(batch, from: peer, arrivals, &actions)
        case .failed(let peer, let request): lost(peer, request)
        case .committed: isCommitting = false
        case .impatient: if isWaiting { giveUp(&actions) }
        }
        advance(&actions)
        return actions
    }

    // MARK: What happened

    private mutating func note(_ list: [KeyID]) {
        let isStuck = isWaiting
        for id in list where !dropped.contains(id) {
            if peers[id] == nil { order.append(id) }
            var peer = peers[id] ?? Peer(cursor: Self.stretch(order.count - 1, of: missing.count))
            peer.isAway = peer.failures >= Self.failuresMax
            // A peer that is fetching the same capsule has more by now.
            if isStuck {
                peer.lacks = []
                peer.asked = []
                peer.isAskedWhatItHas = false
            }
            peers[id] = peer
        }
        for id in order where !list.contains(id) { peers[id]?.isAway = true }
    }

    /// 0, 1/2, 1/4, 3/4, 1/8, …: whatever the number of peers turns out to be, they begin far apart.
    private static func stretch(_ rank: Int, of count: Int) -> Int {
        var fraction = 0.0, part = 0.5, rank = rank
        while rank > 0 {
            if rank & 1 == 1 { fraction += part }
            part /= 2
            rank >>= 1
        }
        return min(Int(fraction * Double(count)), max(count - 1, 0))
    }

    private mutating func arrived(_ document: Document, from peer: KeyID, _ bytes: [UInt8]?, _ actions: inout [Action]) {
        requestsUnderWay -= 1
        peers[peer]?.asked.remove(document)
        guard documents[document] == nil else { return }
        guard let bytes else {
            peers[peer]?.lacks.insert(document)
            return
        }
        guard Digest.of(bytes) == digests[document] else { return drop(peer, "sent a wrong \(document)", &actions) }
        peers[peer]?.failures = 0
        documents[document] = bytes
        do throws(MeshError) {
            if document == .root {
                let root = try CapsuleRoot(parsing: bytes)
                if let release, root.manifest.id != release {
                    throw MeshError(.releaseMismatch, "the release says \(release), the capsule says \(root.manifest.id)",
                                    hint: "do not use this release; tell its publisher")
                }
                digests[.index] = root.index
                digests[.chunks] = root.chunks
                phase = .documents
            } else if let root = documents[.root], let index = documents[.index], let chunks = documents[.chunks] {
                let capsule = try UnverifiedCapsule(root: root, index: index, chunks: chunks).verified(as: wanted)
                var seen: Set<Digest> = []
                let list = capsule.tree.chunks.chunks.filter { seen.insert($0.digest).inserted }
                listedBytes = list.reduce(0) { $0 + Int64($1.length) }
                phase = .comparing
                actions.append(.compare(list))
            }
        } catch {
            phase = .failed
            actions.append(.fail(error))
        }
    }

    private mutating func compared(_ list: [ChunkReference]) {
        missing = list
        states = [ChunkState](repeating: .wanted, count: list.count)
        remaining = list.count
        missingBytes = list.reduce(0) { $0 + Int64($1.length) }
        for (rank, id) in order.enumerated() { peers[id]?.cursor = Self.stretch(rank, of: list.count) }
        phase = .fetching
    }

    private mutating func learned(_ peer: KeyID, _ first: Int, _ flags: [Bool]) {
        requestsUnderWay -= 1
        guard var known = peers[peer]?.has else { return }
        peers[peer]?.has = []
        if known.count != missing.count { known = [Bool](repeating: false, count: missing.count) }
        for (i, flag) in flags.enumerated() where first + i < known.count { known[first + i] = flag }
        peers[peer]?.has = known
        peers[peer]?.isIdle = false
        peers[peer]?.failures = 0
    }

    private mutating func arrived(_ id: Int, from peer: KeyID, _ arrivals: [Arrival], _ actions: inout [Action]) {
        requestsUnderWay -= 1
        guard let batch = batches.removeValue(forKey: id) else { return }
        peers[peer]?.underWay -= 1
        var isWrong = false
        for (i, place) in batch.places.enumerated() {
            switch i < arrivals.count ? arrivals[i] : .absent {
            case .verified:
                states[place] = .done
                remaining -= 1
                fetchedBytes += Int64(missing[place].length)
                uncommittedBytes += missing[place].length
                if !sources.contains(peer) { sources.append(peer) }
            case .absent:
                states[place] = .wanted
                if peers[peer]?.has.indices.contains(place) == true { peers[peer]?.has[place] = false }
                peers[peer]?.brokenPromises += 1
            case .wrong:
                states[place] = .wanted
                isWrong = true
            }
        }
        peers[peer]?.failures = 0
        if batch.places.contains(where: { states[$0] == .wanted }) { wake() }
        if isWrong { drop(peer, "sent a chunk that is not what its digest says", &actions) }
        if (peers[peer]?.brokenPromises ?? 0) > Limits.chunksPerRequestMax { drop(peer, "does not give the chunks it says it has", &actions) }
    }

    private mutating func lost(_ peer: KeyID, _ request: Request) {
        requestsUnderWay -= 1
        switch request {
        case .document(let document, _): peers[peer]?.asked.remove(document)
        case .have: peers[peer]?.isAskedWhatItHas = false
        case .chunks(let id, _):
            peers[peer]?.underWay -= 1
            for place in batches.removeValue(forKey: id)?.places ?? [] { states[place] = .wanted }
            wake()
        }
        peers[peer]?.failures += 1
        peers[peer]?.isAway = true
    }

    private mutating func wake() {
        for id in order { peers[id]?.isIdle = false }
    }

    private mutating func drop(_ peer: KeyID, _ why: String, _ actions: inout [Action]) {
        guard dropped.insert(peer).inserted else { return }
        peers[peer] = nil
        order.removeAll { $0 == peer }
        actions.append(.drop(peer, why))
    }

    private mutating func giveUp(_ actions: inout [Action]) {
        let what = switch phase {
        case .root: "no reachable peer has \(wanted)"
        case .documents: "no reachable peer has the file list of \(wanted)"
        default: "\(remaining) of \(missing.count) chunks are with no reachable peer"
        }
        phase = .failed
        actions.append(.fail(MeshError(.noSource, what, hint: "look at `capsule peers`; what was fetched is kept, and the same command goes on from there")))
    }

    // MARK: What to do next

    private mutating func advance(_ actions: inout [Action]) {
        switch phase {
        case .root: askForRoot(&actions)
        case .documents: askForDocuments(&actions)
        case .fetching: fetch(&actions)
        case .comparing, .completed, .failed: break
        }
    }

    private mutating func ask(_ peer: KeyID, _ request: Request, _ actions: inout [Action]) {
        requestsUnderWay += 1
        actions.append(.ask(peer, request))
    }

    private mutating func askForRoot(_ actions: inout [Action]) {
        for id in order where requestsUnderWay < Self.rootAskedAtOnce {
            guard let peer = peers[id], !peer.isAway, !peer.asked.contains(.root), !peer.lacks.contains(.root) else { continue }
            peers[id]?.asked.insert(.root)
            ask(id, .document(.root, wanted), &actions)
        }
    }

    private mutating func askForDocuments(_ actions: inout [Action]) {
        for document in [Document.index, .chunks] where documents[document] == nil && !peers.values.contains(where: { $0.asked.contains(document) }) {
            guard let digest = digests[document], let id = order.first(where: { id in
                guard let peer = peers[id] else { return false }
                return !peer.isAway && !peer.lacks.contains(document) && !peer.lacks.contains(.root)
            }) else { continue }
            peers[id]?.asked.insert(document)
            ask(id, .document(document, digest), &actions)
        }
    }

    private mutating func fetch(_ actions: inout [Action]) {
        if remaining > 0 {
            for id in order { askWhatItHas(id, &actions) }
            // One batch a peer in turn, so that what is left is shared out evenly.
            var isMoving = true
            while isMoving, uncommittedBytes < Self.uncommittedBytesMax {
                isMoving = false
                for id in order where takeBatch(id, &actions) { isMoving = true }
            }
        }
        let isLast = remaining == 0
        if !isCommitting, uncommittedBytes > 0, isLast || uncommittedBytes >= Limits.fetchCommitBytes || requestsUnderWay == 0 {
            isCommitting = true
            uncommittedBytes = 0
            actions.append(.commit)
        }
        if isLast, !isCommitting, let root = documents[.root], let index = documents[.index], let chunks = documents[.chunks] {
            phase = .completed
            actions.append(.complete(UnverifiedCapsule(root: root, index: index, chunks: chunks)))
        }
    }

    private mutating func askWhatItHas(_ id: KeyID, _ actions: inout [Action]) {
        guard let peer = peers[id], !peer.isAway, !peer.isAskedWhatItHas else { return }
        peers[id]?.isAskedWhatItHas = true
        for first in stride(from: 0, to: missing.count, by: Limits.digestsPerQuestionMax) {
            let end = min(first + Limits.digestsPerQuestionMax, missing.count)
            ask(id, .have(first: first, missing[first..<end].map(\.digest)), &actions)
        }
    }

    private mutating func takeBatch(_ id: KeyID, _ actions: inout [Action]) -> Bool {
        guard let peer = peers[id], !peer.isAway, !peer.isIdle, peer.underWay < Limits.fetchWindowPerPeer, peer.has.count == missing.count else { return false }
        var places: [Int] = []
        var bytes = 0, place = peer.cursor, looked = 0
        while looked < missing.count {
            if states[place] == .wanted, peer.has[place] {
                guard places.count < Limits.chunksPerRequestMax, bytes + missing[place].length <= Limits.frameBytesMax else { break }
                places.append(place)
                bytes += missing[place].length
            }
            place = place + 1 == missing.count ? 0 : place + 1
            looked += 1
        }
        guard !places.isEmpty else {
            peers[id]?.isIdle = true
            return false
        }
        for place in places { states[place] = .underWay }
        batches[nextBatch] = Batch(peer: id, places: places)
        peers[id]?.cursor = place
        peers[id]?.underWay += 1
        ask(id, .chunks(batch: nextBatch, places.map { missing[$0] }), &actions)
        nextBatch += 1
        return true
    }
}
