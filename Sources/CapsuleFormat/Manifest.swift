public import MeshCore

/// `capsule.json`: what an app is called, how it is built from its files, and how it runs. Field names are the ecosystem's;
/// docs/formats/manifest.md says what each may hold.
public struct Manifest: Sendable, Hashable {
    public struct CreatedBy: Sendable, Hashable {
        public let name: String?
        public let keyID: String?
    }

    public struct App: Sendable, Hashable {
        public let framework: String
        public let node: String?
        public let runtime: String?
        /// Environment of the build and of the running app.
        public let env: [String: String]
    }

    public struct Service: Sendable, Hashable {
        public enum Kind: String, Sendable, CaseIterable { case postgres, edge, worker, kv }
        public let name: String
        public let type: Kind
        public let config: JSONValue
    }

    public struct Input: Sendable, Hashable {
        /// Another capsule.
        public let digest: Digest
        /// Absolute path inside the sandbox, below `/`.
        public let mount: String
    }

    public struct BuildLimits: Sendable, Hashable {
        public let seconds: Int?
        public let memoryBytes: Int?
        public let processes: Int?
        public let outputBytes: Int?
    }

    public struct Build: Sendable, Hashable {
        /// Each one `sh -eu` command line; at least one, none blank.
        public let steps: [String]
        /// Relative folder that holds the result.
        public let outDir: String
        public let inputs: [Input]
        /// The steps that need a network; run once by the author, not by a build.
        public let fetch: [String]
        public let limits: BuildLimits
    }

    public struct Health: Sendable, Hashable {
        public enum Check: Sendable, Hashable {
            /// GET of this path answers 200 to 399.
            case path(String)
            case command([String])
        }
        public let check: Check
        public let intervalMs: Int
        public let timeoutMs: Int
        public let retries: Int
    }

    public struct Run: Sendable, Hashable {
        public enum Kind: Sendable, Hashable {
            case `static`
            case command([String])
        }
        public let kind: Kind
        /// Serves image export only; an app listens on `PORT`.
        public let port: Int?
        /// Whether the new version may run beside the old one.
        public let overlap: Bool
        public let health: Health?
        public let stopTimeoutMs: Int
    }

    public struct Seed: Sendable, Hashable {
        public enum Kind: String, Sendable, CaseIterable { case sql, crdt, files }
        public let name: String
        public let type: Kind
        /// Relative, inside the capsule.
        public let path: String
    }

    public struct Attestation: Sendable, Hashable {
        public enum Kind: String, Sendable, CaseIterable { case sbom, diff, provenance }
        public let type: Kind
        /// Of a file inside the capsule.
        public let sha256: Digest
        public let meta: JSONValue
    }

    public struct Rights: Sendable, Hashable {
        public let license: String
        public let resaleAllowed: Bool
        public let attribution: Bool
    }

    /// As it was written; this is what the root carries.
    public let json: JSONValue
    public let id: CapsuleID
    public let name: String
    public let version: SemanticVersion
    /// Becomes `SOURCE_DATE_EPOCH` (in seconds) of the build.
    public let createdAt: Milliseconds?
    public let createdBy: CreatedBy?
    public let tree: TreeKind
    public let app: App
    public let services: [Service]
    public let build: Build?
    public let run: Run?
    public let seeds: [Seed]
    public let attestations: [Attestation]
    public let rights: Rights
    public let parents: [Digest]

    /// From a person's file: any JSON formatting.
    ///
    /// - Throws: `json_invalid`, and as `init(_:)`.
    public init(parsing bytes: [UInt8]) throws(MeshError) {
        let json: JSONValue
        do throws(MeshError) { json = try JSONValue.parse(bytes, bytesMax: Limits.manifestBytesMax) } catch {
            throw MeshError(error.code, "capsule.json: \(error.message)", hint: "correct the manifest there", pointer: error.pointer)
        }
        try self.init(json)
    }

    /// - Throws: `field_unknown`, `field_missing`, `field_invalid`, `name_invalid`, `version_invalid`, `version_contradicts_id`,
    ///   `step_missing`; all with the field's JSON Pointer.
    public init(_ json: JSONValue) throws(MeshError) {
        var reader = try FieldReader(json)
        self.json = json
        id = try reader.capsuleID("id")
        name = try reader.line("name", bytesMax: 200)
        version = try reader.version("version")
        guard version == id.version else {
            throw MeshError(.versionContradictsID, "/version is \(version), but /id says \(id.version)", hint: "make the two agree", pointer: "/version")
        }
        createdAt = try reader.integer("createdAt", in: 0...253_402_300_799_999).map(Int64.init)
        createdBy = try Self.createdBy(reader.objectIfPresent("createdBy"))
        tree = try reader.choice("tree") ?? .app
        app = try Self.app(reader.object("app"))
        services = try reader.list("services", max: 64, Self.service)
        try reader.requireDistinct("services", services.map(\.name), "name")
        build = try reader.objectIfPresent("build").map(Self.build)
        run = try reader.objectIfPresent("run").map(Self.run)
        seeds = try reader.list("seeds", max: 64, Self.seed)
        try reader.requireDistinct("seeds", seeds.map(\.name), "name")
        attestations = try reader.list("attestations", max: 256, Self.attestation)
        rights = try Self.rights(reader.objectIfPresent("rights"))
        parents = try reader.digests("parents", max: 64)
        try reader.finish()
        // A document made in code has not passed through the parser's own bound; a root that holds it must.
        guard json.canonicalBytes.count <= Limits.manifestBytesMax else {
            throw MeshError(.fieldInvalid, "the manifest is longer than \(Limits.manifestBytesMax) bytes", hint: "move what is long into a file of the capsule", pointer: "")
        }
    }
}
