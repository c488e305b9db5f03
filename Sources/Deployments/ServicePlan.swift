internal import CapsuleFormat
internal import MeshCore

/// What a manifest says about running, in the terms of this room.
struct ServicePlan: Sendable, Hashable {
    enum Kind: Sendable, Hashable {
        case site
        case process(command: [String])
    }

    struct Health: Sendable, Hashable {
        enum Check: Sendable, Hashable {
            case path(String)
            case command([String])
            /// Nothing declared: whoever listens is taken for healthy.
            case listening
        }
        let check: Check
        let intervalMs: Int
        let timeoutMs: Int
        let retries: Int
    }

    let kind: Kind
    let overlap: Bool
    let health: Health
    let stopTimeoutMs: Int
    let environment: [String: String]

    init(_ manifest: Manifest) throws(MeshError) {
        guard let run = manifest.run else {
            throw MeshError(.capsuleNotRunnable, "\(manifest.id) says nothing about running",
                            hint: "add \"run\": {\"static\": true} or {\"command\": […]} to capsule.json", pointer: "/run")
        }
        if let service = manifest.services.first {
            throw MeshError(.deploymentUnsupported, "\(manifest.id) needs the service “\(service.name)” (\(service.type.rawValue)), which this node cannot start yet",
                            hint: "deploy a capsule without services[]", pointer: "/services/0")
        }
        if let seed = manifest.seeds.first {
            throw MeshError(.deploymentUnsupported, "\(manifest.id) brings the seed “\(seed.name)” (\(seed.type.rawValue)), which this node cannot plant yet",
                            hint: "deploy a capsule without seeds[]", pointer: "/seeds/0")
        }
        switch run.kind {
        case .static: kind = .site
        case .command(let words):
            // env(1), which starts the command, would take such a word for a variable.
            guard words.first?.utf8.contains(UInt8(ascii: "=")) == false else {
                throw MeshError(.capsuleNotRunnable, "\(manifest.id) would run “\(words.first ?? "")”, a name with an = in it", hint: "rename the program", pointer: "/run/command/0")
            }
            kind = .process(command: words)
        }
        overlap = run.overlap
        stopTimeoutMs = run.stopTimeoutMs
        environment = manifest.app.env
        guard let declared = run.health else {
            health = Health(check: .listening, intervalMs: 1000, timeoutMs: 2000, retries: 10)
            return
        }
        let check: Health.Check = switch declared.check {
        case .path(let path): .path(path)
        case .command(let words): .command(words)
        }
        health = Health(check: check, intervalMs: declared.intervalMs, timeoutMs: declared.timeoutMs, retries: declared.retries)
    }
}
