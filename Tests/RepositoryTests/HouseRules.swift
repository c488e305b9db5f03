import Foundation
import TestSupport
import Testing

/// The rules of the house, as checks with reasons.
@Suite struct HouseRules {
    struct Source {
        let path: String
        let lines: [String]
        var text: String { lines.joined(separator: "\n") }
    }

    static func files(_ folders: [String], ending: String) throws -> [Source] {
        try Shell.run("git", ["ls-files", "--cached", "--others", "--exclude-standard"] + folders, directory: Shell.repository).output
            .split(separator: "\n").map(String.init).filter { $0.hasSuffix(ending) && FileManager.default.fileExists(atPath: Shell.repository + "/" + $0) }
            .map { Source(path: $0, lines: try String(contentsOfFile: Shell.repository + "/" + $0, encoding: .utf8).components(separatedBy: "\n")) }
    }

    static func table(_ path: String) throws -> [[String]] {
        try String(contentsOfFile: Shell.repository + "/" + path, encoding: .utf8).components(separatedBy: "\n").filter { $0.hasPrefix("| ") }
            .map { $0.split(separator: "|", omittingEmptySubsequences: false).dropFirst().dropLast().map { $0.trimmingCharacters(in: .whitespaces) } }
    }

    /// A room that reaches upwards or sideways cannot be read, tested or replaced by itself.
    @Test func importsFollowTheFloors() throws {
        let rows = try Self.table("docs/architecture.md").filter { Int($0[0]) != nil }
        let floors = Dictionary(uniqueKeysWithValues: rows.map { ($0[1], Int($0[0]) ?? 0) })
        let libraries = Dictionary(uniqueKeysWithValues: rows.map { ($0[1], Set($0[3].components(separatedBy: ", "))) })
        let everywhere: Set<String> = ["Glibc", "Dispatch", "Synchronization", "FoundationEssentials"]
        var seen = Set<String>()
        for file in try Self.files(["Sources"], ending: ".swift") {
            let room = file.path.components(separatedBy: "/")[1]
            let floor = try #require(floors[room], "\(room) is not in docs/architecture.md")
            seen.insert(room)
            for line in file.lines {
                guard let match = line.firstMatch(of: #/^(?:public |internal |package |private |fileprivate |@preconcurrency )*import (?:struct |enum |func )?(\w+)/#) else { continue }
                let module = String(match.1)
                if everywhere.contains(module) || libraries[room]?.contains(module) == true { continue }
                #expect(floors[module].map { $0 < floor } ?? false, "\(file.path) imports \(module)")
            }
        }
        #expect(seen == Set(floors.keys))
    }

    /// What a peer sends must never end the process, and unfinished work is not shipped.
    @Test func nothingCrashesOnInputOrIsLeftUnfinished() throws {
        for file in try Self.files(["Sources"], ending: ".swift") {
            for (number, line) in file.lines.enumerated() where !line.contains("// proof:") {
                for word in ["try!", "fatalError(", "preconditionFailure(", " as! ", "TODO", "FIXME", "XXX"] {
                    #expect(!line.contains(word), "\(file.path):\(number + 1) has \(word)")
                }
            }
            for (number, line) in file.lines.enumerated() where line.contains("@unchecked Sendable") || line.contains("nonisolated(unsafe)") {
                let near = file.lines[max(0, number - 3)...number].joined()
                #expect(near.contains("proof:"), "\(file.path):\(number + 1) is unchecked without a stated proof")
            }
        }
    }

    /// A file past 500 lines has a second concern (the aim is 400).
    @Test func filesHoldOneConcern() throws {
        for file in try Self.files(["Sources", "Tests"], ending: ".swift") { #expect(file.lines.count <= 500, "\(file.path) has \(file.lines.count) lines") }
    }

    /// Whoever reads a code in an error must find it explained, with its exit status.
    @Test func everyErrorCodeIsDocumented() throws {
        var declared: [String: String] = [:]
        for file in try Self.files(["Sources"], ending: ".swift") {
            for match in file.text.matches(of: #/ErrorCode\(\s*"(\w+)",\s*\.(\w+)\)/#) {
                let (name, exit) = (String(match.1), String(match.2))
                #expect(declared[name] == nil || declared[name] == exit, "\(name) has two exit statuses")
                #expect(declared[name] == nil, "\(name) is declared twice, the second time in \(file.path)")
                declared[name] = exit
            }
        }
        let numbers = ["usage": "64", "badData": "65", "unavailable": "69", "cannotCreate": "73", "tryAgain": "75", "notPermitted": "77", "badConfiguration": "78"]
        let documented = Dictionary(try Self.table("docs/errors.md").filter { $0[0].hasPrefix("`") }.map { ($0[0].replacing("`", with: ""), $0[1]) }, uniquingKeysWith: { a, _ in a })
        for (name, exit) in declared.sorted(by: { $0.key < $1.key }) { #expect(documented[name] == numbers[exit], "\(name) (exit \(numbers[exit] ?? exit)) in docs/errors.md") }
        for name in documented.keys.sorted() { #expect(declared[name] != nil, "docs/errors.md explains \(name), which no code throws") }
        #expect(declared.count > 50)
    }

    /// A document that names what is not there misleads.
    @Test func documentsNameOnlyWhatExists() throws {
        for file in try Self.files(["."], ending: ".md") {
            let folder = URL(fileURLWithPath: Shell.repository + "/" + file.path).deletingLastPathComponent()
            for match in file.text.matches(of: #/\]\(([^)#\s]+)(?:#[^)]*)?\)/#) where !match.1.contains("://") {
                #expect(FileManager.default.fileExists(atPath: folder.appendingPathComponent(String(match.1)).path), "\(file.path) links to \(match.1)")
            }
            for match in file.text.matches(of: #/`((?:Sources|Tests|scripts|docs|capsules)/[\w./+-]+)`/#) {
                #expect(FileManager.default.fileExists(atPath: Shell.repository + "/" + String(match.1)), "\(file.path) names \(match.1)")
            }
        }
    }
}
