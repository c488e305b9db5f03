import Deployments
import Glibc
import MeshCore
import Testing

@Suite struct SmallPartsTests {
    @Test(arguments: ["shop.dev.localhost", "shop.dev.localhost:8080", "SHOP.Dev.LocalHost", "shop.dev.localhost.", "shop.dev.localhost.:80"])
    func hostNames(_ host: String) throws {
        #expect(DeploymentKey(host: host) == DeploymentKey(app: try CapsuleName(parsing: "shop"), environment: .dev))
    }

    @Test(arguments: ["", "localhost", "localhost:8080", "127.0.0.1", "127.0.0.1:8080", "[::1]:8080", "::1", "shop.localhost", "shop.test.localhost", "shop.dev.local", "shop.dev.localhost.evil.org",
                      "a.shop.dev.localhost", "-shop.dev.localhost", "shop..dev.localhost", ".dev.localhost", "shop.dev.localhost:80a", "shop.dev.localhost:", "sh/op.dev.localhost",
                      "shop.dev.localhost..", "10.0.0.1", "shop.dev.localhost@evil.org"])
    func otherHosts(_ host: String) { #expect(DeploymentKey(host: host) == nil) }

    @Test func delaysDoubleUpToABound() {
        var backoff = Backoff()
        #expect((0..<10).map { _ in backoff.delay(afterRunning: 10) } == [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000])
        #expect(backoff.delay(afterRunning: Limits.restartCalmMilliseconds) == 250)
        #expect(backoff.delay(afterRunning: 0) == 500)
    }

    @Test func portsAreThoseThatNoConnectionTakes() throws {
        #expect(PortPool.candidates(ephemeral: Array("32768\t60999\n".utf8)) == [20_000...32_767, 61_000...65_535])
        #expect(PortPool.candidates(ephemeral: Array("1024 65000".utf8)) == [])
        #expect(PortPool.candidates(ephemeral: []) == [20_000...32_767, 61_000...65_535])
        let ports = PortPool()
        let taken = try (0..<200).map { _ in try ports.take() }
        #expect(Set(taken).count == 200)
        let range = try String(decoding: Files.read("/proc/sys/net/ipv4/ip_local_port_range", bytesMax: 64), as: UTF8.self)
            .split(whereSeparator: \.isWhitespace).compactMap { Int($0) }
        #expect(taken.allSatisfy { $0 < range[0] || $0 > range[1] })
    }

    @Test func linesAreCut() {
        var splitter = LineSplitter(bytesMax: 8)
        #expect(splitter.add(Array("one\ntw".utf8)) == ["one"])
        #expect(splitter.add(Array("o\r\n\n12345678901\n".utf8)) == ["two", "", "12345678", "901"])
        #expect(splitter.finish() == [])
        #expect(splitter.add([0xff, 0x41]) == [])
        #expect(splitter.finish() == ["\u{fffd}A"])
    }

    @Test func logsRotateAndAreReadBackwards() throws {
        let folder = "/tmp/deployments-log-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        try Files.makeDirectory(folder)
        defer { try? Files.removeTree(folder) }
        let log = AppLog(path: folder + "/log", clock: SystemClock(), bytesMax: 1000)
        #expect(try log.tail(10).isEmpty)
        for number in 0..<200 { log.write(["line \(number)"], generation: 3) }
        #expect(try Files.names(in: folder) == ["log", "log.1", "log.2", "log.3"])
        for count in [0, 1, 5, 40, 60] {
            #expect(try log.tail(count).map { $0.split(separator: " ", maxSplits: 1)[1] } == (200 - count..<200).map { "g3 line \($0)" })
        }
        #expect(try log.tail(1)[0].wholeMatch(of: #/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z g3 line 199/#) != nil)
        #expect(try log.tail(100_000).count < 200)
    }

    @Test func theViewOfAProcess() {
        let root = SandboxView(outputFolder: "/h/out", dataFolder: "/h/data", identity: .user(1_900_000_000))
        let environment = SandboxView.environment(["LD_PRELOAD": "/app/evil.so", "PORT": "1", "DATA_DIR": "/etc", "X": "a b"], port: 4242)
        let words = root.arguments(bubblewrap: "/usr/bin/bwrap", command: ["./run", "--fast"], environment: environment)
        // Whatever runs with a privilege comes before the app's variables, and they are given to the app alone.
        let change = words.firstIndex(of: "/usr/bin/setpriv") ?? .max, env = words.firstIndex(of: "/usr/bin/env") ?? .min
        #expect(change < env)
        #expect(Array(words[env...]) == ["/usr/bin/env", "-i", "DATA_DIR=/data", "LD_PRELOAD=/app/evil.so", "PATH=\(SandboxView.path)", "PORT=4242", "X=a b", "./run", "--fast"])
        #expect(!words[..<env].contains { $0.contains("evil") })
        #expect(words.contains("--die-with-parent") && !words.contains("--unshare-net") && !words.contains("--unshare-all"))

        let user = SandboxView(outputFolder: "/h/out", dataFolder: "/h/data", identity: .ownUser).arguments(bubblewrap: "/usr/bin/bwrap", command: ["x"], environment: [:])
        #expect(user.contains("--unshare-user") && user.contains("--disable-userns") && !user.contains("/usr/bin/setpriv") && !user.contains("--cap-add"))
    }

    @Test func everyDeploymentHasItsOwnUser() throws {
        var seen = Set<UInt32>()
        for name in ["shop", "guestbook", "hello-site"] {
            for environment in DeploymentEnvironment.allCases {
                let id = SandboxView.userID(of: DeploymentKey(app: try CapsuleName(parsing: name), environment: environment))
                #expect((1_879_048_192..<2_147_352_576).contains(id))
                seen.insert(id)
            }
        }
        #expect(seen.count == 9)
    }
}
