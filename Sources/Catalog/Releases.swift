public import MeshCore
public import Signing

extension Catalog {
    /// One release as people see it.
    public struct Release: Sendable, Hashable {
        public let capsule: Digest
        public let name: CapsuleName
        public let version: SemanticVersion
        public let notes: String?
        public let publisher: PublicKey
        public let fact: Digest
        public let at: Milliseconds
        /// The same name and version has another content too, or its publisher signed two facts at one place.
        public internal(set) var contested: Bool

        /// nil for what is no release, or by someone who may not publish the name.
        init?(_ fact: Fact, _ authorities: Authorities) {
            guard fact.kind == "release", let capsule = fact.subject, let name = fact.name,
                  let version = fact.body["version"]?.string.flatMap({ try? SemanticVersion(parsing: $0) }), authorities.mayPublish(name, fact.author) else { return nil }
            (self.capsule, self.name, self.version, publisher, self.fact, at) = (capsule, name, version, fact.author, fact.id, fact.at)
            notes = fact.body["notes"]?.string
            contested = authorities.isEquivocator(fact.author)
        }

        var asContested: Release {
            var out = self
            out.contested = true
            return out
        }

        /// By name, then precedence of the version; builds of one version by their text, and claims to one build by the fact.
        static func precedes(_ a: Release, _ b: Release) -> Bool {
            if a.name != b.name { return a.name < b.name }
            if a.version < b.version { return true }
            if b.version < a.version { return false }
            let (x, y) = (a.version.description, b.version.description)
            return x != y ? x.utf8.lexicographicallyPrecedes(y.utf8) : a.fact < b.fact
        }
    }

    /// That a capsule is no release of a name any more.
    public struct Withdrawal: Sendable, Hashable {
        public let capsule: Digest
        public let name: CapsuleName
        public let reason: String?
        /// Final: it stays whatever becomes of the key that signed it.
        public let isForSecurity: Bool
        public let author: PublicKey
        public let fact: Digest
        public let at: Milliseconds

        /// nil for what is no withdrawal, or by someone who may not publish the name.
        init?(_ fact: Fact, counts: Bool, _ authorities: Authorities) {
            guard fact.kind == "withdraw", let capsule = fact.subject, let name = fact.name else { return nil }
            isForSecurity = fact.body["security"] == .bool(true)
            guard counts && authorities.mayPublish(name, fact.author) || isForSecurity && authorities.mayEverPublish(name, fact.author) else { return nil }
            (self.capsule, self.name, author, self.fact, at) = (capsule, name, fact.author, fact.id, fact.at)
            reason = fact.body["reason"]?.string
        }
    }
}
