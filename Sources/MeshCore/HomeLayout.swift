/// Where things are in a node's home directory; the same first-level names as the repository.
public struct HomeLayout: Hashable, Sendable {
    /// Absolute, without a trailing slash.
    public let path: String

    public init(path: String) { self.path = path }

    public var capsules: String { path + "/capsules" }
    public var keys: String { path + "/keys" }
    public var peers: String { path + "/peers" }
    public var deployments: String { path + "/deployments" }
    public var state: String { path + "/state" }

    public var charter: String { keys + "/charter.json" }
    public var nodeKey: String { keys + "/node.key" }
    public var rootKey: String { keys + "/root.key" }
    /// The journal of what the store promised to keep: capsules, trees, and documents about them.
    public var roots: String { state + "/roots" }
    /// What the files of packed folders were, so that unchanged ones are not read again. It can go away at any time.
    public var sources: String { state + "/sources" }
    public var catalogDatabase: String { state + "/catalog.sqlite" }
    /// Held by whoever has the home open for writing: a running node, or a verb without one.
    public var lock: String { state + "/lock" }
    /// The unix socket of the running node, for the command line.
    public var socket: String { state + "/control.sock" }
    public var nodeSettings: String { state + "/node.json" }
}
