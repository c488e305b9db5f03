import Deployments
import Glibc
import MeshCore
import Synchronization
import Testing

/// What the asking tasks saw.
private final class Tally: Sendable {
    let isOver = Atomic(false), asked = Atomic(0)
    let seen = Mutex<Set<String>>([])
}

/// Real processes behind the front: an app as people write them, in python.
@Suite(.needsPython) struct ProcessTests {
    private let shop: CapsuleName

    init() throws { shop = try CapsuleName(parsing: "shop") }

    @Test func anAppIsServedThroughTheFront() async throws {
        let place = try Workplace()
        let capsule = try place.server("1.0.0")
        try await place.serving { node in
            let run = try await node.manager.deploy(capsule, app: nil, environment: .dev)
            #expect(run.state == "committed" && run.url == "http://shop.dev.localhost:\(node.port)/")
            let page = try await node.get()
            #expect(page.status == 200 && page.text == "server 1.0.0")
            #expect(page.all("set-cookie") == ["a=1", "b=2"])
            // Named by the app's Connection header, so it was for this one connection.
            #expect(page["x-private"] == nil)
            let head = try await node.get(method: "HEAD")
            #expect(head.status == 200 && head["content-length"] == "12" && head.body.isEmpty)

            let sent = try JSONValue.parse(try await node.get("/headers", headers: [
                "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Host: evil", "Forwarded: for=evil", "Connection: X-Hop", "X-Hop: 1", "TE: trailers", "Accept: a/b", "Keep-Alive: 5",
            ]).body).array ?? []
            let pairs = Dictionary(grouping: sent.map { ($0[0]?.string?.lowercased() ?? "", $0[1]?.string ?? "") }, by: \.0).mapValues { $0.map(\.1) }
            #expect(pairs["host"] == ["shop.dev.localhost:\(node.port)"] && pairs["accept"] == ["a/b"])
            #expect(pairs["x-forwarded-for"] == ["127.0.0.1"] && pairs["x-forwarded-host"] == ["shop.dev.localhost:\(node.port)"] && pairs["x-forwarded-proto"] == ["http"])
            for name in ["x-hop", "te", "keep-alive", "forwarded"] { #expect(pairs[name] == nil, "\(name)") }

            let body = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
            let sum = body.reduce(0) { $0 + Int($1) }
            let known = try await HTTP.ask(port: node.port, host: "shop.dev.localhost", method: "POST", body: body)
            #expect(known.text == "3000000 bytes, sum \(sum)")
            let chunked = try await HTTP.ask(port: node.port, host: "shop.dev.localhost", method: "POST", headers: ["Transfer-Encoding: chunked"], body: Array("5\r\nhello\r\n3\r\n123\r\n0\r\n\r\n".utf8))
            #expect(chunked.text == "8 bytes, sum \("hello123".utf8.reduce(0) { $0 + Int($1) })")
            #expect(try await node.get(headers: ["Upgrade: websocket", "Connection: Upgrade"]).status == 501)
            #expect(try await node.eventuallyLogs("g1 version 1.0.0 starts"))
        }
    }

    @Test func anAppSeesLittle() async throws {
        let place = try Workplace()
        let capsule = try place.server("1.0.0", env: ["GREETING": "a b=c", "PORT": "1", "LD_PRELOAD": "/app/no.so"])
        let key = DeploymentKey(app: shop, environment: .dev)
        try await place.serving { node in
            _ = try await node.manager.deploy(capsule, app: nil, environment: .dev)
            let seen = try JSONValue.parse(try await node.get("/env").body)
            let environment = try #require(seen["env"]?.object)
            // What python itself adds is not the node's.
            #expect(Set(environment.keys).subtracting(["LC_CTYPE"]) == ["PATH", "PORT", "DATA_DIR", "VERSION", "GREETING", "LD_PRELOAD"])
            #expect(environment["GREETING"] == "a b=c" && environment["DATA_DIR"] == "/data" && environment["PORT"] != "1")
            #expect(seen["cwd"] == "/app")
            #expect(seen["writable"] == ["/tmp", "/data"])
            let root = Set((seen["root"]?.array ?? []).compactMap(\.string))
            #expect(root.isSubset(of: ["app", "bin", "data", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "tmp", "usr"]))
            #expect((seen["processes"]?.array?.count ?? 99) <= 3)
            #expect((seen["fds"]?.integer ?? 99) <= 7)
            if geteuid() == 0 {
                #expect(seen["uid"]?.integer == Int64(SandboxView.userID(of: key)) && seen["gid"] == seen["uid"] && seen["groups"]?.array?.allSatisfy { $0 == seen["gid"] } == true)
                #expect(try ownership(of: place.home.deployments + "/shop/dev/data") == "\(SandboxView.userID(of: key)) 700")
            } else {
                #expect(seen["uid"] == 1000)
            }
        }
    }

    /// The other way into the sandbox, for a node that is not root: its processes are the node's user in a namespace.
    @Test(.enabled(if: geteuid() == 0, "already unprivileged")) func anUnprivilegedNodeHasASandboxToo() throws {
        let folder = "/tmp/deployments-view-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        try Files.makeDirectory(folder + "/out")
        try Files.makeDirectory(folder + "/data")
        defer { try? Files.removeTree(folder) }
        #expect(chown(folder + "/data", 54_321, 54_321) == 0)
        let view = SandboxView(outputFolder: folder + "/out", dataFolder: folder + "/data", identity: .ownUser)
        let words = view.arguments(bubblewrap: "/usr/bin/bwrap", command: ["/bin/sh", "-c", "id -u; pwd; touch /data/x; touch /app/x 2>/dev/null || echo read-only"], environment: ["PATH": SandboxView.path])
        let output = try Descriptor.pipe(), information = try Descriptor.pipe(), none = try Descriptor.memoryFile([])
        let passwd = try Descriptor.memoryFile(Array("app:x:1000:1000:app:/data:/bin/sh\n".utf8)), group = try Descriptor.memoryFile(Array("app:x:1000:\n".utf8))
        let child = try ChildProcess(["/usr/bin/setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"] + words,
                                     descriptors: [none, output.writing, output.writing, information.writing, passwd, group].map(\.number))
        #expect(child.wait() == .exited(0))
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = read(output.reading.number, &buffer, buffer.count)
        #expect(String(decoding: buffer[..<max(count, 0)], as: UTF8.self) == "1000\n/app\nread-only\n")
        #expect(try ownership(of: folder + "/data/x").hasPrefix("54321 "))
    }

    @Test func anEventStreamPassesAsItComes() async throws {
        let place = try Workplace()
        let capsule = try place.server("1.0.0")
        try await place.serving { node in
            _ = try await node.manager.deploy(capsule, app: nil, environment: .dev)
            // The app does not go on before it is asked to: what came until here was not held back.
            let (connection, first) = try await Connection.open(port: node.port, "GET /stream HTTP/1.1\r\nHost: shop.dev.localhost\r\n\r\n", until: "data: first")
            #expect(!first.contains("second"))
            #expect(try await node.get("/open").status == 200)
            #expect(try await connection.text(until: "data: second").contains("text/event-stream"))
        }
    }

    /// Who goes away in the middle of a silent stream is noticed: nothing waits for him at the next switch.
    @Test(.timeLimit(.minutes(2))) func anAbandonedStreamHoldsNothingUp() async throws {
        let place = try Workplace()
        let one = try place.server("1.0.0"), two = try place.server("2.0.0")
        @Sendable func openStream(_ port: Int) async throws -> Connection {
            try await Connection.open(port: port, "GET /stream HTTP/1.1\r\nHost: shop.dev.localhost\r\n\r\n", until: "data: first").connection
        }
        let (stillOpen, ending) = try await place.serving { node in
            _ = try await node.manager.deploy(one, app: nil, environment: .dev)
            // Opened, and closed by the end of the value.
            _ = try await openStream(node.port)
            let begin = ContinuousClock.now
            _ = try await node.manager.deploy(two, app: nil, environment: .dev)
            #expect(ContinuousClock.now - begin < .seconds(Limits.drainSecondsMax))
            return (try await openStream(node.port), ContinuousClock.now)
        }
        // Nor does the node's end wait for one that is still open.
        #expect(ContinuousClock.now - ending < .seconds(Limits.drainSecondsMax))
        #expect(try await !stillOpen.rest().contains("second"))
    }

    @Test func aNewVersionTakesOverWithoutAFailedRequest() async throws {
        let place = try Workplace()
        let versions = try (1...4).map { try place.server("\($0).0.0") }
        try await place.serving { node in
            _ = try await node.manager.deploy(versions[0], app: nil, environment: .dev)
            let tally = Tally()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for worker in 0..<4 {
                    group.addTask {
                        while !tally.isOver.load(ordering: .relaxed) {
                            let answer = try await node.get(worker == 0 ? "/slow" : "/")
                            guard answer.status == 200 else { throw Failed(description: "\(answer.status): \(answer.text)") }
                            tally.seen.withLock { _ = $0.insert(answer.text) }
                            tally.asked.add(1, ordering: .relaxed)
                        }
                    }
                }
                group.addTask {
                    defer { tally.isOver.store(true, ordering: .relaxed) }
                    for capsule in versions.dropFirst() {
                        _ = try await node.manager.deploy(capsule, app: nil, environment: .dev)
                        _ = try await node.get()
                    }
                }
                try await group.waitForAll()
            }
            #expect(tally.asked.load(ordering: .relaxed) > 50)
            #expect(tally.seen.withLock { $0 }.isSuperset(of: (1...4).map { "server \($0).0.0" }))
            #expect(try await node.get().text == "server 4.0.0")
        }
    }

    @Test(arguments: [true, false]) func anUnhealthyVersionLeavesTheOldOne(_ overlap: Bool) async throws {
        let place = try Workplace()
        let good = try place.server("1.0.0", run: ["overlap": .bool(overlap)])
        let sick = try place.server("2.0.0", env: ["SICK": "1"], run: ["overlap": .bool(overlap), "health": ["path": "/health", "intervalMs": 50, "timeoutMs": 1000, "retries": 4]])
        let dying = try place.server("3.0.0", env: ["EXIT": "7"], run: ["overlap": .bool(overlap)])
        let deaf = try place.pack("shop", "4.0.0", files: ["run.sh": "#!/bin/sh\necho waiting\nexec sleep 600\n"], run: ["command": ["./run.sh"], "overlap": .bool(overlap), "stopTimeoutMs": 500,
                                                                                                                  "health": ["path": "/", "intervalMs": 100, "timeoutMs": 100, "retries": 5]])
        try await place.serving { node in
            _ = try await node.manager.deploy(good, app: nil, environment: .dev)
            #expect(try await node.get("/count").text == "1")
            for (capsule, code, words, line) in [
                (sick, "unhealthy", "it answered 500 (4 tries)", "version 2.0.0 starts"), (dying, "unhealthy", "ended with status 7 before it was healthy", "cannot go on"),
                (deaf, "unhealthy", "nothing listened on its PORT", "waiting"),
            ] {
                let error = try #require(await failure { () async throws(MeshError) in try await node.manager.deploy(capsule, app: nil, environment: .dev) })
                #expect(error.code.name == code && error.code.exit == .unavailable && error.message.contains(words), "\(error.message)")
                #expect(error.details.contains { $0.contains(line) }, "\(error.details)")
                _ = try await node.eventually("the old version") { $0.text == "server 1.0.0" }
                let list = try await node.manager.list()
                #expect(list.map(\.generation) == [1] && list[0].capsule == good)
            }
            let states = place.events.all.filter { $0.type == "deploy.failed" }.compactMap { $0.data["state"]?.string }
            #expect(states == Array(repeating: overlap ? "failed" : "rolledBack", count: 3))
            let folder = place.home.deployments + "/shop/dev"
            #expect(try Files.names(in: folder + "/generations") == ["1"])
            #expect(try await node.get("/count").text == "2")
        }
    }

    @Test func theFirstDeployThatFailsIsListed() async throws {
        let place = try Workplace()
        let dying = try place.server("1.0.0", env: ["EXIT": "1"])
        let shop = shop
        try await place.serving { node in
            _ = await failure { () async throws(MeshError) in try await node.manager.deploy(dying, app: nil, environment: .dev) }
            let list = try await node.manager.list()
            #expect(list.map(\.state) == ["failed"] && list[0].generation == 0 && list[0].error?.code == .unhealthy && list[0].error?.details.contains("cannot go on") == true)
            #expect(try await node.get().status == 421)
            #expect(try await node.manager.logs(shop, .dev, lines: 100).contains { $0.hasSuffix("g1 cannot go on") })
        }
        #expect(try await place.manager().list().first?.error?.code == .unhealthy)
    }

    @Test func oneAtATimeWhereTheCapsuleSaysSo() async throws {
        let place = try Workplace()
        let one = try place.server("1.0.0", run: ["overlap": false]), two = try place.server("2.0.0", run: ["overlap": false])
        try await place.serving { node in
            _ = try await node.manager.deploy(one, app: nil, environment: .dev)
            let run = try await node.manager.deploy(two, app: nil, environment: .dev)
            #expect(run.generation == 2)
            #expect(try await node.get().text == "server 2.0.0")
            let steps = place.events.all.filter { $0.type == "deploy.step" && $0.data["generation"] == 2 }.compactMap { $0.data["step"]?.string }
            let stop = try #require(steps.firstIndex(of: "stopPrevious")), start = try #require(steps.firstIndex(of: "start"))
            #expect(stop < start)
        }
    }

    @Test func whatFallsIsStartedAgain() async throws {
        let place = try Workplace()
        let capsule = try place.server("1.0.0")
        let shop = shop
        try await place.serving { node in
            let run = try await node.manager.deploy(capsule, app: nil, environment: .dev)
            #expect(try await node.get("/count").text == "1")
            let known = place.events.all.count
            let answer = try await node.get("/crash")
            #expect(answer.status == 502 || answer.status == 503)
            let exited = await place.events.next("app.exited", after: known)
            #expect(exited.data["how"] == "ended with status 3" && exited.data["expected"] == false && exited.data["generation"] == 1)
            _ = await place.events.next("app.restarted", after: known)
            #expect(try await node.eventually("the app", "/count") { $0.status == 200 }.text == "2")
            #expect(try await node.manager.deploy(capsule, app: nil, environment: .dev).id == run.id)
            let lines = try await node.manager.logs(shop, .dev, lines: 100)
            #expect(lines.contains { $0.hasSuffix("about to fall over") } && lines.contains { $0.contains("starting again in 250 ms") })
        }
    }

    @Test func dataAndAppsComeBackWithTheNode() async throws {
        let place = try Workplace()
        let one = try place.server("1.0.0"), two = try place.server("2.0.0"), other = try place.server("1.0.0", name: "other")
        let shop = shop
        try await place.serving { node in
            _ = try await node.manager.deploy(one, app: nil, environment: .dev)
            #expect(try await node.get("/count").text == "1")
            _ = try await node.manager.deploy(two, app: nil, environment: .dev)
            #expect(try await node.get("/count").text == "2")
            _ = try await node.manager.deploy(other, app: nil, environment: .dev)
            _ = try await node.manager.stop(CapsuleName(parsing: "other"), .dev)
        }
        try await place.serving { node in
            #expect(try await node.eventually("the app", "/count") { $0.status == 200 }.text == "3")
            #expect(try await node.get().text == "server 2.0.0")
            #expect(try await node.get(app: "other").status == 503)
            let back = try await node.manager.rollback(shop, .dev, to: nil)
            #expect(back.generation == 1)
            #expect(try await node.get().text == "server 1.0.0")
            #expect(try await node.get("/count").text == "4")
            #expect(try await node.manager.stop(shop, .dev).state == "stopped")
            #expect(try await node.get().status == 503)
            #expect(try await node.manager.deploy(one, app: nil, environment: .dev).generation == 1)
            #expect(try await node.get("/count").text == "5")
        }
        #expect(Self.processes(of: place).isEmpty)
    }

    @Test func whatDoesNotEndIsEnded() async throws {
        let place = try Workplace()
        let deaf = try place.server("1.0.0", env: ["DEAF": "1"], run: ["stopTimeoutMs": 300])
        let shop = shop
        try await place.serving { node in
            _ = try await node.manager.deploy(deaf, app: nil, environment: .dev)
            #expect(!Self.processes(of: place).isEmpty)
            _ = try await node.manager.stop(shop, .dev)
            #expect(Self.processes(of: place).isEmpty)
            #expect(try await node.manager.logs(shop, .dev, lines: 10).contains { $0.contains("did not end within 300 ms of SIGTERM; killed") })
        }
    }

    /// An app's whole family goes with it, also what made itself a session of its own.
    @Test func nothingOfAnAppIsLeft() async throws {
        let place = try Workplace()
        let script = "#!/bin/sh\nsetsid sleep 4321 &\n(setsid setsid sleep 4322 &)\nexec /usr/bin/python3 -m http.server --bind 127.0.0.1 $PORT\n"
        let capsule = try place.pack(files: ["run.sh": script], run: ["command": ["./run.sh"]])
        let shop = shop
        try await place.serving { node in
            _ = try await node.manager.deploy(capsule, app: nil, environment: .dev)
            #expect(Self.commands().count { $0.contains("sleep\u{0}432") } == 2)
            _ = try await node.manager.stop(shop, .dev)
            #expect(Self.commands().count { $0.contains("sleep\u{0}432") } == 0)
        }
    }

    @Test func healthByCommandAndByListening() async throws {
        let place = try Workplace()
        let ask = "import os,urllib.request as u; u.urlopen('http://127.0.0.1:'+os.environ['PORT']+'/health')"
        let well = try place.server("1.0.0", run: ["health": ["command": ["/usr/bin/python3", "-c", .string(ask)], "intervalMs": 100, "timeoutMs": 5000, "retries": 10]])
        let bad = try place.server("2.0.0", run: ["health": ["command": ["/bin/false"], "intervalMs": 20, "timeoutMs": 5000, "retries": 3]])
        let slow = try place.server("3.0.0", run: ["health": ["command": ["/bin/sleep", "60"], "intervalMs": 20, "timeoutMs": 100, "retries": 2]])
        let plain = try place.pack("shop", "4.0.0", files: ["server.py": serverProgram], run: ["command": ["/usr/bin/python3", "server.py"]], env: ["VERSION": "4.0.0"])
        let late = try place.server("5.0.0", env: ["HEALTHY_AFTER": "0.7"])
        try await place.serving { node in
            _ = try await node.manager.deploy(well, app: nil, environment: .dev)
            let error = await failure { () async throws(MeshError) in try await node.manager.deploy(bad, app: nil, environment: .dev) }
            #expect(error?.message.contains("/bin/false”: it ended with status 1 (3 tries)") == true, "\(error?.message ?? "")")
            let timeout = await failure { () async throws(MeshError) in try await node.manager.deploy(slow, app: nil, environment: .dev) }
            #expect(timeout?.message.contains("not done within 100 ms (2 tries)") == true, "\(timeout?.message ?? "")")
            _ = try await node.manager.deploy(plain, app: nil, environment: .dev)
            #expect(try await node.get().text == "server 4.0.0")
            _ = try await node.manager.deploy(late, app: nil, environment: .dev)
            #expect(try await node.get().text == "server 5.0.0")
        }
    }

    @Test func aCancelledDeployIsUndone() async throws {
        let place = try Workplace()
        let one = try place.server("1.0.0")
        let never = try place.server("2.0.0", env: ["SICK": "1"], run: ["health": ["path": "/health", "intervalMs": 1000, "timeoutMs": 1000, "retries": 500]])
        try await place.serving { node in
            _ = try await node.manager.deploy(one, app: nil, environment: .dev)
            let known = place.events.all.count
            let error = await withTaskGroup(of: MeshError?.self) { group in
                group.addTask { await failure { () async throws(MeshError) in try await node.manager.deploy(never, app: nil, environment: .dev) } }
                await place.events.next(after: known) { $0.data["step"] == "checkHealth" }
                group.cancelAll()
                return await group.next() ?? nil
            }
            #expect(error?.code == .deployCancelled && error?.code.exit == .tryAgain)
            #expect(try await node.get().text == "server 1.0.0")
            #expect(try Files.names(in: place.home.deployments + "/shop/dev/generations") == ["1"])
        }
        // The node stops in the middle of a deploy.
        let manager = place.manager(), known = place.events.all.count
        let error = await withTaskGroup(of: MeshError?.self) { requests in
            let (ready, opened) = AsyncStream.makeStream(of: Int.self)
            requests.addTask {
                for await _ in ready { return await failure { () async throws(MeshError) in try await manager.deploy(never, app: nil, environment: .dev) } }
                return nil
            }
            await withTaskGroup(of: Void.self) { node in
                node.addTask { try? await manager.run(front: ("127.0.0.1", 0)) { opened.yield($0) } }
                await place.events.next(after: known) { $0.data["step"] == "checkHealth" }
                node.cancelAll()
            }
            return await requests.next() ?? nil
        }
        #expect(error?.code == .deployInterrupted)
        #expect(Self.processes(of: place).isEmpty)
        try await place.serving { node in _ = try await node.eventually("the old version") { $0.text == "server 1.0.0" } }
    }

    /// Command lines of all processes on this machine.
    private static func commands() -> [String] {
        ((try? Files.names(in: "/proc")) ?? []).filter { Int($0) != nil }.compactMap { try? String(decoding: Files.read("/proc/\($0)/cmdline", bytesMax: 1 << 20), as: UTF8.self) }
    }

    /// Those that a deployment of this home has running: bubblewrap names the folder.
    private static func processes(of place: Workplace) -> [String] { commands().filter { $0.contains(place.home.deployments) } }
}
