internal import ArgumentParser
internal import Actions
internal import Glibc
internal import MeshCore
internal import Node

struct Init: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a home: a node key, a root key and a mesh of one.",
        discussion: "Example:\n  capsule init --name studio-2\n\nA home that is there is left as it is.")
    @OptionGroup var options: GlobalOptions
    @Option(help: "What the node is called; the host's name unless given.") var name: String?

    func run() async throws {
        let session = Session(options: options)
        _ = try HomeSetup.create(options.home, name: name, clock: SystemClock())
        session.answer(try await session.call("capsule.init")) { home in
            Terminal.table([
                ["home", home["home"]?.string ?? ""], ["node", "\(home["name"]?.string ?? "")  \(home["short"]?.string ?? "")"], ["mesh", home["mesh"]?.string ?? ""],
            ])
            if !options.quiet { Terminal.note("next: `capsule up` to run it, `capsule pack DIR` to pack an app") }
        }
    }
}

struct Up: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the node in the foreground.",
        discussion: """
            Example:
              capsule up
              capsule up --listen 192.168.1.5:7423 --no-discovery

            SIGTERM or Ctrl-C drains and stops it; apps stop with it and start again with it.
            """)
    @OptionGroup var options: GlobalOptions
    @Option(help: "Where peers reach this node (default: every address, port 7423).") var listen: String?
    @Option(help: "Where the control API listens; loopback only.") var control = "127.0.0.1:4311"
    @Option(help: "Where apps answer by their names.") var front = "127.0.0.1:8080"
    @Flag(name: .customLong("no-discovery"), help: "Neither announce this node nor look for others over mDNS.") var noDiscovery = false

    func run() async throws {
        let session = Session(options: options)
        try session.ensureHome()
        let wildcard = Files.exists("/proc/net/if_inet6") ? "::" : "0.0.0.0"
        let node = NodeOptions(
            mesh: try .init(parsing: listen ?? "", orElse: wildcard, port: 7423), control: try .init(parsing: control, host: "127.0.0.1", port: 4311),
            front: try .init(parsing: front, host: "127.0.0.1", port: 8080), discovers: !noDiscovery)
        let json = options.json
        try await NodeRunner.run(home: options.home, options: node, clock: SystemClock(), onTrouble: { Terminal.warn($0) }) { ready in
            if json {
                let document: JSONValue = [
                    "ready": true, "home": .string(ready.home), "nodeId": .string(ready.nodeID), "mesh": .string(ready.mesh),
                    "meshPort": JSONValue(ready.meshPort), "controlPort": JSONValue(ready.controlPort), "frontPort": JSONValue(ready.frontPort),
                ]
                Terminal.print(document.prettyText.trimmedNewline)
            } else {
                Terminal.print("ready: node “\(ready.name)” \(ready.shortID) — peers on port \(ready.meshPort), control on http://127.0.0.1:\(ready.controlPort), apps on http://127.0.0.1:\(ready.frontPort)")
            }
        }
    }
}

extension NodeOptions.Address {
    init(parsing text: String, orElse host: String, port: Int) throws(MeshError) {
        if text.isEmpty { self.init(host: host, port: port) } else { try self.init(parsing: text, host: host, port: port) }
    }
}

struct Status: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "What this node is, what it holds and what runs.", discussion: "Example:\n  capsule status --json")
    @OptionGroup var options: GlobalOptions

    func run() async throws {
        let session = Session(options: options)
        session.answer(try await session.call("node.status")) { status in
            func number(_ key: String) -> String { status[key]?.integer.map(String.init) ?? "–" }
            Terminal.table([
                ["node", "\(status["name"]?.string ?? "")  \(status["short"]?.string ?? "")"], ["home", status["home"]?.string ?? ""], ["mesh", status["mesh"]?.string ?? ""],
                ["roles", (status["roles"]?.array ?? []).compactMap(\.string).joined(separator: ", ")], ["running", status["running"]?.bool == true ? "yes" : "no (start it with `capsule up`)"],
                ["peers", "\(number("connected")) reachable of \(number("peers"))"], ["capsules", number("capsules")], ["facts", number("facts")], ["deployments", number("deployments")],
            ])
            if let trouble = status["trouble"] { Terminal.note("discovery: \(trouble["message"]?.string ?? "") — \(trouble["hint"]?.string ?? "")") }
        }
    }
}

struct Doctor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Look for what keeps this node from working, and say how to mend it.", discussion: "Example:\n  capsule doctor\n\nExit 0 when all is well, 69 otherwise.")
    @OptionGroup var options: GlobalOptions

    func run() async throws {
        let session = Session(options: options)
        let report = try await session.call("node.doctor", makesHome: true)
        session.answer(report) { report in
            for check in report["checks"]?.array ?? [] {
                let ok = check["ok"]?.bool == true
                Terminal.print("\(ok ? "ok  " : "FAIL") \(check["name"]?.string ?? ""): \(check["detail"]?.string ?? "")\(check["code"]?.string.map { " [\($0)]" } ?? "")")
                if !ok, let hint = check["hint"]?.string, !hint.isEmpty { Terminal.print("       \(hint)") }
            }
        }
        if report["ok"]?.bool != true { throw ExitWith(status: .unavailable) }
    }
}
