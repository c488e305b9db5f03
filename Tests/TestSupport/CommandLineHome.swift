public import Foundation
internal import Glibc

/// A home of its own and the `capsule` program run on it.
public final class CommandLineHome: Sendable {
    public let folder: TemporaryFolder
    public let path: String

    public init(_ name: String = "home") throws {
        folder = try TemporaryFolder("capsule-\(name)")
        path = folder.path + "/home"
    }

    @discardableResult
    public func run(_ arguments: String..., input: String = "", environment: [String: String] = [:], timeout: TimeInterval = 300) throws -> CommandResult {
        try Shell.run(Shell.capsule, arguments, input: input, environment: environment.merging(["CAPSULE_HOME": path]) { a, _ in a }, directory: folder.path, timeout: timeout)
    }

    /// Runs with `--json` and gives the document; a failure is thrown with what was said.
    public func json(_ arguments: String..., input: String = "") throws -> [String: Any] {
        let result = try Shell.run(Shell.capsule, ["--json"] + arguments, input: input, environment: ["CAPSULE_HOME": path], directory: folder.path)
        guard result.succeeded else { throw ShellError(description: "\(arguments): exit \(result.status)\n\(result.output)\(result.error)") }
        return try result.json()
    }

    public func list(_ arguments: String...) throws -> [[String: Any]] {
        let result = try Shell.run(Shell.capsule, ["--json"] + arguments, environment: ["CAPSULE_HOME": path], directory: folder.path)
        guard result.succeeded, let rows = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [[String: Any]] else {
            throw ShellError(description: "\(arguments): exit \(result.status)\n\(result.output)\(result.error)")
        }
        return rows
    }

    /// A small app whose build step copies a page; `files` are added to it.
    public func writeApp(_ name: String = "note", version: String = "1.0.0", manifest: String? = nil, files: [String: String] = [:], folder app: String? = nil) throws -> String {
        let app = app ?? name
        try folder.write(manifest ?? Self.manifest(name, version), to: "\(app)/capsule.json")
        try folder.write("hello from \(name) \(version)\n", to: "\(app)/page.txt")
        for (path, text) in files { try folder.write(text, to: "\(app)/\(path)") }
        return folder.path + "/" + app
    }

    public static func manifest(_ name: String, _ version: String, steps: [String] = ["mkdir -p out", "cp page.txt out/index.html"]) -> String {
        let list = steps.map { "\"" + $0.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\"" }.joined(separator: ", ")
        return """
            {"id": "urn:oursynth:app:\(name)@\(version)", "name": "\(name)", "version": "\(version)", "app": {"framework": "plain"},
             "build": {"steps": [\(list)], "outDir": "out"}, "run": {"static": true}}
            """
    }
}

/// `capsule up` in a home, stopped when the value goes.
public final class RunningNode: Sendable {
    public let home: CommandLineHome
    public let ready: [String: Int]
    private let process: Process

    public init(_ home: CommandLineHome, arguments: [String] = ["--no-discovery"], environment: [String: String] = [:]) throws {
        self.home = home
        process = Process()
        process.executableURL = URL(fileURLWithPath: Shell.capsule)
        process.arguments = ["--json", "up", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--front", "127.0.0.1:0"] + arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { _, new in new }.merging(["CAPSULE_HOME": home.path]) { _, new in new }
        let out = Pipe()
        process.standardOutput = out
        process.standardError = FileHandle(forWritingAtPath: "/dev/null")
        try process.run()
        var text = Data(), document: [String: Any]?
        while document == nil {
            let more = out.fileHandleForReading.availableData
            guard !more.isEmpty else { throw ShellError(description: "the node did not start: \(String(decoding: text, as: UTF8.self))") }
            text += more
            document = try? JSONSerialization.jsonObject(with: text) as? [String: Any]
        }
        ready = (document ?? [:]).compactMapValues { $0 as? Int }
    }

    public var pid: Int32 { process.processIdentifier }

    public func kill() {
        Glibc.kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }

    /// SIGTERM, and the exit status that it ends with.
    @discardableResult
    public func stop() -> Int32 {
        if process.isRunning { process.terminate() }
        process.waitUntilExit()
        return process.terminationStatus
    }

    deinit { if process.isRunning { Glibc.kill(process.processIdentifier, SIGKILL) } }
}
