internal import MeshCore

extension Manifest {
    static func createdBy(_ reader: inout FieldReader) throws(MeshError) -> CreatedBy? {
        guard var object = try reader.objectIfPresent("createdBy") else { return nil }
        let name = try object.stringIfPresent("name"), keyID = try object.stringIfPresent("keyId")
        if let keyID, Digest(hex: keyID) == nil { throw object.invalid("keyId", "not a key id", hint: "a key id is 64 lower-case hexadecimal digits") }
        try object.finish()
        return CreatedBy(name: name, keyID: keyID)
    }

    static func app(_ object: FieldReader) throws(MeshError) -> App {
        var object = object
        let framework = try object.text("framework", bytesMax: 100)
        let node = try object.stringIfPresent("node"), runtime = try object.stringIfPresent("runtime")
        let env = try object.stringTableIfPresent("env") ?? [:]
        for (name, value) in env.sorted(by: { $0.key < $1.key }) {
            let bytes = Array(name.utf8)
            let named = bytes.first.map { !(0x30...0x39).contains($0) } ?? false
            guard named, bytes.allSatisfy({ (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == 0x5f }) else {
                throw object.invalid("env", "“\(name)” is not a name for a variable", hint: "letters, digits and _, not beginning with a digit")
            }
            guard !value.utf8.contains(0), value.utf8.count <= 32_768 else { throw object.invalid("env", "the value of “\(name)” holds a zero byte or is longer than 32 KiB") }
        }
        try object.finish()
        return App(framework: framework, node: node, runtime: runtime, env: env)
    }

    static func service(_ object: inout FieldReader) throws(MeshError) -> Service {
        let name = try object.slug("name")
        guard let type: Service.Kind = try object.choice("type") else { throw object.missing("type") }
        return Service(name: name, type: type, config: object.optional("config") ?? [:])
    }

    static func build(_ object: FieldReader) throws(MeshError) -> Build {
        var object = object
        let steps = try object.strings("steps")
        guard !steps.isEmpty else {
            throw MeshError(.stepMissing, "\(object.path("steps")) is empty: a build needs at least one step", hint: "write a command line, or leave out `build`", pointer: object.path("steps"))
        }
        for (i, step) in steps.enumerated() {
            let pointer = "\(object.path("steps"))/\(i)"
            guard step.utf8.contains(where: { $0 > 0x20 }) else {
                throw MeshError(.stepMissing, "\(pointer) is blank", hint: "write a command line, or remove it", pointer: pointer)
            }
            guard !step.utf8.contains(0), step.utf8.count <= 65_536, steps.count <= 256 else { throw object.invalid("steps", "at most 256 steps of 64 KiB without zero bytes are read") }
        }
        let outDir = try object.string("outDir")
        if outDir != ".", let problem = TreePath.problem(outDir) { throw object.invalid("outDir", "“\(TreePath.printable(outDir))” \(problem)", hint: "name a folder inside the capsule, e.g. dist") }
        let inputs = try object.list("inputs", max: 64) { (input) throws(MeshError) in
            let digest = try input.digest("digest"), mount = try input.string("mount")
            guard mount.hasPrefix("/"), mount != "/", TreePath.problem(String(mount.dropFirst())) == nil else {
                throw input.invalid("mount", "“\(TreePath.printable(mount))” is not an absolute path below /", hint: "e.g. /opt/toolchain")
            }
            return Input(digest: digest, mount: mount)
        }
        let fetch = try object.stringsIfPresent("fetch") ?? []
        let limits = try limits(object.objectIfPresent("limits"))
        try object.finish()
        return Build(steps: steps, outDir: outDir, inputs: inputs, fetch: fetch, limits: limits)
    }

    private static func limits(_ object: FieldReader?) throws(MeshError) -> BuildLimits {
        guard var object else { return BuildLimits(seconds: nil, memoryBytes: nil, processes: nil, outputBytes: nil) }
        let limits = BuildLimits(
            seconds: try object.integer("seconds", in: 1...Limits.buildSecondsMax), memoryBytes: try object.integer("memoryBytes", in: 1 << 20...Int(Limits.buildMemoryBytesMax)),
            processes: try object.integer("processes", in: 1...Limits.buildProcessesMax), outputBytes: try object.integer("outputBytes", in: 1...Int(Limits.buildOutputBytesMax)))
        try object.finish()
        return limits
    }

    static func run(_ object: FieldReader) throws(MeshError) -> Run {
        var object = object
        let isStatic = try object.boolIfPresent("static"), command = try object.stringsIfPresent("command")
        let kind: Run.Kind
        switch (isStatic, command) {
        case (true?, nil): kind = .static
        case (nil, let words?), (false?, let words?):
            kind = .command(try checked(words, "command", object))
        default: throw object.invalid("static", "say either \"static\": true or a \"command\"", hint: "e.g. {\"static\": true} or {\"command\": [\"./server\"]}")
        }
        let health = try object.objectIfPresent("health").map(Self.health)
        let run = Run(kind: kind, port: try object.integer("port", in: 1...65535), overlap: try object.boolIfPresent("overlap") ?? true, health: health,
                      stopTimeoutMs: try object.integer("stopTimeoutMs", in: 0...600_000) ?? 10_000)
        try object.finish()
        return run
    }

    private static func health(_ object: FieldReader) throws(MeshError) -> Health {
        var object = object
        let path = try object.stringIfPresent("path"), command = try object.stringsIfPresent("command")
        let check: Health.Check
        switch (path, command) {
        case (let path?, nil):
            guard path.hasPrefix("/"), path.utf8.count <= 2000, path.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else {
                throw object.invalid("path", "must be a URL path", hint: "e.g. /health")
            }
            check = .path(path)
        case (nil, let words?): check = .command(try checked(words, "command", object))
        default: throw object.invalid("path", "say either a \"path\" or a \"command\"")
        }
        let health = Health(check: check, intervalMs: try object.integer("intervalMs", in: 10...3_600_000) ?? 1000,
                            timeoutMs: try object.integer("timeoutMs", in: 10...600_000) ?? 2000, retries: try object.integer("retries", in: 1...1000) ?? 10)
        try object.finish()
        return health
    }

    private static func checked(_ words: [String], _ key: String, _ object: FieldReader) throws(MeshError) -> [String] {
        guard let first = words.first, !first.isEmpty, words.count <= 256, words.allSatisfy({ !$0.utf8.contains(0) && $0.utf8.count <= 32_768 }) else {
            throw object.invalid(key, "must name a program and its arguments", hint: "e.g. [\"./server\", \"--quiet\"]")
        }
        return words
    }

    static func seed(_ object: inout FieldReader) throws(MeshError) -> Seed {
        let name = try object.slug("name")
        guard let type: Seed.Kind = try object.choice("type") else { throw object.missing("type") }
        return Seed(name: name, type: type, path: try object.treePath("path"))
    }

    static func attestation(_ object: inout FieldReader) throws(MeshError) -> Attestation {
        guard let type: Attestation.Kind = try object.choice("type") else { throw object.missing("type") }
        let text = try object.string("sha256")
        guard let digest = Digest(hex: text) else { throw object.invalid("sha256", "not 64 lower-case hexadecimal digits") }
        return Attestation(type: type, sha256: digest, meta: object.optional("meta") ?? [:])
    }

    static func rights(_ object: FieldReader?) throws(MeshError) -> Rights {
        guard var object else { return Rights(license: "OSL-3.0-or-compatible", resaleAllowed: true, attribution: true) }
        let license = try object.optional("license") == nil ? "OSL-3.0-or-compatible" : object.text("license", bytesMax: 500)
        let rights = Rights(license: license, resaleAllowed: try object.boolIfPresent("resaleAllowed") ?? true, attribution: try object.boolIfPresent("attribution") ?? true)
        try object.finish()
        return rights
    }
}

extension FieldReader {
    func missing(_ key: String) -> MeshError { MeshError(.fieldMissing, "the field \(path(key)) is missing", hint: "add it", pointer: path(key)) }

    /// One line of text that is not blank.
    mutating func text(_ key: String, bytesMax: Int) throws(MeshError) -> String {
        let text = try string(key)
        guard text.utf8.contains(where: { $0 > 0x20 }), text.utf8.count <= bytesMax, TreePath.printable(text).utf8.elementsEqual(text.utf8) || text.unicodeScalars.count > 200 else {
            throw invalid(key, "must be one line of at most \(bytesMax) bytes")
        }
        return text
    }

    mutating func slug(_ key: String) throws(MeshError) -> String {
        let text = try string(key)
        guard let name = try? CapsuleName(parsing: text) else { throw invalid(key, "“\(TreePath.printable(text))” is not a name", hint: "1–63 of a-z, 0-9 and -, beginning with a letter") }
        return name.description
    }

    mutating func treePath(_ key: String) throws(MeshError) -> String {
        let text = try string(key)
        if let problem = TreePath.problem(text) { throw invalid(key, "“\(TreePath.printable(text))” \(problem)", hint: "name a path inside the capsule") }
        return text
    }

    mutating func integer(_ key: String, in range: ClosedRange<Int>) throws(MeshError) -> Int? {
        guard let value = try integerIfPresent(key) else { return nil }
        guard range.contains(value) else { throw invalid(key, "\(value) is not in \(range.lowerBound)…\(range.upperBound)") }
        return value
    }

    mutating func choice<C: RawRepresentable & CaseIterable>(_ key: String) throws(MeshError) -> C? where C.RawValue == String {
        guard let text = try stringIfPresent(key) else { return nil }
        guard let value = C(rawValue: text) else { throw invalid(key, "“\(TreePath.printable(text))” is not one of \(C.allCases.map(\.rawValue).joined(separator: ", "))") }
        return value
    }

    /// An array of objects, each read to its end.
    mutating func list<T>(_ key: String, max: Int, _ read: (inout FieldReader) throws(MeshError) -> T) throws(MeshError) -> [T] {
        guard let items = try arrayIfPresent(key) else { return [] }
        guard items.count <= max else { throw invalid(key, "has \(items.count) entries; at most \(max) are read") }
        var out: [T] = []
        for (i, item) in items.enumerated() {
            var object = try FieldReader(item, at: "\(path(key))/\(i)")
            out.append(try read(&object))
            try object.finish()
        }
        return out
    }
}
