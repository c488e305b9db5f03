import Actions
import Foundation
import MeshCore
import TestSupport
import Testing

/// Some 450 broken and hostile files, each wrong in one way, from a writer that shares no code with the program
/// (`Tests/Judges/broken.py`): through verify, unpack and import, and past the second reader.
@Suite(.serialized) struct BrokenCapsulesTests {
    private struct Case {
        let file: String
        let kind: String
        /// Empty for files that are whole.
        let codes: [String]
    }

    private static func write(_ folder: TemporaryFolder) throws -> [Case] {
        let made = try Shell.run("python3", ["\(Shell.repository)/Tests/Judges/broken.py", folder.path + "/set"], timeout: 600)
        try #require(made.succeeded, "\(made.error)")
        let list = try #require(try JSONSerialization.jsonObject(with: Data(try folder.read("set/expected.json"))) as? [String: [String: Any]])
        return list.map { Case(file: $0, kind: $1["class"] as? String ?? "", codes: $1["codes"] as? [String] ?? []) }.sorted { $0.file < $1.file }
    }

    static let missing: String? = ["python3", "zstd", "openssl"].first { !Shell.has($0) }.map { "SKIPPED: \($0) is not installed" }

    @Test(.enabled(if: missing == nil, Comment(rawValue: missing ?? "")), .timeLimit(.minutes(20)))
    func eachIsRefusedAndLeavesNothing() async throws {
        let folder = try TemporaryFolder("broken"), home = HomeLayout(path: folder.path + "/home"), out = folder.path + "/out"
        let cases = try Self.write(folder)
        #expect(cases.count { !$0.codes.isEmpty } >= 400 && Set(cases.map(\.kind)).count >= 15)
        _ = try HomeSetup.create(home, name: "judge", clock: SystemClock())
        let parts = try HomeWalkTests.open(home), registry = ActionRegistry.standard
        let context = ActionContext(parts: parts, emit: { _ in })

        func refusal(_ action: String, _ params: JSONValue) async throws -> MeshError? {
            do throws(MeshError) {
                _ = try await registry.call(try registry.action(action), params, context: context)
                return nil
            } catch { return error }
        }
        func listed() async throws -> [JSONValue] {
            try await registry.call(try registry.action("capsule.list"), [:], context: context).array?.compactMap { $0["digest"] } ?? []
        }
        for item in cases {
            let path = JSONValue.string("\(folder.path)/set/\(item.file)")
            var verbs: [(String, JSONValue)] = [("capsule.verify", ["ref": path])]
            // What is large takes its time in a debug build; who reads it is the same in each verb.
            if item.kind != "size" { verbs += [("capsule.unpack", ["ref": path, "directory": .string(out), "untrusted": true]), ("capsule.import", ["paths": .array([path])])] }
            for (verb, params) in verbs {
                let error = try await refusal(verb, params)
                if item.codes.isEmpty {
                    // They are one capsule with more and more said about it.
                    for digest in try await listed() { _ = try await registry.call(try registry.action("capsule.remove"), ["refs": [digest]], context: context) }
                    #expect(error == nil, "\(verb) \(item.file): \(String(describing: error))")
                } else {
                    #expect(error.map { item.codes.contains($0.code.name) && $0.code.exit == .badData } ?? false, "\(verb) \(item.file): \(error.map { "\($0.code.name) \($0.message)" } ?? "taken")")
                    #expect(!Files.exists(out), "\(verb) \(item.file) left files")
                }
                try Files.removeTree(out)
            }
        }
        let whole = cases.count { $0.codes.isEmpty }
        #expect(try await listed().isEmpty, "nothing but what is whole was ever listed")
        let fsck = try await registry.call(try registry.action("store.fsck"), ["read": true], context: context)
        #expect(fsck["ok"]?.bool == true)
        print("broken capsules: \(cases.count - whole) refused, \(whole) whole ones taken")
    }

    /// Written from docs/formats alone; what the program refuses, it refuses, and what the program writes, it reads.
    @Test(.enabled(if: missing == nil && ProcessInfo.processInfo.environment["CAPSULE_JUDGES"] != nil, "SKIPPED: scripts/test installs the Python judges"))
    func theSecondReaderAgrees() throws {
        let python = ProcessInfo.processInfo.environment["CAPSULE_JUDGES"] ?? ""
        let folder = try TemporaryFolder("reader"), reader = Shell.repository + "/Tests/Judges/reader.py"
        #expect(try String(contentsOfFile: reader, encoding: .utf8).split(separator: "\n", omittingEmptySubsequences: false).count <= 301)
        let cases = try Self.write(folder).filter { $0.file.hasSuffix(".caps") }
        let verdicts = try Shell.run("/bin/sh", ["-c", "cd '\(folder.path)/set' && ls *.caps | xargs -P 2 -I{} sh -c '\(python) \(reader) {} >/dev/null 2>&1; echo {} $?'"], timeout: 900)
        var status: [String: String] = [:]
        for line in verdicts.output.split(separator: "\n") {
            let words = line.split(separator: " ").map(String.init)
            if words.count == 2 { status[words[0]] = words[1] }
        }
        for item in cases { #expect(status[item.file] == (item.codes.isEmpty ? "0" : "65"), "\(item.file)") }
        print("second reader: \(cases.count) files")
    }
}
