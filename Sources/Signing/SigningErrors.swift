public import MeshCore

extension ErrorCode {
    public static let backupDamaged = ErrorCode("backup_damaged", .badData)
    public static let keyExists = ErrorCode("key_exists", .cannotCreate)
    public static let keyExposed = ErrorCode("key_exposed", .notPermitted)
    public static let keyInvalid = ErrorCode("key_invalid", .badData)
    public static let passphraseFailed = ErrorCode("passphrase_failed", .tryAgain)
    public static let passphraseWrong = ErrorCode("passphrase_wrong", .notPermitted)
    public static let signatureInvalid = ErrorCode("signature_invalid", .badData)
}
