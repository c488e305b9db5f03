public import MeshCore

extension ErrorCode {
    // Chunks and packs
    public static let chunkCorrupt = ErrorCode("chunk_corrupt", .badData)
    /// The index of the store lists the chunk nowhere, or its pack is gone.
    public static let chunkMissing = ErrorCode("chunk_missing", .badData)
    /// Good chunks that do not make the file that the capsule's index names.
    public static let fileMismatch = ErrorCode("file_mismatch", .badData)
    public static let frameInvalid = ErrorCode("frame_invalid", .badData)
    public static let packInvalid = ErrorCode("pack_invalid", .badData)
    // What is asked for
    public static let capsuleNotFound = ErrorCode("capsule_not_found", .unavailable)
    public static let treeNotFound = ErrorCode("tree_not_found", .unavailable)
    public static let blobNotFound = ErrorCode("blob_not_found", .unavailable)
    // Packing and restoring
    public static let sourceChanged = ErrorCode("source_changed", .tryAgain)
    public static let attestationMissing = ErrorCode("attestation_missing", .badData)
    public static let folderNotEmpty = ErrorCode("folder_not_empty", .cannotCreate)
    public static let referrersTooMany = ErrorCode("referrers_too_many", .badData)
    // Collecting garbage
    public static let gcRunning = ErrorCode("gc_running", .tryAgain)
    /// What a listed capsule needs cannot be read.
    public static let storeDamaged = ErrorCode("store_damaged", .badData)
    // The store's own index
    public static let storeBusy = ErrorCode("store_busy", .tryAgain)
    public static let storeIndexDamaged = ErrorCode("store_index_damaged", .badData)
    public static let storeTooNew = ErrorCode("store_too_new", .badConfiguration)
}
