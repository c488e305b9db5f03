import Deployments
import Glibc
import MeshCore
import Synchronization
import Testing

/// The deployments folder as it is at each step of a run, which is what a kill −9 there would leave: a node that starts on
/// it serves the old version or the new one, never neither, and has nothing half-made.
@Suite struct PowerCutTests {
    /// Copies of `deployments/`, one at each event of the runs.
    private final class Album: Sendable {
        let place: Workplace
        let folder: String
        let pictures = Mutex<[(folder: String, at: String)]>([])

        init(_ place: Workplace) {
            self.place = place
            folder = place.path + "/album"
        }

        func start() {
            place.events.listen { event in
                guard event.type == "deploy.step" || event.type == "deploy.state" || event.type == "deploy.started" else { return }
                let number = self.pictures.withLock { $0.count }
                let copy = "\(self.folder)/\(number)"
                try? Files.makeDirectory(copy)
                guard let child = try? ChildProcess(["/bin/cp", "-a", self.place.home.deployments, copy], descriptors: []) else { return }
                guard child.wait() == .exited(0) else { return }
                let at = "\(event.type) \(event.data["step"]?.string ?? event.data["state"]?.string ?? "") of generation \(event.data["generation"]?.integer ?? 0)"
                self.pictures.withLock { $0.append((copy, at)) }
            }
        }

        func stop() -> [(folder: String, at: String)] {
            place.events.listen(nil)
            return pictures.withLock { $0 }
        }
    }

    @Test func aSite() async throws {
        let place = try Workplace()
        let one = try place.site("1.0.0"), two = try place.site("2.0.0")
        let shop = try CapsuleName(parsing: "shop")
        let album = Album(place)
        try await place.serving { node in
            album.start()
            _ = try await node.manager.deploy(one, app: nil, environment: .dev)
            _ = try await node.manager.deploy(two, app: nil, environment: .dev)
            _ = try await node.manager.rollback(shop, .dev, to: nil)
            _ = try await node.manager.stop(shop, .dev)
            _ = try await node.manager.deploy(one, app: nil, environment: .dev)
        }
        let pictures = album.stop()
        #expect(pictures.count >= 30)
        for (folder, at) in pictures {
            let home = HomeLayout(path: folder)
            try await place.serving(home: home) { node in
                let list = try await node.manager.list()
                let page = try await node.get()
                let slot = home.deployments + "/shop/dev"
                let generations = (try? Files.names(in: slot + "/generations")) ?? []
                guard let run = list.first, run.generation > 0 else {
                    #expect(page.status == 421 && generations.isEmpty && !Files.exists(slot + "/current"), "\(at): \(page.status) \(generations)")
                    #expect(list.isEmpty || list[0].state == "failed", "\(at): \(list.map(\.state))")
                    return
                }
                let version = run.capsule == one ? "1.0.0" : "2.0.0"
                if run.state == "stopped" {
                    #expect(page.status == 503, "\(at)")
                } else {
                    #expect(run.state == "committed" && page.text == "site \(version)\n", "\(at): \(run.state) \(page.text)")
                }
                #expect(try String(decoding: Files.read(slot + "/current/index.html", bytesMax: 100), as: UTF8.self) == "site \(version)\n", "\(at)")
                #expect(generations.contains(String(run.generation)) && Set(generations).isSubset(of: ["1", "2"]), "\(at): \(generations)")
                // And it goes on from there.
                _ = try await node.manager.deploy(two, app: nil, environment: .dev)
                #expect(try await node.get().text == "site 2.0.0\n", "\(at)")
            }
        }
        print("power cuts of a site: \(pictures.count)")
    }

    @Test(.needsPython, arguments: [true, false]) func aProcess(_ overlap: Bool) async throws {
        let place = try Workplace()
        let one = try place.server("1.0.0", run: ["overlap": .bool(overlap)]), two = try place.server("2.0.0", run: ["overlap": .bool(overlap)])
        let sick = try place.server("3.0.0", env: ["EXIT": "1"], run: ["overlap": .bool(overlap)])
        let album = Album(place)
        try await place.serving { node in
            _ = try await node.manager.deploy(one, app: nil, environment: .dev)
            #expect(try await node.get("/count").text == "1")
            album.start()
            _ = try await node.manager.deploy(two, app: nil, environment: .dev)
            _ = await failure { () async throws(MeshError) in try await node.manager.deploy(sick, app: nil, environment: .dev) }
        }
        let pictures = album.stop()
        #expect(pictures.count >= 20)
        for (folder, at) in pictures {
            let home = HomeLayout(path: folder)
            try await place.serving(home: home) { node in
                let page = try await node.eventually("an app after \(at)") { $0.status == 200 }
                let run = try #require(try await node.manager.list().first)
                #expect(page.text == (run.capsule == one ? "server 1.0.0" : "server 2.0.0"), "\(at)")
                #expect(try await node.get("/count").text == "2", "\(at)")
            }
        }
        print("power cuts of a process: \(pictures.count)")
    }
}
