internal import MeshCore

/// One 512-byte POSIX ustar header (IEEE 1003.1-2017, pax, "ustar Interchange Format") with everything constant that a
/// capsule does not describe: uid and gid 0, empty owner names, mtime 1980-01-01, device fields `0000000`, no prefix.
enum TarHeader {
    static let blockBytes = 512
    static let nameBytesMax = 100
    /// What eleven octal digits hold.
    static let sizeMax: Int64 = 1 << 33 - 1
    /// 1980-01-01T00:00:00Z: an unchanged file gives unchanged bytes in every version.
    static let modifiedAtSeconds: Int64 = 315_532_800

    enum Kind: UInt8 {
        case file = 0x30, link = 0x32, directory = 0x35, paxRecords = 0x78
    }

    /// Precondition: `name` and `target` have at most 100 bytes, `size` at most eleven octal digits; `CanonicalTar` and
    /// `TarReader` see to it.
    static func block(name: some Collection<UInt8>, mode: Int, size: Int64, kind: Kind, target: some Collection<UInt8>) -> [UInt8] {
        precondition(name.count <= nameBytesMax && target.count <= nameBytesMax && size <= sizeMax)
        var block = [UInt8](repeating: 0, count: blockBytes)
        block.replaceSubrange(0..<name.count, with: name)
        write(Int64(mode), digits: 7, at: 100, to: &block)
        write(0, digits: 7, at: 108, to: &block)
        write(0, digits: 7, at: 116, to: &block)
        write(size, digits: 11, at: 124, to: &block)
        write(modifiedAtSeconds, digits: 11, at: 136, to: &block)
        block[156] = kind.rawValue
        block.replaceSubrange(157..<157 + target.count, with: target)
        block.replaceSubrange(257..<265, with: "ustar\u{0}00".utf8)
        write(0, digits: 7, at: 329, to: &block)
        write(0, digits: 7, at: 337, to: &block)
        write(checksum(of: block), digits: 6, at: 148, to: &block)
        block[155] = 0x20
        return block
    }

    /// The sum of all bytes, with the checksum field itself counted as eight spaces.
    static func checksum(of block: [UInt8]) -> Int64 {
        var sum: Int64 = 8 * 0x20
        for (i, byte) in block.enumerated() where !(148..<156).contains(i) { sum += Int64(byte) }
        return sum
    }

    static func padding(after size: Int64) -> Int {
        let block = Int64(blockBytes)
        return Int((block - size % block) % block)
    }

    private static func write(_ value: Int64, digits: Int, at offset: Int, to block: inout [UInt8]) {
        var rest = value
        for i in (offset..<offset + digits).reversed() {
            block[i] = 0x30 + UInt8(rest & 7)
            rest >>= 3
        }
    }
}

/// What an entry says, and the headers that say it: ustar's own where ustar can, else a pax header (`x`) before it.
struct TarEntryShape {
    let path: [UInt8]
    let target: [UInt8]
    let size: Int64
    let kind: TarHeader.Kind

    init(path: [UInt8], target: [UInt8] = [], size: Int64 = 0, kind: TarHeader.Kind) {
        self.path = path
        self.target = target
        self.size = size
        self.kind = kind
    }

    /// Everything that stands before the content.
    func header(mode: Int) -> [UInt8] {
        let records = records
        var out: [UInt8] = []
        if !records.isEmpty {
            out = TarHeader.block(name: "PaxHeaders/0".utf8, mode: 0o644, size: Int64(records.count), kind: .paxRecords, target: [])
            out += records
            out += [UInt8](repeating: 0, count: TarHeader.padding(after: Int64(records.count)))
        }
        out += TarHeader.block(name: overridesPath ? Self.shortened(path) : path, mode: mode, size: overridesSize ? 0 : size, kind: kind,
                               target: overridesTarget ? Self.shortened(target) : target)
        return out
    }

    var headerBytes: Int64 {
        let records = Int64(records.count)
        let block = Int64(TarHeader.blockBytes)
        return records == 0 ? block : 2 * block + records + Int64(TarHeader.padding(after: records))
    }

    private var overridesPath: Bool { Self.needsRecord(path) }
    private var overridesTarget: Bool { Self.needsRecord(target) }
    private var overridesSize: Bool { size > TarHeader.sizeMax }

    /// The pax records, in the order path, linkpath, size.
    private var records: [UInt8] {
        var out: [UInt8] = []
        if overridesPath { out += Self.record("path", path) }
        if overridesTarget { out += Self.record("linkpath", target) }
        if overridesSize { out += Self.record("size", Array(String(size).utf8)) }
        return out
    }

    /// What readers without pax see: the first 100 bytes, with `_` for every byte that is not ASCII.
    private static func shortened(_ text: [UInt8]) -> [UInt8] { text.prefix(TarHeader.nameBytesMax).map { $0 >= 0x80 ? 0x5f : $0 } }

    private static func needsRecord(_ text: [UInt8]) -> Bool {
        text.count > TarHeader.nameBytesMax || text.contains { $0 >= 0x80 }
    }

    /// `<length> <key>=<value>\n`, where the length counts its own digits.
    private static func record(_ key: String, _ value: [UInt8]) -> [UInt8] {
        let rest = Array(" \(key)=".utf8) + value + [0x0a]
        var length = rest.count + 1
        while String(length).utf8.count + rest.count != length { length = String(length).utf8.count + rest.count }
        return Array(String(length).utf8) + rest
    }
}
