/// What the driver inside the sandbox may say, and in which order: `ready`, `unpacked CODE`, then for each step `start I`
/// and `end I CODE`, until a code is not 0. A step that got hold of the channel can at worst be caught out of turn.
package struct StepProtocol {
    package enum Event: Hashable {
        case ready
        case unpacked(code: Int)
        case started(step: Int)
        case ended(step: Int, code: Int)
    }

    private enum Expectation: Hashable {
        case ready, unpacked, start(Int), end(Int), nothing
    }

    private let steps: Int
    private var expectation = Expectation.ready

    package init(steps: Int) { self.steps = steps }

    package var isFinished: Bool { expectation == .nothing }

    /// nil: the line is not what can come next.
    package mutating func receive(_ line: String) -> Event? {
        let words = line.split(separator: " ", omittingEmptySubsequences: false)
        let numbers = words.dropFirst().map { word -> Int? in word.utf8.allSatisfy { (0x30...0x39).contains($0) } ? Int(word) : nil }
        switch (expectation, words.first, numbers.count) {
        case (.ready, "ready", 0):
            expectation = .unpacked
            return .ready
        case (.unpacked, "unpacked", 1):
            guard let code = numbers[0] else { return nil }
            expectation = code == 0 && steps > 0 ? .start(0) : .nothing
            return .unpacked(code: code)
        case (.start(let step), "start", 1) where numbers[0] == step:
            expectation = .end(step)
            return .started(step: step)
        case (.end(let step), "end", 2) where numbers[0] == step:
            guard let code = numbers[1], code < 256 else { return nil }
            expectation = code == 0 && step + 1 < steps ? .start(step + 1) : .nothing
            return .ended(step: step, code: code)
        default: return nil
        }
    }
}
