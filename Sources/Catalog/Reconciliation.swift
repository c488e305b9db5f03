package import MeshCore
internal import Signing

/// What two nodes say to each other to find in which facts they differ, as bytes: the same over the network and in a simulation.
/// docs/formats/exchange.md is normative.
package enum Reconciliation {
    /// Counts that the asking side sends along: enough to tell within a tenth how many facts differ.
    package static let countsSent = 512
    /// More differences than these sums can tell are found by listing ids.
    package static let symbolsMax = 65_536

    private static let questionHeader = Array("OSRQ".utf8) + [1, 0, 0, 0], answerHeader = Array("OSRA".utf8) + [1, 0, 0, 0], exchangeHeader = Array("OSRX".utf8) + [1, 0, 0, 0]
    /// A varint of 64 bits has ten bytes at most.
    package static let questionBytesMax = 8 + 16 + 12 + 10 * countsSent
    package static let answerBytesMax = 8 + 40 + 8 + 22 * symbolsMax

    package struct Question: Sendable, Hashable {
        package let key: SessionKey
        /// Of the sums wanted, the first; and how many, 0 where the counts are to tell.
        package let from: Int
        package let wanted: Int
        package let counts: [Int64]

        package init(key: SessionKey, from: Int = 0, wanted: Int = 0, counts: [Int64] = []) {
            (self.key, self.from, self.wanted, self.counts) = (key, from, wanted, counts)
        }

        package var bytes: [UInt8] {
            var out = questionHeader + key.bytes
            for number in [from, wanted, counts.count] { out.append(little: UInt64(number), bytes: 4) }
            for count in counts { out.append(varint: count) }
            return out
        }

        package init(parsing bytes: [UInt8]) throws(MeshError) {
            var reader = ByteReader(bytes)
            guard bytes.count <= questionBytesMax, reader.take(8).elementsEqual(questionHeader), let key = SessionKey(reader.take(16)) else { throw broken("a question that is none") }
            self.key = key
            from = reader.number(4)
            wanted = reader.number(4)
            let count = reader.number(4)
            guard count <= countsSent, from + wanted <= symbolsMax else { throw broken("a question for more than is answered") }
            var counts: [Int64] = []
            for _ in 0..<count { counts.append(reader.varint()) }
            self.counts = counts
            guard reader.isAtEnd else { throw broken("a question that is cut off or too long") }
        }
    }

    package struct Answer: Sendable, Hashable {
        package let root: Digest
        package let count: Int
        package let from: Int
        /// None where too many facts differ.
        package let symbols: [RatelessSketch.Symbol]

        package var bytes: [UInt8] {
            var out = answerHeader + root.bytes
            out.append(little: UInt64(count), bytes: 8)
            for number in [from, symbols.count] { out.append(little: UInt64(number), bytes: 4) }
            for symbol in symbols {
                out.append(little: symbol.ids, bytes: 8)
                out.append(little: UInt64(symbol.checks), bytes: 4)
                out.append(varint: symbol.count)
            }
            return out
        }

        package init(root: Digest, count: Int, from: Int, symbols: [RatelessSketch.Symbol]) {
            (self.root, self.count, self.from, self.symbols) = (root, count, from, symbols)
        }

        package init(parsing bytes: [UInt8]) throws(MeshError) {
            var reader = ByteReader(bytes)
            guard reader.take(8).elementsEqual(answerHeader), let root = Digest(bytes: reader.take(32)) else { throw broken("an answer that is none") }
            self.root = root
            count = reader.number(8)
            from = reader.number(4)
            let symbolCount = reader.number(4)
            guard from + symbolCount <= symbolsMax, symbolCount <= bytes.count / 13, count >= 0 else { throw broken("more sums than it holds") }
            var symbols: [RatelessSketch.Symbol] = []
            symbols.reserveCapacity(symbolCount)
            for _ in 0..<symbolCount {
                var symbol = RatelessSketch.Symbol()
                symbol.ids = UInt64(bitPattern: Int64(reader.number(8)))
                symbol.checks = UInt32(truncatingIfNeeded: reader.number(4))
                symbol.count = reader.varint()
                symbols.append(symbol)
            }
            self.symbols = symbols
            guard reader.isAtEnd else { throw broken("an answer that is cut off or too long") }
        }
    }

    /// Facts that are given, and ids of those that are wanted.
    package struct Exchange: Sendable, Hashable {
        package let key: SessionKey
        package let wanted: [UInt64]
        package let given: [[UInt8]]

        package init(key: SessionKey, wanted: [UInt64], given: [[UInt8]]) { (self.key, self.wanted, self.given) = (key, wanted, given) }

        package var bytes: [UInt8] {
            var out = exchangeHeader + key.bytes
            out.append(little: UInt64(wanted.count), bytes: 4)
            for id in wanted { out.append(little: id, bytes: 8) }
            for envelope in given {
                out.append(little: UInt64(envelope.count), bytes: 4)
                out += envelope
            }
            return out
        }

        package init(parsing bytes: [UInt8]) throws(MeshError) {
            var reader = ByteReader(bytes)
            guard reader.take(8).elementsEqual(exchangeHeader), let key = SessionKey(reader.take(16)) else { throw broken("an exchange that is none") }
            self.key = key
            let count = reader.number(4)
            guard count <= Limits.factsPerMessageMax else { throw broken("more ids than are answered") }
            var wanted: [UInt64] = []
            for _ in 0..<count { wanted.append(UInt64(bitPattern: Int64(reader.number(8)))) }
            var given: [[UInt8]] = []
            while !reader.isAtEnd, !reader.isCutOff {
                let length = reader.number(4)
                guard given.count < Limits.factsPerMessageMax, length <= Limits.factEnvelopeBytesMax else { throw broken("a fact that is too long, or too many of them") }
                given.append(Array(reader.take(length)))
            }
            guard !reader.isCutOff else { throw broken("an exchange that is cut off") }
            self.wanted = wanted
            self.given = given
        }
    }

    static func broken(_ what: String) -> MeshError {
        MeshError(.reconcileBroken, "the message holds \(what)", hint: "the peer runs a broken or altered program; `capsule peers` names it")
    }

    // MARK: Both sides

    /// The answering side.
    package static func answer(_ question: Question, _ ids: [Digest], root: Digest) -> Answer {
        let mapped = map(ids, question.key)
        var wanted = question.wanted
        if wanted == 0 {
            let counts = RatelessSketch.counts(mapped, count: question.counts.count)
            let d = RatelessSketch.estimate(counts, question.counts)
            wanted = d < symbolsMax ? symbols(for: d) : .max
        }
        guard question.from + min(wanted, symbolsMax) <= symbolsMax, wanted <= symbolsMax else { return Answer(root: root, count: ids.count, from: question.from, symbols: []) }
        let sketch = RatelessSketch(mapped, key: question.key, count: question.from + wanted)
        return Answer(root: root, count: ids.count, from: question.from, symbols: Array(sketch.symbols[question.from...]))
    }

    /// So many sums nearly always tell about `d` differences: 1.35·d are needed for many, more in proportion for few, and the estimate is a
    /// tenth off.
    static func symbols(for d: Int) -> Int { d + d / 2 + 32 }

    package static func map(_ ids: [Digest], _ key: SessionKey) -> [UInt64] { ids.map(key.id) }

    /// The asking side: what it learns from answer to answer.
    package struct Session: Sendable {
        package enum Step: Sendable {
            /// Ask this next.
            case ask(Question)
            /// Ids that only the other side has, and facts that only this one has.
            case differ(wanted: [UInt64], extra: [Digest])
            /// Too many differ, or sums do not tell: list the ids.
            case list
        }

        package let key: SessionKey
        private let ids: [Digest]
        private let mapped: [UInt64]
        private var theirs: [RatelessSketch.Symbol] = []

        package init(_ ids: [Digest], key: SessionKey = SessionKey()) {
            (self.key, self.ids) = (key, ids)
            mapped = map(ids, key)
        }

        package var first: Question { Question(key: key, counts: RatelessSketch.counts(mapped, count: countsSent)) }

        package mutating func take(_ answer: Answer) throws(MeshError) -> Step {
            guard !answer.symbols.isEmpty else { return .list }
            guard answer.from == theirs.count else { throw broken("sums that were not asked for") }
            theirs += answer.symbols
            if let found = RatelessSketch(mapped, key: key, count: theirs.count).difference(to: theirs, key: key) {
                let here = Set(found.onlyHere)
                let extra = zip(ids, mapped).filter { here.contains($0.1) }.map(\.0)
                guard extra.count == here.count, here.count == found.onlyHere.count, Set(found.onlyThere).isDisjoint(with: mapped) else { throw broken("sums over facts that are not here") }
                return .differ(wanted: found.onlyThere, extra: extra)
            }
            let more = min(max(64, theirs.count / 2), symbolsMax - theirs.count)
            return more > 0 ? .ask(Question(key: key, from: theirs.count, wanted: more)) : .list
        }
    }
}

/// Numbers from bytes that anybody may have sent: past the end everything is 0 and the reader is cut off.
private struct ByteReader {
    private let bytes: [UInt8]
    private var position = 0
    private(set) var isCutOff = false

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { position == bytes.count && !isCutOff }

    mutating func take(_ count: Int) -> ArraySlice<UInt8> {
        guard count >= 0, bytes.count - position >= count else {
            isCutOff = true
            return []
        }
        defer { position += count }
        return bytes[position..<position + count]
    }

    mutating func number(_ count: Int) -> Int { Int(truncatingIfNeeded: take(count).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }) }

    /// Zigzag, seven bits a byte, the lowest first.
    mutating func varint() -> Int64 {
        var value: UInt64 = 0, shift: UInt64 = 0
        while true {
            guard let byte = take(1).first, shift < 64 else {
                isCutOff = true
                return 0
            }
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { break }
            shift += 7
        }
        return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
    }
}

extension [UInt8] {
    fileprivate mutating func append(little value: UInt64, bytes: Int) { for i in 0..<bytes { append(UInt8(truncatingIfNeeded: value >> UInt64(8 * i))) } }

    fileprivate mutating func append(varint value: Int64) {
        var rest = UInt64(bitPattern: (value << 1) ^ (value >> 63))
        while rest >= 0x80 {
            append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        append(UInt8(truncatingIfNeeded: rest))
    }
}
