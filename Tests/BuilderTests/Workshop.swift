import Builder
import CapsuleFormat
import CapsuleStore
import Glibc
import MeshCore
import Signing
import Synchronization
import Testing

/// nil where sandboxes work; else why they do not, for the tests that need them to say so.
let sandboxTrouble: MeshError? = {
    do throws(MeshError) { try Replayer.checkSandbox() } catch { return error }
    return nil
}()

extension Trait where Self == ConditionTrait {
    static var needsSandbox: Self {
        .enabled(if: sandboxTrouble == nil, "SKIPPED: \(sandboxTrouble?.message ?? ""): \(sandboxTrouble?.details.joined(separator: " ") ?? "")")
    }
}

struct FixedClock: WallClock {
    let now: Milliseconds = 1_767_225_600_000
}

/// A home with a store and a replayer, in a folder of its own that goes with the value.
final class Workshop: Sendable {
    let path: String
    let home: HomeLayout
    let store: CapsuleStore
    let key: SigningKey
    let replayer: Replayer
    /// Every event, as it comes.
    let events: AsyncStream<NodeEvent>

    init(tools: SandboxTools = SandboxTools()) throws {
        path = "/tmp/builder-tests-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        home = HomeLayout(path: path + "/home")
        try Files.makeDirectory(home.state)
        store = try CapsuleStore(home: home)
        key = SigningKey.generate()
        let recorder = Recorder()
        let (stream, continuation) = AsyncStream.makeStream(of: NodeEvent.self, bufferingPolicy: .unbounded)
        events = stream
        replayer = Replayer(home: home, store: store, key: key, clock: FixedClock(), events: { event in
            recorder.events.withLock { $0.append(event) }
            continuation.yield(event)
        }, tools: tools)
        self.recorder = recorder
    }

    private final class Recorder: Sendable { let events = Mutex<[NodeEvent]>([]) }
    private let recorder: Recorder

    deinit { try? Files.removeTree(path) }

    var recorded: [NodeEvent] { recorder.events.withLock { $0 } }

    /// Packs files and steps as a capsule named `probe`.
    func pack(_ files: [String: String] = [:], steps: [String], outDir: String = "out", more: [String: JSONValue] = [:],
              env: [String: String] = [:], folder: String = "source") throws -> Digest {
        let build: JSONValue = .object(["steps": .array(steps.map(JSONValue.string)), "outDir": .string(outDir)].merging(more) { $1 })
        let manifest: JSONValue = [
            "id": "urn:oursynth:app:probe@1.0.0", "name": "Probe", "version": "1.0.0",
            "app": ["framework": "none", "env": .object(env.mapValues(JSONValue.string))], "build": build,
        ]
        return try pack(files, manifest: manifest, folder: folder)
    }

    func pack(_ files: [String: String], manifest: JSONValue, folder: String = "source") throws -> Digest {
        let directory = "\(path)/\(folder)-\(UInt32.random(in: 0 ... .max))"
        try Files.makeDirectory(directory)
        for (name, text) in files.merging(["capsule.json": manifest.prettyText], uniquingKeysWith: { $1 }) {
            try Files.makeDirectory(Files.parent(of: "\(directory)/\(name)"))
            try OpenFile(creating: "\(directory)/\(name)").write(Array(text.utf8))
        }
        return try pack(directory: directory)
    }

    func pack(directory: String) throws -> Digest {
        try store.pack(directory: directory, options: CapsuleStore.PackOptions(), progress: nil).capsule.digest
    }

    func text(_ output: Digest, _ file: String) throws -> String {
        String(decoding: try store.readFile(try store.tree(index: output), path: file, bytesMax: 1 << 20), as: UTF8.self)
    }

    /// The error that building `capsule` ends with.
    func failure(_ capsule: Digest) async -> MeshError? {
        do throws(MeshError) { _ = try await replayer.build(capsule) } catch { return error }
        return nil
    }
}

/// The root of this repository.
let repository = Files.parent(of: Files.parent(of: Files.parent(of: #filePath)))

/// Whether any process of this machine has `word` in its command line.
func isRunning(_ word: String) throws -> Bool {
    for id in try Files.names(in: "/proc") where id.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
        guard let bytes = try? Files.read("/proc/\(id)/cmdline", bytesMax: 1 << 20) else { continue }
        if bytes.split(separator: 0).contains(where: { String(decoding: $0, as: UTF8.self) == word }) { return true }
    }
    return false
}

/// Runs a program to its end; its output, both kinds together.
@discardableResult func output(of command: [String], environment: [String] = []) throws -> (ending: ChildProcess.Ending, text: String) {
    let file = try Descriptor.memoryFile([]), silence = try Descriptor.memoryFile([])
    let ending = try ChildProcess(command, environment: environment, descriptors: [silence.number, file.number, file.number]).wait()
    return (ending, String(decoding: try Files.read(file.path, bytesMax: 16 << 20), as: UTF8.self))
}

/// Runs `body` while new files get no rights for others. The umask belongs to the whole process: tests that do this at the
/// same time share it, and the last to end gives it back.
func withPrivateUmask<T>(_ body: () async throws -> T) async rethrows -> T {
    umaskUsers.withLock { users in
        if users.count == 0 { users.before = umask(0o077) }
        users.count += 1
    }
    defer {
        umaskUsers.withLock { users in
            users.count -= 1
            if users.count == 0 { umask(users.before) }
        }
    }
    return try await body()
}

private let umaskUsers = Mutex<(count: Int, before: mode_t)>((0, 0o022))
