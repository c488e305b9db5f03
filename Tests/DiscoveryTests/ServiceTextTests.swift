import Discovery
import MeshCore
import Signing
import Testing

@Suite struct ServiceTextTests {
    static let id = String(repeating: "0123456789abcdef", count: 4)

    static func text(_ entries: String...) -> ServiceText? { ServiceText(entries: entries.map { Array($0.utf8) }) }

    @Test func goesThereAndBack() throws {
        let node = try #require(KeyID(hex: Self.id))
        let announcement = Announcement(nodeID: node, mesh: Digest.of([1]), catalogRoot: Digest.of([2]), name: "Ada’s laptop", port: 7423)
        let text = ServiceText(announcement)
        #expect(text.instanceName == "0123456789abcdef0123456789abcdef")
        #expect(text.entries.map { String(decoding: $0, as: UTF8.self) } == [
            "v=1", "id=\(Self.id)", "mesh=\(Digest.of([1]).hex.prefix(16))", "root=\(Digest.of([2]).hex.prefix(16))", "name=Ada’s laptop",
        ])
        #expect(ServiceText(entries: text.entries) == text)
        #expect(ServiceText(entries: text.entries.reversed()) == text)
    }

    @Test func announcesOnlyWhatMayBeShown() throws {
        let node = try #require(KeyID(hex: Self.id))
        let name = "a\u{1b}[31m\u{202e}b\n" + String(repeating: "ü", count: 300)
        let entries = ServiceText(Announcement(nodeID: node, mesh: Digest.of([]), catalogRoot: Digest.of([]), name: name, port: 1)).entries
        #expect(entries.allSatisfy { $0.count <= 255 })
        #expect(entries.last == Array("name=a[31mb\(String(repeating: "ü", count: 29))".utf8))
    }

    @Test func keysHaveNoCaseAndTheFirstCounts() {
        let text = Self.text("V=1", "ID=\(Self.id)", "name=first", "NAME=second", "unknown=x", "flag", "=empty", "")
        #expect(text?.name == "first")
        #expect(text?.nodeID.hex == Self.id)
        #expect(text?.mesh == nil)
    }

    @Test(arguments: [
        ["id=\(id)"], ["v=2", "id=\(id)"], ["v=", "id=\(id)"], ["v=11", "id=\(id)"], ["v=1"], ["v=1", "id="], ["v=1", "id=\(id)0"],
        ["v=1", "id=\(id.dropLast())"], ["v=1", "id=\(id.uppercased())"], ["v=1", "id=\(id.dropLast())g"], ["v=1", "id=\(id.dropLast(2))ａ"], [],
        ["v=1", "id=x", "id=\(id)"],
    ])
    func isNoNodes(entries: [String]) {
        #expect(ServiceText(entries: entries.map { Array($0.utf8) }) == nil)
    }

    @Test(arguments: [
        ("mesh=0011223344556677", "0011223344556677"), ("mesh=00112233445566778", nil), ("mesh=001122334455667", nil), ("mesh=001122334455667G", nil),
        ("mesh=", nil), ("mesh", nil), ("mesh=0011223344556\u{0}77", nil),
    ] as [(String, String?)])
    func takesOnlyWholeHex(entry: String, mesh: String?) {
        #expect(Self.text("v=1", "id=\(Self.id)", entry)?.mesh == mesh)
        #expect(Self.text("v=1", "id=\(Self.id)", entry.replacing("mesh", with: "root"))?.catalogRoot == mesh)
    }

    @Test(arguments: [
        ("plain", "plain"), ("  two words \t", "two words"), ("\u{7}\u{1b}]0;x\u{7}y", "]0;xy"), ("a\u{202e}b\u{2066}c\u{feff}d\u{200b}", "abcd"),
        ("line\nbreak\r\u{2028}\u{85}", "linebreak"), ("日本語 🙂", "日本語 🙂"), ("", nil), (" \u{0}\u{1f}\u{7f} ", nil), ("\u{e000}", nil),
    ] as [(String, String?)])
    func cleansNames(sent: String, shown: String?) {
        #expect(displayName(Array(sent.utf8)) == shown)
    }

    @Test func cutsAndMendsNames() {
        #expect(displayName(Array(repeating: UInt8(ascii: "x"), count: 255)) == String(repeating: "x", count: Limits.displayNameBytesMax))
        #expect(displayName([0x61, 0xff, 0xc0, 0x62]) == "a\u{fffd}\u{fffd}b")
        // One letter with a thousand accents is one Character, and is cut all the same.
        let accents = displayName(Array(("e" + String(repeating: "\u{301}", count: 120)).utf8))
        #expect((accents ?? "").utf8.count <= Limits.displayNameBytesMax)
    }

    @Test func manyEntriesDoNoHarm() {
        let noise = (0..<5000).map { Array("k\($0)=\($0)".utf8) } + [[], [0x3d], [0xff, 0x3d, 0xff]]
        #expect(ServiceText(entries: noise) == nil)
        #expect(ServiceText(entries: noise + [Array("v=1".utf8), Array("id=\(Self.id)".utf8)])?.nodeID.hex == Self.id)
    }

    @Test(arguments: [("eth0", true), ("wlan0", true), ("enp3s0", true), ("br0", true), ("docker0", false), ("vethab12", false), ("br-0123", false)])
    func innerNetworksAreNoNeighbours(interface: String, counts: Bool) {
        #expect(InterfaceRule.physical.counts(interface) == counts)
        #expect(InterfaceRule.all.counts(interface))
    }
}
