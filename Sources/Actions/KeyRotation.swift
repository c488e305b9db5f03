internal import Catalog
internal import Glibc
internal import MeshCore
internal import Signing

/// A key of this home gives way to a new one. Interrupted anywhere, running it again finishes it:
/// `NAME.next.key` is made, then the fact (or the charter) that moves everything to it, then the files take the old one's place.
struct KeyRotation {
    private let parts: NodeParts
    private let name: String
    private let passphrase: String?

    init(_ parts: NodeParts, _ name: String, passphrase: String?) throws(MeshError) {
        self.parts = parts
        self.name = try CapsuleName(parsing: name).description
        self.passphrase = passphrase
        // A running node speaks with its key on every connection.
        if name == "node", parts.current.isServing {
            throw MeshError(.homeInUse, "a node is running with this key", hint: "stop it, rotate, and start it again")
        }
    }

    private var folder: String { parts.home.keys }
    private var next: String { name + ".next" }

    func run() throws(MeshError) -> JSONValue {
        let old = try parts.signingKey(named: name, passphrase: passphrase)
        let catalog = parts.catalog, isRoot = catalog.charter.roots.contains(old.publicKey)
        let new: SigningKey
        if Files.exists("\(folder)/\(next).key") {
            new = try KeyFile.readSecret("\(folder)/\(next).key", passphrase: secret)
        } else {
            let isSealed = try KeyFile.list(in: folder).first { $0.name == name }?.sealed ?? false
            new = .generate()
            try KeyFile.create(new, named: next, in: folder, passphrase: isSealed ? passphrase.map { Array($0.utf8) } : nil)
        }
        var answer: [String: JSONValue] = ["name": .string(name), "old": .string(old.publicKey.id.hex), "id": .string(new.publicKey.id.hex)]
        if isRoot {
            answer["charter"] = JSONValue(try replaceRoot(old, by: new))
        } else if old.publicKey != new.publicKey, try catalog.successor(of: old.publicKey) != new.publicKey {
            answer["fact"] = JSONValue(try catalog.succeed(old, by: new).id)
        }
        try Files.rename("\(folder)/\(next).pub", "\(folder)/\(name).pub")
        try Files.rename("\(folder)/\(next).key", "\(folder)/\(name).key")
        try Files.syncDirectory(folder)
        return .object(answer)
    }

    private func secret() throws(MeshError) -> [UInt8] {
        guard let passphrase else { throw MeshError(.passphraseNeeded, "the key “\(name)” is sealed", hint: "give its passphrase at the prompt or with --passphrase-stdin") }
        return Array(passphrase.utf8)
    }

    /// The next charter has the new root in the old one's place, and keeps all that the old one said.
    private func replaceRoot(_ old: SigningKey, by new: SigningKey) throws(MeshError) -> Digest {
        let charter = parts.catalog.charter
        guard charter.threshold == 1 else {
            throw MeshError(.charterInvalid, "\(charter.threshold) roots must sign the next charter, and this home has one", hint: "bring the roots' keys together in one home for the ceremony")
        }
        let roots = charter.roots.map { $0 == old.publicKey ? new.publicKey : $0 }
        var keep: [PublicKey: Digest] = [:]
        if let last = try parts.catalog.lastFactID(by: old.publicKey) { keep[old.publicKey] = last }
        let envelope = try charter.next(roots: roots, threshold: 1, keep: keep, signedBy: [old, new])
        _ = try parts.catalog.adopt(charters: [envelope])
        guard parts.catalog.charter.roots.contains(new.publicKey) else {
            throw MeshError(.charterInvalid, "the new charter does not count: \(charter.problem(with: envelope) ?? "another one contradicts it")", hint: "`capsule catalog verify` says more")
        }
        return parts.catalog.charter.id
    }
}

extension NodeParts {
    /// The secret root key leaves this home; its copy is durable and read back before it goes.
    func moveRoot(to directory: String) throws(MeshError) -> (path: String, key: PublicKey) {
        let source = "\(home.keys)/root.key", name = "oursynth-root-\(catalog.meshID.hex.prefix(8)).key"
        guard Files.exists(source) else {
            throw MeshError(.keyUnknown, "the secret root key is not in this home", hint: "it was moved before; sign with --key PATH where a root is needed")
        }
        guard !(Files.absolute(directory) + "/").hasPrefix(home.path + "/") else {
            throw MeshError(.paramsInvalid, "\(directory) lies in this home", hint: "name a folder on another disk or a stick", pointer: "/directory")
        }
        let target = Files.absolute(directory) + "/" + name
        let bytes = try Files.read(source, bytesMax: 4096), publicKey = try KeyFile.readPublic("\(home.keys)/root.pub")
        do throws(MeshError) { try Files.createDurably(bytes, at: target, mode: 0o600) } catch {
            // What an interrupted move left is the same key.
            guard error.code == .alreadyExists, try Files.read(target, bytesMax: 4096) == bytes else { throw error }
        }
        guard try Files.read(target, bytesMax: 4096) == bytes else { throw MeshError(.inputOutput, "\(target) does not read back as it was written", hint: "use another stick; the key is still in this home") }
        try Files.remove(source)
        try Files.syncDirectory(home.keys)
        return (target, publicKey)
    }
}
