internal import CapsuleFormat
internal import MeshCore

/// What a replay does, drawn from the manifest alone: two nodes with the same capsule have the same plan.
struct BuildPlan: Sendable, Hashable {
    struct Variable: Sendable, Hashable {
        let name: String
        let value: String
    }

    struct Bounds: Sendable, Hashable {
        let seconds: Int
        /// Of all processes and of all files in the sandbox together: its files are in memory.
        let memoryBytes: Int64
        let processes: Int
        let outputBytes: Int64
        let logBytes: Int
    }

    let steps: [String]
    let outDir: String
    /// In the order in which the steps find them.
    let environment: [Variable]
    let bounds: Bounds

    /// What an absent `createdAt` stands for: the same constant that files.tar has (1980-01-01).
    static let epochWithoutDate: Int64 = 315_532_800

    init(_ build: Manifest.Build, of manifest: Manifest) {
        steps = build.steps
        outDir = build.outDir
        environment = Self.environment(of: manifest)
        bounds = Bounds(seconds: min(build.limits.seconds ?? .max, Limits.buildSecondsMax),
                        memoryBytes: min(build.limits.memoryBytes.map(Int64.init) ?? .max, Limits.buildMemoryBytesMax),
                        processes: min(build.limits.processes ?? .max, Limits.buildProcessesMax),
                        outputBytes: min(build.limits.outputBytes.map(Int64.init) ?? .max, Limits.buildOutputBytesMax),
                        logBytes: Limits.buildLogBytesMax)
    }

    /// What every build finds, then `app.env` by name. The fixed ones cannot be changed by it: they are what makes two
    /// machines alike; a step that needs another value sets it in its command line.
    private static func environment(of manifest: Manifest) -> [Variable] {
        let epoch = manifest.createdAt.map { $0 / 1000 } ?? epochWithoutDate
        let fixed = [
            Variable(name: "PATH", value: "/usr/bin:/bin:/usr/sbin:/sbin"),
            Variable(name: "HOME", value: "/homeless"),
            Variable(name: "TMPDIR", value: "/tmp"),
            Variable(name: "LC_ALL", value: "C.UTF-8"),
            Variable(name: "TZ", value: "UTC"),
            Variable(name: "SOURCE_DATE_EPOCH", value: String(epoch)),
            Variable(name: "ZERO_AR_DATE", value: "1"),
            Variable(name: "PYTHONHASHSEED", value: "0"),
        ]
        let names = Set(fixed.map(\.name) + ["PWD"])
        let own = manifest.app.env.filter { !names.contains($0.key) }.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
        return fixed + own.map { Variable(name: $0.key, value: $0.value) }
    }
}
