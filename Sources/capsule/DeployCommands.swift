internal import ArgumentParser
internal import MeshCore

struct Build: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Replay a capsule's manifest in the sandbox.",
        discussion: "Example:\n  capsule build shop@1.2.0\n\nPrints the digest of the output: the same capsule and toolchain give the same one everywhere.")
    @OptionGroup var options: GlobalOptions
    @Argument(help: "A .caps file, a name or a digest.") var ref: String
    @Flag(help: "Go on although nobody trusted signed it.") var untrusted = false

    func run() async throws {
        let session = Session(options: options)
        session.answer(try await session.call("build.run", ["ref": Session.reference(ref), "untrusted": untrusted ? true : nil])) { result in
            Terminal.print("output \(result["output"]?.string ?? "")")
            if !options.quiet { Terminal.note(result["cached"]?.bool == true ? "an earlier replay of the same input answered" : "built in \(result["milliseconds"]?.integer ?? 0) ms; log: \(result["log"]?.string ?? "")") }
        }
    }
}

struct Deploy: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Fetch, verify, build, start and switch to a capsule.",
        discussion: "Example:\n  capsule deploy shop@1.2.0 --env staging\n\nThe old version runs on until the new one is healthy. Needs a running node (`capsule up`).")
    @OptionGroup var options: GlobalOptions
    @Argument(help: "A .caps file, a name or a digest.") var ref: String
    @Option(help: "dev, staging or prod.") var env: String
    @Option(help: "Name of the app; the capsule's name unless given.") var app: String?

    func run() async throws {
        let session = Session(options: options)
        session.answer(try await session.call("deploy.create", ["ref": Session.reference(ref), "env": .string(env), "app": app.map(JSONValue.string)])) { run in
            Terminal.print("\(run["app"]?.string ?? "") \(run["env"]?.string ?? "") generation \(run["generation"]?.integer ?? 0): \(run["state"]?.string ?? "")" + (run["url"]?.string.map { "  \($0)" } ?? ""))
        }
    }
}

struct Processes: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "ps", abstract: "What runs here.", discussion: "Example:\n  capsule ps")
    @OptionGroup var options: GlobalOptions

    func run() async throws {
        let session = Session(options: options)
        session.answer(try await session.call("deploy.status")) { runs in
            Terminal.table((runs.array ?? []).map { run in
                [run["app"]?.string ?? "", run["env"]?.string ?? "", run["state"]?.string ?? "", "generation \(run["generation"]?.integer ?? 0)", String((run["capsule"]?.string ?? "").prefix(19)), run["url"]?.string ?? ""]
            })
        }
    }
}

struct Logs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "The last lines that an app wrote.", discussion: "Example:\n  capsule logs shop --env staging --lines 50")
    @OptionGroup var options: GlobalOptions
    @Argument(help: "Name of the app.") var app: String
    @Option(help: "dev, staging or prod.") var env: String
    @Option(help: "How many lines.") var lines = 200

    func run() async throws {
        let session = Session(options: options)
        session.answer(try await session.call("deploy.logs", ["app": .string(app), "env": .string(env), "lines": JSONValue(lines)])) { answer in
            for line in answer["lines"]?.array ?? [] { Terminal.print(line.string ?? "") }
        }
    }
}

struct Rollback: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Switch to an earlier generation.", discussion: "Example:\n  capsule rollback shop --env staging --to 3")
    @OptionGroup var options: GlobalOptions
    @Argument(help: "Name of the app.") var app: String
    @Option(help: "dev, staging or prod.") var env: String
    @Option(help: "Generation; the one before the current unless given.") var to: Int?

    func run() async throws {
        let session = Session(options: options)
        session.answer(try await session.call("deploy.rollback", ["app": .string(app), "env": .string(env), "to": to.map { JSONValue($0) }])) { run in
            Terminal.print("\(run["app"]?.string ?? "") \(run["env"]?.string ?? "") is at generation \(run["generation"]?.integer ?? 0): \(run["state"]?.string ?? "")")
        }
    }
}

struct Stop: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Stop an app; its data and generations stay.", discussion: "Example:\n  capsule stop shop --env dev")
    @OptionGroup var options: GlobalOptions
    @Argument(help: "Name of the app.") var app: String
    @Option(help: "dev, staging or prod.") var env: String

    func run() async throws {
        let session = Session(options: options)
        session.answer(try await session.call("deploy.stop", ["app": .string(app), "env": .string(env)])) { Terminal.print("\($0["app"]?.string ?? "") \($0["env"]?.string ?? ""): \($0["state"]?.string ?? "")") }
    }
}
