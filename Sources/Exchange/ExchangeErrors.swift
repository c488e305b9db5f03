public import MeshCore

extension ErrorCode {
    public static let portBusy = ErrorCode("port_busy", .unavailable)
    public static let listenFailed = ErrorCode("listen_failed", .unavailable)
    public static let identityFailed = ErrorCode("identity_failed", .badConfiguration)

    // A peer, and why it cannot be used
    public static let peerUnknown = ErrorCode("peer_unknown", .usage)
    public static let peerUnreachable = ErrorCode("peer_unreachable", .unavailable)
    public static let peerTimeout = ErrorCode("peer_timeout", .unavailable)
    public static let peerClosed = ErrorCode("peer_closed", .unavailable)
    public static let peerKeyMismatch = ErrorCode("peer_key_mismatch", .notPermitted)
    public static let tlsFailed = ErrorCode("tls_failed", .unavailable)
    public static let peerProtocol = ErrorCode("peer_protocol", .unavailable)
    public static let peerRevoked = ErrorCode("peer_revoked", .notPermitted)
    public static let peerMisbehaved = ErrorCode("peer_misbehaved", .badData)
    public static let notMember = ErrorCode("not_member", .notPermitted)
    public static let peerStranger = ErrorCode("peer_stranger", .notPermitted)
    public static let otherMesh = ErrorCode("other_mesh", .notPermitted)

    // Fetching
    public static let noSource = ErrorCode("no_source", .unavailable)
    public static let pullRunning = ErrorCode("pull_running", .tryAgain)
    public static let pullInterrupted = ErrorCode("pull_interrupted", .tryAgain)
    public static let releaseMismatch = ErrorCode("release_mismatch", .badData)

    // Invitations
    public static let invitationInvalid = ErrorCode("invitation_invalid", .badData)
    public static let invitationRefused = ErrorCode("invitation_refused", .notPermitted)
    public static let invitationExpired = ErrorCode("invitation_expired", .notPermitted)
    public static let invitationUsed = ErrorCode("invitation_used", .notPermitted)
    public static let invitationsFull = ErrorCode("invitations_full", .tryAgain)
    public static let pairingPaused = ErrorCode("pairing_paused", .tryAgain)
    public static let homeHasReleases = ErrorCode("home_has_releases", .tryAgain)
    public static let alreadyJoined = ErrorCode("already_joined", .usage)
}
