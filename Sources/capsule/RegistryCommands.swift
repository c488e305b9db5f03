internal import Actions
internal import ArgumentParser
internal import Control
internal import Glibc
internal import MeshCore
internal import Node

struct Tools: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Every action with its schemas, as GET /oai/tools gives them.", discussion: "Example:\n  capsule tools --json | jq '.tools[].name'")
    @OptionGroup var options: GlobalOptions

    func run() async throws {
        let session = Session(options: options)
        session.answer(ActionRegistry.standard.toolsDocument) { document in
            Terminal.table((document["tools"]?.array ?? []).map { [$0["name"]?.string ?? "", $0["scopes"]?[0]?.string ?? "", $0["description"]?.string ?? ""] })
        }
    }
}

struct Act: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Do any action, with its parameters as JSON.", discussion: "Example:\n  capsule act capsule.list '{\"mesh\": true}'\n\nWith - the parameters come from standard input.")
    @OptionGroup var options: GlobalOptions
    @Argument(help: "The action's name.") var action: String
    @Argument(help: "Its parameters.") var params = "{}"

    func run() async throws {
        let text = params == "-" ? readAll() : Array(params.utf8)
        guard let object = try JSONValue.parse(text).object else { throw MeshError(.paramsInvalid, "the parameters must be a JSON object") }
        let session = Session(options: options)
        Terminal.print(try await session.call(action, object.mapValues { $0 }).prettyText.trimmedNewline)
    }

    private func readAll() -> [UInt8] {
        var out: [UInt8] = [], buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(0, &buffer, buffer.count)
            guard count > 0, out.count <= Limits.controlMessageBytesMax else { return out }
            out.append(contentsOf: buffer[..<count])
        }
    }
}

struct Events: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "What happened on this node, one JSON object a line.", discussion: "Example:\n  capsule events -f --type deploy.committed")
    @OptionGroup var options: GlobalOptions
    @Flag(name: .shortAndLong, help: "Go on as things happen; needs a running node.") var follow = false
    @Option(help: "Only this type; repeat for more.") var type: [String] = []

    func run() async throws {
        if follow {
            let path = "/oai/events" + (type.isEmpty ? "" : "?types=\(type.joined(separator: ","))")
            try await ControlClient(home: options.home).stream(path) { Terminal.print($0.canonicalText) }
            return
        }
        for event in try EventLog.recent(in: options.home) where type.isEmpty || type.contains(event.type) { Terminal.print(event.document.canonicalText) }
    }
}
