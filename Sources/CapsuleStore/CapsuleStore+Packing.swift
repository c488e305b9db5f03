public import CapsuleFormat
internal import Glibc
public import MeshCore

// A folder becomes a capsule, or a plain tree.
extension CapsuleStore {
    public struct PackOptions: Sendable {
        /// Paths that may look like secrets, besides those in `.capsuleallow`.
        public var allowSecrets: [String]
        /// Capsules that this one was made from, besides those in the manifest.
        public var parents: [Digest]
        /// Every file is read, those too whose size, times and inode are what they were when it was read last.
        public var paranoid: Bool

        public init(allowSecrets: [String] = [], parents: [Digest] = [], paranoid: Bool = false) {
            self.allowSecrets = allowSecrets
            self.parents = parents
            self.paranoid = paranoid
        }
    }

    public struct PackResult: Sendable {
        public let capsule: VerifiedCapsule
        public let files: Int
        /// The files' sizes together, and how much of that the store did not have.
        public let bytes: Int64
        public let newBytes: Int64
        /// How many files were read; the others are what they were when this folder was packed before.
        public let filesRead: Int
    }

    /// Packs a folder that holds a `capsule.json`. The same files give the same capsule, whenever and by whomever they are
    /// packed. What an interrupted pack committed is found again and not written twice. Files that did not change since this
    /// folder was packed before are not read again.
    ///
    /// - Throws: `manifest_missing` and what is wrong with the manifest; what `SourceTree.scan` refuses; `secret_found`;
    ///   `source_changed`; `attestation_missing`; `disk_full`.
    public func pack(directory: String, options: PackOptions = PackOptions(), progress: StoreProgressSink? = nil) throws(MeshError)
        -> PackResult
    {
        let directory = Files.absolute(directory)
        let manifest = try Self.manifest(in: directory, parents: options.parents)
        let scannedAt = clock.now
        let source = try SourceTree.scan(
            directory, kind: manifest.tree, options: SourceTree.ScanOptions(allowSecrets: options.allowSecrets))
        let memory = options.paranoid ? nil : sources.read(source.directory)
        return try ingesting { () throws(MeshError) in
            let generation = try self.index.generation()
            let unchanged = try unchangedFiles(source, memory, at: generation)
            let ingest = try ChunkIngest(self)
            let last = try lastVersion(of: manifest.id.name, for: source, unchanged)
            let (index, chunks) = try TreeIngest(source, kind: manifest.tree, unchanged, last, ingest, progress).run()
            try Self.requireEvidence(manifest, in: index)
            let newBytes = ingest.newBytes
            let documents = try addDocuments(index, chunks, like: manifest.id.name, ingest)
            let root = CapsuleRoot(manifest: manifest, index: documents.index, chunks: documents.chunks)
            let capsule = try UnverifiedCapsule.made(root, index: index, chunks: chunks)
            _ = try ingest.add(blob: root.bytes)
            try ingest.finish()
            try list(capsule, origin: .packed)
            remember(source, capsule.tree, unchanged, at: generation, scannedAt: scannedAt)
            let files = index.fileCount
            return PackResult(capsule: capsule, files: files, bytes: index.byteCount, newBytes: newBytes, filesRead: files - unchanged.files)
        }
    }

    /// Stores a folder as it is: no ignore rules, no look for secrets. For what a build made.
    ///
    /// - Throws: what `SourceTree.scan` refuses, `source_changed`, `disk_full`.
    public func storeTree(directory: String, kind: TreeKind) throws(MeshError) -> VerifiedTree {
        let options = SourceTree.ScanOptions(applyIgnoreRules: false, skipRootManifest: false, scanSecrets: false)
        let source = try SourceTree.scan(Files.absolute(directory), kind: kind, options: options)
        return try ingesting { () throws(MeshError) in
            let ingest = try ChunkIngest(self)
            let (index, chunks) = try TreeIngest(source, kind: kind, .none, .none, ingest, nil).run()
            let documents = try addDocuments(index, chunks, like: nil, ingest)
            try ingest.finish()
            let tree = try VerifiedTree(checking: index, chunks)
            try promise([.tree(index: documents.index, chunks: documents.chunks, kind: kind)]) { journaled throws(MeshError) in
                try self.index.list(tree: documents.index, chunks: documents.chunks, kind: kind, journaled: journaled)
            }
            return tree
        }
    }

    private func addDocuments(_ index: TreeIndex, _ chunks: ChunkList, like name: CapsuleName?, _ ingest: ChunkIngest) throws(MeshError) -> (
        index: Digest, chunks: Digest
    ) {
        let last = if let name { try lastDocuments(of: name) } else { nil as (index: Digest, chunks: Digest)? }
        return (try ingest.add(blob: index.bytes, base: last?.index), try ingest.add(blob: chunks.bytes, base: last?.chunks))
    }

    /// Asked for only where it saves more than reading its documents costs.
    private func lastVersion(of name: CapsuleName, for source: SourceTree, _ unchanged: UnchangedFiles) throws(MeshError) -> LastVersion {
        var bytes: Int64 = 0
        for (i, item) in source.items.enumerated() {
            // A file of one chunk is hashed once as it is.
            if case .file(let size) = item.kind, size > Int64(Limits.chunkBytesNormal), !unchanged.contains(i) { bytes += size }
        }
        guard bytes > 0, let last = try index.lastCapsule(named: name), let root = try? CapsuleRoot(parsing: blob(last)) else { return .none }
        let documents = (try index.blob(root.index)?.size ?? 0) + (try index.blob(root.chunks)?.size ?? 0)
        guard bytes / Self.bytesPerDocumentByte >= documents else { return .none }
        return LastVersion((try? readCapsule(last))?.tree)
    }

    /// So much faster is content hashed than documents are parsed.
    private static let bytesPerDocumentByte: Int64 = 16

    /// Index and chunk list of the capsule of this name that came last: those of its next version are much like them.
    func lastDocuments(of name: CapsuleName) throws(MeshError) -> (index: Digest, chunks: Digest)? {
        guard let last = try index.lastCapsule(named: name), let root = try? CapsuleRoot(parsing: blob(last)) else { return nil }
        return (root.index, root.chunks)
    }

    /// The journal first: an index that is made again lists all that was ever reported.
    func list(_ capsule: VerifiedCapsule, origin: Origin) throws(MeshError) {
        let stored = StoredCapsule(capsule, origin: origin, addedAt: clock.now)
        try promise([.capsule(capsule.digest, origin: origin, at: stored.addedAt)]) { journaled throws(MeshError) in
            try index.list(stored, root: capsule.root, journaled: journaled)
        }
    }

    /// What a crash cuts off after the journal is caught up with by the next to write, or to open the store.
    func promise(_ records: [RootJournal.Record], _ apply: (_ journaled: Int64) throws(MeshError) -> Void) throws(MeshError) {
        try journal.append(records, before: { size throws(MeshError) in try catchUp(to: size) }, then: apply)
    }

    private static func manifest(in directory: String, parents: [Digest]) throws(MeshError) -> Manifest {
        let path = directory + "/capsule.json"
        guard Files.isDirectory(directory) else {
            throw Files.failure("read the folder", directory, Files.exists(directory) ? ENOTDIR : ENOENT)
        }
        var info = stat()
        guard lstat(path, &info) == 0 else {
            guard errno == ENOENT else { throw Files.failure("read", path) }
            throw MeshError(
                .manifestMissing, "\(directory) has no capsule.json", hint: "write one; docs/formats/manifest.md says what it holds")
        }
        guard info.st_mode & S_IFMT == S_IFREG else {
            throw MeshError(.manifestMissing, "\(path) is not a plain file", hint: "put the manifest itself there")
        }
        let bytes = try Files.read(path, bytesMax: Limits.manifestBytesMax)
        let manifest = try Manifest(parsing: bytes)
        try manifest.checkLicense()
        var known = Set(manifest.parents)
        let added = parents.filter { known.insert($0).inserted }
        guard !added.isEmpty, case .object(var members) = manifest.json else { return manifest }
        members["parents"] = .array((manifest.parents + added).map(JSONValue.init))
        return try Manifest(.object(members))
    }

    /// Evidence that the manifest names must be in the tree: nothing else would carry it.
    private static func requireEvidence(_ manifest: Manifest, in index: TreeIndex) throws(MeshError) {
        guard !manifest.attestations.isEmpty else { return }
        var here: Set<Digest> = []
        for entry in index.entries { if case .file(_, let digest) = entry.content { here.insert(digest) } }
        for (i, attestation) in manifest.attestations.enumerated() where !here.contains(attestation.sha256) {
            throw MeshError(
                .attestationMissing, "no file of the tree has the digest that /attestations/\(i) names",
                hint: "add the evidence file or correct its sha256", pointer: "/attestations/\(i)/sha256")
        }
    }
}
