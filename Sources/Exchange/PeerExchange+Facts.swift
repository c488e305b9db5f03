internal import Catalog
public import MeshCore
public import Signing

extension PeerExchange {
    /// Exchanges facts with one peer, or with all, now.
    ///
    /// - Returns: how many facts were new here.
    /// - Throws: with a node id, why that peer could not be asked; without, only when there are peers and none answered.
    public func syncNow(_ id: KeyID?) async throws(MeshError) -> Int {
        try neighbours.load()
        if let id { return try await sync(.node(id)) }
        let keys = Array(neighbours.entries.keys)
        let results = await withTaskGroup(of: Result<Int, MeshError>.self) { group in
            for key in keys {
                group.addTask { do throws(MeshError) { return .success(try await self.sync(key)) } catch { return .failure(error) } }
            }
            var results: [Result<Int, MeshError>] = []
            for await result in group { results.append(result) }
            return results
        }
        var received = 0, answers = 0
        var failure: MeshError?
        for result in results {
            switch result {
            case .success(let count):
                received += count
                answers += 1
            case .failure(let error): failure = failure ?? error
            }
        }
        if answers == 0, let failure { throw failure }
        return received
    }

    /// Hello; if the catalogs differ, fetches what this one lacks and gives what the peer lacks. A peer whose grant is not
    /// known here is given nothing, but its facts are looked at: its grant may be among them.
    func sync(_ key: PeerTable.Key) async throws(MeshError) -> Int {
        if await isInStep(with: key) { return 0 }
        let contact = try await contact(key)
        let hasOtherCharters = contact.hello.charter.map { $0 != catalog.charter.digest } ?? false
        guard hasOtherCharters || contact.hello.root != catalog.root else { return 0 }
        do throws(MeshError) {
            // Who is a root decides whose facts count.
            if hasOtherCharters { try await exchangeCharters(contact) }
            let received = try await exchangeFacts(contact)
            if received > 0, !contact.isMember { neighbours.bell(of: contact.key).ring() }
            return received
        } catch {
            if !Task.isCancelled { neighbours.failed(contact.key, error, now: clock.now) }
            throw error
        }
    }

    /// Whether a peer that is connected has the same charters and facts, asked in few bytes. Where anything is in doubt, a hello tells more.
    private func isInStep(with key: PeerTable.Key) async -> Bool {
        guard case .node(let id) = key, neighbours.entry(key)?.state == .connected, !catalog.isRevoked(id), let identity = try? identity,
              let client = try? await neighbours.client(for: key, identity: identity), await client.hasOpenConnection,
              (try? await client.hasSameState(as: catalog.stateDigest)) == true else { return false }
        neighbours.stillThere(key, now: clock.now)
        return true
    }

    private func exchangeCharters(_ contact: Contact) async throws(MeshError) {
        let catalog = catalog, theirs = try await contact.client.charters()
        let isNew = try await offEventLoops { () throws(MeshError) in try catalog.adopt(charters: theirs) }
        if isNew { events(NodeEvent(source: "exchange", type: "charter.changed", data: ["version": JSONValue(catalog.charter.version), "id": JSONValue(catalog.charter.id)])) }
        if contact.isMember, Set(catalog.charter.envelopes).subtracting(theirs).isEmpty == false { try await contact.client.offer(charters: catalog.charter.envelopes) }
    }

    private func exchangeFacts(_ contact: Contact) async throws(MeshError) -> Int {
        let catalog = catalog
        let ids = try await offEventLoops { () throws(MeshError) in try catalog.factIDs() }
        var session = try await offEventLoops { () throws(MeshError) in Reconciliation.Session(ids) }
        var question = session.first
        while true {
            let answer = try await contact.client.reconcile(question)
            let (step, next) = try await offEventLoops { [session] () throws(MeshError) in
                var next = session
                return (try next.take(answer), next)
            }
            session = next
            switch step {
            case .ask(let more): question = more
            case .differ(let wanted, let extra): return try await exchangeFacts(wanted: wanted, extra: contact.isMember ? extra : [], session.key, contact)
            case .list: return try await exchangeListed(contact)
            }
        }
    }

    /// Both directions in one message and its answer, or as many as it takes.
    private func exchangeFacts(wanted: [UInt64], extra: [Digest], _ key: SessionKey, _ contact: Contact) async throws(MeshError) -> Int {
        let catalog = catalog
        var open = Set(wanted), arrived: [[UInt8]] = []
        var given = try await offEventLoops { () throws(MeshError) in FactMessage.ordered(try catalog.facts(extra)) }[...]
        while !open.isEmpty || !given.isEmpty {
            let some = FactMessage.fitting(Array(given.prefix(Limits.factsPerMessageMax)))
            let asked = Array(open.prefix(Limits.factsPerMessageMax))
            let envelopes = try await contact.client.exchange(Reconciliation.Exchange(key: key, wanted: asked, given: Array(some)))
            given = given.dropFirst(some.count)
            // What the peer has no more it will not have the next time.
            if envelopes.isEmpty { open.subtract(asked) }
            for envelope in envelopes {
                guard open.remove(key.id(of: try Envelope(parsing: envelope).contentID)) != nil else { throw Frames.broken("a fact that was not asked for") }
            }
            arrived += envelopes
        }
        return try await takeIn(arrived, from: contact)
    }

    /// Those first that say who may say what; what waits for one that comes later is tried again with it.
    private func takeIn(_ envelopes: [[UInt8]], from contact: Contact) async throws(MeshError) -> Int {
        let catalog = catalog, peer: KeyID? = if case .node(let id) = contact.key { id } else { nil }
        var received = 0
        let ordered = FactMessage.ordered(envelopes)
        for start in stride(from: 0, to: ordered.count, by: Limits.factsPerMessageMax) {
            let some = Array(ordered[start..<min(start + Limits.factsPerMessageMax, ordered.count)])
            received += try await offEventLoops { () throws(MeshError) in try catalog.admit(some, from: peer) }.admitted.count
        }
        if received > 0, let peer { events(NodeEvent(source: "exchange", type: "facts.received", data: ["from": .string(peer.hex), "count": JSONValue(received)])) }
        return received
    }

    /// The ids of all facts, both sides', held against each other.
    private func exchangeListed(_ contact: Contact) async throws(MeshError) -> Int {
        let catalog = catalog
        let theirs = try await contact.client.factIDs(countMax: Limits.factIDsMax)
        let ours = try await offEventLoops { () throws(MeshError) in try catalog.factIDs().sorted() }
        let (lacked, extra) = Self.differences(ours, theirs)
        let received = try await fetchFacts(lacked, from: contact)
        if contact.isMember { try await giveFacts(extra, to: contact) }
        return received
    }

    /// Both lists ascending.
    private static func differences(_ ours: [Digest], _ theirs: [Digest]) -> (lacked: [Digest], extra: [Digest]) {
        var lacked: [Digest] = [], extra: [Digest] = []
        var i = 0, j = 0
        while i < ours.count || j < theirs.count {
            if j == theirs.count || (i < ours.count && ours[i] < theirs[j]) {
                extra.append(ours[i])
                i += 1
            } else if i == ours.count || theirs[j] < ours[i] {
                lacked.append(theirs[j])
                j += 1
            } else {
                i += 1
                j += 1
            }
        }
        return (lacked, extra)
    }

    /// Again while it brings something: facts of authors that come later are admitted the second time.
    private func fetchFacts(_ ids: [Digest], from contact: Contact) async throws(MeshError) -> Int {
        let catalog = catalog
        var received = 0
        var lacked = ids
        while !lacked.isEmpty {
            var admitted: Set<Digest> = []
            var rest = Set(lacked)
            while !rest.isEmpty {
                let question = Array(rest.prefix(Limits.factsPerMessageMax))
                let envelopes = try await contact.client.facts(question)
                guard !envelopes.isEmpty else {
                    rest.subtract(question)
                    continue
                }
                for envelope in envelopes {
                    guard rest.remove(try Envelope(parsing: envelope).contentID) != nil else { throw Frames.broken("a fact that was not asked for") }
                }
                let admission = try await offEventLoops { () throws(MeshError) in try catalog.admit(envelopes) }
                admitted.formUnion(admission.admitted.map(\.id))
            }
            received += admitted.count
            if admitted.isEmpty { break }
            lacked.removeAll { admitted.contains($0) }
        }
        if received > 0, case .node(let id) = contact.key {
            events(NodeEvent(source: "exchange", type: "facts.received", data: ["from": .string(id.hex), "count": JSONValue(received)]))
        }
        return received
    }

    private func giveFacts(_ ids: [Digest], to contact: Contact) async throws(MeshError) {
        let catalog = catalog
        for first in stride(from: 0, to: ids.count, by: Limits.factsPerMessageMax) {
            let some = Array(ids[first ..< min(first + Limits.factsPerMessageMax, ids.count)])
            var envelopes = FactMessage.ordered(try await offEventLoops { () throws(MeshError) in try catalog.facts(some) })
            while !envelopes.isEmpty {
                let message = FactMessage.fitting(envelopes)
                try await contact.client.offer(Array(message))
                envelopes.removeFirst(message.count)
            }
        }
    }
}
