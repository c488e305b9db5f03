public import MeshCore

extension ErrorCode {
    public static let charterInvalid = ErrorCode("charter_invalid", .badData)
    /// Two charters follow the one in force.
    public static let charterContested = ErrorCode("charter_contested", .badData)
    public static let factInvalid = ErrorCode("fact_invalid", .badData)
    public static let factForeign = ErrorCode("fact_foreign", .badData)
    public static let factTooLarge = ErrorCode("fact_too_large", .badData)
    public static let factLimit = ErrorCode("fact_limit", .notPermitted)
    public static let keyContested = ErrorCode("key_contested", .notPermitted)
    public static let notGranted = ErrorCode("not_granted", .notPermitted)
    public static let channelInvalid = ErrorCode("channel_invalid", .usage)
    public static let releaseNotFound = ErrorCode("release_not_found", .unavailable)
    public static let withdrawn = ErrorCode("withdrawn", .badData)
    public static let memberUnknown = ErrorCode("member_unknown", .unavailable)
    public static let factNotFound = ErrorCode("fact_not_found", .unavailable)
    public static let contested = ErrorCode("contested", .badData)
    public static let factFileInvalid = ErrorCode("fact_file_invalid", .badData)
    package static let reconcileBroken = ErrorCode("reconcile_invalid", .badData)
    public static let catalogBusy = ErrorCode("catalog_busy", .tryAgain)
    public static let catalogTooNew = ErrorCode("catalog_too_new", .badConfiguration)
    public static let catalogDamaged = ErrorCode("catalog_damaged", .badData)
}
