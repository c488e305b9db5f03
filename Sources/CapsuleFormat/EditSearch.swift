/// The shortest edit script between two sequences of numbers, in space that grows with their length alone (Myers 1986, §4b).
///
/// A box is a stretch of either sequence. Paths of ever more edits are followed from its first and from its last corner until two
/// meet; the place where they do splits it into two smaller boxes, and so on.
struct EditSearch {
    private let old: [Int32], new: [Int32]
    /// For each element, whether it is not part of what both keep. True until found otherwise.
    private(set) var isRemoved: [Bool], isAdded: [Bool]
    private var stepsLeft: Int
    /// For each diagonal (old place less new place, from the corner), how far along `old` a path of the present length gets.
    private var forward: [Int32], backward: [Int32]

    init(_ old: [Int32], _ new: [Int32], stepsMax: Int) {
        (self.old, self.new) = (old, new)
        isRemoved = [Bool](repeating: true, count: old.count)
        isAdded = [Bool](repeating: true, count: new.count)
        stepsLeft = stepsMax
        forward = [Int32](repeating: 0, count: old.count + new.count + 3)
        backward = forward
    }

    /// False when `stepsMax` steps were not enough; the result is then of no use.
    mutating func run() -> Bool {
        var boxes = [(old: 0..<old.count, new: 0..<new.count)]
        while var box = boxes.popLast() {
            trim(&box.old, &box.new)
            if box.old.isEmpty || box.new.isEmpty { continue }
            guard let (x, y) = middle(of: box.old, box.new) else { return false }
            boxes.append((box.old.lowerBound..<x, box.new.lowerBound..<y))
            boxes.append((x..<box.old.upperBound, y..<box.new.upperBound))
        }
        return true
    }

    /// What both begin and end with stays.
    private mutating func trim(_ a: inout Range<Int>, _ b: inout Range<Int>) {
        var (start, end) = ((a.lowerBound, b.lowerBound), (a.upperBound, b.upperBound))
        while start.0 < end.0, start.1 < end.1, old[start.0] == new[start.1] {
            isRemoved[start.0] = false
            isAdded[start.1] = false
            start = (start.0 + 1, start.1 + 1)
        }
        while start.0 < end.0, start.1 < end.1, old[end.0 - 1] == new[end.1 - 1] {
            end = (end.0 - 1, end.1 - 1)
            isRemoved[end.0] = false
            isAdded[end.1] = false
        }
        a = start.0..<end.0
        b = start.1..<end.1
    }

    /// A point on a shortest path through a box whose first elements differ, and whose last elements do; never one of its two
    /// corners. nil when the steps ran out.
    private mutating func middle(of a: Range<Int>, _ b: Range<Int>) -> (Int, Int)? {
        let n = a.count, m = b.count, corner = n - m, isOdd = corner & 1 != 0
        let zero = m + 1
        forward[zero + 1] = 0
        backward[zero + 1] = 0
        for edits in 0...(n + m + 1) / 2 {
            // Diagonals beyond the box's edges hold nothing any more.
            let lowest = -edits + 2 * max(0, edits - m), highest = edits - 2 * max(0, edits - n)
            for diagonal in stride(from: lowest, through: highest, by: 2) {
                let start = Self.next(forward, zero, diagonal, edits)
                var x = start, y = x - diagonal
                while x < n, y < m, old[a.lowerBound + x] == new[b.lowerBound + y] { (x, y) = (x + 1, y + 1) }
                forward[zero + diagonal] = Int32(x)
                stepsLeft -= 1 + x - start
                let other = corner - diagonal
                if isOdd, other.magnitude < edits, x <= n, y <= m, x + Int(backward[zero + other]) >= n { return (a.lowerBound + x, b.lowerBound + y) }
            }
            for diagonal in stride(from: lowest, through: highest, by: 2) {
                let start = Self.next(backward, zero, diagonal, edits)
                var x = start, y = x - diagonal
                while x < n, y < m, old[a.upperBound - 1 - x] == new[b.upperBound - 1 - y] { (x, y) = (x + 1, y + 1) }
                backward[zero + diagonal] = Int32(x)
                stepsLeft -= 1 + x - start
                let other = corner - diagonal
                if !isOdd, other.magnitude <= edits, x <= n, y <= m, x + Int(forward[zero + other]) >= n { return (a.upperBound - x, b.upperBound - y) }
            }
            if stepsLeft < 0 { return nil }
        }
        return nil
    }

    /// Where a path with one edit more begins on a diagonal: down from the one above or right from the one below, whichever gets further.
    private static func next(_ reached: [Int32], _ zero: Int, _ diagonal: Int, _ edits: Int) -> Int {
        let place = zero + diagonal
        if diagonal == -edits || (diagonal != edits && reached[place - 1] < reached[place + 1]) { return Int(reached[place + 1]) }
        return Int(reached[place - 1]) + 1
    }
}
