import Foundation
import TestSupport
import Testing

/// The HTTP face of a running node, asked by curl.
@Suite struct ControlAPITests {
    struct API {
        let port: Int
        let token: String
        let folder: String

        func curl(_ path: String, _ arguments: [String] = [], token: String? = nil) throws -> (status: Int, body: [String: Any], headers: String) {
            let result = try Shell.run("curl", ["-sS", "-i", "-m", "60", "-H", "Authorization: Bearer \(token ?? self.token)"] + arguments + ["http://127.0.0.1:\(port)\(path)"])
            let parts = result.output.components(separatedBy: "\r\n\r\n")
            let status = Int(parts[0].split(separator: " ").dropFirst().first ?? "") ?? 0
            let body = parts.dropFirst().joined(separator: "\r\n\r\n")
            return (status, (try? JSONSerialization.jsonObject(with: Data(body.utf8)) as? [String: Any]) ?? [:], parts[0].lowercased())
        }

        func act(_ action: String, _ params: String = "{}", key: String? = UUID().uuidString, token: String? = nil, more: String = "") throws -> (status: Int, body: [String: Any], headers: String) {
            try curl("/oai/act", (key.map { ["-H", "Idempotency-Key: \($0)"] } ?? []) + ["-H", "Content-Type: application/json", "-d", "{\"action\":\"\(action)\",\"params\":\(params)\(more)}"], token: token)
        }

        /// Waits for a run by following its events, which end with it.
        func finish(_ body: [String: Any]) throws -> (run: [String: Any], events: String) {
            let id = try #require(body["runId"] as? String)
            let events = try Shell.run("curl", ["-sS", "-N", "-m", "120", "-H", "Authorization: Bearer \(token)", "http://127.0.0.1:\(port)/oai/runs/\(id)/events"]).output
            return (try curl("/oai/runs/\(id)").body, events)
        }
    }

    static func start(_ home: CommandLineHome) throws -> (RunningNode, API) {
        let node = try RunningNode(home)
        let token = try #require(try home.json("token", "new", "--scope", "read,write,deploy,admin")["token"] as? String)
        return (node, API(port: try #require(node.ready["controlPort"]), token: token, folder: home.folder.path))
    }

    @Test func whoMayAsk() throws {
        let home = try CommandLineHome()
        let (node, api) = try Self.start(home)
        let reader = try #require(try home.json("token", "new", "--scope", "read")["token"] as? String)
        #expect(try api.curl("/oai/health").status == 200)
        #expect(try api.curl("/oai/tools", token: "wrong").status == 401)
        #expect(try api.curl("/oai/tools", token: reader).status == 200)
        #expect(try api.act("token.list", token: reader).status == 403)
        // A name that was made to point here, and a page of somebody else's.
        for route in ["/oai/health", "/oai/tools", "/oai/events", "/nothing"] {
            #expect(try api.curl(route, ["-H", "Host: evil.example"]).status == 421, "\(route)")
            #expect(try api.curl(route, ["-H", "Origin: https://evil.example"]).status == 403, "\(route)")
        }
        let id = try #require(try home.list("token", "list").first { ($0["scopes"] as? [String]) == ["read"] }?["id"] as? String)
        try #require(try home.run("token", "revoke", id).succeeded)
        #expect(try api.curl("/oai/tools", token: reader).status == 401)
        #expect(node.stop() == 0)
    }

    @Test func toolsAreListedWithAnETag() throws {
        let (node, api) = try Self.start(try CommandLineHome())
        let first = try api.curl("/oai/tools")
        let tools = try #require(first.body["tools"] as? [[String: Any]])
        #expect(tools.count > 25)
        #expect(tools.allSatisfy { ($0["inputSchema"] as? [String: Any])?["type"] as? String == "object" })
        let tag = try #require(first.headers.firstMatch(of: #/etag: (".*?")/#).map { String($0.1) })
        #expect(try api.curl("/oai/tools", ["-H", "If-None-Match: \(tag)"]).status == 304)
        #expect(node.stop() == 0)
    }

    @Test func badRequestsAreExplained() throws {
        let (node, api) = try Self.start(try CommandLineHome())
        let missing = try api.act("keys.new", "{\"name\":\"k\"}", key: nil)
        #expect(missing.status == 400)
        #expect(missing.body["code"] as? String == "idempotency_key_missing")
        let unknown = try api.act("no.such")
        #expect(unknown.status == 404)
        let invalid = try api.act("keys.new", "{\"nam\":\"k\"}")
        #expect(invalid.status == 422)
        #expect((invalid.body["errors"] as? [[String: Any]])?.compactMap { $0["pointer"] as? String } == ["/params/name", "/params/nam"])
        #expect(invalid.headers.contains("application/problem+json"))
        #expect(try api.curl("/oai/act", ["-d", "{"]).status == 400)
        let prod = try api.act("capsule.release", "{\"ref\":\"nothing\"}")
        #expect(prod.status == 503)
        #expect(prod.body["code"] as? String == "reference_unknown")
        let rehearsal = try api.act("keys.new", "{\"name\":\"k\"}", more: ",\"dryRun\":true")
        #expect(rehearsal.body["dryRun"] as? Bool == true)
        #expect(try (api.act("keys.list").body["result"] as? [Any])?.count == 2)
        #expect(node.stop() == 0)
    }

    @Test func aKeyActsOnceAlsoAfterKillNine() throws {
        let home = try CommandLineHome()
        let (node, api) = try Self.start(home)
        let first = try api.act("keys.new", "{\"name\":\"once\"}", key: "one")
        let second = try api.act("keys.new", "{\"name\":\"once\"}", key: "one")
        #expect(first.status == 200 && second.status == 200)
        #expect(second.headers.contains("idempotent-replayed: true"))
        #expect(NSDictionary(dictionary: first.body) == NSDictionary(dictionary: second.body))
        #expect(try api.act("keys.new", "{\"name\":\"twice\"}", key: "one").status == 422)
        node.kill()
        let again = try RunningNode(home)
        let later = API(port: try #require(again.ready["controlPort"]), token: api.token, folder: api.folder)
        let third = try later.act("keys.new", "{\"name\":\"once\"}", key: "one")
        #expect(NSDictionary(dictionary: first.body) == NSDictionary(dictionary: third.body))
        #expect(again.stop() == 0)
    }

    @Test func longActionsAreRunsWithEvents() throws {
        let home = try CommandLineHome()
        let app = try home.writeApp()
        let (node, api) = try Self.start(home)
        let packed = try api.act("capsule.pack", "{\"directory\":\"\(app)\"}")
        #expect(packed.status == 202)
        let (run, events) = try api.finish(packed.body)
        #expect(run["status"] as? String == "finished")
        let digest = try #require((run["result"] as? [String: Any])?["digest"] as? String)
        #expect(digest.hasPrefix("sha256:"))
        #expect(events.contains("event: action.started") && events.contains("event: run.ended"))
        let failed = try api.finish(try api.act("capsule.unpack", "{\"ref\":\"note\",\"directory\":\"\(app)\"}").body)
        #expect(failed.run["status"] as? String == "failed")
        #expect((failed.run["error"] as? [String: Any])?["hint"] as? String != "")
        // The command line sees the same home through the node.
        #expect(try home.list("ls").first?["digest"] as? String == digest)
        #expect(try home.run("events").output.contains("action.finished"))
        #expect(node.stop() == 0)
    }

    @Test func eventsGoOnWhereTheyWereLeft() throws {
        let home = try CommandLineHome()
        let (node, api) = try Self.start(home)
        func follow(_ header: String) throws -> String {
            try Shell.run("curl", ["-sS", "-N", "-m", "2", "-H", "Authorization: Bearer \(api.token)", "-H", header, "http://127.0.0.1:\(api.port)/oai/events"]).output
        }
        let id = try #require(try api.act("keys.new", "{\"name\":\"a\"}").body["eventId"] as? String)
        _ = try api.act("keys.new", "{\"name\":\"b\"}")
        let missed = try follow("Last-Event-ID: \(id)")
        #expect(missed.contains("retry: 1000"))
        #expect(missed.components(separatedBy: "event: action.finished").count == 2)
        #expect(try follow("Last-Event-ID: 00000000-1").contains("event: stream.reset"))
        #expect(node.stop() == 0)
    }
}
