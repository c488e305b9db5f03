import Foundation
import MeshCore
import Testing

@Suite struct FilesTests {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("files-\(UUID().uuidString)").path

    init() throws { try Files.makeDirectory(folder) }

    @Test func replacesAFileWholeAndLeavesNoTemporary() throws {
        defer { try? Files.removeTree(folder) }
        let path = folder + "/a"
        try Files.writeDurably([1, 2, 3], to: path, mode: 0o600)
        try Files.writeDurably([4], to: path)
        #expect(try Files.read(path, bytesMax: 10) == [4])
        #expect(try Files.names(in: folder) == ["a"])
        let missing = #expect(throws: MeshError.self) { try Files.writeDurably([1], to: folder + "/none/a") }
        #expect(missing?.code == .fileNotFound)
    }

    @Test func boundsWhatItReads() throws {
        defer { try? Files.removeTree(folder) }
        try Files.writeDurably([UInt8](repeating: 7, count: 100), to: folder + "/a")
        let error = #expect(throws: MeshError.self) { try Files.read(folder + "/a", bytesMax: 99) }
        #expect(error?.code == .fileTooLarge)
    }

    @Test func neverFollowsALinkWhenCreatingOrRemoving() throws {
        defer { try? Files.removeTree(folder) }
        try Files.makeDirectory(folder + "/real")
        try Files.writeDurably([1], to: folder + "/real/kept")
        try FileManager.default.createSymbolicLink(atPath: folder + "/link", withDestinationPath: folder + "/real")
        try FileManager.default.createSymbolicLink(atPath: folder + "/new", withDestinationPath: folder + "/real/made")
        #expect(throws: MeshError.self) { _ = try OpenFile(creating: folder + "/new").path }
        try Files.removeTree(folder + "/link")
        #expect(Files.exists(folder + "/real/kept"))
        #expect(!Files.exists(folder + "/real/made"))
    }

    @Test func renamesWithoutOverwriting() throws {
        defer { try? Files.removeTree(folder) }
        try Files.writeDurably([1], to: folder + "/a")
        try Files.writeDurably([2], to: folder + "/b")
        let error = #expect(throws: MeshError.self) { try Files.renameExclusively(folder + "/a", folder + "/b") }
        #expect(error?.code == .alreadyExists)
        #expect(try Files.read(folder + "/b", bytesMax: 1) == [2])
    }

    @Test func oneProcessHoldsALock() throws {
        defer { try? Files.removeTree(folder) }
        let first = try FileLock(folder + "/lock")
        #expect(first != nil)
        #expect(try FileLock(folder + "/lock") == nil)
        withExtendedLifetime(first) {}
    }

    @Test(arguments: [("/a/./b//c/../d", "/a/b/d"), ("/..", "/"), ("/a/..", "/")])
    func makesPathsAbsolute(path: String, expected: String) { #expect(Files.absolute(path) == expected) }
}
