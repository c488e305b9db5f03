import Deployments
import Glibc
import MeshCore
import Testing

/// Static deployments: the whole way from a capsule to a browser, without a process.
@Suite struct SiteTests {
    private let shop: CapsuleName

    init() throws { shop = try CapsuleName(parsing: "shop") }

    @Test func aSiteIsServed() async throws {
        let place = try Workplace()
        let big = String(repeating: "0123456789abcdef", count: 50_000)
        let capsule = try place.site("1.0.0", files: ["docs/index.html": "docs", "style.css": "b{}", "big.bin": big, "404.html": "lost"])
        try await place.serving { node in
            #expect(try await node.get().status == 421)
            let run = try await node.manager.deploy(capsule, app: nil, environment: .dev)
            #expect(run.state == "committed" && run.generation == 1 && run.url == "http://shop.dev.localhost:\(node.port)/" && run.capsule == capsule)

            let page = try await node.get()
            #expect(page.status == 200 && page.text == "site 1.0.0\n")
            #expect(page["content-type"] == "text/html; charset=utf-8" && page["content-length"] == "11" && page["x-content-type-options"] == "nosniff")
            let tag = try #require(page["etag"])
            #expect(tag == "\"\(Digest.of(Array("site 1.0.0\n".utf8)).hex.prefix(32))\"")

            let again = try await node.get(headers: ["If-None-Match: \(tag)"])
            #expect(again.status == 304 && again.body.isEmpty && again["etag"] == tag)
            #expect(try await node.get(headers: ["If-None-Match: \"other\""]).status == 200)

            let head = try await node.get("/big.bin", method: "HEAD")
            #expect(head.status == 200 && head.body.isEmpty && head["content-length"] == "800000" && head["content-type"] == "application/octet-stream")
            #expect(try await node.get("/big.bin").text == big)
            let part = try await node.get("/big.bin", headers: ["Range: bytes=799990-"])
            #expect(part.status == 206 && part.text == "6789abcdef" && part["content-range"] == "bytes 799990-799999/800000")
            #expect(try await node.get("/big.bin", headers: ["Range: bytes=1-300000"]).body.count == 300_000)
            #expect(try await node.get("/big.bin", headers: ["Range: bytes=1-2", "If-Range: \"other\""]).status == 200)
            let never = try await node.get("/big.bin", headers: ["Range: bytes=800000-"])
            #expect(never.status == 416 && never["content-range"] == "bytes */800000")

            let moved = try await node.get("/docs?q=1")
            #expect(moved.status == 301 && moved["location"] == "/docs/?q=1")
            #expect(try await node.get("/docs/").text == "docs")
            #expect(try await node.get("/style.css")["content-type"] == "text/css; charset=utf-8")
            let lost = try await node.get("/nothing")
            #expect(lost.status == 404 && lost.text == "lost" && lost["etag"] != nil)
            let post = try await node.get(method: "POST")
            #expect(post.status == 405 && post["allow"] == "GET, HEAD")
        }
    }

    @Test func namesOutsideTheTreeAreNotServed() async throws {
        let place = try Workplace()
        try OpenFile(creating: place.path + "/secret").write(Array("secret".utf8))
        let capsule = try place.site("1.0.0", files: ["a/b.txt": "b"])
        try await place.serving { node in
            _ = try await node.manager.deploy(capsule, app: nil, environment: .dev)
            for path in ["/../secret", "/../../../../../../../etc/passwd", "/a/../../../secret", "/%2e%2e/%2e%2e/secret", "/..%2f..%2fsecret", "/a/%2e%2e/b.txt", "/..%5c..%5csecret", "/%00", "//etc/passwd", "/./index.html"] {
                let answer = try await node.get(path)
                #expect(answer.status == 400 || answer.status == 404, "\(path): \(answer.status)")
                #expect(!answer.text.contains("secret") && !answer.text.contains("root:"))
            }
            // Even a link that someone put into the generation's folder leads nowhere.
            let generation = place.home.deployments + "/shop/dev/generations/1"
            #expect(unlink(generation + "/a/b.txt") == 0 && symlink(place.path + "/secret", generation + "/a/b.txt") == 0)
            #expect(try await node.get("/a/b.txt").status == 500)
            #expect(rename(generation + "/a", generation + "/moved") == 0 && symlink("/etc", generation + "/a") == 0)
            #expect(try await node.get("/a/b.txt").status == 500)
            #expect(try await node.get().status == 200)
        }
    }

    @Test func onlyItsOwnHostNameReachesAnApp() async throws {
        let place = try Workplace()
        let capsule = try place.site("1.0.0")
        try await place.serving { node in
            _ = try await node.manager.deploy(capsule, app: nil, environment: .dev)
            for host in ["127.0.0.1", "127.0.0.1:\(node.port)", "localhost", "localhost:\(node.port)", "shop.localhost", "shop.staging.localhost", "other.dev.localhost", "evil.example", "shop.dev.localhost.evil.example", "[::1]"] {
                let answer = try await HTTP.ask(port: node.port, host: host)
                #expect(answer.status == 421, "\(host): \(answer.status)")
                #expect(answer.text.contains("Nothing answers under this name") && answer["content-type"] == "text/html; charset=utf-8")
            }
            #expect(try await HTTP.ask(port: node.port, host: "<script>alert(1)</script>").text.contains("<script>") == false)
            #expect([400, 421].contains(try await HTTP.ask(port: node.port, host: nil).status))
            #expect(try await HTTP.ask(port: node.port, host: "SHOP.dev.localhost").status == 200)
        }
    }

    @Test func theSameRequestIsTheSameRun() async throws {
        let place = try Workplace()
        let one = try place.site("1.0.0"), two = try place.site("2.0.0")
        try await place.serving { node in
            let first = try await node.manager.deploy(one, app: nil, environment: .dev)
            let began = place.events.all.count
            let again = try await node.manager.deploy(one, app: nil, environment: .dev)
            #expect(again.id == first.id && again.generation == 1 && again.state == "committed")
            #expect(!place.events.all.dropFirst(began).contains { $0.type == "deploy.started" })
            // At the same time: one deploys, the others are answered with it.
            let runs = try await withThrowingTaskGroup(of: DeploymentManager.Run.self) { group in
                for _ in 0..<5 { group.addTask { try await node.manager.deploy(two, app: nil, environment: .dev) } }
                var runs: [DeploymentManager.Run] = []
                for try await run in group { runs.append(run) }
                return runs
            }
            #expect(Set(runs.map(\.id)).count == 1 && Set(runs.map(\.generation)) == [2])
            #expect(runs[0].id != first.id)
            // Another environment and another name are other deployments.
            let staging = try await node.manager.deploy(two, app: nil, environment: .staging)
            let other = try await node.manager.deploy(two, app: CapsuleName(parsing: "market"), environment: .dev)
            #expect(staging.generation == 1 && other.generation == 1 && Set([runs[0].id, staging.id, other.id]).count == 3)
            #expect(try await node.get(app: "market").text == "site 2.0.0\n")
            #expect(try await node.get(env: "staging").text == "site 2.0.0\n")
            let list = try await node.manager.list()
            #expect(list.map { "\($0.app) \($0.environment.rawValue) \($0.generation) \($0.state)" } == ["market dev 1 committed", "shop dev 2 committed", "shop staging 1 committed"])
        }
    }

    @Test func backAndForth() async throws {
        let place = try Workplace()
        let versions = try (1...5).map { try place.site("\($0).0.0") }
        let shop = shop
        try await place.serving { node in
            for capsule in versions { _ = try await node.manager.deploy(capsule, app: nil, environment: .dev) }
            let folder = place.home.deployments + "/shop/dev"
            #expect(try Files.names(in: folder + "/generations") == ["3", "4", "5"])
            let back = try await node.manager.rollback(shop, .dev, to: nil)
            #expect(back.generation == 4 && back.capsule == versions[3] && back.state == "committed")
            #expect(try await node.get().text == "site 4.0.0\n")
            #expect(try await node.manager.rollback(shop, .dev, to: nil).generation == 3)
            #expect(try await node.get().text == "site 3.0.0\n")
            #expect(await failure { () async throws(MeshError) in try await node.manager.rollback(shop, .dev, to: nil) }?.code == .generationNotFound)
            #expect(await failure { () async throws(MeshError) in try await node.manager.rollback(shop, .dev, to: 1) }?.code == .generationNotFound)
            #expect(try await node.manager.rollback(shop, .dev, to: 5).generation == 5)
            #expect(try await node.get().text == "site 5.0.0\n")
            #expect(try String(decoding: Files.read(folder + "/current/index.html", bytesMax: 100), as: UTF8.self) == "site 5.0.0\n")
        }
    }

    @Test func stoppedStaysStopped() async throws {
        let place = try Workplace()
        let capsule = try place.site("1.0.0")
        let shop = shop
        try await place.serving { node in
            let run = try await node.manager.deploy(capsule, app: nil, environment: .dev)
            let stopped = try await node.manager.stop(shop, .dev)
            #expect(stopped.state == "stopped" && stopped.url == nil && stopped.id == run.id)
            let answer = try await node.get()
            #expect(answer.status == 503 && answer.text.contains("is stopped"))
            #expect(try await node.manager.stop(shop, .dev).state == "stopped")
        }
        try await place.serving { node in
            #expect(try await node.get().status == 503)
            #expect(try await node.manager.list().map(\.state) == ["stopped"])
            let again = try await node.manager.deploy(capsule, app: nil, environment: .dev)
            #expect(again.state == "committed" && again.generation == 1)
            #expect(try await node.get().status == 200)
        }
        try await place.serving { node in
            let page = try await node.get()
            #expect(page.status == 200)
        }
        #expect(try await place.manager().list().map(\.state) == ["down"])
    }

    @Test func whatCannotBeDeployedSaysWhy() async throws {
        let place = try Workplace()
        let capsule = try place.site("1.0.0")
        let library = try place.pack("library", files: ["a": "b"], run: nil)
        let served = try place.pack("served", files: ["a": "b"], run: ["static": true], more: ["services": [["name": "db", "type": "postgres"]]])
        let odd = try place.pack("odd", files: ["a": "b"], run: ["command": ["A=b"]])
        let shop = shop
        let idle = place.manager()
        #expect(await failure { () async throws(MeshError) in try await idle.deploy(capsule, app: nil, environment: .dev) }?.code == .deploymentsNotRunning)
        #expect(await failure { () async throws(MeshError) in try await idle.run(front: ("192.0.2.1", 0)) { _ in } }?.code == .frontNotLoopback)
        try await place.serving { node in
            let manager = node.manager
            let prod = try #require(await failure { () async throws(MeshError) in try await manager.deploy(capsule, app: nil, environment: .prod) })
            #expect(prod.code == .confirmationRequired && prod.code.exit == .notPermitted && prod.message.contains("person") && prod.hint.contains("dev or staging"))
            #expect(await failure { () async throws(MeshError) in try await manager.deploy(library, app: nil, environment: .dev) }?.code == .capsuleNotRunnable)
            #expect(await failure { () async throws(MeshError) in try await manager.deploy(odd, app: nil, environment: .dev) }?.code == .capsuleNotRunnable)
            let service = await failure { () async throws(MeshError) in try await manager.deploy(served, app: nil, environment: .dev) }
            #expect(service?.code == .deploymentUnsupported && service?.message.contains("“db” (postgres)") == true)
            #expect(await failure { () async throws(MeshError) in try await manager.deploy(.of([9]), app: nil, environment: .dev) }?.code.name == "capsule_not_found")
            #expect(await failure { () async throws(MeshError) in try await manager.logs(shop, .dev, lines: 5) }?.code == .deploymentNotFound)
            #expect(await failure { () async throws(MeshError) in try await manager.stop(shop, .dev) }?.code == .deploymentNotFound)
            #expect(await failure { () async throws(MeshError) in try await manager.rollback(shop, .dev, to: nil) }?.code == .deploymentNotFound)
            #expect(try await manager.list().isEmpty)

            let other = place.manager(home: HomeLayout(path: place.path + "/other"))
            let busy = await failure { () async throws(MeshError) in try await other.run(front: ("127.0.0.1", node.port)) { _ in } }
            #expect(busy?.code == .frontPortBusy && busy?.message.contains("\(node.port)") == true)
        }
    }

    @Test func aDamagedJournalIsToldAndHarmsNoOther() async throws {
        let place = try Workplace()
        let one = try place.site("1.0.0"), other = try place.site("1.0.0", name: "other")
        try await place.serving { node in
            _ = try await node.manager.deploy(one, app: nil, environment: .dev)
            _ = try await node.manager.deploy(other, app: nil, environment: .dev)
        }
        let journal = place.home.deployments + "/shop/dev/journal"
        var bytes = try Files.read(journal, bytesMax: 1 << 20)
        bytes[bytes.count / 2] ^= 1
        try Files.writeDurably(bytes, to: journal)
        try await place.serving { node in
            let list = try await node.manager.list()
            #expect(list.map(\.app.description) == ["other", "shop"] && list[1].state == "down" && list[1].error?.code == .deploymentJournalCorrupt)
            let page = try await node.get()
            #expect(page.status == 503 && page.text.contains("cannot run"))
            #expect(try await node.get(app: "other").status == 200)
            #expect(await failure { () async throws(MeshError) in try await node.manager.deploy(one, app: nil, environment: .dev) }?.code == .deploymentJournalCorrupt)
        }
    }

    @Test func eventsTellTheCourse() async throws {
        let place = try Workplace()
        let capsule = try place.site("1.0.0")
        try await place.serving { node in
            let run = try await node.manager.deploy(capsule, app: nil, environment: .dev)
            let events = place.events.all
            #expect(events.filter { $0.type == "deploy.state" }.compactMap { $0.data["state"]?.string } == ["verified", "built", "staged", "started", "healthy", "switched", "committed"])
            #expect(events.first?.type == "deploy.started" && events.contains { $0.type == "deploy.committed" })
            #expect(events.filter { $0.type.hasPrefix("deploy.") }.allSatisfy { $0.source == "deployments" && $0.data["run"]?.string == run.id && $0.data["app"]?.string == "shop" && $0.data["env"]?.string == "dev" })
        }
    }

    @Test(.needsSandbox) func aBuiltSiteIsServed() async throws {
        let place = try Workplace()
        let capsule = try place.pack("built", files: ["page.txt": "made"], run: ["static": true], more: ["build": ["steps": ["mkdir out", "tr a-z A-Z <page.txt >out/index.html"], "outDir": "out"]])
        let broken = try place.pack("built", "1.1.0", files: ["a": "b"], run: ["static": true], more: ["build": ["steps": ["echo no good; false"], "outDir": "out"]])
        try await place.serving { node in
            let run = try await node.manager.deploy(capsule, app: nil, environment: .dev)
            #expect(try await node.get(app: "built").text == "MADE")
            let error = await failure { () async throws(MeshError) in try await node.manager.deploy(broken, app: nil, environment: .dev) }
            #expect(error?.code.name == "step_failed")
            #expect(try await node.get(app: "built").text == "MADE")
            let now = try await node.manager.list()
            #expect(now.map(\.generation) == [1] && now[0].output == run.output && now[0].state == "committed")
        }
    }
}
