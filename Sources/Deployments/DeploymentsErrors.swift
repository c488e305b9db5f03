public import MeshCore

extension ErrorCode {
    public static let confirmationRequired = ErrorCode("confirmation_required", .notPermitted)
    public static let capsuleNotRunnable = ErrorCode("capsule_not_runnable", .badData)
    public static let deploymentUnsupported = ErrorCode("deployment_unsupported", .unavailable)
    public static let deploymentNotFound = ErrorCode("deployment_not_found", .unavailable)
    public static let generationNotFound = ErrorCode("generation_not_found", .unavailable)
    public static let deploymentsFull = ErrorCode("deployments_full", .cannotCreate)
    public static let unhealthy = ErrorCode("unhealthy", .unavailable)
    public static let deployCancelled = ErrorCode("deploy_cancelled", .tryAgain)
    public static let deployInterrupted = ErrorCode("deploy_interrupted", .tryAgain)
    public static let deploymentsNotRunning = ErrorCode("deployments_not_running", .unavailable)
    public static let deploymentJournalCorrupt = ErrorCode("deployment_journal_corrupt", .badData)
    public static let frontPortBusy = ErrorCode("front_port_busy", .unavailable)
    public static let frontNotLoopback = ErrorCode("front_not_loopback", .usage)
    public static let frontFailed = ErrorCode("front_failed", .unavailable)
}
