internal import CAvahi
internal import MeshCore

/// Keeps one service announced: adds it, changes its text in place, renames it after a collision. Only on the poll's thread.
struct AvahiAnnouncer {
    private var group: OpaquePointer?
    private var announced: Announcement?
    private var name = ""
    private var renames = 0
    private var textChangeAt: Int64 = 0
    private var retryAt: Int64?
    private var retry = Backoff(millisecondsMin: Limits.resolveRetryMillisecondsMin, max: Limits.resolveRetryMillisecondsMax)
    private var hasCollided = false

    /// The daemon cannot be talked to: the client must be made anew.
    private(set) var isLost = false
    private(set) var trouble: MeshError?
    /// When to be called again, by the monotonic clock; nil: on events only.
    private(set) var deadline: Int64?

    /// The work is done in `announce`.
    mutating func groupChanged(_ state: AvahiEntryGroupState) {
        switch state {
        case AVAHI_ENTRY_GROUP_COLLISION: hasCollided = true
        case AVAHI_ENTRY_GROUP_FAILURE: isLost = true
        case AVAHI_ENTRY_GROUP_ESTABLISHED: renames = 0
        default: break
        }
    }

    /// The client must be in S_RUNNING.
    mutating func announce(_ wish: Announcement, _ client: OpaquePointer, _ now: Int64, _ context: UnsafeMutableRawPointer) {
        deadline = nil
        if hasCollided {
            hasCollided = false
            withdraw()
            if !rename() { refused(Avahi.collision, now) }
        }
        if let retryAt, now < retryAt { return deadline = retryAt }
        guard wish != announced else { return }
        if group == nil {
            group = avahi_entry_group_new(client, { _, state, context in AvahiSession.note(.group(state), context) }, context)
        }
        guard let group else { return refused(avahi_client_errno(client), now) }
        if let announced, announced.port == wish.port, announced.nodeID == wish.nodeID {
            guard now >= textChangeAt else { return deadline = textChangeAt }
            let error = withTextList(wish) {
                avahi_entry_group_update_service_txt_strlst(group, Avahi.anyInterface, Avahi.anyProtocol, AvahiPublishFlags(rawValue: 0),
                                                            name, AvahiSession.serviceType, nil, $0)
            }
            if error == Avahi.ok { return succeeded(wish, now) }
            // Whatever the group is now: from the beginning.
        }
        add(wish, group, now)
    }

    private mutating func add(_ wish: Announcement, _ group: OpaquePointer, _ now: Int64) {
        if announced?.nodeID != wish.nodeID, renames == 0 { name = ServiceText(wish).instanceName }
        avahi_entry_group_reset(group)
        announced = nil
        while true {
            var error = withTextList(wish) {
                avahi_entry_group_add_service_strlst(group, Avahi.anyInterface, Avahi.anyProtocol, AvahiPublishFlags(rawValue: 0),
                                                     name, AvahiSession.serviceType, nil, nil, UInt16(clamping: wish.port), $0)
            }
            if error == Avahi.collision, rename() { continue }
            if error == Avahi.ok { error = avahi_entry_group_commit(group) }
            return error == Avahi.ok ? succeeded(wish, now) : refused(error, now)
        }
    }

    private mutating func succeeded(_ wish: Announcement, _ now: Int64) {
        announced = wish
        trouble = nil
        retryAt = nil
        retry.reset()
        textChangeAt = now + Int64(Limits.announcementMillisecondsInterval)
    }

    private mutating func refused(_ error: Int32, _ now: Int64) {
        if [Avahi.disconnected, Avahi.dbusError, Avahi.noDaemon, Avahi.invalidObject].contains(error) { return isLost = true }
        trouble = MeshError(.announcementRefused, "avahi-daemon does not announce this node: \(Avahi.text(error))",
                            hint: "look at disable-publishing in /etc/avahi/avahi-daemon.conf; neighbours are seen all the same")
        let at = now + retry.next()
        retryAt = at
        deadline = at
        renames = 0
    }

    /// Another name after a collision; false when it was renamed often enough.
    private mutating func rename() -> Bool {
        guard renames < Limits.announcementRenamesMax, let other = avahi_alternative_service_name(name) else { return false }
        defer { avahi_free(other) }
        renames += 1
        name = String(cString: other)
        return true
    }

    /// Takes the service back; it is announced again at the next call of `announce`.
    mutating func withdraw() {
        if announced != nil, let group { avahi_entry_group_reset(group) }
        announced = nil
        deadline = nil
    }

    /// Says goodbye and frees the group; before the client is freed.
    mutating func free() {
        if let group { avahi_entry_group_free(group) }
        self = AvahiAnnouncer()
    }
}

/// `body` gets the announcement's text as Avahi's list, which lives only for the call.
private func withTextList(_ announcement: Announcement, _ body: (UnsafeMutablePointer<AvahiStringList>?) -> Int32) -> Int32 {
    var list: UnsafeMutablePointer<AvahiStringList>?
    // Avahi builds its lists backwards and sends them from the end: so the order stays ours.
    for entry in ServiceText(announcement).entries { list = avahi_string_list_add_arbitrary(list, entry, entry.count) }
    defer { avahi_string_list_free(list) }
    return body(list)
}
