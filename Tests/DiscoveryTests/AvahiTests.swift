import Discovery
import Foundation
import MeshCore
import Signing
import Testing

@Suite(.serialized, .enabled(if: Lab.whyNot == nil, Comment(rawValue: Lab.whyNot ?? "")), .lab)
struct AvahiTests {
    let lab = Lab.shared
    let own = SigningKey.generate().publicKey.id
    let other = SigningKey.generate().publicKey.id

    func announcement(root: UInt8 = 1, name: String = "one", port: Int = 7423) -> Announcement {
        Announcement(nodeID: own, mesh: Digest.of([7]), catalogRoot: Digest.of([root]), name: name, port: port)
    }

    /// The interfaces that host 1's daemon numbers are not this process's: none is ignored by its name here.
    func discovering(_ announcement: Announcement) -> AvahiDiscovery { AvahiDiscovery(announcement: announcement, interfaces: .all) }

    func instanceName(_ id: KeyID) -> String { String(id.hex.prefix(32)) }

    func publish(_ id: KeyID, name: String = "two", version: String = "1") throws -> Process {
        try lab.startInHost2("avahi-publish", "-s", instanceName(id), "_oursynth._tcp", "7500", "v=\(version)", "id=\(id.hex)",
                             "mesh=0011223344556677", "root=8899aabbccddeeff", "name=\(name)")
    }

    @Test(.timeLimit(.minutes(1))) func announcesChangesAndSaysGoodbye() async throws {
        func mine(_ seen: [Lab.Instance]) -> [Lab.Instance] { seen.filter { $0.name == instanceName(own) } }
        func text(_ root: UInt8, _ name: String) -> Set<String> {
            ["v=1", "id=\(own.hex)", "mesh=\(Digest.of([7]).hex.prefix(16))", "root=\(Digest.of([root]).hex.prefix(16))", "name=\(name)"]
        }
        func announcing() async throws {
            let discovery = discovering(announcement())
            async let _: Void = discovery.run()
            let seen = try await lab.host2Sees { Set(mine($0).map(\.protocol)) == ["IPv4", "IPv6"] }
            #expect(mine(seen).allSatisfy { $0.text == text(1, "one") && $0.port == "7423" && $0.host == "lab1.local" })
            for root in UInt8(2)...9 { discovery.update(announcement(root: root, name: "uno")) }
            try await lab.host2Sees { !mine($0).isEmpty && mine($0).allSatisfy { $0.text == text(9, "uno") } }
            discovery.update(announcement(root: 9, name: "uno", port: 7500))
            try await lab.host2Sees { !mine($0).isEmpty && mine($0).allSatisfy { $0.port == "7500" } }
        }
        try await announcing()
        try await lab.host2Sees { mine($0).isEmpty }
    }

    @Test(.timeLimit(.minutes(1))) func seesOthersComeChangeAndGo() async throws {
        let discovery = discovering(announcement())
        async let _: Void = discovery.run()
        var events = EventReader(discovery.events)
        // Neither counts: another version, and a name that begins like a node's over an id that is none.
        let newer = try publish(SigningKey.generate().publicKey.id, version: "2")
        let liar = try lab.startInHost2("avahi-publish", "-s", instanceName(own), "_oursynth._tcp", "7500", "v=1", "id=\(own.hex.dropLast())")
        let peer = try publish(other, name: "t\u{1b}[2Jwo\u{202e}")
        defer { for process in [newer, liar, peer] { process.terminate() } }
        // What host 1 still remembers of an earlier test's own node does not count either.
        let first = try await events.sighting { $0.addresses.contains { $0.host == "10.77.0.2" || $0.host.hasPrefix("fe80::a4d:2%") } }
        #expect(first.nodeID == other)
        let whole = first.addresses.count == 2 ? first : try await events.sighting { $0.addresses.count == 2 }
        #expect(whole.nodeID == other && whole.name == "t[2Jwo" && whole.mesh == "0011223344556677" && whole.catalogRoot == "8899aabbccddeeff")
        #expect(whole.source == .avahi)
        let v6 = try #require(whole.addresses.first { $0.zone != nil })
        #expect(Set(whole.addresses.map(\.port)) == [7500])
        #expect(whole.addresses.contains { $0.host == "10.77.0.2" } && v6.host.hasPrefix("fe80::a4d:2%"))
        peer.terminate()
        try await events.gone(other)
    }

    @Test(.timeLimit(.minutes(2))) func outlivesItsDaemons() async throws {
        let discovery = discovering(announcement())
        async let _: Void = discovery.run()
        var events = EventReader(discovery.events)
        let peer = try publish(other)
        defer { peer.terminate() }
        _ = try await events.sighting { $0.nodeID == other && $0.addresses.count == 2 }
        func shows(_ root: UInt8) -> @Sendable ([Lab.Instance]) -> Bool {
            let text = "root=\(Digest.of([root]).hex.prefix(16))", name = instanceName(own)
            return { seen in seen.contains { $0.name == name } && seen.allSatisfy { $0.name != name || $0.text.contains(text) } }
        }
        try await lab.host2Sees(shows(1))
        for (root, daemon) in [(UInt8(2), "avahi"), (3, "dbus")] {
            try await lab("stop", "1", daemon)
            let trouble = try await events.trouble()
            #expect(trouble.code.name == daemon + "_unavailable" && trouble.code.exit == .unavailable && !trouble.hint.isEmpty)
            discovery.update(announcement(root: root))
            if daemon == "dbus" {
                try await lab("start", "1", "dbus")
                let next = try await events.trouble()
                #expect(next.code == .avahiUnavailable)
            }
            try await lab("start", "1", "avahi")
            try await events.recovered()
            try await lab.host2Sees(shows(root))
        }
        // The peer was there all the while, and nothing else was said of it.
        #expect(!events.gone.contains(other))
        // One that leaves while the daemon is away is not missed.
        try await lab("stop", "1", "avahi")
        _ = try await events.trouble()
        peer.terminate()
        try await lab("start", "1", "avahi")
        try await events.recovered()
        try await events.gone(other)
    }

    @Test(.timeLimit(.minutes(1))) func doctorTellsWhatIsMissing() async throws {
        func check() async -> MeshError? {
            do throws(MeshError) { try await offEventLoops { () throws(MeshError) in try AvahiDiscovery.check() } } catch { return error }
            return nil
        }
        #expect(await check() == nil)
        try await lab("stop", "1", "avahi")
        #expect(await check()?.code == .avahiUnavailable)
        try await lab("stop", "1", "dbus")
        #expect(await check()?.code == .dbusUnavailable)
        try await lab("start", "1", "dbus")
        try await lab("start", "1", "avahi")
        #expect(await check() == nil)
    }

    @Test(.timeLimit(.minutes(1))) func takesAnotherNameAfterACollision() async throws {
        let squatter = try lab.startInHost2("avahi-publish", "-s", instanceName(own), "_oursynth._tcp", "9", "v=1")
        defer { squatter.terminate() }
        try await lab.host2Sees { $0.contains { $0.name == instanceName(own) } }
        let discovery = discovering(announcement())
        async let _: Void = discovery.run()
        let seen = try await lab.host2Sees { $0.contains { $0.host == "lab1.local" } }
        let renamed = try #require(seen.first { $0.host == "lab1.local" })
        #expect(renamed.name.hasPrefix(instanceName(own)) && renamed.name != instanceName(own))
        #expect(renamed.text.contains("id=\(own.hex)"))
        // What is renamed still changes in place.
        discovery.update(announcement(name: "uno"))
        try await lab.host2Sees { $0.contains { $0.name == renamed.name && $0.text.contains("name=uno") } }
    }

    @Test(.timeLimit(.minutes(1))) func leavesNothingOpen() async throws {
        func openDescriptors() throws -> Int { try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count }
        func oneRun() async throws {
            let discovery = discovering(announcement())
            async let _: Void = discovery.run()
            let peer = try publish(other)
            var events = EventReader(discovery.events)
            _ = try await events.sighting { $0.nodeID == other }
            peer.terminate()
        }
        try await oneRun()
        let before = try openDescriptors()
        for _ in 0..<5 { try await oneRun() }
        // A run holds five or more: the bus, its own wake-up and clock, the poll's pipe.
        #expect(try openDescriptors() < before + 10)
        // Stopped before it began, and again after it ended.
        let discovery = discovering(announcement())
        await withTaskGroup { group in
            group.addTask { await discovery.run() }
            group.cancelAll()
        }
        await discovery.run()
        for await _ in discovery.events {}
    }
}

/// The events in order; waiting is bounded by the test's time limit, whose cancellation ends the stream.
struct EventReader {
    private var iterator: AsyncStream<SightingEvent>.Iterator
    private(set) var gone: Set<KeyID> = []

    init(_ events: AsyncStream<SightingEvent>) { iterator = events.makeAsyncIterator() }

    private mutating func next<T>(_ wanted: String, _ pick: (SightingEvent) -> T?) async throws -> T {
        var passed: [SightingEvent] = []
        while let event = await iterator.next() {
            if case .gone(let id, _) = event { gone.insert(id) }
            if let picked = pick(event) { return picked }
            passed.append(event)
        }
        Issue.record("no \(wanted), but \(passed)")
        throw CancellationError()
    }

    mutating func sighting(_ isWanted: (Sighting) -> Bool) async throws -> Sighting {
        try await next("such sighting") { if case .seen(let sighting) = $0, isWanted(sighting) { sighting } else { nil } }
    }

    mutating func gone(_ id: KeyID) async throws { try await next("goodbye") { if case .gone(id, .avahi) = $0 { () } else { nil } } }
    mutating func trouble() async throws -> MeshError { try await next("trouble") { if case .trouble(let error) = $0 { error } else { nil } } }
    mutating func recovered() async throws { try await next("recovery") { if case .recovered = $0 { () } else { nil } } }
}
