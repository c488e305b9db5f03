internal import CAvahi

/// Avahi's unnamed enumerations, which Swift imports as Int, in the type that its functions take.
enum Avahi {
    static let ok = Int32(AVAHI_OK)
    static let collision = Int32(AVAHI_ERR_COLLISION)
    static let dbusError = Int32(AVAHI_ERR_DBUS_ERROR)
    static let disconnected = Int32(AVAHI_ERR_DISCONNECTED)
    static let invalidObject = Int32(AVAHI_ERR_INVALID_OBJECT)
    static let noDaemon = Int32(AVAHI_ERR_NO_DAEMON)
    static let noMemory = Int32(AVAHI_ERR_NO_MEMORY)
    static let anyInterface = AvahiIfIndex(AVAHI_IF_UNSPEC)
    static let anyProtocol = AvahiProtocol(AVAHI_PROTO_UNSPEC)
    static let ipv4 = AvahiProtocol(AVAHI_PROTO_INET)

    static func text(_ error: Int32) -> String { String(cString: avahi_strerror(error)) }
}
