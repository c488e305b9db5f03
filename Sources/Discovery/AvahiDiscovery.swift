internal import CAvahi
public import MeshCore
internal import Synchronization

/// Announces a node as `_oursynth._tcp` and sees the others, through the host's own avahi-daemon (one mDNS responder a
/// host; this is never a second one). D-Bus is found as libdbus finds it: `DBUS_SYSTEM_BUS_ADDRESS`, else the system's.
///
/// Where D-Bus or the daemon is away, or goes away, it says so once and keeps trying until `run` is cancelled.
public final class AvahiDiscovery: Sendable {
    /// What is seen; for one reader. Of events that nobody reads in time the oldest are dropped. Ends when `run` ends.
    public let events: AsyncStream<SightingEvent>
    private let tell: AsyncStream<SightingEvent>.Continuation
    private let interfaces: InterfaceRule
    private let state: Mutex<State>

    private struct State {
        var announcement: Announcement
        var session: AvahiSession?
        var hasRun = false
    }

    public init(announcement: Announcement, interfaces: InterfaceRule = .physical) {
        (events, tell) = AsyncStream.makeStream(of: SightingEvent.self, bufferingPolicy: .bufferingNewest(4 * Limits.peersMax))
        self.interfaces = interfaces
        state = Mutex(State(announcement: announcement))
    }

    /// Announces something else from now on. What changes only the text is changed in place, at most once a second.
    public func update(_ announcement: Announcement) {
        let session = state.withLock { state in
            state.announcement = announcement
            return state.session
        }
        session?.announce(announcement)
    }

    /// Works until the task is cancelled; then says goodbye to the network and frees everything. May be called once.
    public func run() async {
        defer { tell.finish() }
        let session: AvahiSession? = state.withLock { state in
            guard !state.hasRun else { return nil }
            state.hasRun = true
            state.session = AvahiSession(announcement: state.announcement, interfaces: interfaces, tell: tell)
            return state.session
        }
        guard let session else { return }
        await withTaskCancellationHandler {
            await withCheckedContinuation { session.start($0) }
        } onCancel: {
            session.stop()
        }
        state.withLock { $0.session = nil }
        try? await offEventLoops { () throws(MeshError) in session.join() }
    }

    /// Whether D-Bus and avahi-daemon answer now. May block for as long as D-Bus waits for an answer (25 s).
    ///
    /// Throws `dbus_unavailable`, `avahi_unavailable` (69).
    public static func check() throws(MeshError) {
        guard let poll = avahi_threaded_poll_new() else { throw noDaemon(Avahi.noMemory) }
        defer { avahi_threaded_poll_free(poll) }
        var error = Avahi.ok
        guard let client = avahi_client_new(avahi_threaded_poll_get(poll), AVAHI_CLIENT_NO_FAIL, nil, nil, &error) else { throw noClient(error) }
        defer { avahi_client_free(client) }
        switch avahi_client_get_state(client) {
        case AVAHI_CLIENT_CONNECTING: throw noDaemon()
        case AVAHI_CLIENT_FAILURE: throw noDaemon(avahi_client_errno(client))
        default: return
        }
    }

    /// Why there is no client. With NO_FAIL a daemon that is away is waited for, so it is the way to it that is missing.
    static func noClient(_ error: Int32) -> MeshError {
        guard [Avahi.noDaemon, Avahi.dbusError, Avahi.disconnected].contains(error) else { return noDaemon(error) }
        return MeshError(.dbusUnavailable, "the system's D-Bus, which leads to avahi-daemon, cannot be reached",
                         hint: "install and start dbus and avahi-daemon; until then write neighbours down with `capsule peers add ADDRESS`")
    }

    static func noDaemon(_ error: Int32 = Avahi.noDaemon) -> MeshError {
        MeshError(.avahiUnavailable, "avahi-daemon, which finds neighbours, does not answer: \(Avahi.text(error))",
                  hint: "install and start avahi-daemon; until then write neighbours down with `capsule peers add ADDRESS`")
    }
}

/// Which of this host's interfaces count.
public struct InterfaceRule: Sendable, Hashable {
    private let ignoredPrefixes: [String]

    /// Without the inner networks of containers, whose other ends are not neighbours.
    public static let physical = InterfaceRule(ignoring: ["docker", "veth", "br-"])
    public static let all = InterfaceRule(ignoring: [])

    public init(ignoring prefixes: [String]) { ignoredPrefixes = prefixes }

    public func counts(_ interface: String) -> Bool { !ignoredPrefixes.contains { interface.hasPrefix($0) } }
}
