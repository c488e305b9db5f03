import Builder
import CapsuleFormat
import CapsuleStore
import Deployments
import Glibc
import MeshCore
import Signing
import Synchronization
import Testing

/// nil where processes can run in a sandbox; else why not, for the tests that need them to say so.
let sandboxTrouble: MeshError? = {
    do throws(MeshError) { try Replayer.checkSandbox() } catch { return error }
    return nil
}()

extension Trait where Self == ConditionTrait {
    static var needsSandbox: Self { .enabled(if: sandboxTrouble == nil, "SKIPPED: \(sandboxTrouble?.message ?? "")") }

    static var needsPython: Self {
        .enabled(if: sandboxTrouble == nil && access("/usr/bin/python3", X_OK) == 0, "SKIPPED: needs /usr/bin/python3 and \(sandboxTrouble?.message ?? "a sandbox")")
    }
}

struct Failed: Error, CustomStringConvertible { let description: String }

/// A home with a store, in a folder of its own that goes with the value.
final class Workplace: Sendable {
    let path: String
    let home: HomeLayout
    let store: CapsuleStore
    let replayer: Replayer
    let events = EventRecorder()

    init() throws {
        path = "/tmp/deployments-tests-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        home = HomeLayout(path: path + "/home")
        try Files.makeDirectory(home.state)
        store = try CapsuleStore(home: home)
        let events = self.events
        replayer = Replayer(home: home, store: store, key: SigningKey.generate(), clock: SystemClock(), events: { _ in _ = events })
    }

    deinit { try? Files.removeTree(path) }

    /// A manager as a node would make it. With another home: its deployments, the same capsules.
    func manager(home: HomeLayout? = nil) -> DeploymentManager {
        let events = self.events
        return DeploymentManager(home: home ?? self.home, store: store, replayer: replayer, clock: SystemClock(), events: { events.record($0) })
    }

    /// A capsule of these files; without `build` its files are its output.
    func pack(_ name: String = "shop", _ version: String = "1.0.0", files: [String: String], run: JSONValue?, env: [String: String] = [:], more: [String: JSONValue] = [:]) throws -> Digest {
        var manifest: [String: JSONValue] = [
            "id": .string("urn:oursynth:app:\(name)@\(version)"), "name": .string(name), "version": .string(version),
            "app": ["framework": "none", "env": .object(env.mapValues(JSONValue.string))],
        ]
        manifest["run"] = run
        let directory = "\(path)/source-\(UInt32.random(in: 0 ... .max))"
        for (file, text) in files.merging(["capsule.json": JSONValue.object(manifest.merging(more) { $1 }).prettyText], uniquingKeysWith: { $1 }) {
            try Files.makeDirectory(Files.parent(of: "\(directory)/\(file)"))
            try OpenFile(creating: "\(directory)/\(file)", mode: file.hasSuffix(".sh") ? 0o755 : 0o644).write(Array(text.utf8))
        }
        return try store.pack(directory: directory).capsule.digest
    }

    /// A site whose only page says its version.
    func site(_ version: String, files: [String: String] = [:], name: String = "shop") throws -> Digest {
        try pack(name, version, files: ["index.html": "site \(version)\n"].merging(files) { $1 }, run: ["static": true])
    }

    /// The server of `serverProgram`, which says its version.
    func server(_ version: String, env: [String: String] = [:], run: [String: JSONValue] = [:], name: String = "shop") throws -> Digest {
        let base: [String: JSONValue] = ["command": ["/usr/bin/python3", "server.py"], "health": ["path": "/health", "intervalMs": 100, "timeoutMs": 2000, "retries": 20], "stopTimeoutMs": 3000]
        return try pack(name, version, files: ["server.py": serverProgram], run: .object(base.merging(run) { $1 }), env: ["VERSION": version].merging(env) { $1 })
    }
}

/// Every event in order, and someone who waits for one.
final class EventRecorder: Sendable {
    private struct State {
        var events: [NodeEvent] = []
        var waiters: [(matches: @Sendable (NodeEvent) -> Bool, continuation: CheckedContinuation<NodeEvent, Never>)] = []
        var listener: (@Sendable (NodeEvent) -> Void)?
    }
    private let state = Mutex(State())

    var all: [NodeEvent] { state.withLock { $0.events } }

    /// Called on whatever thread an event comes, which waits for it.
    func listen(_ listener: (@Sendable (NodeEvent) -> Void)?) { state.withLock { $0.listener = listener } }

    func record(_ event: NodeEvent) {
        let (woken, listener) = state.withLock { state in
            state.events.append(event)
            let woken = state.waiters.filter { $0.matches(event) }
            state.waiters.removeAll { $0.matches(event) }
            return (woken.map(\.continuation), state.listener)
        }
        for waiter in woken { waiter.resume(returning: event) }
        listener?(event)
    }

    /// The first such event after the `count` that are already known.
    @discardableResult func next(after count: Int, where matches: @escaping @Sendable (NodeEvent) -> Bool) async -> NodeEvent {
        await withCheckedContinuation { continuation in
            let there: NodeEvent? = state.withLock { state in
                if let event = state.events.dropFirst(count).first(where: matches) { return event }
                state.waiters.append((matches, continuation))
                return nil
            }
            if let there { continuation.resume(returning: there) }
        }
    }

    @discardableResult func next(_ type: String, after count: Int) async -> NodeEvent { await next(after: count) { $0.type == type } }
}

/// A manager that serves, until the body is done.
struct RunningDeployments: Sendable {
    let manager: DeploymentManager
    let port: Int

    func get(_ path: String = "/", app: String = "shop", env: String = "dev", method: String = "GET", headers: [String] = []) async throws -> Answer {
        try await HTTP.ask(port: port, host: "\(app).\(env).localhost:\(port)", path: path, method: method, headers: headers)
    }

    /// Asks until the answer is right; an answer is the signal, the deadline is for what never comes.
    func eventually(_ what: String, _ path: String = "/", app: String = "shop", seconds: Int = 30, _ isRight: (Answer) -> Bool) async throws -> Answer {
        let end = ContinuousClock.now + .seconds(seconds)
        var last: Answer?
        while ContinuousClock.now < end {
            let answer = try await get(path, app: app)
            if isRight(answer) { return answer }
            last = answer
        }
        throw Failed(description: "\(what) did not come: \(last.map { "\($0.status) \($0.text.prefix(200))" } ?? "no answer")")
    }

    /// What an app writes reaches its log by a thread of its own, soon after; each request gives it time to.
    func eventuallyLogs(_ ending: String, app: String = "shop", seconds: Int = 30) async throws -> Bool {
        let name = try CapsuleName(parsing: app)
        let end = ContinuousClock.now + .seconds(seconds)
        while ContinuousClock.now < end {
            if try await manager.logs(name, .dev, lines: 100).contains(where: { $0.hasSuffix(ending) }) { return true }
            _ = try await get()
        }
        return false
    }
}

extension Workplace {
    func serving<R: Sendable>(home: HomeLayout? = nil, _ body: @escaping @Sendable (RunningDeployments) async throws -> R) async throws -> R {
        let manager = manager(home: home)
        let (ready, opened) = AsyncStream.makeStream(of: Int.self)
        return try await withThrowingTaskGroup(of: R?.self) { group in
            group.addTask {
                defer { opened.finish() }
                try await manager.run(front: ("127.0.0.1", 0)) { opened.yield($0) }
                return nil
            }
            group.addTask {
                for await port in ready { return try await body(RunningDeployments(manager: manager, port: port)) }
                return nil
            }
            var result: R?
            while result == nil, let next = try await group.next() { result = next }
            group.cancelAll()
            try await group.waitForAll()
            guard let result else { throw Failed(description: "it was not served") }
            return result
        }
    }
}

/// The error that a call throws.
func failure<T>(_ body: () async throws(MeshError) -> T) async -> MeshError? {
    do throws(MeshError) { _ = try await body() } catch { return error }
    return nil
}

func failure<T>(_ body: () throws(MeshError) -> T) -> MeshError? {
    do throws(MeshError) { _ = try body() } catch { return error }
    return nil
}

/// The owner's number and the mode of a file, as stat(1) says them.
func ownership(of path: String) throws -> String {
    let output = try Descriptor.pipe(), none = try Descriptor.memoryFile([])
    let child = try ChildProcess(["/usr/bin/stat", "-c", "%u %a", path], descriptors: [none.number, output.writing.number])
    guard child.wait() == .exited(0) else { throw Failed(description: "no \(path)") }
    var buffer = [UInt8](repeating: 0, count: 256)
    let count = read(output.reading.number, &buffer, buffer.count)
    return String(decoding: buffer[..<max(count, 0)], as: UTF8.self).split(separator: "\n").first.map(String.init) ?? ""
}

/// An app as people write them: answers what it is asked, keeps a counter in its data folder, ends when told.
let serverProgram = #"""
    import http.server, json, os, signal, sys, threading, time

    VERSION, DATA = os.environ["VERSION"], os.environ["DATA_DIR"]
    started = time.time()

    class App(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args): pass

        def say(self, text, status=200, kind="text/plain"):
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "X-Private")
            self.send_header("X-Private", "1")
            self.send_header("Set-Cookie", "a=1")
            self.send_header("Set-Cookie", "b=2")
            self.end_headers()
            if self.command != "HEAD": self.wfile.write(body)

        def do_HEAD(self): self.do_GET()

        def do_GET(self):
            if self.path == "/health":
                delay = float(os.environ.get("HEALTHY_AFTER", "0"))
                return self.say("ok", 200 if os.environ.get("SICK") != "1" and time.time() - started >= delay else 500)
            if self.path == "/env": return self.say(json.dumps({"env": dict(os.environ), "uid": os.getuid(), "gid": os.getgid(), "groups": os.getgroups(), "cwd": os.getcwd(),
                "root": sorted(os.listdir("/")), "writable": [p for p in ["/", "/app", "/usr", "/etc", "/tmp", "/data"] if os.access(p, os.W_OK)],
                "processes": [p for p in os.listdir("/proc") if p.isdigit()], "fds": len(os.listdir("/proc/self/fd"))}))
            if self.path == "/headers": return self.say(json.dumps([[k, v] for k, v in self.headers.items()]))
            if self.path == "/crash":
                print("about to fall over", flush=True)
                os._exit(3)
            if self.path == "/count":
                path = os.path.join(DATA, "count")
                count = int(open(path).read()) + 1 if os.path.exists(path) else 1
                with open(path, "w") as file: file.write(str(count))
                return self.say(str(count))
            if self.path == "/slow":
                time.sleep(1)
                return self.say("slow " + VERSION)
            if self.path == "/stream":
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(b"data: first\n\n")
                self.wfile.flush()
                gate.wait(20)
                self.wfile.write(b"data: second\n\n")
                self.close_connection = True
                return
            if self.path == "/open": gate.set()
            self.say("server " + VERSION)

        def do_POST(self):
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = b""
                while True:
                    size = int(self.rfile.readline(), 16)
                    body += self.rfile.read(size)
                    self.rfile.readline()
                    if size == 0: break
            else: body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.say("%d bytes, sum %d" % (len(body), sum(body)))

    gate = threading.Event()
    if os.environ.get("DEAF") == "1": signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.environ.get("EXIT"):
        print("cannot go on", flush=True)
        sys.exit(int(os.environ["EXIT"]))
    print("version " + VERSION + " starts", flush=True)
    http.server.ThreadingHTTPServer.request_queue_size = 128
    http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), App).serve_forever()
    """#
