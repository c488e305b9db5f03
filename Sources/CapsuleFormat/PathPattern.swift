/// One pattern over paths, as gitignore has them (git-scm.com/docs/gitignore): `?`, `*` and `[…]` within a name, `**` for any
/// number of folders, `\` before a character that stands for itself.
///
/// Works on bytes, in time proportional to pattern × path whatever the pattern.
struct PathPattern: Sendable {
    private enum Element: Sendable {
        case byte(UInt8)
        /// Any byte of a name that is in the set.
        case set(ByteSet)
        /// `*`: any bytes of one name.
        case anyInName
        /// A `**` that is not followed by a slash: any bytes.
        case any
        /// `**/`: nothing, or any bytes and a slash. Two states: before it, and in it.
        case folders, inFolders
    }

    private let elements: [Element]
    private let literal: [UInt8]?

    /// nil for a pattern that can match nothing: an unclosed `[`, a `\` at the end.
    init?(_ pattern: [UInt8]) {
        var elements: [Element] = []
        var literal: [UInt8]? = []
        var i = 0
        while i < pattern.count {
            switch pattern[i] {
            case UInt8(ascii: "\\"):
                guard i + 1 < pattern.count else { return nil }
                elements.append(.byte(pattern[i + 1]))
                literal?.append(pattern[i + 1])
                i += 2
            case UInt8(ascii: "?"):
                elements.append(.set(ByteSet.all))
                literal = nil
                i += 1
            case UInt8(ascii: "["):
                guard let set = ByteSet(bracket: pattern, &i) else { return nil }
                elements.append(.set(set))
                literal = nil
            case UInt8(ascii: "*"):
                let start = i
                while i < pattern.count, pattern[i] == UInt8(ascii: "*") { i += 1 }
                literal = nil
                // Two or more that are a whole part stand for folders; anywhere else they are one.
                let isPart = i - start > 1 && (start == 0 || pattern[start - 1] == UInt8(ascii: "/"))
                if isPart, i == pattern.count {
                    elements.append(.any)
                } else if isPart, pattern[i] == UInt8(ascii: "/") {
                    elements += [.folders, .inFolders]
                    i += 1
                } else if isPart, pattern[i...].starts(with: [UInt8(ascii: "\\"), UInt8(ascii: "/")]) {
                    elements.append(.any)
                } else {
                    elements.append(.anyInName)
                }
            default:
                elements.append(.byte(pattern[i]))
                literal?.append(pattern[i])
                i += 1
            }
        }
        self.elements = elements
        self.literal = literal
    }

    func matches(_ text: ArraySlice<UInt8>) -> Bool {
        if let literal { return text.elementsEqual(literal) }
        var states = [Bool](repeating: false, count: elements.count + 1), next = states
        enter(0, &states)
        for byte in text {
            var isAlive = false
            for i in next.indices { next[i] = false }
            for (i, element) in elements.enumerated() where states[i] {
                let isSlash = byte == UInt8(ascii: "/")
                switch element {
                case .byte(let wanted): if byte == wanted { enter(i + 1, &next) } else { continue }
                case .set(let set): if !isSlash, set.contains(byte) { enter(i + 1, &next) } else { continue }
                case .anyInName: if !isSlash { enter(i, &next) } else { continue }
                case .any: enter(i, &next)
                case .folders: continue
                case .inFolders:
                    enter(i, &next)
                    if isSlash { enter(i + 1, &next) }
                }
                isAlive = true
            }
            guard isAlive else { return false }
            swap(&states, &next)
        }
        return states[elements.count]
    }

    /// Enters a state and those that follow without reading anything.
    private func enter(_ state: Int, _ states: inout [Bool]) {
        guard !states[state] else { return }
        states[state] = true
        guard state < elements.count else { return }
        switch elements[state] {
        case .anyInName, .any: enter(state + 1, &states)
        case .folders:
            enter(state + 1, &states)
            enter(state + 2, &states)
        case .byte, .set, .inFolders: break
        }
    }
}

/// A set of byte values; of a bracket expression as git's wildmatch reads it, POSIX classes included.
private struct ByteSet: Sendable {
    private var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

    static let all: ByteSet = {
        var set = ByteSet()
        set.insert(0...255) { _ in true }
        return set
    }()

    private init() {}

    func contains(_ byte: UInt8) -> Bool {
        let word = switch byte >> 6 {
        case 0: words.0
        case 1: words.1
        case 2: words.2
        default: words.3
        }
        return word >> UInt64(byte & 63) & 1 == 1
    }

    private mutating func insert(_ byte: UInt8) {
        let bit: UInt64 = 1 << UInt64(byte & 63)
        switch byte >> 6 {
        case 0: words.0 |= bit
        case 1: words.1 |= bit
        case 2: words.2 |= bit
        default: words.3 |= bit
        }
    }

    private mutating func insert(_ range: ClosedRange<UInt8>, where isMember: (UInt8) -> Bool) {
        for byte in range where isMember(byte) { insert(byte) }
    }

    /// From the `[` at `position`, which is moved behind the `]`. nil where there is none, or for an unknown class.
    init?(bracket pattern: [UInt8], _ position: inout Int) {
        var i = position + 1
        func at(_ i: Int) -> UInt8? { i < pattern.count ? pattern[i] : nil }
        let isNegated = at(i) == UInt8(ascii: "!") || at(i) == UInt8(ascii: "^")
        if isNegated { i += 1 }
        var previous: UInt8?
        let first = i
        while let byte = at(i), byte != UInt8(ascii: "]") || i == first {
            switch byte {
            case UInt8(ascii: "\\"):
                guard let escaped = at(i + 1) else { return nil }
                insert(escaped)
                previous = escaped
                i += 2
            case UInt8(ascii: "-") where previous != nil && at(i + 1) != nil && at(i + 1) != UInt8(ascii: "]"):
                i += at(i + 1) == UInt8(ascii: "\\") ? 2 : 1
                guard let low = previous, let high = at(i) else { return nil }
                if low <= high { insert(low...high) { _ in true } }
                previous = nil
                i += 1
            case UInt8(ascii: "[") where at(i + 1) == UInt8(ascii: ":"):
                guard let end = pattern[(i + 2)...].firstIndex(of: UInt8(ascii: "]")) else { return nil }
                if end > i + 2, pattern[end - 1] == UInt8(ascii: ":") {
                    guard let isMember = Self.classes[String(decoding: pattern[(i + 2)..<(end - 1)], as: UTF8.self)] else { return nil }
                    insert(0...127, where: isMember)
                    previous = nil
                    i = end + 1
                } else {
                    insert(byte)
                    previous = byte
                    i += 1
                }
            default:
                insert(byte)
                previous = byte
                i += 1
            }
        }
        guard at(i) == UInt8(ascii: "]") else { return nil }
        if isNegated { words = (~words.0, ~words.1, ~words.2, ~words.3) }
        position = i + 1
    }

    /// The classes of the C locale.
    private static let classes: [String: @Sendable (UInt8) -> Bool] = [
        "digit": { (0x30...0x39).contains($0) }, "upper": { (0x41...0x5a).contains($0) }, "lower": { (0x61...0x7a).contains($0) },
        "alpha": { (0x41...0x5a).contains($0 & 0xdf) }, "alnum": { (0x41...0x5a).contains($0 & 0xdf) || (0x30...0x39).contains($0) },
        "xdigit": { (0x30...0x39).contains($0) || (0x41...0x46).contains($0 & 0xdf) }, "blank": { $0 == 0x20 || $0 == 0x09 },
        "space": { $0 == 0x20 || (0x09...0x0d).contains($0) }, "cntrl": { $0 < 0x20 || $0 == 0x7f }, "print": { (0x20...0x7e).contains($0) },
        "graph": { (0x21...0x7e).contains($0) },
        "punct": { (0x21...0x7e).contains($0) && !(0x41...0x5a).contains($0 & 0xdf) && !(0x30...0x39).contains($0) },
    ]
}
