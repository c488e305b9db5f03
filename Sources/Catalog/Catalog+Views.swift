public import MeshCore
public import Signing

// What people ask. Every answer is a pure function of facts and charter.
extension Catalog {
    func view(of name: CapsuleName) throws(MeshError) -> NameView {
        let table = table
        return try locked { (state) throws(MeshError) in try state.view(of: name, table) }
    }

    /// In the order of names.
    private func views(matching glob: Glob?) throws(MeshError) -> [NameView] {
        // A literal name is looked up, not looked for.
        let names = if let glob, !glob.description.contains("*") { [glob.description] } else { try table.names() }
        var out: [NameView] = []
        for text in names { if glob?.matches(text) ?? true, let name = try? CapsuleName(parsing: text) { out.append(try view(of: name)) } }
        return out
    }

    /// Every role of a key, with its scopes; empty for strangers and revoked keys.
    public func roles(of key: PublicKey) throws(MeshError) -> [Role: [Glob]] { key.subject.map(authorities.roles) ?? [:] }

    public func isRevoked(_ key: KeyID) -> Bool { authorities.revocations.kept[key.digest] != nil }

    /// Whether a key was granted anything and not revoked.
    public func isMember(_ key: PublicKey) throws(MeshError) -> Bool { try !roles(of: key).isEmpty }

    /// By name and version; those withdrawn, or by someone who may not publish the name, are not among them.
    public func releases(matching glob: Glob?) throws(MeshError) -> [Release] { try views(matching: glob).flatMap(\.releases).sorted(by: Release.precedes) }

    public func withdrawals(matching glob: Glob?) throws(MeshError) -> [Withdrawal] {
        try views(matching: glob).flatMap(\.withdrawals).sorted { ($0.name, $0.fact) < ($1.name, $1.fact) }
    }

    public func channels(matching glob: Glob?) throws(MeshError) -> [Channel] { try views(matching: glob).flatMap(\.channels) }

    /// The releases of a capsule, of whatever name.
    public func releases(of capsule: Digest) throws(MeshError) -> [Release] {
        var names: Set<CapsuleName> = [], out: [Release] = []
        for envelope in try table.envelopes(.about(capsule)) { if let name = try Fact(stored: envelope, mesh: meshID).name { names.insert(name) } }
        for name in names.sorted() { out += try view(of: name).releases.filter { $0.capsule == capsule } }
        return out
    }

    /// The release of a version, or of the newest; nil when there is none. `contested` names all candidates.
    public func resolve(_ name: CapsuleName, version: SemanticVersion?) throws(MeshError) -> Release? {
        let all = try releases(matching: Glob(name.description)).filter { version == nil || $0.version == version }
        // A pre-release is the newest only where there is nothing else.
        guard let newest = all.last(where: \.version.prerelease.isEmpty) ?? all.last else { return nil }
        let candidates = all.filter { $0.version == newest.version }
        guard !candidates.contains(where: \.contested) else {
            throw MeshError(.contested, "\(name)@\(newest.version) is contested: there is more than one claim to it", hint: "compare them and name the one you trust by its digest",
                            details: candidates.map { "\($0.capsule) by \($0.publisher.id.short)" })
        }
        return newest
    }

    /// What a channel points to; nil when nobody has set it.
    ///
    /// - Throws: `contested`, `withdrawn`, `release_not_found`.
    public func resolve(_ name: CapsuleName, channel: String) throws(MeshError) -> Channel? {
        let view = try view(of: name)
        guard let found = view.channels.first(where: { $0.channel == channel }) else { return nil }
        switch found.trouble {
        case nil: return found
        case .contested:
            let claims = try facts(found.candidates).map { (envelope) throws(MeshError) in try Fact(stored: envelope, mesh: meshID) }
            throw MeshError(.contested, "the channel \(name)@\(channel) is contested: there is more than one claim to its place", hint: "compare them and name the one you trust by its digest; a root settles it with a new epoch",
                            details: claims.map { "\($0.subject?.description ?? "") by \($0.author.id.short)" })
        case .withdrawn:
            guard let withdrawal = view.withdrawals.first(where: { $0.capsule == found.capsule }) else { return found }
            throw Self.withdrawn(withdrawal)
        case .unreleased:
            throw MeshError(.releaseNotFound, "the channel \(name)@\(channel) points to \(found.capsule), which is no release of \(name) that counts", hint: "its publisher releases it, or sets the channel again")
        }
    }

    static func withdrawn(_ withdrawal: Withdrawal) -> MeshError {
        MeshError(.withdrawn, "\(withdrawal.capsule) was withdrawn from \(withdrawal.name) by \(withdrawal.author.id.short)\(withdrawal.reason.map { ": \($0)" } ?? "")",
                  hint: withdrawal.isForSecurity ? "it is not safe; use another version" : "use another version, or name it by its digest", details: ["fact \(withdrawal.fact.hex)"])
    }

    public func hasOwnReleases(by key: PublicKey) throws(MeshError) -> Bool {
        guard let id = key.subject, let row = authors[id] else { return false }
        return try !table.newest(author: row.number, kind: "release", limit: 1, offset: 0).isEmpty
    }

    /// The facts by which an author may publish a name: the grants from a root down to its key, the root's first. Empty for a root,
    /// nil for who may not.
    public func authority(of author: PublicKey, over name: CapsuleName) throws(MeshError) -> [Digest]? { author.subject.flatMap { authorities.grants.chain(to: $0, publishing: name.description) } }

    /// The key that took this one's place.
    public func successor(of key: PublicKey) throws(MeshError) -> PublicKey? { key.subject.flatMap { authorities.revocations.successors[$0] } }

    /// Of the author's fact at the highest place.
    public func lastFactID(by key: PublicKey) throws(MeshError) -> Digest? { try lastFact(by: key)?.id }
}
