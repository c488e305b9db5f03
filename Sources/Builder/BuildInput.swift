internal import CapsuleFormat
internal import MeshCore
internal import Signing

/// All that the output depends on. The same input is the same build: it keys the cache, and the provenance says it.
struct BuildInput: Sendable, Hashable {
    let capsule: Digest
    /// nil: nothing was run, the capsule is its own output.
    let toolchain: HostToolchain?
    let target: String

    /// SHA-256 over the canonical JSON of the input, the sandbox's recipe included.
    var digest: Digest {
        Digest.of(JSONValue.object([
            "capsule": JSONValue(capsule), "recipe": JSONValue(SandboxRecipe.version), "target": .string(target),
            "toolchain": toolchain.map { JSONValue($0.digest) } ?? .null,
        ]).canonicalBytes)
    }
}

/// SLSA v1 provenance (slsa.dev/spec/v1.0/provenance) in an in-toto Statement. Without time, place or build number: two
/// nodes that do the same say the same, but for their own name.
enum Provenance {
    static let predicateType = "https://slsa.dev/provenance/v1"
    /// What docs/build.md describes.
    static let buildType = "urn:oursynth:build:replay:v1"

    static func statement(_ input: BuildInput, of manifest: Manifest, output: Digest, by builder: KeyID) -> Statement {
        var dependencies: [JSONValue] = [
            ["digest": ["sha256": .string(input.capsule.hex)], "name": "capsule", "uri": .string(manifest.id.description)],
        ]
        var internalParameters: [String: JSONValue] = [:]
        if let toolchain = input.toolchain {
            dependencies.append([
                "annotations": ["packages": JSONValue(toolchain.packages)], "digest": ["sha256": .string(toolchain.digest.hex)],
                "name": "toolchain", "uri": "urn:oursynth:toolchain:host",
            ])
            internalParameters = [
                "cpus": JSONValue(SandboxRecipe.cpus), "recipe": JSONValue(SandboxRecipe.version), "sandbox": "bubblewrap",
            ]
        }
        let predicate: JSONValue = [
            "buildDefinition": [
                "buildType": .string(buildType),
                "externalParameters": ["capsule": JSONValue(input.capsule), "target": .string(input.target)],
                "internalParameters": .object(internalParameters),
                "resolvedDependencies": .array(dependencies),
            ],
            "runDetails": ["builder": ["id": .string("urn:oursynth:node:\(builder.hex)")]],
        ]
        return Statement(subjects: [Statement.Subject(name: "\(manifest.id.name)@\(manifest.version)", digest: output)],
                         predicateType: predicateType, predicate: predicate)
    }
}
