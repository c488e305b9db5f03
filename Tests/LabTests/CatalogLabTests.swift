import Foundation
import TestSupport
import Testing

/// What a mesh knows survives a partition, and a revoked key is out everywhere.
@Suite(.serialized) struct CatalogLabTests {
    private func rows(_ value: Any?) -> [[String: Any]] { value as? [[String: Any]] ?? [] }

    @Test(.enabled(if: Lab.missing == nil, Comment(rawValue: Lab.missing ?? "")))
    func aHostThatWasCutOffAgreesWithinTwoSeconds() throws {
        let lab = try Lab("catalog", hosts: 4)
        let nodes = try (1...4).map { try lab.up($0) }
        for host in 2...4 {
            let text = try lab.text(1, "invitation", "invite")
            _ = try lab.capsule(host, "join", input: text + "\n")
        }
        func root(_ host: Int) throws -> String { try lab.text(host, "root", "catalog", "show", "--limit", "0") }
        func agree(_ hosts: [Int]) throws -> Bool? { Set(try hosts.map(root)).count == 1 ? true : nil }
        try lab.eventually("all hosts know the same") { try agree([1, 2, 3, 4]) }
        func connected(_ host: Int, to name: String) throws -> Bool {
            rows(try lab.capsule(host, "peers")).contains { $0["name"] as? String == name && $0["state"] as? String == "connected" }
        }
        for host in 1...3 { try lab.eventually("host \(host) is connected to lab4") { try connected(host, to: "lab4") ? true : nil } }

        // Host 3's cable is pulled; the others release, set a channel, withdraw and revoke host 4.
        try lab.command("cut", "3")
        func pack(_ host: Int, _ name: String, _ version: String) throws -> String {
            let folder = try TemporaryFolder("lab-app")
            try folder.write(CommandLineHome.manifest(name, version), to: "app/capsule.json")
            try folder.write("\(name) \(version)\n", to: "app/page.txt")
            return try lab.text(host, "digest", "pack", folder.path + "/app", "--release")
        }
        _ = try pack(1, "alpha", "1.0.0")
        let second = try pack(1, "alpha", "1.1.0")
        _ = try pack(2, "lab2-tool", "1.0.0")
        _ = try lab.capsule(1, "channel", "set", "alpha@stable", "alpha@1.1.0")
        _ = try lab.capsule(1, "withdraw", "alpha@1.0.0", "--reason", "broken", "--security")
        let fourth = try lab.text(4, "nodeId", "status")
        _ = try lab.capsule(1, "keys", "revoke", fourth, "--reason", "stolen")
        try lab.eventually("hosts 1 and 2 agree") { try agree([1, 2]) }

        // Whoever has heard of it has no connection with host 4, in either direction.
        func sockets(_ host: Int) throws -> Int {
            let list = try lab.exec(host, ["ss", "-Htn", "state", "established", "( dport = :7423 or sport = :7423 )"]).output
            return list.split(separator: "\n").count { $0.contains("10.77.0.4:") }
        }
        for host in [1, 2] { try lab.eventually(within: 5, "host \(host) has closed host 4's connections") { try sockets(host) == 0 ? true : nil } }
        #expect(try lab.exec(4, [Shell.capsule, "sync"]).status != 0)

        // Reunited. Two seconds from when the cable is in; what pulled it there is the push, not the clock.
        try lab.command("heal", "3")
        let start = Date()
        try lab.eventually(within: 20, "host 3 agrees with the others") { try agree([1, 2, 3]) }
        let took = Date().timeIntervalSince(start)
        print("host 3 agreed \(took) s after its cable was plugged in, questions included")
        for host in 1...3 {
            let shown = try #require(try lab.capsule(host, "catalog", "show") as? [String: Any])
            let keys = rows(shown["keys"])
            #expect(keys.first { $0["id"] as? String == fourth }?["state"] as? String == "revoked", "host \(host)")
            #expect(rows(shown["withdrawn"]).count == 1 && rows(shown["channels"]).first?["digest"] as? String == second, "host \(host)")
            #expect(rows(try lab.capsule(host, "ls", "--mesh")).compactMap { $0["version"] as? String }.sorted() == ["1.0.0", "1.1.0"], "host \(host)")
        }
        try lab.eventually(within: 5, "host 3 has closed host 4's connections") { try sockets(3) == 0 ? true : nil }
        withExtendedLifetime(nodes) {}
    }
}
