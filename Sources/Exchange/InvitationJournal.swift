internal import Catalog
internal import MeshCore
internal import Signing

/// The invitations that this home issued, durable in `state/invitations.json` (0600: it holds the secrets).
struct InvitationJournal {
    struct Record: Sendable, Hashable {
        let id: String
        let secret: [UInt8]
        let roles: [Role]
        let scope: [Glob]
        let expires: Milliseconds
        var redeemedBy: PublicKey?
    }

    /// Told apart from unknown ones this long after they expired.
    private static let keptMilliseconds: Milliseconds = 7 * 24 * 3600 * 1000
    private static let recordsMax = 4 * Limits.invitationsOpenMax
    private let path: String

    init(home: HomeLayout) { path = home.state + "/invitations.json" }

    func read(now: Milliseconds) throws(MeshError) -> [Record] {
        guard Files.exists(path) else { return [] }
        var reader = try FieldReader(try JSONValue.parse(try Files.read(path, bytesMax: Limits.controlMessageBytesMax)))
        var records: [Record] = []
        for item in try reader.array("invitations") {
            let record = try Self.record(item)
            if record.expires + Self.keptMilliseconds > now { records.append(record) }
        }
        return records
    }

    func write(_ records: [Record]) throws(MeshError) {
        try Files.makeDirectory(Files.parent(of: path), mode: 0o700)
        let document: JSONValue = ["invitations": .array(records.map(Self.json))]
        try Files.writeDurably(document.canonicalBytes, to: path, mode: 0o600)
    }

    func add(_ record: Record, now: Milliseconds) throws(MeshError) {
        let records = try read(now: now)
        guard records.count(where: { $0.redeemedBy == nil && $0.expires > now }) < Limits.invitationsOpenMax, records.count < Self.recordsMax else {
            throw MeshError(.invitationsFull, "\(Limits.invitationsOpenMax) invitations are open already", hint: "each ends by itself \(Limits.invitationHoursValid) hours after it was made")
        }
        try write(records + [record])
    }

    private static func json(_ record: Record) -> JSONValue {
        var out: [String: JSONValue] = [
            "id": .string(record.id), "secret": .string(Hex.encode(record.secret)), "expires": .integer(record.expires),
            "roles": .array(record.roles.map { .string($0.rawValue) }), "scope": .array(record.scope.map { .string($0.description) }),
        ]
        if let key = record.redeemedBy { out["redeemedBy"] = .string(key.hex) }
        return .object(out)
    }

    private static func record(_ item: JSONValue) throws(MeshError) -> Record {
        var reader = try FieldReader(item, at: "/invitations")
        guard let secret = Hex.decode(try reader.string("secret")) else { throw reader.invalid("secret", "not hexadecimal") }
        var redeemedBy: PublicKey?
        if let hex = try reader.stringIfPresent("redeemedBy") {
            guard let key = Hex.decode(hex).flatMap({ PublicKey(bytes: $0) }) else { throw reader.invalid("redeemedBy", "not a public key") }
            redeemedBy = key
        }
        return Record(id: try reader.string("id"), secret: secret, roles: try reader.strings("roles").compactMap(Role.init(rawValue:)),
                      scope: try reader.strings("scope").map { Glob($0) }, expires: Milliseconds(try reader.integer("expires")), redeemedBy: redeemedBy)
    }
}
