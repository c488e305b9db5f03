import Foundation
import MeshCore
import Testing

/// Two hosts by `scripts/lab`. This process stays outside of them but talks to host 1's D-Bus, and through it to host 1's
/// avahi-daemon: D-Bus is a socket in a folder, which no network namespace hides.
struct Lab: Sendable {
    /// One for the whole process: libdbus reads the bus's address once.
    static let shared = Lab(name: "discovery-\(getpid())")
    let name: String

    static let script = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "scripts/lab").path

    /// nil where a lab is possible.
    static let whyNot: String? = {
        let result = runBlocking(["check"])
        return result.status == 0 ? nil : result.errors.split(separator: "\n").last.map(String.init) ?? "SKIPPED: scripts/lab check failed"
    }()

    var bus: String { "unix:path=/tmp/oursynth-lab-\(name)/hosts/1/bus" }

    struct Result: Sendable {
        let status: Int32
        let output: String
        let errors: String
    }

    @discardableResult
    func callAsFunction(_ words: String...) async throws -> Result {
        let all = ["--name", name] + words
        let result = try await offEventLoops { () throws(MeshError) in Self.runBlocking(all) }
        if result.status != 0 { Issue.record("scripts/lab \(words) ended with \(result.status): \(result.errors)") }
        return result
    }

    /// A command that runs in host 2 until it is terminated.
    func startInHost2(_ words: String...) throws -> Process {
        let process = Process()
        process.executableURL = URL(filePath: Self.script)
        process.arguments = ["--name", name, "exec", "2", "--"] + words
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        return process
    }

    struct Instance: Hashable, Sendable {
        let `protocol`: String
        let name: String
        let host: String
        let address: String
        let port: String
        let text: Set<String>
    }

    /// What avahi-browse in host 2 resolves now. It may wait for ever for an instance that goes while it looks: so it is
    /// ended then.
    func seenByHost2() async throws -> [Instance] {
        let result = try await self("exec", "2", "--", "sh", "-c", "timeout 4 avahi-browse -rpt _oursynth._tcp; case $? in 0|124) ;; *) exit 1; esac")
        return result.output.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: ";", maxSplits: 9, omittingEmptySubsequences: false).map(String.init)
            guard fields.count == 10, fields[0] == "=" else { return nil }
            let strings = fields[9].split(separator: "\" \"").map { $0.trimmingCharacters(in: CharacterSet(charactersIn: "\"")) }
            return Instance(protocol: fields[2], name: fields[3], host: fields[6], address: fields[7], port: fields[8], text: Set(strings))
        }
    }

    /// Looks again and again until what host 2 sees is as wanted; every look waits for the network by itself.
    @discardableResult
    func host2Sees(within seconds: Int = 20, _ isWanted: ([Instance]) -> Bool) async throws -> [Instance] {
        let deadline = ContinuousClock.now + .seconds(seconds)
        var seen = try await seenByHost2()
        while !isWanted(seen), ContinuousClock.now < deadline { seen = try await seenByHost2() }
        #expect(isWanted(seen), "host 2 sees \(seen)")
        return seen
    }

    private static func runBlocking(_ arguments: [String]) -> Result {
        let process = Process(), output = Pipe(), errors = Pipe()
        process.executableURL = URL(filePath: script)
        process.arguments = arguments
        process.standardOutput = output
        process.standardError = errors
        do { try process.run() } catch { return Result(status: -1, output: "", errors: "\(error)") }
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        let complaints = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return Result(status: process.terminationStatus, output: text, errors: complaints)
    }
}

/// The lab is up while the suite runs.
struct LabTrait: SuiteTrait, TestScoping {
    func provideScope(for test: Test, testCase: Test.Case?, performing body: @Sendable () async throws -> Void) async throws {
        setenv("DBUS_SYSTEM_BUS_ADDRESS", Lab.shared.bus, 1)
        do {
            try await Lab.shared("2")
            try await body()
        } catch {
            try await Lab.shared("down")
            throw error
        }
        try await Lab.shared("down")
    }
}

extension Trait where Self == LabTrait {
    static var lab: LabTrait { LabTrait() }
}
