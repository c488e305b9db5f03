internal import CapsuleFormat
internal import CapsuleStore
internal import Catalog
internal import MeshCore

extension NodeParts {
    /// The digest that a reference means: in the store, else in the mesh's catalog. A name alone is its newest release that
    /// was not withdrawn, else the newest packed here. Paths are for the verbs that take files and are refused here.
    ///
    /// - Parameter acting: a channel's place is written down as acted on, and never gone back from.
    func digest(of text: String, acting: Bool = false) throws(MeshError) -> Digest {
        switch try Reference(parsing: text) {
        case .digest(let digest): return digest
        case .digestPrefix(let hex):
            let stored = try store.capsules(withPrefix: hex)
            let released = try catalog.releases(matching: nil).map(\.capsule).filter { $0.hex.hasPrefix(hex) }
            let found = Set(stored + released).sorted()
            guard let first = found.first else { throw notFound(text) }
            guard found.count == 1 else {
                throw MeshError(.referenceAmbiguous, "\(text) begins more than one digest", hint: "write more of it", details: found.map(\.description))
            }
            return first
        case .name(let name):
            if let release = try catalog.resolve(name, version: nil) { return release.capsule }
            guard let newest = try store.capsules().filter({ $0.name == name }).max(by: { ($0.version, $0.addedAt) < ($1.version, $1.addedAt) }) else {
                throw notFound(text)
            }
            return newest.digest
        case .version(let name, let version):
            if let release = try catalog.resolve(name, version: version) { return release.capsule }
            let found = try store.capsules().filter { $0.name == name && $0.version == version }
            guard let first = found.first else { throw notFound(text) }
            guard found.count == 1 else {
                throw MeshError(.contested, "\(text) is packed here with different contents and not released", hint: "name the one you mean by its digest",
                                details: found.map { "\($0.digest) added \($0.addedAt.rfc3339)" })
            }
            return first.digest
        case .channel(let name, let channel):
            guard let followed = try catalog.follow(name, channel: channel, acting: acting) else {
                throw MeshError(.channelUnknown, "\(text): no channel “\(channel)” is known", hint: "`capsule catalog show` lists those there are; name a version, e.g. NAME@1.0.0")
            }
            return followed.capsule
        case .path: throw MeshError(.referenceInvalid, "“\(text)” is a path; this verb takes a name or a digest", hint: "import the file first: capsule import FILE")
        }
    }

    /// A stored capsule, from whatever names it. A path is imported first.
    func storedCapsule(_ text: String) throws(MeshError) -> VerifiedCapsule {
        if case .path(let path) = try Reference(parsing: text) { return try importLayout(path) }
        let digest = try digest(of: text)
        guard store.contains(capsule: digest) else {
            throw MeshError(.capsuleNotHere, "\(text) (\(digest)) is not in this store", hint: "fetch it with `capsule pull \(text)`")
        }
        return try store.capsule(digest)
    }

    /// Takes a `.caps` file or an OCI layout folder in, and merges the facts of this mesh that came with it. A signature in it
    /// that does not hold is a file that somebody altered: nothing of it is taken.
    func importLayout(_ path: String) throws(MeshError) -> VerifiedCapsule {
        let capsule = try store.importLayout(path: path, accepting: { archive throws(MeshError) in
            _ = try Self.signatures(in: archive.referrers, of: archive.capsule.digest)
        })
        _ = try catalog.admit(try store.referrers(of: capsule.digest).map(\.bytes))
        return capsule
    }

    private func notFound(_ text: String) -> MeshError {
        MeshError(.referenceUnknown, "no capsule here or in the mesh is called \(text)", hint: "`capsule ls` and `capsule ls --mesh` list what there is")
    }
}

extension ErrorCode {
    static let referenceUnknown = ErrorCode("reference_unknown", .unavailable)
    static let referenceAmbiguous = ErrorCode("reference_ambiguous", .usage)
    static let capsuleNotHere = ErrorCode("capsule_not_here", .unavailable)
    static let channelUnknown = ErrorCode("channel_unknown", .unavailable)
}
