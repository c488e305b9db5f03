internal import MeshCore

/// `state/builds/`: what came out of which input (`results/<input>.json`), and the logs.
struct BuildRecords: Sendable {
    struct Result: Hashable {
        let input: Digest
        let capsule: Digest
        let output: Digest
        let provenance: Digest
        let log: String
    }

    private let directory: String
    private var results: String { directory + "/results" }
    private static let bytesMax = 16 * 1024

    init(_ home: HomeLayout) { directory = home.state + "/builds" }

    /// Makes the folders, and clears away what a crash left behind; to be called before the first build of a process.
    /// Sandboxes leave nothing: their files are in memory, and they end with the process that started them.
    func prepare() throws(MeshError) {
        try Files.makeDirectory(results, mode: 0o700)
        for name in try Files.names(in: results) where name.contains(".json.tmp-") { try Files.remove(results + "/" + name) }
    }

    /// Keeps the newest logs. Their names begin with their time, so that the order of names is their age.
    func dropOldLogs() throws(MeshError) {
        let logs = try Files.names(in: directory).filter { $0.hasSuffix(".log") }
        for name in logs.dropLast(Limits.buildLogsKept) { try Files.remove(directory + "/" + name) }
    }

    /// A name for a build that no other has, beginning with its time in milliseconds.
    func newID(at time: Milliseconds, capsule: Digest) -> String {
        let stem = "\(time)-\(capsule.hex.prefix(12))"
        var id = stem, n = 1
        while Files.exists(logPath(id)) {
            n += 1
            id = "\(stem)-\(n)"
        }
        return id
    }

    func logPath(_ id: String) -> String { "\(directory)/\(id).log" }

    /// nil when nothing is recorded, or what is recorded cannot be read: then the build is made again.
    func result(for input: Digest) -> Result? {
        let path = "\(results)/\(input.hex).json"
        guard Files.exists(path), let bytes = try? Files.read(path, bytesMax: Self.bytesMax),
              let json = try? JSONValue.parse(bytes, bytesMax: Self.bytesMax), var reader = try? FieldReader(json),
              let recorded = try? reader.digest("input"), recorded == input, let capsule = try? reader.digest("capsule"), let output = try? reader.digest("output"),
              let provenance = try? reader.digest("provenance"), let log = try? reader.string("log") else { return nil }
        return Result(input: input, capsule: capsule, output: output, provenance: provenance, log: log)
    }

    /// What was built from these capsules; what is recorded of others is forgotten with `forgetting`.
    func outputs(of capsules: Set<Digest>, forgetting: Bool) throws(MeshError) -> Set<Digest> {
        guard Files.isDirectory(results) else { return [] }
        var out: Set<Digest> = []
        for name in try Files.names(in: results) where name.hasSuffix(".json") {
            guard let input = Digest(hex: name.dropLast(5)) else { continue }
            if let result = result(for: input), capsules.contains(result.capsule) {
                out.insert(result.output)
            } else if forgetting {
                try Files.remove(results + "/" + name)
            }
        }
        return out
    }

    /// Durable when it returns.
    func record(_ result: Result) throws(MeshError) {
        let json: JSONValue = [
            "input": JSONValue(result.input), "capsule": JSONValue(result.capsule), "log": .string(result.log),
            "output": JSONValue(result.output), "provenance": JSONValue(result.provenance),
        ]
        try Files.writeDurably(json.canonicalBytes, to: "\(results)/\(result.input.hex).json", mode: 0o600)
    }
}
