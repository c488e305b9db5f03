import Foundation
import TestSupport
import Testing

/// The main job: from a folder on one machine to a running app on others, over real mDNS and TLS between real hosts.
@Suite(.serialized) struct MainJobTests {
    func rows(_ value: Any) -> [[String: Any]] { value as? [[String: Any]] ?? [] }

    @Test(.enabled(if: Lab.missing == nil, Comment(rawValue: Lab.missing ?? "")))
    func fromOneFolderToRunningAppsOnThreeHosts() throws {
        let lab = try Lab("main", hosts: 3)
        var nodes = [1: try lab.up(1), 2: try lab.up(2), 3: try lab.up(3)]

        // Host 1 packs and releases; 2 is invited as grantor, 3 as member.
        let packed = try #require(try lab.capsule(1, "pack", Shell.repository + "/capsules/guestbook", "--release") as? [String: Any])
        let digest = try #require(packed["digest"] as? String)
        func join(_ host: Int, through issuer: Int, _ role: String...) throws {
            let arguments = role.flatMap { ["--role", $0] }
            let invitation = try lab.exec(issuer, [Shell.capsule, "--json", "invite"] + arguments)
            let text = try #require(try invitation.json()["invitation"] as? String, "\(invitation.output)\(invitation.error)")
            _ = try lab.capsule(host, "join", input: text + "\n")
        }
        try join(2, through: 1, "grantor")
        try join(3, through: 1, "member")
        let mesh = try lab.text(1, "mesh", "status")
        #expect(try lab.text(2, "mesh", "status") == mesh)
        #expect(try lab.text(3, "mesh", "status") == mesh)

        // No address was typed: Avahi shows each to the other.
        for host in 2...3 {
            try lab.eventually("host \(host) finds the others by mDNS") {
                let found = rows(try lab.capsule(host, "peers")).filter { ($0["via"] as? [String] ?? []).contains("avahi") && $0["state"] as? String != "stranger" }
                return found.count >= 2 ? true : nil
            }
        }

        func use(_ host: Int) throws -> (output: String, page: String) {
            try lab.eventually("host \(host) sees the release") {
                rows(try lab.capsule(host, "ls", "--mesh")).contains { $0["digest"] as? String == digest } ? true : nil
            }
            _ = try lab.capsule(host, "pull", "guestbook")
            let verdict = try #require(try lab.capsule(host, "verify", "guestbook") as? [String: Any])
            #expect(verdict["ok"] as? Bool == true && verdict["trusted"] as? Bool == true)
            let output = try lab.text(host, "output", "build", "guestbook")
            #expect(try lab.text(host, "state", "deploy", "guestbook", "--env", "dev") == "committed")
            let page = try lab.exec(host, ["curl", "-fsS", "-H", "Host: guestbook.dev.localhost", "http://127.0.0.1:8080/"])
            #expect(page.succeeded, "\(page.error)")
            return (output, page.output)
        }
        let first = try lab.text(1, "output", "build", "guestbook")
        var outputs = [first]
        for host in 2...3 {
            let (output, page) = try use(host)
            outputs.append(output)
            #expect(page.contains("<form"))
        }

        // Host 1 goes; a fourth joins through 2, pulls from 2 and 3, and runs the same bits.
        try lab.command("cut", "1")
        try lab.command("add")
        nodes[4] = try lab.up(4)
        try join(4, through: 2, "member")
        #expect(try lab.text(4, "mesh", "status") == mesh)
        let (output, _) = try use(4)
        outputs.append(output)
        #expect(Set(outputs).count == 1, "\(outputs)")
        let onFour = rows(try lab.capsule(4, "ps"))
        #expect(onFour.first?["capsule"] as? String == digest)

        // What the guestbook was told survives its restart.
        try #require(try lab.exec(4, ["curl", "-fsS", "-o", "/dev/null", "-H", "Host: guestbook.dev.localhost", "--data-urlencode", "name=Ada", "--data-urlencode", "message=kept over restarts", "http://127.0.0.1:8080/entries"]).succeeded)
        #expect(nodes[4]?.stop() == 0)
        nodes[4] = try lab.up(4)
        let again = try lab.eventually("the guestbook answers again") { () -> String? in
            let page = try lab.exec(4, ["curl", "-fsS", "-H", "Host: guestbook.dev.localhost", "http://127.0.0.1:8080/"])
            return page.succeeded ? page.output : nil
        }
        #expect(again.contains("kept over restarts"))
    }

    /// Tried with openssl alone, without and with a foreign key, and with a node of another mesh.
    @Test(.enabled(if: Lab.missing == nil, Comment(rawValue: Lab.missing ?? "")))
    func whoNeverJoinedGetsNothing() throws {
        let lab = try Lab("stranger", hosts: 3)
        let nodes = try (1...3).map { try lab.up($0) }
        let packed = try #require(try lab.capsule(1, "pack", Shell.repository + "/capsules/hello-site", "--release") as? [String: Any])
        let digest = try #require(packed["digest"] as? String), index = try #require((try lab.capsule(1, "inspect", "hello-site") as? [String: Any])?["index"] as? String)
        let invitation = try lab.text(1, "invitation", "invite")
        _ = try lab.capsule(2, "join", input: invitation + "\n")
        let address = "10.77.0.1:7423"
        let paths = ["/mesh/v1/hello", "/mesh/v1/facts/ids", "/v2/hello-site/blobs/\(digest)", "/v2/hello-site/blobs/\(index)", "/mesh/v1/capsules/\(digest)/referrers"]

        /// The status line of a GET over TLS 1.3 with the given key, by openssl alone.
        func ask(_ host: Int, _ path: String, key: String?) throws -> String {
            let folder = "/tmp/oursynth-lab-key-\(getpid())-\(host)"
            var client = ""
            if let key {
                try Shell.sh("mkdir -p \(folder) && openssl req -new -x509 -key \(key) -subj /CN=x -days 2 -out \(folder)/cert.pem")
                client = "-cert \(folder)/cert.pem -key \(key)"
            }
            let request = "GET \(path) HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n"
            let result = try lab.exec(host, ["sh", "-c", "printf '\(request)' | timeout 10 openssl s_client -quiet -tls1_3 -alpn oursynth/1 \(client) -connect \(address) 2>&1"])
            try Shell.sh("rm -rf \(folder)")
            return result.output
        }
        let home2 = try lab.text(2, "home", "status"), home3 = try lab.text(3, "home", "status")
        for path in paths {
            for key in [nil, home3 + "/keys/node.key"] as [String?] {
                let answer = try ask(3, path, key: key)
                #expect(!answer.contains(" 200 "), "\(path): \(answer.prefix(200))")
                #expect(!answer.contains("hello"), "\(path): \(answer.prefix(200))")
            }
            #expect(try ask(2, path, key: home2 + "/keys/node.key").contains("HTTP/1.1 200"), "a member asks for \(path)")
        }
        // A node of another mesh, with the same program.
        #expect(try lab.exec(3, [Shell.capsule, "peers", "add", address]).succeeded)
        #expect(try lab.exec(3, [Shell.capsule, "pull", digest]).status != 0)
        #expect(rows(try lab.capsule(3, "ls", "--mesh")).isEmpty)
        #expect(rows(try lab.capsule(3, "ls")).isEmpty)
        // Older TLS is not spoken at all.
        let old = try lab.exec(3, ["sh", "-c", "echo | timeout 10 openssl s_client -tls1_2 -connect \(address) 2>&1"])
        #expect(!old.output.contains("Cipher is ECDHE"))
        withExtendedLifetime(nodes) {}
    }
}
