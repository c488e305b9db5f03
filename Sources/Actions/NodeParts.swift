public import Builder
public import CapsuleStore
public import Catalog
public import Deployments
public import Exchange
public import MeshCore
public import Signing
internal import Synchronization

/// The rooms of one open home. A running node holds one for its whole life; a verb without a running node opens one under
/// the same lock and closes it at its end.
public final class NodeParts: Sendable {
    public let home: HomeLayout
    public let settings: NodeSettings
    public let key: SigningKey
    public let store: CapsuleStore
    public let catalog: Catalog
    public let exchange: PeerExchange
    public let replayer: Replayer
    public let deployments: DeploymentManager
    public let tokens: TokenStore
    public let clock: any WallClock
    private let lock: FileLock
    private let runtime = Mutex(Runtime())

    /// What only a running node knows.
    public struct Runtime: Sendable {
        /// Whether this process is `capsule up`.
        public var isServing = false
        public var meshPort: Int?
        public var controlPort: Int?
        public var frontPort: Int?
        /// Why discovery does not work at the moment.
        public var discoveryTrouble: MeshError?
        public init() {}
    }

    public init(home: HomeLayout, clock: any WallClock, events: @escaping EventSink) throws(MeshError) {
        settings = try NodeSettings.read(home)
        guard let lock = try FileLock(home.lock) else { throw Self.inUse(home) }
        self.lock = lock
        self.home = home
        // Of a process that was killed while it wrote them; nobody else writes here while the lock is held.
        for folder in [home.path, home.keys, home.state] { Leftovers.remove(in: folder) }
        self.clock = clock
        key = try KeyFile.readSecret(home.nodeKey, passphrase: { () throws(MeshError) in throw Self.sealedNodeKey(home.nodeKey) })
        tokens = try TokenStore(home: home, clock: clock)
        store = try CapsuleStore(home: home)
        catalog = try Catalog(home: home, clock: clock)
        exchange = PeerExchange(home: home, key: key, name: settings.name, store: store, catalog: catalog, clock: clock, events: events)
        replayer = Replayer(home: home, store: store, key: key, clock: clock, events: events)
        deployments = DeploymentManager(home: home, store: store, replayer: replayer, clock: clock, events: events)
    }

    public var current: Runtime { runtime.withLock { $0 } }
    public func update(_ change: (inout Runtime) -> Void) { runtime.withLock { change(&$0) } }

    /// Deployments live in the running node: without one there is nothing that could keep an app alive.
    func requireServing() throws(MeshError) {
        guard current.isServing else {
            throw MeshError(.nodeNotRunning, "no node is running in \(home.path)", hint: "start it with `capsule up` in another terminal")
        }
    }

    static func inUse(_ home: HomeLayout) -> MeshError {
        MeshError(.homeInUse, "another capsule process has the home \(home.path) open",
                  hint: "wait for it, or stop the node that runs there; a second node needs a home of its own (--home DIR)")
    }

    static func sealedNodeKey(_ path: String) -> MeshError {
        MeshError(.keySealed, "\(path) is sealed with a passphrase", hint: "a node's own key must be readable without a person; keep sealed keys under other names")
    }
}

extension ErrorCode {
    public static let nodeNotRunning = ErrorCode("node_not_running", .unavailable)
}
