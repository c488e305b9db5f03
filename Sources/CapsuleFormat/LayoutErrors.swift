public import MeshCore

extension ErrorCode {
    public static let chunksInvalid = ErrorCode("chunks_invalid", .badData)
    /// A `.caps` file whose bytes are not the ones that were written.
    public static let capsDamaged = ErrorCode("caps_damaged", .badData)
    /// A tar, inside a `.caps` or beside it, that breaks the rules of an OCI layout tar.
    public static let tarInvalid = ErrorCode("tar_invalid", .badData)
    /// A member that would leave the layout, is a link or a device, or stands twice.
    public static let memberRefused = ErrorCode("member_refused", .badData)
    /// An OCI layout that does not hold exactly one capsule in the documented shape.
    public static let layoutInvalid = ErrorCode("layout_invalid", .badData)
    /// Content that is not what its digest says.
    public static let digestMismatch = ErrorCode("digest_mismatch", .badData)
    /// A files.tar that is not the one the index makes.
    public static let filesTarMismatch = ErrorCode("files_tar_mismatch", .badData)
}
