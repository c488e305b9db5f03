@testable import Catalog
import MeshCore
import Signing

/// A mesh of one root, and everything that its people have signed so far, honest or not.
final class Story {
    private(set) var charter: Charter
    let root: SigningKey
    private(set) var facts: [Fact] = []
    private var byAuthor: [PublicKey: [Fact]] = [:]
    /// How wrong somebody's clock is, in milliseconds.
    var skew: [PublicKey: Milliseconds] = [:]

    init(root: SigningKey = .generate()) {
        self.root = root
        charter = Charter.create(root: root)
    }

    var mesh: Digest { charter.meshID }
    var ruler: Author { author(root) }
    /// What follows from all of it.
    var admitted: AdmittedSet { AdmittedSet(offered: facts, charter: charter) }
    var view: CatalogView { CatalogView(admitted, charter: charter) }

    func author(_ key: SigningKey = .generate()) -> Author { Author(story: self, key: key) }

    /// Somebody new, with these roles from `issuer` (the root, unless another is named); `scope` is for the publisher's.
    func newcomer(_ roles: [Role], scope: [String] = [], by issuer: Author? = nil) throws -> Author {
        let author = author()
        for role in roles { try (issuer ?? ruler).grant(role, to: author, scope: role == .publisher ? scope : []) }
        return author
    }

    func add(_ fact: Fact) {
        facts.append(fact)
        byAuthor[fact.author, default: []].append(fact)
    }

    func said(by key: PublicKey) -> [Fact] { byAuthor[key] ?? [] }
    func adopt(_ charters: [UInt8]...) { charter = charter.adding(charters) }
}

/// Somebody who signs facts in a story.
struct Author {
    let story: Story
    let key: SigningKey

    var id: Digest { key.publicKey.id.digest }
    var said: [Fact] { story.said(by: key.publicKey) }

    /// Signs the author's next fact, or at `seq` what it may have said there already. `prev` is the last one said at the place before.
    @discardableResult
    func say(_ kind: String, about subject: Digest, _ body: [String: JSONValue] = [:], seq place: Int? = nil, prev before: Digest? = nil, until: Milliseconds? = nil) throws -> Fact {
        let said = said
        let seq = place ?? (said.map(\.seq).max() ?? 0) + 1
        let last = said.last(where: { $0.seq == seq - 1 })?.id ?? Digest.of([])
        let prev: Digest? = seq == 1 ? nil : before ?? last
        let envelope = Fact.sign(kind: kind, subject: subject, body: body, mesh: story.mesh, seq: seq, prev: prev, at: FixedClock().now + (story.skew[key.publicKey] ?? 0), until: until, by: key)
        let fact = try Fact(parsing: envelope, mesh: story.mesh)
        story.add(fact)
        return fact
    }

    @discardableResult
    func grant(_ role: Role, to other: Author, scope: [String] = [], seq: Int? = nil) throws -> Fact {
        var body: [String: JSONValue] = ["role": .string(role.rawValue)]
        if !scope.isEmpty { body["scope"] = .array(scope.map { .string($0) }) }
        return try say("grant", about: other.id, body, seq: seq)
    }

    @discardableResult
    func revoke(_ other: Author, keep: Digest? = nil, seq: Int? = nil) throws -> Fact {
        var body: [String: JSONValue] = ["reason": "lost"]
        if let keep { body["keep"] = .string(keep.hex) }
        return try say("revoke", about: other.id, body, seq: seq)
    }

    @discardableResult
    func release(_ name: String, _ version: String = "1.0.0", of content: String = "a", seq: Int? = nil, prev: Digest? = nil) throws -> Fact {
        try say("release", about: capsule(content), ["name": .string(name), "version": .string(version)], seq: seq, prev: prev)
    }

    @discardableResult
    func withdraw(_ name: String, of content: String, security: Bool = false) throws -> Fact {
        try say("withdraw", about: capsule(content), ["name": .string(name), "reason": "broken", "security": .bool(security)])
    }

    @discardableResult
    func set(_ channel: String, of name: String, to content: String, epoch: Int = 0, ver: Int, seq: Int? = nil, until: Milliseconds? = nil) throws -> Fact {
        try say("channel", about: capsule(content), ["name": .string(name), "channel": .string(channel), "epoch": JSONValue(epoch), "ver": JSONValue(ver)], seq: seq, until: until)
    }

    /// Hands everything on to another key. `proof` is by `signer`, the new key unless another is given.
    @discardableResult
    func handOver(to new: Author, signer: SigningKey? = nil, seq: Int? = nil) throws -> Fact {
        let proof = (signer ?? new.key).sign(Fact.successionMessage(from: key.publicKey, to: new.key.publicKey, in: story.mesh))
        return try say("successor", about: new.id, ["key": .string(new.key.publicKey.hex), "proof": .string(Base64.encode(proof))], seq: seq)
    }
}

/// The capsule with that content.
func capsule(_ content: String) -> Digest { Digest.of(Array(content.utf8)) }

/// The roles of somebody, with their scopes, as views tell them.
func held(_ roles: [Role: [String]]) -> [Role: [Glob]] { roles.mapValues { globs in globs.map { Glob($0) } } }

extension CatalogView {
    /// `name@version`, with a `?` where it is contested, in the view's order.
    var listed: [String] { releases.map { "\($0.name)@\($0.version)\($0.contested ? "?" : "")" } }
}

struct FixedClock: WallClock {
    var now: Milliseconds = 1_764_000_000_000
}

/// A folder that goes away with the value.
final class TemporaryFolder: Sendable {
    let path: String

    init() throws {
        // In memory where that can be: databases are written here by the thousand.
        path = (Files.exists("/dev/shm") ? "/dev/shm" : "/tmp") + "/catalog-tests-\(Hex.encode(randomBytes(8)))"
        try Files.makeDirectory(path, mode: 0o700)
    }

    deinit { try? Files.removeTree(path) }

    /// A home with the folders that a catalog needs.
    func home(_ name: String) throws -> HomeLayout {
        let home = HomeLayout(path: "\(path)/\(name)")
        for folder in [home.keys, home.state] { try Files.makeDirectory(folder, mode: 0o700) }
        return home
    }

    /// A catalog in a home of its own that knows the charter and nothing else.
    func catalog(_ name: String, _ charter: Charter, clock: FixedClock = FixedClock()) throws -> Catalog {
        let home = try home(name)
        try Files.writeDurably(charter.bytes, to: home.charter)
        return try Catalog(home: home, clock: clock)
    }
}

/// Seeded, so that a failure can be made again.
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
    mutating func pick<T>(_ items: [T]) -> T { items[below(items.count)] }

    mutating func key() -> SigningKey {
        var seed: [UInt8] = []
        for _ in 0..<32 { seed.append(UInt8(truncatingIfNeeded: next())) }
        return SigningKey(seed: seed) ?? .generate()
    }
}

func permutations<T>(_ items: [T]) -> [[T]] {
    guard items.count > 1 else { return [items] }
    return items.indices.flatMap { i -> [[T]] in
        var rest = items
        let first = rest.remove(at: i)
        return permutations(rest).map { [first] + $0 }
    }
}

/// The error that `body` throws; nil when it throws none.
func failure(_ body: () throws -> Void) -> MeshError? {
    do {
        try body()
        return nil
    } catch { return error as? MeshError ?? MeshError(ErrorCode("other", .unavailable), "\(error)") }
}

func code(_ body: () throws -> Void) -> String? { failure(body)?.code.name }
