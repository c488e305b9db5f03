import CapsuleFormat
import CapsuleStore
import Deployments
import Glibc
import MeshCore
import Testing

/// The capsules of the repository, from their sources to a browser.
@Suite(.needsSandbox) struct SampleTests {
    private static let repository = Files.parent(of: Files.parent(of: Files.parent(of: #filePath)))

    @Test func theGuestbookKeepsItsEntries() async throws {
        let place = try Workplace()
        let capsule = try place.store.pack(directory: Self.repository + "/capsules/guestbook").capsule.digest
        try await place.serving { node in
            let run = try await node.manager.deploy(capsule, app: nil, environment: .staging)
            #expect(run.url == "http://guestbook.staging.localhost:\(node.port)/" && run.output != nil)
            let page = try await node.get(app: "guestbook", env: "staging")
            #expect(page.status == 200 && page.text.contains("<form"))
            let written = try await HTTP.ask(port: node.port, host: "guestbook.staging.localhost", path: "/entries", method: "POST",
                                             headers: ["Content-Type: application/x-www-form-urlencoded"], body: Array("name=Ada&message=kept+over+restarts".utf8))
            #expect((200..<400).contains(written.status))
        }
        try await place.serving { node in
            let end = ContinuousClock.now + .seconds(20)
            var page = try await node.get(app: "guestbook", env: "staging")
            while page.status != 200, ContinuousClock.now < end { page = try await node.get(app: "guestbook", env: "staging") }
            #expect(page.text.contains("kept over restarts"))
        }
    }

    @Test func theSiteIsServed() async throws {
        let place = try Workplace()
        let capsule = try place.store.pack(directory: Self.repository + "/capsules/hello-site").capsule.digest
        try await place.serving { node in
            _ = try await node.manager.deploy(capsule, app: nil, environment: .dev)
            let page = try await node.get(app: "hello-site")
            #expect(page.status == 200 && page["content-type"] == "text/html; charset=utf-8" && page.text.contains("Hello from a capsule"))
        }
    }
}
