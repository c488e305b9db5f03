public import MeshCore

extension ErrorCode {
    public static let sandboxUnavailable = ErrorCode("sandbox_unavailable", .unavailable)
    public static let toolchainUnknown = ErrorCode("toolchain_unknown", .unavailable)
    public static let inputsUnavailable = ErrorCode("inputs_unavailable", .unavailable)
    public static let stepFailed = ErrorCode("step_failed", .badData)
    public static let buildNeedsNetwork = ErrorCode("build_needs_network", .badData)
    public static let buildLimitExceeded = ErrorCode("build_limit_exceeded", .badData)
    public static let outputMissing = ErrorCode("output_missing", .badData)
    public static let outputInvalid = ErrorCode("output_invalid", .badData)
    public static let buildCancelled = ErrorCode("build_cancelled", .tryAgain)
    public static let buildInterrupted = ErrorCode("build_interrupted", .tryAgain)
}
