import Foundation
import TestSupport
import Testing

/// Crashes, power cuts and full disks at a few of the points at which an operation changes files, and some bytes that went bad.
/// `scripts/crash-matrix` and `scripts/bit-rot` without arguments try all points, and 200 bytes.
@Suite(.serialized) struct CrashMatrixTests {
    static let missing: String? = ["gcc", "python3"].first { !Shell.has($0) }.map { "SKIPPED: \($0) is not installed" }

    static func run(_ script: String, _ arguments: String...) throws -> CommandResult {
        // What a sync does is played by the tools; a real one would only take its time.
        let memory = FileManager.default.isWritableFile(atPath: "/dev/shm") ? ["--work", "/dev/shm"] : []
        let result = try Shell.run(Shell.repository + "/scripts/" + script, memory + arguments, environment: ["PROGRAM": Shell.capsule], timeout: 600)
        print(result.output)
        return result
    }

    @Test(.enabled(if: missing == nil, Comment(rawValue: missing ?? "")))
    func someFaultsOfEachOperation() throws {
        let result = try Self.run("crash-matrix", "--every", "100")
        #expect(result.succeeded, "\(result.output)\(result.error)")
        let rows = result.output.split(separator: "\n").compactMap { $0.firstMatch(of: #/^(\S.*?) +(\d+) points, +(\d+) runs/#) }
        for operation in ["pack", "pack changed", "import", "export", "release", "unpack", "rebuild", "repair"] {
            let row = try #require(rows.first { $0.1 == operation }, "\(operation) was not tried")
            #expect((Int(row.2) ?? 0) > 40 && (Int(row.3) ?? 0) >= 4, "\(row.0)")
        }
    }

    /// A call that the tool did not see would be a point that is never tried.
    @Test(.enabled(if: missing == nil && Shell.has("strace"), Comment(rawValue: missing ?? "SKIPPED: strace is not installed")))
    func noCallIsOverlooked() throws {
        let result = try Self.run("crash-matrix", "--coverage")
        #expect(result.succeeded, "\(result.output)\(result.error)")
        #expect(result.output.split(separator: "\n").count { $0.contains("strace saw") } >= 8)
    }

    @Test(.enabled(if: Shell.has("python3"), "SKIPPED: python3 is not installed"))
    func someBytesThatWentBad() throws {
        let result = try Self.run("bit-rot", "--flips", "20")
        #expect(result.succeeded, "\(result.output)\(result.error)")
        #expect(result.output.contains("20 flips, "))
    }
}
