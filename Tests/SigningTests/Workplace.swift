import Foundation
import MeshCore
import Signing
import Testing

/// A folder of its own for one test, removed with it.
final class Folder: Sendable {
    let path: String

    init() throws {
        path = "/tmp/signing-tests-\(UUID().uuidString)"
        try Files.makeDirectory(path, mode: 0o700)
    }

    deinit { try? Files.removeTree(path) }

    func write(_ text: String, to name: String, mode: UInt32 = 0o600) throws -> String {
        try Files.writeDurably(Array(text.utf8), to: path + "/" + name, mode: mode)
        return path + "/" + name
    }
}

/// Runs openssl, the outside judge of key files; its standard output.
func openssl(_ arguments: String...) throws -> String {
    let process = Process(), pipe = Pipe()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["openssl"] + arguments
    process.standardOutput = pipe
    process.standardError = FileHandle.nullDevice
    try process.run()
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { throw Refused(status: process.terminationStatus) }
    return String(decoding: output, as: UTF8.self)
}

struct Refused: Error { let status: Int32 }

/// The JSON under a heading of a page in docs/formats.
func vectors(_ page: String) throws -> [String: String] {
    let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    let text = try String(contentsOf: repository.appendingPathComponent("docs/formats/\(page)"), encoding: .utf8)
    let parts = text.components(separatedBy: "```json vectors\n")
    let block = try #require(parts.count == 2 ? parts[1].components(separatedBy: "\n```").first : nil)
    return try #require(JSONValue.parse(Array(block.utf8)).object).mapValues { try #require($0.string) }
}

func bytes(_ hex: String) throws -> [UInt8] { try #require(Hex.decode(hex)) }

/// The code of the error that `body` throws; nil when it throws none.
func code(_ body: () throws -> Void) -> String? {
    do { try body(); return nil } catch { return (error as? MeshError)?.code.name ?? "\(error)" }
}
