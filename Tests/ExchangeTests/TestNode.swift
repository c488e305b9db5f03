import CapsuleStore
import Catalog
import Discovery
import Exchange
import Foundation
import MeshCore
import Signing
import Synchronization
import Testing

/// A wall clock that a test sets.
final class TestClock: WallClock {
    private let time: Mutex<Milliseconds>

    init(_ start: Milliseconds = 1_800_000_000_000) { time = Mutex(start) }

    var now: Milliseconds { time.withLock { $0 } }
    func advance(_ milliseconds: Milliseconds) { time.withLock { $0 += milliseconds } }
}

/// What an exchange said, and a bell for those who wait for it.
final class EventLog: Sendable {
    private let log = Mutex<[NodeEvent]>([])
    private let bell = Bell()

    var events: [NodeEvent] { log.withLock { $0 } }

    func record(_ event: NodeEvent) {
        log.withLock { $0.append(event) }
        bell.ring()
    }

    /// The first event of the type that satisfies `condition`, past or to come; nil after `limit`.
    func first(_ type: String, within limit: Duration = .seconds(20), where condition: @Sendable (NodeEvent) -> Bool = { _ in true }) async -> NodeEvent? {
        let end = ContinuousClock.now + limit
        while true {
            let heard = bell.rings
            if let event = events.first(where: { $0.type == type && condition($0) }) { return event }
            guard ContinuousClock.now < end else { return nil }
            _ = await bell.wait(after: heard, upTo: end - .now)
        }
    }
}

/// A home of its own with its store, its catalog (a mesh of one at first) and its exchange.
final class TestNode: Sendable {
    let name: String
    let home: HomeLayout
    let key: SigningKey
    let store: CapsuleStore
    let catalog: Catalog
    let exchange: PeerExchange
    let log = EventLog()
    private let sightings: AsyncStream<SightingEvent>
    private let sighted: AsyncStream<SightingEvent>.Continuation
    private let boundPort = Mutex(0)

    init(_ name: String, in directory: String, key: SigningKey = .generate(), clock: any WallClock = TestClock()) throws {
        self.name = name
        self.key = key
        home = HomeLayout(path: "\(directory)/\(name)")
        for folder in [home.capsules, home.keys, home.peers, home.state] { try Files.makeDirectory(folder, mode: 0o700) }
        store = try CapsuleStore(home: home)
        catalog = try Catalog.found(home: home, root: .generate(), node: key, clock: clock)
        let log = log
        exchange = PeerExchange(home: home, key: key, name: name, store: store, catalog: catalog, clock: clock, patience: .seconds(3)) { log.record($0) }
        (sightings, sighted) = AsyncStream.makeStream()
    }

    var id: KeyID { key.publicKey.id }
    var port: Int { boundPort.withLock { $0 } }

    func address() throws -> PeerAddress { try PeerAddress(parsing: "127.0.0.1:\(port)", defaultPort: 1) }

    /// As Avahi would say it.
    func sight(_ other: TestNode) throws {
        sight(Sighting(nodeID: other.id, name: other.name, mesh: String(other.catalog.meshID.hex.prefix(16)), addresses: [try other.address()], source: .avahi))
    }

    func sight(_ sighting: Sighting) { sighted.yield(.seen(sighting)) }

    func run(onReady: @escaping @Sendable (Int) -> Void) async throws {
        try await exchange.run(listen: ("127.0.0.1", 0), sightings: [sightings]) { port in
            self.boundPort.withLock { $0 = port }
            onReady(port)
        }
    }

    /// The state of a peer once it is `state`, or as it is after `limit`.
    func peer(_ other: TestNode, becomes state: String, within limit: Duration = .seconds(20)) async -> PeerExchange.PeerStatus? {
        let end = ContinuousClock.now + limit
        var heard = 0
        while true {
            let status = await exchange.peers().first { $0.nodeID == other.id }
            if status?.state == state || ContinuousClock.now >= end { return status }
            heard = await exchange.peersChanged(after: heard, upTo: min(end - .now, .seconds(1)))
        }
    }

    /// Whether the peer is connected, at the latest after 20 s.
    func connected(to id: KeyID) async -> Bool {
        let end = ContinuousClock.now + .seconds(20)
        var heard = 0
        while ContinuousClock.now < end {
            if await exchange.peers().contains(where: { $0.nodeID == id && $0.state == "connected" }) { return true }
            heard = await exchange.peersChanged(after: heard, upTo: .seconds(1))
        }
        return false
    }

    func client(of other: TestNode) throws -> PeerClient {
        PeerClient(identity: try NodeIdentity(key: key), expecting: other.id, addresses: [try other.address()])
    }
}

/// A folder that is gone afterwards.
func withDirectory<R>(_ body: (String) async throws -> R) async throws -> R {
    let directory = "/tmp/exchange-tests-\(Hex.encode(randomBytes(8)))"
    try Files.makeDirectory(directory)
    let result: Result<R, any Error>
    do { result = .success(try await body(directory)) } catch { result = .failure(error) }
    try Files.removeTree(directory)
    return try result.get()
}

/// Runs the nodes' exchanges while `body` runs; they must end when it has.
func running<R: Sendable>(_ nodes: [TestNode], _ body: () async throws -> R) async throws -> R {
    try await withThrowingTaskGroup(of: Void.self) { group in
        for node in nodes {
            let (ready, announce) = AsyncStream<Int>.makeStream()
            group.addTask {
                defer { announce.finish() }
                try await node.run { announce.yield($0) }
            }
            var ports = ready.makeAsyncIterator()
            _ = try #require(await ports.next(), "\(node.name) does not listen")
        }
        let result: R
        do { result = try await body() } catch {
            group.cancelAll()
            throw error
        }
        group.cancelAll()
        try await group.waitForAll()
        return result
    }
}

extension MeshError {
    /// The code of the error that `body` throws; nil when it throws none.
    static func code(of body: () async throws -> Void) async -> String? {
        do {
            try await body()
            return nil
        } catch { return (error as? MeshError)?.code.name ?? "\(error)" }
    }
}

/// A folder with a manifest and some files of seeded bytes, `kibibytes` each.
func writeSource(_ directory: String, name: String = "sample", version: String = "1.0.0", files: Int, kibibytes: Int, seed: UInt8 = 1) throws(MeshError) {
    try Files.makeDirectory(directory)
    let manifest: JSONValue = ["id": .string("urn:oursynth:app:\(name)@\(version)"), "name": .string(name), "version": .string(version), "app": ["framework": "static"]]
    try Files.writeDurably(manifest.canonicalBytes, to: directory + "/capsule.json")
    for file in 0..<files {
        var bytes: [UInt8] = []
        var block = Digest.of([seed, UInt8(truncatingIfNeeded: file), UInt8(truncatingIfNeeded: file >> 8)])
        while bytes.count < kibibytes * 1024 {
            bytes += block.bytes
            block = Digest.of(block.bytes)
        }
        try Files.writeDurably(bytes, to: "\(directory)/file-\(file)")
    }
}

/// Runs a program to its end; what it printed on both streams.
func output(of program: String, _ arguments: [String], input: String = "") throws -> String {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    let inward = Pipe(), outward = Pipe()
    process.standardInput = inward
    process.standardOutput = outward
    process.standardError = outward
    try process.run()
    inward.fileHandleForWriting.write(Data(input.utf8))
    try inward.fileHandleForWriting.close()
    let data = outward.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return String(decoding: data, as: UTF8.self)
}
