internal import CAvahi
internal import Glibc
internal import MeshCore
internal import Signing

/// Watches the instances of the service: one resolver each stays open, so that a changed text is told at once. Only on the
/// poll's thread.
struct AvahiBrowser {
    private let own: KeyID
    private let interfaces: InterfaceRule
    private var table = SightingTable()
    private var browser: OpaquePointer?
    private var resolvers: [SightingTable.Key: OpaquePointer] = [:]
    private var resolving: [OpaquePointer: SightingTable.Key] = [:]
    private var unresolved: [SightingTable.Key: (at: Int64, retry: Backoff)] = [:]
    private var closed: [OpaquePointer] = []
    /// When what was not shown since the daemon came back counts as gone.
    private var settledAt: Int64?
    private var events: [SightingEvent] = []

    /// The daemon cannot be talked to: the client must be made anew.
    private(set) var isLost = false

    init(own: KeyID, interfaces: InterfaceRule) {
        self.own = own
        self.interfaces = interfaces
    }

    /// When to be called again, by the monotonic clock; nil: on events only.
    var deadline: Int64? {
        let retries = unresolved.values.lazy.map(\.at).filter { $0 < .max }
        return (Array(retries) + [settledAt].compactMap(\.self)).min()
    }

    mutating func takeEvents() -> [SightingEvent] {
        defer { events = [] }
        return events
    }

    /// Opens the browser where there is none, and resolves what is due. The client must be in S_RUNNING.
    mutating func browse(_ client: OpaquePointer, _ now: Int64, _ context: UnsafeMutableRawPointer) {
        if browser == nil {
            browser = avahi_service_browser_new(client, Avahi.anyInterface, Avahi.anyProtocol, AvahiSession.serviceType, nil, AvahiLookupFlags(rawValue: 0),
                                                { _, interface, `protocol`, event, name, type, domain, flags, context in
                let isOwn = flags.rawValue & AVAHI_LOOKUP_RESULT_OUR_OWN.rawValue != 0
                AvahiSession.note(.instance(event, SightingTable.Key(interface, `protocol`, name, type, domain), isOwn: isOwn), context)
            }, context)
            if browser == nil { isLost = true } else { settledAt = now + Int64(Limits.daemonReturnMillisecondsGrace) }
        }
        if let at = settledAt, at <= now {
            settledAt = nil
            events += table.settled()
        }
        for (key, attempt) in unresolved where attempt.at <= now { resolve(key, client, now, context) }
    }

    /// What the browser said.
    mutating func shown(_ event: AvahiBrowserEvent, _ key: SightingTable.Key?, isOwn: Bool) {
        switch event {
        case AVAHI_BROWSER_NEW:
            guard let key, !isOwn, counts(key.interface), resolvers[key] == nil, table.appeared(key) else { return }
            unresolved[key] = (0, Backoff(millisecondsMin: Limits.resolveRetryMillisecondsMin, max: Limits.resolveRetryMillisecondsMax))
        case AVAHI_BROWSER_REMOVE:
            guard let key else { return }
            unresolved[key] = nil
            close(key)
            events += table.vanished(key)
        case AVAHI_BROWSER_FAILURE: isLost = true
        default: break
        }
    }

    /// Asks over the protocol on which the instance was seen, for an address of the same kind: both kinds are asked for
    /// where both are spoken.
    private mutating func resolve(_ key: SightingTable.Key, _ client: OpaquePointer, _ now: Int64, _ context: UnsafeMutableRawPointer?) {
        let resolver = avahi_service_resolver_new(client, key.interface, key.protocol, key.name, key.type, key.domain, key.protocol,
                                                  AvahiLookupFlags(rawValue: 0), { resolver, interface, _, event, _, _, _, _, address, port, list, _, context in
            guard let resolver else { return }
            guard event == AVAHI_RESOLVER_FOUND else { return AvahiSession.note(.notFound(resolver), context) }
            AvahiSession.note(.found(resolver, ServiceText(entries: strings(list)), address.flatMap { peerAddress($0, port, interface) }), context)
        }, context)
        guard let resolver else { return later(key, now) }
        resolvers[key] = resolver
        resolving[resolver] = key
        // The pause is kept until it is found: one that fails again waits longer.
        unresolved[key]?.at = .max
    }

    mutating func found(_ resolver: OpaquePointer, _ text: ServiceText?, _ address: PeerAddress?) {
        guard let key = resolving[resolver] else { return }
        unresolved[key] = nil
        events += table.resolved(key, text: text?.nodeID == own ? nil : text, address: address, interface: interfaceName(key.interface))
    }

    mutating func failed(_ resolver: OpaquePointer, _ now: Int64) {
        guard let key = resolving[resolver] else { return }
        close(key)
        later(key, now)
    }

    private mutating func later(_ key: SightingTable.Key, _ now: Int64) {
        var retry = unresolved[key]?.retry ?? Backoff(millisecondsMin: Limits.resolveRetryMillisecondsMin, max: Limits.resolveRetryMillisecondsMax)
        let at = now + retry.next()
        unresolved[key] = (at, retry)
    }

    private mutating func close(_ key: SightingTable.Key) {
        guard let resolver = resolvers.removeValue(forKey: key) else { return }
        resolving[resolver] = nil
        closed.append(resolver)
    }

    /// Frees the resolvers that are needed no more, after all notes were taken: no new one gets the address of one that a
    /// note is still about.
    mutating func freeClosed() {
        for resolver in closed { avahi_service_resolver_free(resolver) }
        closed = []
    }

    private func counts(_ interface: Int32) -> Bool { interfaceName(interface).map(interfaces.counts) ?? true }

    mutating func daemonLost() { table.daemonLost() }

    /// Frees what belongs to the client, before the client is freed; what was seen stays in the table.
    mutating func free() {
        freeClosed()
        for resolver in resolvers.values { avahi_service_resolver_free(resolver) }
        if let browser { avahi_service_browser_free(browser) }
        resolvers = [:]
        resolving = [:]
        unresolved = [:]
        browser = nil
        settledAt = nil
        isLost = false
    }
}

extension SightingTable.Key {
    fileprivate init?(_ interface: Int32, _ protocol: Int32, _ name: UnsafePointer<CChar>?, _ type: UnsafePointer<CChar>?, _ domain: UnsafePointer<CChar>?) {
        guard let name, let type, let domain else { return nil }
        self.init(interface: interface, protocol: `protocol`, name: String(cString: name), type: String(cString: type), domain: String(cString: domain))
    }
}

private func interfaceName(_ index: Int32) -> String? {
    guard index > 0 else { return nil }
    var buffer = [CChar](repeating: 0, count: Int(IF_NAMESIZE))
    guard if_indextoname(UInt32(index), &buffer) != nil else { return nil }
    return buffer.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } }
}

private func peerAddress(_ address: UnsafePointer<AvahiAddress>, _ port: UInt16, _ interface: Int32) -> PeerAddress? {
    var buffer = [CChar](repeating: 0, count: Int(AVAHI_ADDRESS_STR_MAX))
    guard avahi_address_snprint(&buffer, buffer.count, address) != nil else { return nil }
    let text = buffer.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
    if address.pointee.proto == Avahi.ipv4 { return try? PeerAddress(parsing: "\(text):\(port)", defaultPort: 0) }
    return (try? PeerAddress(parsing: "[\(text)]:\(port)", defaultPort: 0)) ?? (try? PeerAddress(parsing: "[\(text)%\(interface)]:\(port)", defaultPort: 0))
}

/// The strings of a TXT record; DNS itself bounds them to 64 KiB.
private func strings(_ list: UnsafeMutablePointer<AvahiStringList>?) -> [[UInt8]] {
    var out: [[UInt8]] = []
    var next = list
    while let item = next, out.count < 64 {
        out.append(Array(UnsafeBufferPointer(start: avahi_string_list_get_text(item), count: avahi_string_list_get_size(item))))
        next = avahi_string_list_get_next(item)
    }
    return out
}
