/// Every bound of the node, with its reason. What comes from a peer, a stick or a file is held against these before it
/// is believed.
public enum Limits {
    // JSON
    /// Deep enough for every document here, shallow enough that no reader's stack is at risk.
    public static let jsonDepthMax = 32
    /// The integers that every JSON implementation represents exactly (RFC 7493 §2.2).
    public static let jsonIntegerMax: UInt64 = (1 << 53) - 1
    /// Any single request, manifest or control message.
    public static let controlMessageBytesMax = 256 * 1024
    public static let versionBytesMax = 128

    // Capsules
    public static let manifestBytesMax = 256 * 1024
    /// Of `config` and `meta`, which are anyone's: half of what a reader takes, so that a manifest fits into its root.
    public static let manifestFreeDepthMax = 16
    /// Linux's own PATH_MAX less the terminating zero.
    public static let pathBytesMax = 4095
    /// Linux's NAME_MAX.
    public static let pathPartBytesMax = 255
    public static let pathDepthMax = 128
    /// 4 M files: three times a full Debian archive of sources, and an index that still fits in memory.
    public static let treeEntriesMax = 4_000_000
    public static let fileBytesMax: Int64 = 1 << 40
    /// The index of 4 M entries at ~250 bytes each.
    public static let indexBytesMax = 1 << 30
    /// 36 bytes a chunk; 2^24 chunks of 32 KiB are half a TiB.
    public static let chunkListBytesMax = 36 * (1 << 24) + 16
    public static let chunkBytesMin = 8 * 1024
    public static let chunkBytesNormal = 32 * 1024
    public static let chunkBytesMax = 128 * 1024

    // .caps container
    /// Content of one data frame, so that a reader needs little memory and every core has work.
    public static let capsFrameContentBytesMax = 1 << 20
    public static let capsFramesMax = 1 << 20
    /// A data frame on disk: zstd's worst case for 1 MiB of content is 4 KiB more, and no writer needs more slack than this.
    public static let capsFrameBytesMax = (1 << 20) + 64 * 1024
    /// Members of an OCI layout, `.caps` or foreign: names and places of all of them are held in memory.
    public static let layoutMembersMax = 65_536
    /// index.json and the list of referrers: 1024 descriptors at ~300 bytes, several times over.
    public static let layoutDocumentBytesMax = 1 << 20
    public static let referrersPerCapsuleMax = 1024
    /// Signatures and facts have a few KiB; an SBOM of 5,000 packages needs all of it.
    public static let envelopeBytesMax = 4 << 20
    /// All documents about one capsule together, because readers hold them all: as much as 1024 of them at 64 KiB each.
    public static let referrersPerCapsuleBytesMax = 64 << 20
    /// `.capsuleignore` and `.capsuleallow`: read by people, so a thousandth would do.
    public static let ruleFileBytesMax = 1 << 20
    public static let ruleLinesMax = 10_000
    /// A pattern is held against every path of the tree.
    public static let rulePatternBytesMax = 4096

    // Comparing capsules, and what is told about them
    /// Of a file whose lines are compared.
    public static let diffFileBytesMax = 1 << 20
    /// Of all unified texts in one answer: more is not read by people, and a program asks file by file.
    public static let diffTextBytesMax = 16 << 20
    /// Steps of the search for the shortest difference: 4,000 scattered changes, a tenth of a second.
    public static let lineDiffStepsMax = 1 << 24
    public static let lineageCapsulesMax = 10_000
    /// A package list (lock file, dpkg status) that is read for an SBOM, and all of them together.
    public static let sbomFileBytesMax = 8 << 20
    public static let sbomReadBytesMax: Int64 = 64 << 20
    public static let sbomFilesMax = 20_000
    public static let sbomPackagesMax = 20_000
    /// What an envelope holds in base64, less room for the statement around it and 16 signatures.
    public static let sbomBytesMax = (3 << 20) - 64 * 1024
    /// Remarks about package lists that could not be read whole.
    public static let sbomNotesMax = 50

    // Store
    /// How full the disk is when a node collects garbage by itself.
    public static let gcDiskPercent = 85
    /// Chunks grouped into one zstd frame; measured 5–12 % smaller than a frame for each chunk.
    public static let packFrameContentBytesMax = 256 * 1024
    public static let packBytesMax = 64 << 20
    /// Chunks in one frame: files of a few bytes must not make a frame whose table outweighs it.
    public static let packFrameChunksMax = 4096
    /// The table at a pack's end: 100,000 chunks or the pieces of the largest index, and no reader's memory at risk.
    public static let packFooterBytesMax = 16 << 20
    /// Up to here a blob is one chunk; longer ones are cut like content, so that a new version's costs only its change.
    public static let blobWholeBytesMax = 64 * 1024
    /// A longer document is never kept as a difference to another: both are in memory then.
    public static let differenceBytesMax = 32 << 20
    /// A difference is kept while it has at most the document's bytes divided by this.
    public static let differenceDivisor = 16
    /// What one thread reads of a folder before it hands it on; a few of these are in memory for each core.
    public static let ingestUnitBytes = 2 << 20
    public static let ingestUnitFilesMax = 512
    /// What one thread restores or verifies at a time.
    public static let restoreUnitBytes: Int64 = 4 << 20
    /// Packed folders whose files are remembered, those packed last: what one person or CI works on.
    public static let sourcesKept = 64
    /// The memory of one folder, read as a whole: 800,000 small files or 100 GiB of large ones.
    public static let sourceMemoryBytesMax = 128 << 20
    /// Packs held open for reading.
    public static let packsOpenMax = 64

    // Facts
    public static let factBytesMax = 16 * 1024
    /// One envelope in a message of facts: read this far, so that one that is too large is refused by itself and not with the message.
    public static let factEnvelopeBytesMax = 64 * 1024
    public static let factSequenceMax = 4096
    /// What a root may raise that to for one key, and what a root itself has: every fact at a place takes memory in every node.
    public static let factSequenceRaisedMax = 1 << 20
    /// Name globs in one grant; all of them fit one fact.
    public static let grantScopeMax = 64
    public static let charterRootsMax = 16
    /// Charters that contradict each other at one place and are kept: two show it, and whoever mends it names them.
    public static let charterForksMax = 4
    /// All charters of a mesh, forks included: roots change a few times a year at most.
    public static let charterDocumentsMax = 256
    public static let charterVersionMax = 1 << 20
    /// 256 charters with 16 signatures each.
    public static let charterFileBytesMax = 2 << 20
    public static let grantDepthMax = 4
    public static let factsPerMessageMax = 4096
    /// Of the digest by which two nodes see that they know the same: 128 bits.
    public static let stateDigestDigits = 32
    public static let limboFactsPerPeerMax = 1000

    // Exchange
    public static let frameBytesMax = 1 << 20
    public static let connectionsMax = 64
    public static let connectionsPerPeerMax = 8
    public static let handshakeSecondsMax = 10
    public static let chunksPerRequestMax = 256
    public static let invitationHoursValid = 24
    public static let peersMax = 1024
    /// Of the connections, those whose key is no member's: strangers may ask to pair, never crowd out members.
    public static let strangerConnectionsMax = 32
    /// Connections that this node opens to one peer; the other half of the eight is left to the peer's own requests.
    public static let connectionsPerPeerOpened = 4
    public static let connectSecondsMax = 3
    /// Shorter than what the other side waits, so that the one who opened a connection is the one who closes it.
    public static let idleSecondsOpened = 45
    public static let idleSecondsServed = 60
    /// What answers under way get to finish when a node stops.
    public static let shutdownSecondsMax = 5
    /// A request's own deadline is max(this, 4 × what it should take at the slowest rate below).
    public static let requestSecondsMin = 4
    public static let peerBytesPerSecondMin = 1 << 20
    /// The peers' news that no push brought.
    public static let syncSecondsInterval = 15
    /// Digests in one question “which of these have you?”: what fits a control message.
    public static let digestsPerQuestionMax = controlMessageBytesMax / 32
    /// Digests in one page of the fact ids: what fits a frame.
    public static let factIDsPerPageMax = frameBytesMax / 32
    /// Ids taken from one peer in one exchange: 64 MiB of them.
    public static let factIDsMax = 1 << 21
    public static let referrersBytesMax = 8 << 20
    /// Verified chunks wait for a commit of this many bytes: fewer, larger packs; at a crash only these are fetched again.
    public static let fetchCommitBytes = 16 << 20
    /// Requests under way to one peer in one fetch.
    public static let fetchWindowPerPeer = 4
    public static let invitationsOpenMax = 64
    /// Wrong pairing tries from one address before it must pause, and for how long.
    public static let pairingTriesMax = 3
    public static let pairingPauseSeconds = 60
    public static let addressesPerPeerMax = 16

    // Discovery
    /// avahi-daemon gives one client 1,024 objects; each instance that is watched on an interface and protocol is one.
    public static let avahiResolversMax = 1000
    /// What a node calls itself, in bytes: a name on a screen, not a text.
    public static let displayNameBytesMax = 64
    /// The pause before a daemon that is away is asked for again doubles between these, so that it is found within 2 s.
    public static let discoveryRetryMillisecondsMin = 250
    public static let discoveryRetryMillisecondsMax = 2000
    /// One record is multicast at most once a second (RFC 6762 §6).
    public static let announcementMillisecondsInterval = 1000
    /// How long a daemon that came back may take to show the peers again before they count as gone: its queries go out
    /// after 0, 1 and 3 s, and a peer that just answered somebody else keeps silent for a second (RFC 6762 §5.2, §6).
    public static let daemonReturnMillisecondsGrace = 5000
    /// Renames after collisions; more means that someone answers to every name.
    public static let announcementRenamesMax = 8
    /// Before an instance that did not resolve is asked for again; doubles up to the second.
    public static let resolveRetryMillisecondsMin = 2000
    public static let resolveRetryMillisecondsMax = 60_000
    /// One written peer: an id and a few addresses.
    public static let peerFileBytesMax = 16 * 1024

    // Builds, unless the manifest asks for less
    public static let buildSecondsMax = 3600
    public static let buildMemoryBytesMax: Int64 = 8 << 30
    public static let buildProcessesMax = 1024
    public static let buildOutputBytesMax: Int64 = 8 << 30
    public static let buildLogBytesMax = 16 << 20
    /// How much of a failing step's log is shown.
    public static let failureLogLines = 50
    /// A longer line is cut into several where it is shown; the log file keeps it whole.
    public static let buildLogLineBytesMax = 8 * 1024
    /// From the start of the sandbox to its first word; 100 times what it takes on a slow machine.
    public static let sandboxStartSecondsMax = 30
    /// Logs of builds that are kept, newest first: months of a busy node, at most 3 GiB and usually 10 MiB.
    public static let buildLogsKept = 200

    // Deployments
    /// Apps times environments on one node; each has a log, a thread and a route while it runs.
    public static let deploymentsMax = 256
    /// Generations kept beside the current one, to roll back to.
    public static let previousGenerationsKept = 2
    /// Entries after which a deployment's journal is written anew as one snapshot.
    public static let deploymentJournalEntriesMax = 256
    /// 256 entries, the longest of them with 50 log lines of 8 KiB.
    public static let deploymentJournalBytesMax = 64 << 20
    public static let appLogBytesMax: Int64 = 8 << 20
    /// Rotated logs kept beside the one written to.
    public static let appLogFilesKept = 3
    public static let appLogLineBytesMax = 8 * 1024
    public static let appLogLinesPerAnswerMax = 10_000
    /// The app's own /tmp, which is memory.
    public static let appTemporaryBytesMax = 256 << 20
    /// A capsule may ask for less time to become healthy, not for more: the deploy holds its environment meanwhile.
    public static let healthSecondsMax = 600
    /// What is still being answered by the old version when the new one took over.
    public static let drainSecondsMax = 10
    public static let restartMillisecondsMin = 250
    public static let restartMillisecondsMax = 30_000
    /// An app that ran this long starts over with the shortest delay.
    public static let restartCalmMilliseconds = 60_000
    public static let frontConnectionsMax = 4096
    public static let frontIdleSeconds = 75
    public static let frontHeaderBytesMax = 32 * 1024
    public static let frontHeadersMax = 100
    /// To one app at a time; event streams hold one each.
    public static let appConnectionsMax = 4096
    /// Shorter than the 5 s after which common servers close an idle connection, so that none is used as it closes.
    public static let appConnectionIdleSeconds = 2
    public static let siteLinkHopsMax = 40
}
