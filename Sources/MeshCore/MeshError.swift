/// What a process ends with (sysexits.h); the meaning of each is in docs/errors.md.
public enum ExitStatus: Int32, Sendable {
    case done = 0
    case usage = 64
    case badData = 65
    case unavailable = 69
    case cannotCreate = 73
    case tryAgain = 75
    case notPermitted = 77
    case badConfiguration = 78
}

/// A stable, documented name for one kind of failure. Each room declares its own beside the code that throws them;
/// Tests/RepositoryTests holds the whole set against docs/errors.md.
public struct ErrorCode: Hashable, Sendable, CustomStringConvertible {
    public let name: String
    public let exit: ExitStatus

    public init(_ name: String, _ exit: ExitStatus) {
        self.name = name
        self.exit = exit
    }

    public var description: String { name }
}

/// The one error shape of the node: what happened, why, and what to do next.
public struct MeshError: Error, Sendable, CustomStringConvertible {
    public let code: ErrorCode
    /// One sentence, without a full stop: what happened and to what.
    public let message: String
    /// What the person can do about it.
    public let hint: String
    /// JSON Pointer (RFC 6901) of the offending field, where the subject is a document.
    public let pointer: String?
    public let cause: (any Error)?
    /// Lines that belong to the failure: the end of a failing step's log, the candidates of an ambiguous name.
    public let details: [String]

    public init(_ code: ErrorCode, _ message: String, hint: String = "", pointer: String? = nil, details: [String] = [],
                cause: (any Error)? = nil) {
        self.code = code
        self.message = message
        self.hint = hint
        self.pointer = pointer
        self.details = details
        self.cause = cause
    }

    public var description: String { "\(code.name): \(message)" }

    /// `{code, exit, message, hint, pointer?, details?}`
    public var json: JSONValue {
        var object: [String: JSONValue] = ["code": .string(code.name), "message": .string(message), "hint": .string(hint),
                                           "exit": .integer(Int64(code.exit.rawValue))]
        if let pointer { object["pointer"] = .string(pointer) }
        if !details.isEmpty { object["details"] = .array(details.map(JSONValue.string)) }
        return .object(object)
    }
}

extension ErrorCode {
    public static let digestInvalid = ErrorCode("digest_invalid", .usage)
    public static let jsonInvalid = ErrorCode("json_invalid", .badData)
    public static let jsonNotCanonical = ErrorCode("json_not_canonical", .badData)
    public static let fieldInvalid = ErrorCode("field_invalid", .badData)
    public static let fieldMissing = ErrorCode("field_missing", .badData)
    public static let fieldUnknown = ErrorCode("field_unknown", .badData)
    public static let versionInvalid = ErrorCode("version_invalid", .badData)
    public static let nameInvalid = ErrorCode("name_invalid", .badData)
    public static let referenceInvalid = ErrorCode("reference_invalid", .usage)
    public static let fileNotFound = ErrorCode("file_not_found", .usage)
    public static let fileTooLarge = ErrorCode("file_too_large", .badData)
    public static let notPermitted = ErrorCode("not_permitted", .notPermitted)
    public static let readOnly = ErrorCode("read_only", .cannotCreate)
    public static let diskFull = ErrorCode("disk_full", .cannotCreate)
    public static let alreadyExists = ErrorCode("already_exists", .cannotCreate)
    public static let inputOutput = ErrorCode("input_output", .unavailable)
}
