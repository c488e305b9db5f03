public import MeshCore

extension ErrorCode {
    // Manifest
    public static let manifestMissing = ErrorCode("manifest_missing", .badData)
    public static let versionContradictsID = ErrorCode("version_contradicts_id", .badData)
    public static let stepMissing = ErrorCode("step_missing", .badData)
    /// Told to who packs; readers take any line.
    public static let licenseInvalid = ErrorCode("license_invalid", .badData)
    // Trees
    public static let pathInvalid = ErrorCode("path_invalid", .badData)
    public static let linkEscapes = ErrorCode("link_escapes", .badData)
    public static let indexInvalid = ErrorCode("index_invalid", .badData)
    public static let kindRefused = ErrorCode("kind_refused", .badData)
    public static let nameNotUTF8 = ErrorCode("name_not_utf8", .badData)
    public static let treeTooLarge = ErrorCode("tree_too_large", .badData)
    public static let ignoreInvalid = ErrorCode("ignore_invalid", .badData)
    public static let secretFound = ErrorCode("secret_found", .badData)
    // Capsules
    public static let capsuleMismatch = ErrorCode("capsule_mismatch", .badData)
    public static let treeMismatch = ErrorCode("tree_mismatch", .badData)
}
