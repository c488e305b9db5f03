import Foundation
import TestSupport

/// Several hosts on one machine (`scripts/lab`), torn down when the value goes.
final class Lab: Sendable {
    let name: String
    /// Why there can be no lab here; nil where there can.
    static let missing: String? = {
        if getuid() != 0 { return "SKIPPED: network namespaces need root" }
        for program in ["ip", "dbus-daemon", "avahi-daemon", "nsenter"] where !Shell.has(program) { return "SKIPPED: \(program) is not installed" }
        return nil
    }()

    init(_ name: String, hosts: Int) throws {
        self.name = "\(name)-\(getpid())"
        try command("\(hosts)")
    }

    deinit { _ = try? Shell.run(Shell.repository + "/scripts/lab", ["--name", name, "down"]) }

    @discardableResult
    func command(_ arguments: String...) throws -> CommandResult {
        let result = try Shell.run(Shell.repository + "/scripts/lab", ["--name", name] + arguments)
        guard result.succeeded else { throw ShellError(description: "lab \(arguments): \(result.error)") }
        return result
    }

    /// A command in a host, whatever it ends with.
    @discardableResult
    func exec(_ host: Int, _ arguments: [String], input: String = "", timeout: TimeInterval = 180) throws -> CommandResult {
        try Shell.run(Shell.repository + "/scripts/lab", ["--name", name, "exec", "\(host)", "--"] + arguments, input: input, timeout: timeout)
    }

    /// `capsule --json …` in a host; a failure is thrown with what was said.
    func capsule(_ host: Int, _ arguments: String..., input: String = "") throws -> Any {
        let result = try exec(host, [Shell.capsule, "--json"] + arguments, input: input)
        guard result.succeeded else { throw ShellError(description: "host \(host) \(arguments): exit \(result.status)\n\(result.output)\(result.error)") }
        return try JSONSerialization.jsonObject(with: Data(result.output.utf8))
    }

    func text(_ host: Int, _ key: String, _ arguments: String...) throws -> String {
        let result = try exec(host, [Shell.capsule, "--json"] + arguments)
        guard result.succeeded, let value = try result.json()[key] as? String else { throw ShellError(description: "host \(host) \(arguments): exit \(result.status)\n\(result.output)\(result.error)") }
        return value
    }

    /// `capsule up` in a host, ready.
    func up(_ host: Int, _ arguments: [String] = []) throws -> LabNode {
        try exec(host, [Shell.capsule, "--quiet", "init", "--name", "lab\(host)"])
        return try LabNode(self, host, arguments)
    }

    /// Asks again until the answer is there; at most `seconds`.
    @discardableResult
    func eventually<T>(within seconds: TimeInterval = 30, _ what: String, _ ask: () throws -> T?) throws -> T {
        let end = Date().addingTimeInterval(seconds)
        var last: (any Error)?
        repeat {
            do { if let answer = try ask() { return answer } } catch { last = error }
            // Each question is a process of its own: the loop is paced by it, not by a timer.
        } while Date() < end
        throw ShellError(description: "\(what) did not happen within \(Int(seconds)) s\(last.map { "; last: \($0)" } ?? "")")
    }
}

final class LabNode: Sendable {
    private let process = Process()

    init(_ lab: Lab, _ host: Int, _ arguments: [String]) throws {
        process.executableURL = URL(fileURLWithPath: Shell.repository + "/scripts/lab")
        process.arguments = ["--name", lab.name, "exec", "\(host)", "--", Shell.capsule, "--json", "up"] + arguments
        let out = Pipe()
        process.standardOutput = out
        process.standardError = FileHandle(forWritingAtPath: "/dev/null")
        try process.run()
        var text = Data()
        while (try? JSONSerialization.jsonObject(with: text)) == nil {
            let more = out.fileHandleForReading.availableData
            guard !more.isEmpty else { throw ShellError(description: "host \(host): the node did not start: \(String(decoding: text, as: UTF8.self))") }
            text += more
        }
    }

    var pid: Int32 { process.processIdentifier }

    func kill() {
        Foundation.kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }

    func stop() -> Int32 {
        process.terminate()
        process.waitUntilExit()
        return process.terminationStatus
    }

    deinit { if process.isRunning { Foundation.kill(process.processIdentifier, SIGKILL) } }
}
