internal import Builder
internal import CapsuleFormat
internal import MeshCore

let buildActions: [Action] = [
    Action("build.run", "Build", "Replays a capsule's manifest in the sandbox; the same capsule and toolchain give the same output digest.", scope: .write, isLong: true,
           input: .object([
               .init("ref", .string(), "What to build"), .optional("untrusted", .boolean, "Go on although nobody trusted signed it"),
           ]),
           output: .object([
               .init("capsule", .string(), "The capsule"), .init("output", .string(), "Digest of the output's index: the result"),
               .init("cached", .boolean, "Whether an earlier replay of the same input answered"), .init("provenance", .string(), "Digest of the signed provenance"),
               .init("milliseconds", .integer, "How long it took"), .init("log", .string(), "Path of the build log"),
           ])) { context, params throws(MeshError) in
        let capsule = try await context.localCapsule(params["ref"]?.string ?? "")
        if params["untrusted"]?.bool != true { try context.parts.requireTrust(in: capsule) }
        let result = try await context.parts.replayer.build(capsule.digest)
        return ["capsule": JSONValue(result.capsule), "output": JSONValue(result.output), "cached": .bool(result.cached), "provenance": JSONValue(result.provenance),
                "milliseconds": .integer(Int64(result.seconds * 1000)), "log": .string(result.log)]
    },
]
