@testable import Catalog
import GRDB
import MeshCore
import Signing
import Testing

/// One honest node: its catalog on a disk, a clock that is wrong, what it has acted on; and power that can fail.
final class SimulatedReplica {
    /// Where the power fails: before the transaction counts, or right after.
    enum Moment: CaseIterable { case beforeCommit, afterCommit }
    struct PowerCut: Error {}

    let name: String
    private let folder: TemporaryFolder
    private let clock: FixedClock
    private var home: HomeLayout
    private(set) var catalog: Catalog
    /// What was said here, and is said again after a restart: what waits is not kept.
    private(set) var told: [Fact] = []
    /// What it acts on, by name and channel.
    private(set) var acted: [String: ChannelPin] = [:]
    /// The power fails in the next transaction.
    var fails: Moment?
    private(set) var cuts = 0
    private var generation = 0

    init(_ folder: TemporaryFolder, _ name: String, _ charter: Charter, clock: FixedClock) throws {
        (self.folder, self.name, self.clock) = (folder, name, clock)
        catalog = try folder.catalog(name, charter, clock: clock)
        home = HomeLayout(path: "\(folder.path)/\(name)")
    }

    /// - Throws: `PowerCut`, after a restart from what was on the disk.
    @discardableResult
    func admit(_ envelopes: [[UInt8]], from carrier: KeyID? = nil) throws -> Catalog.Admission { try powered { try catalog.admit(envelopes, from: carrier) } }

    func tell(_ fact: Fact) throws {
        told.append(fact)
        try admit([fact.envelope])
    }

    func tellAgain() throws { try admit(told.map(\.envelope)) }

    func restart() throws {
        let ids = try catalog.factIDs()
        catalog = try Catalog(home: home, clock: clock)
        #expect(try catalog.factIDs() == ids, "\(name): a restart changes nothing")
        try tellAgain()
    }

    /// Acts on a channel, as a deployment does.
    func follow(_ name: CapsuleName, _ channel: String) throws {
        let key = "\(name) \(channel)", floor = acted[key]
        let followed: (capsule: Digest, held: ChannelDecision.Hold?)?
        do { followed = try powered { try catalog.follow(name, channel: channel) } } catch let error as MeshError {
            #expect(["withdrawn", "contested", "release_not_found"].contains(error.code.name), "\(self.name): \(error.code.name)")
            return
        }
        guard followed != nil, let pin = try catalog.table.pin(name: name.description, channel: channel) else { return }
        if let floor, (pin.epoch, pin.ver) < (floor.epoch, floor.ver) {
            let fact = try #require(try catalog.fact(floor.fact), "\(self.name) went back from what it does not know any more")
            #expect(!catalog.authorities.revocations.counts(fact) || !catalog.authorities.mayPublish(name, fact.author), "\(self.name) went back from what counts")
        }
        acted[key] = pin
    }

    private func powered<T>(_ body: () throws -> T) throws -> T {
        guard let moment = fails else { return try body() }
        let before = try catalog.factIDs(), image = "\(folder.path)/image"
        let camera = Camera(moment, of: home.catalogDatabase, to: image)
        catalog.table.database.add(transactionObserver: camera)
        let result = Result { try body() }
        guard camera.isTaken else { return try result.get() }
        fails = nil
        cuts += 1
        let after = try catalog.factIDs()
        // The home as the disk has it: the database of that moment, with its journal.
        generation += 1
        let old = home
        home = try folder.home("\(name)-\(generation)")
        try Files.rename("\(image)", home.catalogDatabase)
        if Files.exists(image + "-wal") { try Files.rename(image + "-wal", home.catalogDatabase + "-wal") }
        try Files.writeDurably(Files.read(old.charter, bytesMax: Limits.charterFileBytesMax), to: home.charter)
        catalog = try Catalog(home: home, clock: clock)
        try Files.removeTree(old.path)
        #expect(try catalog.factIDs() == (moment == .beforeCommit ? before : after), "\(name): all of a transaction or nothing")
        #expect(catalog.root == MerkleTrie.root(try catalog.factIDs()), "\(name)")
        throw PowerCut()
    }
}

/// Keeps what is on the disk at a moment of the next transaction.
private final class Camera: TransactionObserver {
    private let moment: SimulatedReplica.Moment
    private let database: String
    private let image: String
    private(set) var isTaken = false

    init(_ moment: SimulatedReplica.Moment, of database: String, to image: String) { (self.moment, self.database, self.image) = (moment, database, image) }

    private func take() {
        guard !isTaken else { return }
        isTaken = true
        do {
            for suffix in ["", "-wal"] where Files.exists(database + suffix) {
                try Files.writeDurably(Files.read(database + suffix, bytesMax: 1 << 30), to: image + suffix)
            }
        } catch { Issue.record("no image: \(error)") }
    }

    func observes(eventsOfKind kind: DatabaseEventKind) -> Bool { false }
    func databaseDidChange(with event: DatabaseEvent) {}
    func databaseWillCommit() throws {
        guard moment == .beforeCommit, !isTaken else { return }
        take()
        throw SimulatedReplica.PowerCut()
    }
    func databaseDidCommit(_ db: Database) { if moment == .afterCommit { take() } }
    func databaseDidRollback(_ db: Database) {}
}
