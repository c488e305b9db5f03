public import MeshCore

extension ErrorCode {
    public static let dbusUnavailable = ErrorCode("dbus_unavailable", .unavailable)
    public static let avahiUnavailable = ErrorCode("avahi_unavailable", .unavailable)
    public static let announcementRefused = ErrorCode("announcement_refused", .unavailable)
    public static let peerAddressInvalid = ErrorCode("peer_address_invalid", .usage)
}
