/// What somebody may have meant who wrote an identifier that is on no list: the nearest by edit distance, or up to three that begin
/// with what was written (“GPL”); none where none is near.
extension SPDXLicenses {
    static func nearestLicenses(to text: String) -> [String] { nearest(to: text, among: foldedLicenses) }
    static func nearestExceptions(to text: String) -> [String] { nearest(to: text, among: foldedExceptions) }

    private typealias Candidate = (id: String, folded: [UInt8])
    private static let foldedLicenses = licenseIDs.map { Candidate($0, folded($0)) }
    private static let foldedExceptions = exceptionIDs.map { Candidate($0, folded($0)) }

    private static func nearest(to text: String, among candidates: [Candidate]) -> [String] {
        let wanted = folded(text)
        guard (2...60).contains(wanted.count) else { return [] }
        if let same = candidates.first(where: { $0.folded == wanted }) { return [same.id] }
        // A short word is the family's name rather than a slip of the pen.
        if wanted.count <= 4, case let family = family(wanted, candidates), !family.isEmpty { return family }
        let distanceMax = wanted.count <= 4 ? 1 : min(4, max(2, wanted.count / 4))
        var best: (id: String, distance: Int)?
        for (id, folded) in candidates where abs(folded.count - wanted.count) <= distanceMax {
            let distance = distance(wanted, folded)
            if distance <= distanceMax, distance < best?.distance ?? .max { best = (id, distance) }
        }
        return best.map { [$0.id] } ?? family(wanted, candidates)
    }

    private static func family(_ name: [UInt8], _ candidates: [Candidate]) -> [String] {
        let members = candidates.filter { $0.folded.starts(with: name + [UInt8(ascii: "-")]) && $0.folded.last != UInt8(ascii: "+") }
        guard let shortest = members.map(\.folded.count).min() else { return [] }
        return members.filter { $0.folded.count <= shortest + 1 }.prefix(3).map(\.id)
    }

    /// In lower case, words joined by dashes, without “license” and “the”, and a dash before a number: “Apache License v2.0” is `apache-2.0`.
    private static func folded(_ text: String) -> [UInt8] {
        let words = text.lowercased().split { $0 == " " || $0 == "-" || $0 == "_" || $0 == "," || $0 == "/" }
            .filter { !["license", "licence", "licensed", "the", "version"].contains($0) }
        var out: [UInt8] = []
        for byte in words.joined(separator: "-").utf8 {
            let isDigit = (0x30...0x39).contains(byte)
            if isDigit, out.last == UInt8(ascii: "v"), out.count == 1 || out.dropLast().last.map({ (0x61...0x7a).contains($0) || $0 == 0x2d }) == true {
                out.removeLast()
                if out.last.map({ $0 != UInt8(ascii: "-") }) == true { out.append(UInt8(ascii: "-")) }
            }
            out.append(byte)
        }
        return out
    }

    /// Insertions, deletions, replacements and swaps of neighbours (optimal string alignment).
    private static func distance(_ a: [UInt8], _ b: [UInt8]) -> Int {
        var beforeLast: [Int] = [], last = Array(0...b.count)
        for i in 1...a.count {
            var row = [i]
            row.reserveCapacity(b.count + 1)
            for j in b.indices {
                var best = min(last[j] + (a[i - 1] == b[j] ? 0 : 1), last[j + 1] + 1, row[j] + 1)
                if i > 1, j > 0, a[i - 1] == b[j - 1], a[i - 2] == b[j] { best = min(best, beforeLast[j - 1] + 1) }
                row.append(best)
            }
            (beforeLast, last) = (last, row)
        }
        return last[b.count]
    }
}
