public import MeshCore

extension ErrorCode {
    public static let charterInvalid = ErrorCode("charter_invalid", .badData)
    public static let factInvalid = ErrorCode("fact_invalid", .badData)
    public static let factForeign = ErrorCode("fact_foreign", .badData)
    public static let factTooLarge = ErrorCode("fact_too_large", .badData)
    public static let factLimit = ErrorCode("fact_limit", .notPermitted)
    public static let notGranted = ErrorCode("not_granted", .notPermitted)
    public static let contested = ErrorCode("contested", .badData)
    public static let catalogBusy = ErrorCode("catalog_busy", .tryAgain)
    public static let catalogDamaged = ErrorCode("catalog_damaged", .badData)
}
