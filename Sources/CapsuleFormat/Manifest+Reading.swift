internal import MeshCore

// What each part of a manifest may hold; docs/formats/manifest.md says the same in words.
extension Manifest {
    static func createdBy(_ object: FieldReader?) throws(MeshError) -> CreatedBy? {
        guard var object else { return nil }
        let name = try object.lineIfPresent("name", bytesMax: 200), keyID = try object.stringIfPresent("keyId")
        if let keyID, Digest(hex: keyID) == nil { throw object.invalid("keyId", "not a key id", hint: "a key id is 64 lower-case hexadecimal digits") }
        try object.finish()
        return CreatedBy(name: name, keyID: keyID)
    }

    static func app(_ object: FieldReader) throws(MeshError) -> App {
        var object = object
        let app = App(framework: try object.line("framework", bytesMax: 100), node: try object.lineIfPresent("node", bytesMax: 100),
                      runtime: try object.lineIfPresent("runtime", bytesMax: 100), env: try object.environment("env"))
        try object.finish()
        return app
    }

    static func service(_ object: inout FieldReader) throws(MeshError) -> Service {
        Service(name: try object.slug("name"), type: try object.requiredChoice("type"), config: try object.freeObject("config"))
    }

    static func build(_ object: FieldReader) throws(MeshError) -> Build {
        var object = object
        let build = Build(steps: try object.steps("steps", atLeast: 1), outDir: try object.treePath("outDir", dot: true),
                          inputs: try object.list("inputs", max: 64, Self.input), fetch: try object.steps("fetch", atLeast: 0),
                          limits: try limits(object.objectIfPresent("limits")))
        for (i, input) in build.inputs.enumerated() {
            for other in build.inputs[..<i] where overlap(input.mount, other.mount) {
                let pointer = "\(object.path("inputs"))/\(i)/mount"
                throw MeshError(.fieldInvalid, "\(pointer): “\(input.mount)” and “\(other.mount)” cover each other", hint: "mount each input at a place of its own", pointer: pointer)
            }
        }
        try object.finish()
        return build
    }

    private static func overlap(_ a: String, _ b: String) -> Bool { TreePath.same(a, b) || TreePath.isBelow(a, b) || TreePath.isBelow(b, a) }

    private static func input(_ object: inout FieldReader) throws(MeshError) -> Input {
        let digest = try object.digest("digest"), mount = try object.string("mount")
        guard mount.utf8.first == UInt8(ascii: "/"), TreePath.problem(String(mount.dropFirst())) == nil else {
            throw object.invalid("mount", "“\(TreePath.printable(mount))” is not an absolute path below /", hint: "e.g. /opt/toolchain")
        }
        return Input(digest: digest, mount: mount)
    }

    /// Any amount is well-formed: what a node really gives is for that node to say.
    private static func limits(_ object: FieldReader?) throws(MeshError) -> BuildLimits {
        guard var object else { return BuildLimits(seconds: nil, memoryBytes: nil, processes: nil, outputBytes: nil) }
        let positive = 1...Int(Limits.jsonIntegerMax)
        let limits = BuildLimits(seconds: try object.integer("seconds", in: positive), memoryBytes: try object.integer("memoryBytes", in: positive),
                                 processes: try object.integer("processes", in: positive), outputBytes: try object.integer("outputBytes", in: positive))
        try object.finish()
        return limits
    }

    static func run(_ object: FieldReader) throws(MeshError) -> Run {
        var object = object
        if object.optional("static") != nil {
            guard try object.bool("static") else { throw object.invalid("static", "can only be true", hint: "leave it out and write a \"command\"") }
            try object.finish()
            return Run(kind: .static, port: nil, overlap: true, health: nil, stopTimeoutMs: defaultStopTimeoutMs)
        }
        guard object.optional("command") != nil else {
            throw MeshError(.fieldMissing, "\(object.pointer) says neither \"static\" nor \"command\"", hint: "e.g. {\"static\": true} or {\"command\": [\"./server\"]}",
                            pointer: object.path("command"))
        }
        let run = Run(kind: .command(try object.command("command")), port: try object.integer("port", in: 1...65535),
                      overlap: try object.boolIfPresent("overlap") ?? true, health: try object.objectIfPresent("health").map(Self.health),
                      stopTimeoutMs: try object.integer("stopTimeoutMs", in: 0...600_000) ?? defaultStopTimeoutMs)
        try object.finish()
        return run
    }

    private static let defaultStopTimeoutMs = 10_000

    private static func health(_ object: FieldReader) throws(MeshError) -> Health {
        var object = object
        let check: Health.Check
        switch (object.optional("path") != nil, object.optional("command") != nil) {
        case (true, false):
            let path = try object.string("path")
            guard path.utf8.first == UInt8(ascii: "/"), path.utf8.count <= 2000, path.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else {
                throw object.invalid("path", "“\(TreePath.printable(path))” is not the path of a URL", hint: "e.g. /health")
            }
            check = .path(path)
        case (false, true): check = .command(try object.command("command"))
        case (true, true): throw object.invalid("command", "stands beside a \"path\"", hint: "say only one of them")
        case (false, false):
            throw MeshError(.fieldMissing, "\(object.pointer) says neither \"path\" nor \"command\"", hint: "e.g. {\"path\": \"/health\"}", pointer: object.path("path"))
        }
        let health = Health(check: check, intervalMs: try object.integer("intervalMs", in: 10...3_600_000) ?? 1000,
                            timeoutMs: try object.integer("timeoutMs", in: 10...600_000) ?? 2000, retries: try object.integer("retries", in: 1...1000) ?? 10)
        try object.finish()
        return health
    }

    static func seed(_ object: inout FieldReader) throws(MeshError) -> Seed {
        Seed(name: try object.slug("name"), type: try object.requiredChoice("type"), path: try object.treePath("path", dot: false))
    }

    static func attestation(_ object: inout FieldReader) throws(MeshError) -> Attestation {
        let type: Attestation.Kind = try object.requiredChoice("type"), text = try object.string("sha256")
        guard let digest = Digest(hex: text) else { throw object.invalid("sha256", "not 64 lower-case hexadecimal digits", hint: "write what sha256sum prints for the file") }
        return Attestation(type: type, sha256: digest, meta: try object.freeObject("meta"))
    }

    static func rights(_ object: FieldReader?) throws(MeshError) -> Rights {
        let defaultLicense = LicenseExpression.ecosystemDefault
        guard var object else { return Rights(license: defaultLicense, resaleAllowed: true, attribution: true) }
        let rights = Rights(license: try object.lineIfPresent("license", bytesMax: 500) ?? defaultLicense,
                            resaleAllowed: try object.boolIfPresent("resaleAllowed") ?? true, attribution: try object.boolIfPresent("attribution") ?? true)
        try object.finish()
        return rights
    }
}
