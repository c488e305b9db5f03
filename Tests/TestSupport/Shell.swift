public import Foundation
internal import Glibc
internal import Synchronization

/// A finished command: its exit status and what it wrote.
public struct CommandResult: Sendable {
    public let status: Int32
    public let output: String
    public let error: String

    public var succeeded: Bool { status == 0 }
    public var trimmed: String { output.trimmingCharacters(in: .whitespacesAndNewlines) }

    /// The JSON document on standard output.
    public func json() throws -> [String: Any] {
        guard let object = try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any] else { throw ShellError(description: "no JSON object: \(output)") }
        return object
    }
}

public struct ShellError: Error, CustomStringConvertible {
    public let description: String
    public init(description: String) { self.description = description }
}

/// Runs real programs, as a user would.
public enum Shell {
    /// The repository that these tests belong to.
    public static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path

    /// The `capsule` program that was built with the tests.
    public static let capsule: String = {
        let executable = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        // swift test runs a bundle beside the products, or a runner of the toolchain that is given the bundle's path.
        let candidates = [executable] + CommandLine.arguments
        for candidate in candidates {
            let folder = URL(fileURLWithPath: candidate).deletingLastPathComponent().path
            if FileManager.default.isExecutableFile(atPath: folder + "/capsule") { return folder + "/capsule" }
        }
        return repository + "/.build/debug/capsule"
    }()

    @discardableResult
    public static func run(_ program: String, _ arguments: [String], input: String = "", environment: [String: String] = [:], directory: String? = nil,
                           timeout: TimeInterval = 300) throws -> CommandResult {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program.hasPrefix("/") ? program : try which(program))
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { _, new in new }
        if let directory { process.currentDirectoryURL = URL(fileURLWithPath: directory) }
        let out = Pipe(), err = Pipe(), stdin = Pipe()
        process.standardOutput = out
        process.standardError = err
        process.standardInput = stdin
        let output = Mutex(Data()), error = Mutex(Data())
        let group = DispatchGroup()
        for (pipe, isError) in [(out, false), (err, true)] {
            group.enter()
            let handle = pipe.fileHandleForReading
            DispatchQueue.global().async {
                let data = handle.readDataToEndOfFile()
                if isError { error.withLock { $0 = data } } else { output.withLock { $0 = data } }
                group.leave()
            }
        }
        try process.run()
        signal(SIGPIPE, SIG_IGN)
        try? stdin.fileHandleForWriting.write(contentsOf: Data(input.utf8))
        try? stdin.fileHandleForWriting.close()
        let pid = process.processIdentifier
        let watchdog = DispatchWorkItem { kill(pid, SIGKILL) }
        DispatchQueue.global().asyncAfter(deadline: .now() + timeout, execute: watchdog)
        process.waitUntilExit()
        watchdog.cancel()
        group.wait()
        let status = process.terminationReason == .uncaughtSignal ? 128 + process.terminationStatus : process.terminationStatus
        return CommandResult(status: status, output: String(decoding: output.withLock { $0 }, as: UTF8.self), error: String(decoding: error.withLock { $0 }, as: UTF8.self))
    }

    /// A line of shell.
    @discardableResult
    public static func sh(_ line: String, environment: [String: String] = [:], directory: String? = nil) throws -> CommandResult {
        try run("/bin/sh", ["-c", line], environment: environment, directory: directory)
    }

    public static func which(_ program: String) throws -> String {
        for folder in (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin").split(separator: ":") {
            let path = "\(folder)/\(program)"
            if FileManager.default.isExecutableFile(atPath: path) { return path }
        }
        for folder in ["/usr/sbin", "/sbin"] where FileManager.default.isExecutableFile(atPath: "\(folder)/\(program)") { return "\(folder)/\(program)" }
        throw ShellError(description: "\(program) is not installed")
    }

    public static func has(_ program: String) -> Bool { (try? which(program)) != nil }
}

/// A folder of its own, removed when the value goes.
public final class TemporaryFolder: Sendable {
    public let path: String

    public init(_ name: String = "capsule-test") throws {
        let template = "/tmp/\(name)-XXXXXX"
        var bytes = Array(template.utf8CString)
        guard mkdtemp(&bytes) != nil else { throw ShellError(description: "no temporary folder") }
        path = String(decoding: bytes.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    public func write(_ text: String, to name: String, mode: Int? = nil) throws {
        let full = path + "/" + name
        try FileManager.default.createDirectory(atPath: URL(fileURLWithPath: full).deletingLastPathComponent().path, withIntermediateDirectories: true)
        try Data(text.utf8).write(to: URL(fileURLWithPath: full))
        if let mode { chmod(full, mode_t(mode)) }
    }

    public func read(_ name: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: path + "/" + name)) }

    deinit { _ = try? Shell.run("/bin/rm", ["-rf", path]) }
}
