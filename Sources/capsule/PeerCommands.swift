internal import ArgumentParser
internal import MeshCore

struct Peers: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "The neighbours of this node, and why one cannot be reached.", subcommands: [ListPeers.self, Add.self, Forget.self], defaultSubcommand: ListPeers.self)

    struct ListPeers: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "list", abstract: "The neighbours.", discussion: "Example:\n  capsule peers")
        @OptionGroup var options: GlobalOptions

        func run() async throws {
            let session = Session(options: options)
            session.answer(try await session.call("peers.list")) { peers in
                Terminal.table((peers.array ?? []).map { peer in
                    [peer["name"]?.string ?? "?", String((peer["nodeId"]?.string ?? "").prefix(16)), peer["state"]?.string ?? "", (peer["via"]?.array ?? []).compactMap(\.string).joined(separator: ","),
                     (peer["addresses"]?.array ?? []).compactMap(\.string).joined(separator: " "), peer["why"]?.string ?? ""]
                })
            }
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Write down a peer's address.", discussion: "Example:\n  capsule peers add 10.1.2.3:7423")
        @OptionGroup var options: GlobalOptions
        @Argument(help: "HOST:PORT, numeric.") var address: String
        @Option(help: "Its key id, if known.") var nodeId: String?

        func run() async throws {
            let session = Session(options: options)
            session.answer(try await session.call("peers.add", ["address": .string(address), "nodeId": nodeId.map(JSONValue.string)])) { Terminal.print("added \($0["address"]?.string ?? "")") }
        }
    }

    struct Forget: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove a written peer.", discussion: "Example:\n  capsule peers forget 10.1.2.3:7423")
        @OptionGroup var options: GlobalOptions
        @Argument(help: "HOST:PORT or key id.") var id: String

        func run() async throws {
            let session = Session(options: options)
            session.answer(try await session.call("peers.forget", ["address": .string(id)])) { Terminal.print("forgot \($0["forgotten"]?.integer ?? 0)") }
        }
    }
}

struct Invite: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a one-time invitation to this mesh.",
        discussion: "Example:\n  capsule invite --role grantor | ssh other-host capsule join\n\nOnly this node redeems it, once, within 24 hours.")
    @OptionGroup var options: GlobalOptions
    @Option(help: "A role besides member; repeat for more. Unless given: publisher of its own names.") var role: [String] = []
    @Option(help: "Name glob that the newcomer may release; repeat for more.") var scope: [String] = []

    func run() async throws {
        let session = Session(options: options)
        let params: [String: JSONValue?] = ["roles": role.isEmpty ? nil : .array(role.map(JSONValue.string)), "scope": scope.isEmpty ? nil : .array(scope.map(JSONValue.string))]
        session.answer(try await session.call("peers.invite", params)) { answer in
            Terminal.print(answer["invitation"]?.string ?? "")
            if !options.quiet { Terminal.note("give this text to one person; on the other machine: `capsule join`") }
        }
    }
}

struct Join: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Join the mesh that an invitation is for (read from standard input).",
        discussion: "Example:\n  capsule join < invitation.txt\n\nThe invitation is a secret: it is never an argument, where other users could see it.")
    @OptionGroup var options: GlobalOptions

    func run() async throws {
        let session = Session(options: options)
        try session.ensureHome()
        let text = try Session.secret(prompt: "invitation: ")
        session.answer(try await session.call("peers.join", ["invitation": .string(text)])) { answer in
            Terminal.print("joined mesh \(answer["mesh"]?.string ?? "") as \((answer["roles"]?.array ?? []).compactMap(\.string).joined(separator: ", "))")
        }
    }
}

struct Sync: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Exchange facts with peers now.", discussion: "Example:\n  capsule sync")
    @OptionGroup var options: GlobalOptions
    @Argument(help: "Key id of the only peer to ask.") var id: String?

    func run() async throws {
        let session = Session(options: options)
        session.answer(try await session.call("peers.sync", ["nodeId": id.map(JSONValue.string)])) { Terminal.print("\($0["received"]?.integer ?? 0) new facts, \($0["facts"]?.integer ?? 0) in all") }
    }
}
