public import MeshCore
public import Signing

/// The root of trust of a mesh: which keys are its roots and how many of them must agree. A pure function of the charters that are
/// known, from the first one, whose payload names the mesh, to the last that follows by the rules. `keys/charter.json` holds them as a
/// JSON array of DSSE envelopes. docs/formats/facts.md has the form.
public struct Charter: Sendable {
    public static let payloadType = "application/vnd.oursynth.charter.v1+json"

    /// Of the charter in force.
    public let version: Int
    public let roots: [PublicKey]
    public let threshold: Int
    /// By environment, what a deploy there needs; carried for those who ask.
    public let policy: JSONValue
    /// SHA-256 of the first charter's payload.
    public let meshID: Digest
    /// SHA-256 of the payload of the one in force.
    public let id: Digest
    /// The ids of charters that could follow the one in force and contradict each other: none of them counts until one is signed that
    /// sets them aside. Empty in ordinary times.
    public let contested: [Digest]
    /// Who was a root once and is none any more, with the last fact of theirs that counts.
    let former: [PublicKey: Digest?]
    /// All that are known and hang together, by version and id.
    private let documents: [CharterDocument]

    /// Charter 1 of a new mesh with one root.
    public static func create(root: SigningKey) -> Charter {
        let payload = CharterDocument.payload(version: 1, roots: [root.publicKey], threshold: 1, policy: [:])
        let envelope = Envelope.sign(payload: payload, payloadType: payloadType, with: root)
        return Charter(version: 1, roots: [root.publicKey], threshold: 1, meshID: Digest.of(payload), only: envelope)
    }

    private init(version: Int, roots: [PublicKey], threshold: Int, meshID: Digest, only envelope: Envelope) {
        (self.version, self.roots, self.threshold, self.meshID, id) = (version, roots, threshold, meshID, meshID)
        (policy, contested, former) = ([:], [], [:])
        documents = (try? CharterDocument(envelope)).map { [$0] } ?? []
    }

    /// From the file's bytes: checks form and signatures. What does not follow from the first charter is refused.
    ///
    /// - Throws: `charter_invalid`, `signature_invalid`, what is wrong with an envelope or a payload.
    public init(parsing bytes: [UInt8]) throws(MeshError) {
        guard let list = try JSONValue.parseCanonical(bytes, bytesMax: Limits.charterFileBytesMax).array, (1...Limits.charterDocumentsMax).contains(list.count) else {
            throw CharterDocument.invalid("the charters are not a list of 1 to \(Limits.charterDocumentsMax)")
        }
        var envelopes: [[UInt8]] = []
        for item in list { envelopes.append(item.canonicalBytes) }
        try self.init(envelopes: envelopes)
    }

    /// The same from the envelopes, as they travel beside a capsule.
    public init(envelopes: [[UInt8]]) throws(MeshError) {
        var documents: [CharterDocument] = []
        for envelope in envelopes { documents.append(try CharterDocument(Envelope(parsing: envelope))) }
        let first = documents.filter { $0.version == 1 }
        guard first.count == 1 else { throw CharterDocument.invalid("there is not exactly one first charter, but \(first.count)") }
        // An error of its own where nobody signed it: it was altered.
        let signers = try first[0].envelope.verify(with: first[0].roots).signers
        guard signers.count >= first[0].threshold else { throw CharterDocument.invalid("the charter has \(signers.count) of \(first[0].threshold) signatures that it needs") }
        self.init(first[0], documents)
        guard self.documents.count == documents.count else {
            throw CharterDocument.invalid("a charter does not follow from those before it: it needs as many signatures by the roots before as they ask for, as many by its own, and the next version")
        }
    }

    /// What follows from `first` and whichever of the others can be reached from it.
    private init(_ first: CharterDocument, _ all: [CharterDocument]) {
        let children = Self.children(first, all)
        var known: [CharterDocument] = [first], seen: Set<Digest> = [first.id]
        var open = [first]
        while let next = open.popLast() {
            for child in children(next) where seen.insert(child.id).inserted {
                known.append(child)
                open.append(child)
            }
        }
        var path = [first], contested: [Digest] = []
        while let last = path.last {
            let candidates = children(last)
            let live = candidates.filter { candidate in !candidates.contains { $0.replaces.contains(candidate.id) } }
            guard live.count == 1, let next = live.first else {
                contested = live.map(\.id).sorted()
                break
            }
            path.append(next)
        }
        let last = path[path.count - 1]
        (version, roots, threshold, policy, id, meshID) = (last.version, last.roots, last.threshold, last.policy, last.id, first.id)
        self.contested = contested
        var former: [PublicKey: Digest?] = [:]
        for (before, document) in zip(path, path.dropFirst()) {
            for key in before.roots { former.updateValue(nil, forKey: key) }
            for (key, fact) in document.keep where former.keys.contains(key) { former.updateValue(fact, forKey: key) }
            for key in document.roots { former.removeValue(forKey: key) }
        }
        self.former = former
        documents = known.sorted { ($0.version, $0.id) < ($1.version, $1.id) }
    }

    /// What may follow a charter, a few of each: a fork shows in two, and whoever mends it names those.
    private static func children(_ first: CharterDocument, _ all: [CharterDocument]) -> (CharterDocument) -> [CharterDocument] {
        let distinct = Set(all)
        return { last in
            Array(distinct.filter { $0.id != first.id && $0.mayFollow(last) }
                .sorted { ($1.replaces.count, $1.version, $0.id) < ($0.replaces.count, $0.version, $1.id) }.prefix(Limits.charterForksMax))
        }
    }

    /// With others that became known. Those that do not follow from what is here are passed over.
    public func adding(_ envelopes: [[UInt8]]) -> Charter {
        let new = envelopes.prefix(Limits.charterDocumentsMax).compactMap { bytes in (try? Envelope(parsing: bytes)).flatMap { try? CharterDocument($0) } }
            .filter { candidate in candidate.version > 1 && !documents.contains(candidate) }
        guard !new.isEmpty else { return self }
        let extended = Charter(documents[0], documents + new)
        // More than any mesh has rotated its roots: nobody's memory is at risk.
        return extended.documents.count <= Limits.charterDocumentsMax ? extended : self
    }

    /// Whether this tells of the same charters.
    public func isSame(as other: Charter) -> Bool { digest == other.digest }

    /// Over the ids of all that are known: equal ones, equal charters.
    public var digest: Digest { Digest.of(documents.flatMap(\.id.bytes)) }

    /// The charters' envelopes, the first one first.
    public var envelopes: [[UInt8]] { documents.map(\.envelope.bytes) }

    /// The file's bytes. An envelope's own bytes are canonical JSON, so the array around them is.
    public var bytes: [UInt8] { [UInt8(ascii: "[")] + Array(envelopes.joined(separator: [UInt8(ascii: ",")])) + [UInt8(ascii: "]")] }

    // MARK: The next one

    /// The next charter of this mesh, signed by the keys given. More may be needed: `signed` adds them.
    ///
    /// - Parameters:
    ///   - keep: for each root that is dropped, the last fact of theirs that still counts; without one nothing of theirs does.
    /// - Throws: `charter_invalid`.
    public func next(roots: [PublicKey], threshold: Int, keep: [PublicKey: Digest] = [:], signedBy keys: [SigningKey]) throws(MeshError) -> [UInt8] {
        let payload = CharterDocument.payload(
            version: contested.isEmpty ? version + 1 : version + 2, roots: roots, threshold: threshold, policy: policy, keep: keep, replaces: contested)
        guard let first = keys.first else { throw CharterDocument.invalid("nobody signs the next charter") }
        var envelope = Envelope.sign(payload: payload, payloadType: Self.payloadType, with: first)
        for key in keys.dropFirst() { envelope = envelope.signed(with: key) }
        return try CharterDocument(Envelope(parsing: envelope.bytes)).envelope.bytes
    }

    /// Why a charter that was offered does not count; nil where it does, or did before.
    public func problem(with envelope: [UInt8]) -> String? {
        let document: CharterDocument
        do throws(MeshError) { document = try CharterDocument(Envelope(parsing: envelope)) } catch { return error.message }
        if documents.contains(document) || adding([envelope]).documents.contains(document) { return nil }
        let last = documents.first { $0.id == id } ?? documents[0]
        if document.version <= version { return "it has version \(document.version), and the mesh is at \(version)" }
        if document.replaces.isEmpty, document.version != version + 1 { return "it has version \(document.version), and the next is \(version + 1)" }
        let old = document.signers(among: last.roots), own = document.signers(among: document.roots)
        if old < last.threshold { return "\(old) of \(last.threshold) roots before it signed it" }
        return "\(own) of \(document.threshold) of its own roots signed it"
    }
}
