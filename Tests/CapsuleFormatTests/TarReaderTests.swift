import CapsuleFormat
import MeshCore
import Testing

/// A tar in memory, as long as it says; what lies beyond its bytes reads as zeros.
struct MemoryBytes: ByteSource {
    let bytes: [UInt8]
    let size: Int64

    init(_ bytes: [UInt8], size: Int64? = nil) {
        self.bytes = bytes
        self.size = size ?? Int64(bytes.count)
    }

    func read(at offset: Int64, count: Int) throws(MeshError) -> [UInt8] {
        var out = [UInt8](repeating: 0, count: count)
        for i in 0..<count where offset + Int64(i) < Int64(bytes.count) { out[i] = bytes[Int(offset) + i] }
        return out
    }
}

/// Tars by hand, with every field open to malice.
struct TarBuilder {
    var bytes: [UInt8] = []

    static func header(_ name: String, size: String, kind: Character = "0", mode: String = "0000644", link: String = "",
                       magic: String = "ustar\u{0}00", mtime: String = "02263523000") -> [UInt8] {
        var block = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, _ offset: Int) { block.replaceSubrange(offset..<offset + text.utf8.count, with: text.utf8) }
        put(name, 0); put(mode, 100); put("0000000", 108); put("0000000", 116); put(size, 124); put(mtime, 136)
        put(String(kind), 156); put(link, 157); put(magic, 257); put("0000000", 329); put("0000000", 337)
        put("        ", 148)
        let sum = block.reduce(0) { $0 + Int($1) }
        let octal = String(sum, radix: 8)
        put(String(repeating: "0", count: 6 - octal.count) + octal + "\u{0} ", 148)
        return block
    }

    static func octal(_ size: Int) -> String {
        let text = String(size, radix: 8)
        return String(repeating: "0", count: 11 - text.count) + text
    }

    mutating func add(_ name: String, _ content: [UInt8] = []) {
        bytes += Self.header(name, size: Self.octal(content.count)) + content + [UInt8](repeating: 0, count: (512 - content.count % 512) % 512)
    }

    static func tar(_ members: [(String, [UInt8])]) -> [UInt8] {
        var builder = TarBuilder()
        for (name, content) in members { builder.add(name, content) }
        return builder.bytes + trailer
    }

    static let trailer = [UInt8](repeating: 0, count: 1024)
}

@Suite struct TarReaderTests {
    @Test func findsMembers() throws {
        let tar = TarBuilder.tar([("oci-layout", [1, 2, 3]), ("blobs/sha256/aa", []), ("b", [UInt8](repeating: 7, count: 512))])
        for dialect in [TarReader.Dialect.canonical, .ustar] {
            let members = try TarReader.members(of: MemoryBytes(tar), dialect)
            #expect(members.map(\.name) == ["oci-layout", "blobs/sha256/aa", "b"])
            #expect(members.map(\.offset) == [512, 1536, 2048])
            #expect(members.map(\.size) == [3, 0, 512])
        }
    }

    @Test func refusesWhatNoLayoutHas() {
        let one = TarBuilder.octal(1), none = TarBuilder.octal(0)
        let content = [UInt8(9)] + [UInt8](repeating: 0, count: 511)
        let cases: [(String, [UInt8], ErrorCode)] = [
            ("parent", TarBuilder.header("../evil", size: one) + content, .memberRefused),
            ("parent within", TarBuilder.header("blobs/../../evil", size: one) + content, .memberRefused),
            ("absolute", TarBuilder.header("/etc/passwd", size: one) + content, .memberRefused),
            ("dot", TarBuilder.header("./index.json", size: one) + content, .memberRefused),
            ("empty name", TarBuilder.header("", size: one) + content, .memberRefused),
            ("double slash", TarBuilder.header("blobs//x", size: one) + content, .memberRefused),
            ("trailing slash", TarBuilder.header("blobs/", size: one) + content, .memberRefused),
            ("control character", TarBuilder.header("bl\u{1b}[2Jobs", size: one) + content, .memberRefused),
            ("not ASCII", TarBuilder.header("blöbs", size: one) + content, .memberRefused),
            ("symbolic link", TarBuilder.header("x", size: none, kind: "2", link: "/etc/passwd"), .memberRefused),
            ("hard link", TarBuilder.header("x", size: none, kind: "1", link: "y"), .memberRefused),
            ("character device", TarBuilder.header("x", size: none, kind: "3"), .memberRefused),
            ("block device", TarBuilder.header("x", size: none, kind: "4"), .memberRefused),
            ("pipe", TarBuilder.header("x", size: none, kind: "6"), .memberRefused),
            ("GNU long name", TarBuilder.header("x", size: one, kind: "L") + content, .memberRefused),
            ("global pax header", TarBuilder.header("x", size: one, kind: "g") + content, .memberRefused),
            ("sparse file", TarBuilder.header("x", size: one, kind: "S") + content, .memberRefused),
            ("twice", TarBuilder.header("x", size: one) + content + TarBuilder.header("x", size: one) + content, .memberRefused),
            ("huge", TarBuilder.header("x", size: "77777777777") + content, .tarInvalid),
            ("more than there is", TarBuilder.header("x", size: TarBuilder.octal(1025)) + content, .tarInvalid),
            ("padding", TarBuilder.header("x", size: none) + TarBuilder.header("y", size: one) + [1, 2] + [UInt8](repeating: 0, count: 510), .tarInvalid),
            ("negative size", TarBuilder.header("x", size: "-0000000001") + content, .tarInvalid),
            ("base-256 size", TarBuilder.header("x", size: "\u{7f}\u{7f}0000000") + content, .tarInvalid),
            ("no ustar mark", TarBuilder.header("x", size: one, magic: "tar") + content, .tarInvalid),
            ("wrong checksum", Array(TarBuilder.header("x", size: one)[..<148]) + Array("0000000\u{0}".utf8) + TarBuilder.header("x", size: one)[156...] + content, .tarInvalid),
        ]
        for (what, bytes, code) in cases {
            for dialect in [TarReader.Dialect.canonical, .ustar] {
                let error = #expect(throws: MeshError.self, "\(what)") { try TarReader.members(of: MemoryBytes(bytes + TarBuilder.trailer), dialect) }
                #expect(error?.code == code, "\(what), \(dialect): \(error.map(String.init(describing:)) ?? "")")
                #expect(error?.isClearRefusal == true, "\(what)")
            }
        }
    }

    /// Other tools may write these; `CapsWriter` never does.
    @Test func canonicalDialectKnowsOneHeaderOnly() throws {
        let cases: [(String, [UInt8])] = [
            ("mode", TarBuilder.header("x", size: TarBuilder.octal(0), mode: "0000755")),
            ("time", TarBuilder.header("x", size: TarBuilder.octal(0), mtime: "14712345670")),
            ("GNU mark", TarBuilder.header("x", size: TarBuilder.octal(0), magic: "ustar  \u{0}")),
            ("size with a space", TarBuilder.header("x", size: "0 ")),
            ("link target of a file", TarBuilder.header("x", size: TarBuilder.octal(0), link: "y")),
            ("directory", TarBuilder.header("blobs/", size: TarBuilder.octal(0), kind: "5")),
        ]
        for (what, header) in cases {
            let tar = MemoryBytes(header + TarBuilder.trailer)
            #expect(throws: MeshError.self, "\(what)") { try TarReader.members(of: tar, .canonical) }
            #expect(throws: Never.self, "\(what)") { try TarReader.members(of: tar, .ustar) }
        }
        let more = MemoryBytes(TarBuilder.tar([("x", [1])]) + [UInt8](repeating: 0, count: 512))
        #expect(throws: MeshError.self) { try TarReader.members(of: more, .canonical) }
        #expect(try TarReader.members(of: more, .ustar).count == 1)
        let hidden = MemoryBytes(TarBuilder.tar([("x", [1])]) + [UInt8](repeating: 1, count: 512))
        #expect(throws: MeshError.self) { try TarReader.members(of: hidden, .ustar) }
    }

    @Test func truncationAnywhereIsSeen() {
        let tar = TarBuilder.tar([("oci-layout", [1, 2, 3]), ("x", [UInt8](repeating: 7, count: 600))])
        for count in 0..<tar.count {
            for dialect in [TarReader.Dialect.canonical, .ustar] {
                let error = #expect(throws: MeshError.self, "\(count)") { try TarReader.members(of: MemoryBytes(Array(tar[..<count])), dialect) }
                #expect(error?.code == .tarInvalid, "\(count)")
            }
        }
    }

    @Test func countOfMembersIsBounded() throws {
        let tar = TarBuilder.tar((0..<5).map { ("m\($0)", []) })
        #expect(try TarReader.members(of: MemoryBytes(tar), .canonical, membersMax: 5).count == 5)
        let error = #expect(throws: MeshError.self) { try TarReader.members(of: MemoryBytes(tar), .canonical, membersMax: 4) }
        #expect(error?.code == .tarInvalid)
    }

    /// The one use of a pax header: the blob of a files.tar of 8 GiB and more.
    @Test func membersOfEightGibibytes() throws {
        let size = 9 * (1 << 30) + 3
        func tar(_ record: String, mainSize: Int = 0) -> MemoryBytes {
            let text = Array(record.utf8)
            let head = TarBuilder.header("PaxHeaders/0", size: TarBuilder.octal(text.count), kind: "x") + text
                + [UInt8](repeating: 0, count: 512 - text.count) + TarBuilder.header("big", size: TarBuilder.octal(mainSize))
            return MemoryBytes(head, size: Int64(head.count + size + 509 + 1024))
        }
        let members = try TarReader.members(of: tar("19 size=\(size)\n"), .canonical)
        #expect(members.map(\.size) == [Int64(size)] && members.map(\.offset) == [1536])
        for (what, bad) in [("length", tar("20 size=\(size)\n")), ("path", tar("15 path=../evil\n")), ("two records", tar("19 size=\(size)\n9 path=x\n")),
                            ("small", tar("10 size=5\n")), ("beyond the end", tar("19 size=9999999999\n")), ("size in both", tar("19 size=\(size)\n", mainSize: 1)),
                            ("too large for any file", tar("25 size=1152921504606846976\n"))] {
            #expect(throws: MeshError.self, "\(what)") { try TarReader.members(of: bad, .canonical) }
        }
    }
}
