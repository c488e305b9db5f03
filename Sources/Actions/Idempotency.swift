public import MeshCore
internal import Synchronization

/// Remembers what was answered to an `Idempotency-Key`, so that a request sent twice acts once: one file a key under
/// `state/idempotency/`, written before the effect and completed after it, kept for a day.
///
/// After a crash between the two, the same request runs again: every action here is safe to repeat, it finds what is done.
public final class IdempotencyJournal: Sendable {
    public struct Answer: Sendable, Hashable {
        public let status: Int
        public let body: [UInt8]

        public init(status: Int, body: [UInt8]) {
            self.status = status
            self.body = body
        }
    }

    public enum Claim: Sendable {
        /// Act, then `complete`.
        case proceed
        /// Answer with this, byte for byte.
        case replay(Answer)
    }

    static let keptMilliseconds: Milliseconds = 24 * 3600 * 1000
    private let directory: String
    private let clock: any WallClock
    private let inFlight = Mutex<Set<String>>([])

    public init(home: HomeLayout, clock: any WallClock) throws(MeshError) {
        directory = home.state + "/idempotency"
        self.clock = clock
        try Files.makeDirectory(directory, mode: 0o700)
        for name in try Files.names(in: directory) {
            let entry = try? read(directory + "/" + name)
            if entry.map({ clock.now - $0.at > Self.keptMilliseconds }) ?? true { try Files.remove(directory + "/" + name) }
        }
    }

    /// - Throws: `request_in_flight` (the same key is being worked on), `idempotency_key_reused` (with another body).
    public func claim(_ key: String, of principal: Principal, fingerprint: Digest) throws(MeshError) -> Claim {
        let path = self.path(key, principal)
        guard inFlight.withLock({ $0.insert(path).inserted }) else {
            throw MeshError(.requestInFlight, "a request with this Idempotency-Key is being worked on", hint: "wait for its answer")
        }
        do throws(MeshError) {
            if Files.exists(path) {
                let entry = try read(path)
                guard entry.fingerprint == fingerprint else {
                    throw MeshError(.idempotencyKeyReused, "this Idempotency-Key was used with another request", hint: "use a fresh key for every request")
                }
                if let answer = entry.answer {
                    inFlight.withLock { _ = $0.remove(path) }
                    return .replay(answer)
                }
            }
            try write(path, fingerprint, nil)
            return .proceed
        } catch {
            inFlight.withLock { _ = $0.remove(path) }
            throw error
        }
    }

    public func complete(_ key: String, of principal: Principal, fingerprint: Digest, _ answer: Answer) throws(MeshError) {
        let path = self.path(key, principal)
        defer { inFlight.withLock { _ = $0.remove(path) } }
        try write(path, fingerprint, answer)
    }

    private func path(_ key: String, _ principal: Principal) -> String {
        directory + "/" + Digest.of(Array(principal.name.utf8) + [0] + Array(key.utf8)).hex
    }

    private func write(_ path: String, _ fingerprint: Digest, _ answer: Answer?) throws(MeshError) {
        var document: [String: JSONValue] = ["at": .integer(clock.now), "fingerprint": .string(fingerprint.hex)]
        if let answer {
            document["status"] = JSONValue(answer.status)
            document["body"] = .string(Base64.encode(answer.body))
        }
        try Files.writeDurably(JSONValue.object(document).canonicalBytes, to: path, mode: 0o600)
    }

    private func read(_ path: String) throws(MeshError) -> (at: Milliseconds, fingerprint: Digest, answer: Answer?) {
        var reader = try FieldReader(JSONValue.parse(Files.read(path, bytesMax: 64 << 20), bytesMax: 64 << 20))
        guard let fingerprint = Digest(hex: try reader.string("fingerprint")) else { throw reader.invalid("fingerprint", "not a digest") }
        let body = try reader.stringIfPresent("body").flatMap { Base64.decode($0) }
        let status = try reader.integerIfPresent("status")
        return (Int64(try reader.integer("at")), fingerprint, status.flatMap { status in body.map { Answer(status: status, body: $0) } })
    }
}

extension ErrorCode {
    public static let requestInFlight = ErrorCode("request_in_flight", .tryAgain)
    public static let idempotencyKeyReused = ErrorCode("idempotency_key_reused", .usage)
}
