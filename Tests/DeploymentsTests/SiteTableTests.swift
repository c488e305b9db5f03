import CapsuleFormat
import Deployments
import MeshCore
import Testing

@Suite struct SiteTableTests {
    private static func file(_ path: String) -> TreeEntry { TreeEntry(path: path, mode: 0o644, content: .file(size: Int64(path.utf8.count), sha256: .of(Array(path.utf8)))) }
    private static func folder(_ path: String) -> TreeEntry { TreeEntry(path: path, mode: 0o755, content: .directory) }
    private static func link(_ path: String, _ target: String) -> TreeEntry { TreeEntry(path: path, mode: 0o777, content: .link(target: target)) }

    private let site: StaticSite

    init() throws {
        site = StaticSite(index: try TreeIndex(entries: [
            Self.file("a b.txt"), Self.folder("docs"), Self.file("docs/index.html"), Self.folder("docs/v1"), Self.file("docs/v1/page.html"), Self.folder("empty"),
            Self.file("index.html"), Self.link("latest", "docs/v1"), Self.link("loop", "loop"), Self.folder("sub"), Self.link("sub/up", "../docs/index.html"), Self.file("\u{e9}.txt"),
        ], kind: .app))
    }

    @Test(arguments: [
        ("/", "index.html"), ("/index.html", "index.html"), ("/docs/", "docs/index.html"), ("/docs/v1/page.html", "docs/v1/page.html"), ("/latest/page.html", "docs/v1/page.html"),
        ("/sub/up", "docs/index.html"), ("/a%20b.txt", "a b.txt"), ("/%C3%A9.txt", "\u{e9}.txt"), ("/%69ndex.html", "index.html"),
    ])
    func found(_ path: String, _ file: String) {
        #expect(site.lookup(path) == .file(.init(path: file, size: Int64(file.utf8.count), sha256: .of(Array(file.utf8)))))
    }

    @Test(arguments: [("/docs", "/docs/"), ("/docs/v1", "/docs/v1/"), ("/latest", "/latest/"), ("/empty", "/empty/")])
    func folders(_ path: String, _ target: String) { #expect(site.lookup(path) == .redirect(target)) }

    @Test(arguments: ["/nothing", "/index.html/", "/docs/v1/", "/empty/", "/loop", "/loop/x", "//docs/", "/docs//v1/page.html", "/index.html/x", "//etc/passwd", "/INDEX.html", "/e%CC%81.txt"])
    func notFound(_ path: String) { #expect(site.lookup(path) == .notFound) }

    @Test(arguments: ["", "index.html", "/../etc/passwd", "/..", "/docs/../index.html", "/docs/..%2findex.html", "/%2e%2e/etc/passwd", "/docs/%2E%2E/%2E%2E/etc/passwd", "/.", "/%00", "/a%0ab",
                      "/%", "/%4", "/%zz", "/docs%2findex.html", "/%ff%fe", "*", "http://other/"])
    func malformed(_ path: String) { #expect(site.lookup(path) == .malformed) }

    @Test func linksLeadNowhereOutside() throws {
        let root = StaticSite(index: try TreeIndex(entries: [Self.link("absolute", "/etc/passwd"), Self.link("out", "../../etc/passwd")], kind: .rootfs))
        #expect(root.lookup("/absolute") == .notFound)
        #expect(root.lookup("/out") == .notFound)
    }

    @Test(arguments: [
        (nil, .whole), ("bytes=0-3", .part(0..<4)), ("bytes=4-", .part(4..<10)), ("bytes=-3", .part(7..<10)), ("bytes=-30", .part(0..<10)), ("bytes=9-9", .part(9..<10)),
        ("bytes=2-100", .part(2..<10)), ("Bytes=0-0", .part(0..<1)), ("bytes=10-", .unsatisfiable), ("bytes=-0", .unsatisfiable), ("bytes=99-100", .unsatisfiable),
        ("bytes=5-2", .whole), ("bytes=-", .whole), ("bytes=a-b", .whole), ("bytes=0-1,3-4", .whole), ("items=0-1", .whole), ("bytes=99999999999999999999-", .whole),
        ("bytes=0-9223372036854775807", .whole), ("bytes=0-9223372036854775806", .part(0..<10)), ("bytes=+1-2", .whole),
    ] as [(String?, ByteRange)])
    func ranges(_ header: String?, _ expected: ByteRange) { #expect(ByteRange(header: header, size: 10) == expected) }

    @Test func rangesOfNothing() {
        #expect(ByteRange(header: "bytes=0-", size: 0) == .unsatisfiable)
        #expect(ByteRange(header: "bytes=-1", size: 0) == .unsatisfiable)
    }

    @Test(arguments: [("\"a\"", true), ("W/\"a\"", true), ("\"b\", \"a\"", true), ("*", true), ("\"b\"", false), ("a", false), ("\"a", false)])
    func tags(_ header: String, _ expected: Bool) { #expect(matches(ifNoneMatch: header, tag: "\"a\"") == expected) }

    @Test(arguments: [("index.html", "text/html; charset=utf-8"), ("a/b.CSS", "text/css; charset=utf-8"), ("x.wasm", "application/wasm"), ("x.svg", "image/svg+xml"), ("README", "application/octet-stream"),
                      ("a.html/b", "application/octet-stream"), (".html", "text/html; charset=utf-8")])
    func mediaTypes(_ path: String, _ expected: String) { #expect(MediaType.of(path) == expected) }
}
