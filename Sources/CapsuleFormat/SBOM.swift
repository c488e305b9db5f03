public import MeshCore
public import Signing

/// The software bill of materials of a capsule: an SPDX 2.3 document of the packages that package lists inside its tree name. A pure
/// function of the capsule; docs/formats/sbom.md has its exact form.
public enum SBOM {
    /// Of the statement that carries the document (in-toto attestation, `spec/predicates/spdx2.md`).
    public static let predicateType = "https://spdx.dev/Document/v2.3"

    /// The package lists that `document` reads, in canonical order: plain files of at most 8 MiB, together at most 64 MiB.
    public static func wantedPaths(in tree: TreeIndex) -> [String] {
        let sources = SBOMSources(in: tree)
        return (sources.lists.map(\.path) + sources.releases.values).sorted(by: TreePath.precedes)
    }

    /// The document in canonical JSON, at most `Limits.sbomBytesMax` bytes. A list that cannot be read is passed over and said so in
    /// the document's comment; so is what was left out because there is too much of it.
    ///
    /// - Parameters:
    ///   - digest: of the capsule, and so of its root.
    ///   - read: the content of a file of the tree; asked for what `wantedPaths` names.
    /// - Throws: only what `read` throws.
    public static func document(for manifest: Manifest, digest: Digest, tree: TreeIndex, read: (String) throws(MeshError) -> [UInt8]) throws(MeshError) -> [UInt8] {
        let sources = SBOMSources(in: tree)
        var findings = SBOMFindings(notes: sources.notes)
        var vendors: [String: String] = [:]
        for (folder, path) in sources.releases { vendors[folder] = DebianPackages.vendor(in: try read(path)) }
        for list in sources.lists {
            let bytes = try read(list.path)
            switch list.kind {
            case .dpkg(let folder): DebianPackages.read(bytes, list.path, vendor: vendors[folder] ?? DebianPackages.defaultVendor, into: &findings)
            case .npmLock: NPMPackages.readLock(bytes, list.path, tree, into: &findings)
            case .npmPackage: NPMPackages.readPackage(bytes, list.path, into: &findings)
            case .requirements: PythonPackages.readRequirements(bytes, list.path, into: &findings)
            case .tomlLock: PythonPackages.readTOMLLock(bytes, list.path, into: &findings)
            case .pipfileLock: PythonPackages.readPipfileLock(bytes, list.path, into: &findings)
            case .wheel: PythonPackages.readMetadata(bytes, list.path, into: &findings)
            }
        }
        return SPDXDocument(manifest, digest, tree, findings).bytes
    }

    /// What is signed and kept beside the capsule: `document` is about the capsule with that digest.
    ///
    /// - Throws: `json_invalid`, `json_not_canonical` for bytes that `document` did not make.
    public static func statement(_ document: [UInt8], about capsule: Digest) throws(MeshError) -> Statement {
        let json = try JSONValue.parseCanonical(document, bytesMax: Limits.sbomBytesMax)
        return Statement(subjects: [.init(name: nil, digest: capsule)], predicateType: predicateType, predicate: json)
    }

    /// The document that a statement carries; nil for a statement of another kind.
    public static func document(in statement: Statement) -> JSONValue? {
        // Written out: a bare nil beside a JSON value would be the JSON value null.
        statement.predicateType == predicateType ? .some(statement.predicate) : .none
    }
}
