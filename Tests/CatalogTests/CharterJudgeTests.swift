@testable import Catalog
import Foundation
import MeshCore
import Signing
import TestSupport
import Testing

/// python-tuf's client says the same of every rotation as `Charter` does.
@Suite struct CharterJudgeTests {
    struct Case {
        let name: String
        let version: Int
        /// Numbers of keys: the old charter has 1, 2 and 3, of whom two must sign.
        let roots: [Int]
        let threshold: Int
        let signers: [Int]
    }

    static let old = [1, 2, 3]
    static let named: [Case] = [
        Case(name: "good rotation", version: 2, roots: [4, 5, 6], threshold: 2, signers: [1, 2, 4, 5]),
        Case(name: "the same roots", version: 2, roots: [1, 2, 3], threshold: 2, signers: [2, 3]),
        Case(name: "rollback", version: 1, roots: [4, 5, 6], threshold: 2, signers: [1, 2, 4, 5]),
        Case(name: "skipped version", version: 3, roots: [4, 5, 6], threshold: 2, signers: [1, 2, 4, 5]),
        Case(name: "new keys only", version: 2, roots: [4, 5, 6], threshold: 2, signers: [4, 5, 6]),
        Case(name: "one old signature", version: 2, roots: [4, 5, 6], threshold: 2, signers: [1, 4, 5]),
        Case(name: "old keys only", version: 2, roots: [4, 5, 6], threshold: 2, signers: [1, 2, 3]),
        Case(name: "a higher threshold", version: 2, roots: [1, 2, 4], threshold: 3, signers: [1, 2, 4]),
        Case(name: "a higher threshold that is not reached", version: 2, roots: [1, 2, 4], threshold: 3, signers: [1, 2]),
    ]

    @Test(.enabled(if: ProcessInfo.processInfo.environment["CAPSULE_JUDGES"] != nil, "SKIPPED: scripts/test installs the Python judges"))
    func tufSaysTheSame() throws {
        var cases = Self.named
        var random = SplitMix(seed: 41)
        for i in 0..<60 {
            let roots = Array((1...8).shuffled(using: &random).prefix(1 + random.below(4))).sorted(), signers = (1...8).filter { _ in random.below(2) == 0 }
            cases.append(Case(name: "random \(i)", version: 1 + random.below(3), roots: roots, threshold: 1 + random.below(roots.count), signers: signers.isEmpty ? [7] : signers))
        }
        func key(_ number: Int) throws -> SigningKey { try #require(SigningKey(seed: [UInt8](repeating: UInt8(number), count: 32))) }
        func keys(_ numbers: [Int]) throws -> [SigningKey] { try numbers.map(key) }
        func seeds(_ numbers: [Int]) -> JSONValue { .array(numbers.map { .string(Hex.encode([UInt8](repeating: UInt8($0), count: 32))) }) }

        let first = CharterTests.envelope(JSONValue.object(CharterTests.payload(roots: try keys(Self.old), threshold: 2)).canonicalBytes, by: try keys(Self.old))
        let mesh = try Charter(envelopes: [first])
        let ours = try cases.map { item in
            let next = CharterDocument.payload(version: item.version, roots: try keys(item.roots).map(\.publicKey), threshold: item.threshold, policy: [:])
            return mesh.adding([CharterTests.envelope(next, by: try keys(item.signers))]).version == 2
        }
        let question = JSONValue.array(cases.map { item in
            ["old": ["roots": seeds(Self.old), "threshold": 2], "new": ["version": JSONValue(item.version), "roots": seeds(item.roots), "threshold": JSONValue(item.threshold)], "signers": seeds(item.signers)]
        })
        let python = ProcessInfo.processInfo.environment["CAPSULE_JUDGES"] ?? ""
        let answer = try Shell.run(python, [Shell.repository + "/Tests/Judges/charters.py"], input: String(decoding: question.canonicalBytes, as: UTF8.self))
        try #require(answer.succeeded, "\(answer.error)")
        let theirs = try #require(try JSONValue.parse(Array(answer.output.utf8)).array).map { $0 == .bool(true) }
        #expect(theirs.count == cases.count)
        for (i, item) in cases.enumerated() { #expect(ours[i] == theirs[i], "\(item)") }
        #expect(Array(ours.prefix(Self.named.count)) == [true, true, false, false, false, false, false, true, false])
        #expect(ours.contains(true) && ours.dropFirst(Self.named.count).contains(true))
    }
}
