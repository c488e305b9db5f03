import Builder
import CapsuleFormat
import CapsuleStore
import Glibc
import MeshCore
import Signing
import Testing

@Suite(.needsSandbox) struct SampleTests {
    static let samples = ["hello-site", "guestbook"]

    @Test(arguments: samples) func isPackedSignedAndBuilt(_ name: String) async throws {
        let workshop = try Workshop()
        let capsule = try workshop.pack(directory: "\(repository)/capsules/\(name)")
        let signature = Statement(subjects: [.init(name: nil, digest: capsule)], predicateType: Statement.capsuleSignatureType, predicate: ["author": .string(workshop.key.publicKey.hex)])
        let envelope = Envelope.sign(payload: signature.bytes, payloadType: Statement.payloadType, with: workshop.key)
        try workshop.store.addReferrer(ReferrerDocument(bytes: envelope.bytes, artifactType: Statement.payloadType), to: capsule)

        let result = try await workshop.replayer.build(capsule)
        #expect(result.capsule == capsule)
        #expect(!result.cached)
        let tree = try workshop.store.tree(index: result.output)
        #expect(tree.index.digest == result.output)
        try workshop.store.verifyContents(of: tree)
        #expect(try workshop.store.referrers(of: capsule).count == 2)
    }

    /// Another home, another place of the sources, other times and modes on the disk, another umask.
    @Test(arguments: samples) func givesTheSameBitsElsewhere(_ name: String) async throws {
        let here = try Workshop(), there = try Workshop()
        let one = try await here.replayer.build(try here.pack(directory: "\(repository)/capsules/\(name)"))

        let copy = there.path + "/a rather different place"
        try output(of: ["/bin/cp", "-r", "\(repository)/capsules/\(name)", copy])
        try output(of: ["/usr/bin/find", copy, "-exec", "/usr/bin/touch", "-d", "2001-02-03", "{}", "+"])
        try output(of: ["/bin/chmod", "-R", "go-rwx", copy])
        let two = try await withPrivateUmask { try await there.replayer.build(try there.pack(directory: copy)) }
        #expect(one.capsule == two.capsule)
        #expect(one.output == two.output)
        #expect(!two.cached)
    }

    @Test func helloSiteIsAPage() async throws {
        let workshop = try Workshop()
        let result = try await workshop.replayer.build(try workshop.pack(directory: "\(repository)/capsules/hello-site"))
        let page = try workshop.text(result.output, "index.html")
        #expect(page.contains("<h1>Hello from a capsule</h1>"))
        #expect(page.contains("<li><h2>Built in a sandbox</h2>"))
        #expect(page.contains("1980-01-01"))
        #expect(!page.contains("@"))
        let paths = try workshop.store.tree(index: result.output).index.entries.map(\.path)
        #expect(paths == ["404.html", "index.html", "style.css"])
    }

    @Test func guestbookServesAndKeeps() async throws {
        let workshop = try Workshop()
        let result = try await workshop.replayer.build(try workshop.pack(directory: "\(repository)/capsules/guestbook"))
        let app = workshop.path + "/app", data = workshop.path + "/data"
        _ = try workshop.store.restore(try workshop.store.tree(index: result.output), manifest: nil, to: app)
        try Files.makeDirectory(data)

        let first = try Guestbook(app, data: data)
        #expect(try first.get("/health").hasPrefix("HTTP/1.1 200 OK\r\n"))
        #expect(try first.get("/").contains("Nobody has signed yet."))
        let posted = try first.post("/entries", "name=Ada+%3CL%3E&message=%22first%22+%26+%3Cb%3Ebold%3C%2Fb%3E")
        #expect(posted.hasPrefix("HTTP/1.1 303 See Other\r\n") && posted.contains("\r\nLocation: /\r\n"))
        #expect(try first.post("/entries", "name=Ada").hasPrefix("HTTP/1.1 400 "))
        #expect(try first.post("/entries", "name=A&message=" + String(repeating: "x", count: 20_000)).hasPrefix("HTTP/1.1 413 "))
        #expect(try first.get("/nothing").hasPrefix("HTTP/1.1 404 "))
        #expect(first.stop() == .exited(0))

        // A restart on another port: the entry is still there, and what it says is text, not markup.
        let second = try Guestbook(app, data: data)
        let page = try second.get("/")
        #expect(page.contains("&quot;first&quot; &amp; &lt;b&gt;bold&lt;/b&gt;"))
        #expect(page.contains("Ada &lt;L&gt;"))
        #expect(!page.contains("<b>bold"))
        #expect(second.stop() == .exited(0))
    }

    /// One that says nothing must not keep the others from being served.
    @Test func guestbookServesBesideSilentClients() async throws {
        let workshop = try Workshop()
        let result = try await workshop.replayer.build(try workshop.pack(directory: "\(repository)/capsules/guestbook"))
        let app = workshop.path + "/app"
        _ = try workshop.store.restore(try workshop.store.tree(index: result.output), manifest: nil, to: app)
        let book = try Guestbook(app, data: workshop.path)
        var silent: [Descriptor] = []
        for _ in 0..<50 { silent.append(try book.connect()) }
        #expect(try book.get("/health").hasPrefix("HTTP/1.1 200 "))
        #expect(book.stop() == .exited(0))
        #expect(silent.count == 50)
    }
}

/// A running guestbook, and a client of a few lines.
final class Guestbook {
    private var process: ChildProcess?
    private let port: UInt16

    init(_ app: String, data: String) throws {
        port = Self.freePort()
        let out = try Descriptor.pipe(), silence = try Descriptor.memoryFile([])
        process = try ChildProcess([app + "/guestbook"], environment: ["PORT=\(port)", "DATA_DIR=\(data)"],
                                   descriptors: [silence.number, out.writing.number, out.writing.number])
        // Its first line says that it listens.
        var buffer = [UInt8](repeating: 0, count: 256)
        let count = read(out.reading.number, &buffer, buffer.count)
        try #require(String(decoding: buffer[..<max(0, count)], as: UTF8.self).hasPrefix("listening on 127.0.0.1:\(port)"))
    }

    /// Named by the kernel; for the moment between, no one else is likely to ask for exactly this one.
    private static func freePort() -> UInt16 {
        let number = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        defer { close(number) }
        var address = address(0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = bind(number, $0, length)
                _ = getsockname(number, $0, &length)
            }
        }
        return UInt16(bigEndian: address.sin_port)
    }

    private static func address(_ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return address
    }

    func connect() throws -> Descriptor {
        let client = Descriptor(owning: socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0))
        var address = Self.address(port)
        let number = client.number
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.connect(number, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
        try #require(result == 0)
        return client
    }

    func get(_ path: String) throws -> String { try exchange("GET \(path) HTTP/1.1\r\nHost: localhost\r\n\r\n") }

    func post(_ path: String, _ form: String) throws -> String {
        try exchange("POST \(path) HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: \(form.utf8.count)\r\n\r\n" + form)
    }

    private func exchange(_ request: String) throws -> String {
        let client = try connect()
        let bytes = Array(request.utf8)
        try #require(send(client.number, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count)
        var answer: [UInt8] = [], buffer = [UInt8](repeating: 0, count: 65_536)
        while case let count = recv(client.number, &buffer, buffer.count, 0), count > 0 { answer += buffer[..<count] }
        return String(decoding: answer, as: UTF8.self)
    }

    func stop() -> ChildProcess.Ending? {
        guard let process = process.take() else { return nil }
        process.send(signal: SIGTERM)
        return process.wait()
    }
}
