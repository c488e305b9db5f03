internal import CAvahi
internal import Glibc
internal import MeshCore
internal import Synchronization

/// One run of Avahi's client library. Every call into it happens on one thread, its poll's own.
///
/// The library's callbacks, some of which run inside the very call that makes their object, only note what happened and
/// wake the poll; `pump` then compares what is with what should be and does what is missing. So no object is freed inside
/// a callback that still uses it, and a daemon that goes and comes back is the same case as one that was never there.
///
/// `wish` is behind its lock and `wakeDescriptor` and the continuation `tell` may be used by anyone. All else is touched by one
/// thread at a time: by `start` before the poll's thread exists, by that thread until `ended` is resumed, and by `join` after,
/// which waits for the thread's end before it frees.
final class AvahiSession: @unchecked Sendable {  // proof: a lock, or one thread at a time: start, then the poll's thread, then join
    static let serviceType = "_oursynth._tcp"

    private struct Wish {
        var announcement: Announcement
        var isStopping = false
    }

    private let wish: Mutex<Wish>
    private let tell: AsyncStream<SightingEvent>.Continuation
    private let wakeDescriptor = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
    private let timerDescriptor = timerfd_create(CLOCK_MONOTONIC, Int32(TFD_CLOEXEC) | Int32(TFD_NONBLOCK))

    private var poll: OpaquePointer?
    private var ended: CheckedContinuation<Void, Never>?
    private var client: OpaquePointer?
    /// As the client's callback said it last; nil before it did.
    private var clientState: AvahiClientState?
    private var notes: [AvahiNote] = []
    private var retry = Backoff(millisecondsMin: Limits.discoveryRetryMillisecondsMin, max: Limits.discoveryRetryMillisecondsMax)
    private var reconnectAt: Int64 = 0
    private var troubles: Set<String> = []
    private var announcer = AvahiAnnouncer()
    private var browser: AvahiBrowser

    init(announcement: Announcement, interfaces: InterfaceRule, tell: AsyncStream<SightingEvent>.Continuation) {
        wish = Mutex(Wish(announcement: announcement))
        self.tell = tell
        browser = AvahiBrowser(own: announcement.nodeID, interfaces: interfaces)
    }

    deinit {
        if wakeDescriptor >= 0 { close(wakeDescriptor) }
        if timerDescriptor >= 0 { close(timerDescriptor) }
    }

    // MARK: From any thread

    func announce(_ announcement: Announcement) {
        wish.withLock { $0.announcement = announcement }
        wake()
    }

    func stop() {
        wish.withLock { $0.isStopping = true }
        wake()
    }

    func wake() { eventfd_write(wakeDescriptor, 1) }

    /// Starts the thread; `ended` is resumed when the session was stopped and said goodbye, or cannot start.
    func start(_ ended: CheckedContinuation<Void, Never>) {
        self.ended = ended
        let context = Unmanaged.passUnretained(self).toOpaque()
        let woken: AvahiWatchCallback = { _, descriptor, _, context in
            var count: UInt64 = 0
            _ = read(descriptor, &count, 8)
            AvahiSession.from(context)?.pump()
        }
        guard wakeDescriptor >= 0, timerDescriptor >= 0, let poll = avahi_threaded_poll_new(), let api = avahi_threaded_poll_get(poll) else { return fail() }
        self.poll = poll
        guard let watch = api.pointee.watch_new, watch(api, wakeDescriptor, AVAHI_WATCH_IN, woken, context) != nil,
              watch(api, timerDescriptor, AVAHI_WATCH_IN, woken, context) != nil else { return fail() }
        wake()
        guard avahi_threaded_poll_start(poll) == 0 else { return fail() }
    }

    private func fail() {
        tell.yield(.trouble(AvahiDiscovery.noDaemon(Avahi.noMemory)))
        ended?.resume()
        ended = nil
    }

    /// Waits for the thread to end and frees the poll with its watches.
    func join() {
        guard let poll else { return }
        avahi_threaded_poll_stop(poll)
        avahi_threaded_poll_free(poll)
        self.poll = nil
    }

    // MARK: On the poll's thread

    /// What a callback says, `context` being the one it was given. The session is alive whenever a callback runs:
    /// `AvahiDiscovery.run` holds it until the poll is freed.
    static func note(_ note: AvahiNote, _ context: UnsafeMutableRawPointer?) {
        guard let session = from(context) else { return }
        session.notes.append(note)
        session.wake()
    }

    private static func from(_ context: UnsafeMutableRawPointer?) -> AvahiSession? {
        context.map { Unmanaged<AvahiSession>.fromOpaque($0).takeUnretainedValue() }
    }

    private func pump() {
        guard ended != nil else { return }
        let wish = wish.withLock { $0 }
        if wish.isStopping {
            dropClient()
            ended?.resume()
            ended = nil
            return
        }
        let now = monotonicMilliseconds()
        takeNotes(now)
        if clientState == AVAHI_CLIENT_FAILURE { disconnect(now) }
        if client == nil, now >= reconnectAt { connect(now) }
        let context = Unmanaged.passUnretained(self).toOpaque()
        switch (client, clientState) {
        case (let client?, AVAHI_CLIENT_S_RUNNING?):
            recovered([.dbusUnavailable, .avahiUnavailable])
            browser.browse(client, now, context)
            announcer.announce(wish.announcement, client, now, context)
            if let trouble = announcer.trouble { troubled(trouble) } else { recovered([.announcementRefused]) }
            if browser.isLost || announcer.isLost { disconnect(now) } else { retry.reset() }
        case (.some, AVAHI_CLIENT_S_REGISTERING?), (.some, AVAHI_CLIENT_S_COLLISION?):
            // The host itself is changing its name; what was announced under the old one is announced again.
            announcer.withdraw()
        case (.some, AVAHI_CLIENT_CONNECTING?):
            troubled(AvahiDiscovery.noDaemon())
        default: break
        }
        for event in browser.takeEvents() { tell.yield(event) }
        setTimer([client == nil ? reconnectAt : nil, announcer.deadline, browser.deadline].compactMap(\.self).min())
    }

    private func takeNotes(_ now: Int64) {
        let taken = notes
        notes = []
        for note in taken {
            switch note {
            case .client(let state): clientState = state
            case .group(let state): announcer.groupChanged(state)
            case .instance(let event, let key, let isOwn): browser.shown(event, key, isOwn: isOwn)
            case .found(let resolver, let text, let address): browser.found(resolver, text, address)
            case .notFound(let resolver): browser.failed(resolver, now)
            }
        }
        browser.freeClosed()
        if announcer.isLost || browser.isLost { disconnect(now) }
    }

    private func connect(_ now: Int64) {
        var error = Avahi.ok
        client = avahi_client_new(avahi_threaded_poll_get(poll), AVAHI_CLIENT_NO_FAIL, { _, state, context in
            AvahiSession.note(.client(state), context)
        }, Unmanaged.passUnretained(self).toOpaque(), &error)
        guard client == nil else { return takeNotes(now) }
        troubled(AvahiDiscovery.noClient(error))
        reconnectAt = now + retry.next()
    }

    /// After a failure. NO_FAIL waits for a daemon by itself, but not for a D-Bus that was restarted: so always anew.
    private func disconnect(_ now: Int64) {
        dropClient()
        browser.daemonLost()
        reconnectAt = now + retry.next()
    }

    /// Children first: the library frees a client's children with it, and their pointers would dangle.
    private func dropClient() {
        browser.free()
        announcer.free()
        if let client { avahi_client_free(client) }
        client = nil
        clientState = nil
        // They are about objects that are no more.
        notes = []
    }

    private func troubled(_ error: MeshError) {
        if troubles.insert(error.code.name).inserted { tell.yield(.trouble(error)) }
    }

    private func recovered(_ codes: [ErrorCode]) {
        guard !troubles.isDisjoint(with: codes.map(\.name)) else { return }
        troubles.subtract(codes.map(\.name))
        if troubles.isEmpty { tell.yield(.recovered) }
    }

    /// `deadline` by the monotonic clock, in ms; nil: only events wake. A wall clock that is set never delays a retry.
    private func setTimer(_ deadline: Int64?) {
        var spec = itimerspec()
        if let deadline {
            // All zero would disarm.
            let left = max(1, deadline - monotonicMilliseconds())
            spec.it_value.tv_sec = Int(left / 1000)
            spec.it_value.tv_nsec = Int(left % 1000) * 1_000_000
        }
        timerfd_settime(timerDescriptor, 0, &spec, nil)
    }
}

/// What a callback of the library saw.
enum AvahiNote {
    case client(AvahiClientState)
    case group(AvahiEntryGroupState)
    /// The key is absent where the event is about the browser itself.
    case instance(AvahiBrowserEvent, SightingTable.Key?, isOwn: Bool)
    /// The text is absent where it is no node's.
    case found(OpaquePointer, ServiceText?, PeerAddress?)
    case notFound(OpaquePointer)
}

func monotonicMilliseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
}

/// Pauses that double, each shortened at random by up to a quarter, so that the nodes of a LAN do not knock in step.
struct Backoff {
    private let min: Int
    private let max: Int
    private var pause: Int

    init(millisecondsMin min: Int, max: Int) {
        self.min = min
        self.max = max
        pause = min
    }

    mutating func next() -> Int64 {
        defer { pause = Swift.min(max, pause * 2) }
        return Int64(Int.random(in: pause * 3 / 4 ... pause))
    }

    mutating func reset() { pause = min }
}
