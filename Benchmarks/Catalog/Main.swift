internal import Catalog
internal import Foundation
internal import Glibc
internal import MeshCore
internal import Signing
internal import Synchronization

/// scripts/bench catalog: a mesh of many facts, made, taken in from a file, opened, and reconciled with one that differs a little.
@main
struct Main {
    static func main() throws {
        let arguments = CommandLine.arguments
        guard arguments.count == 3, let count = Int(arguments[2]) else { fatalError("CatalogBench FOLDER FACTS") }
        try Bench(folder: arguments[1], count: count).run()
    }
}

private struct Clock: WallClock {
    var now: Milliseconds { SystemClock().now }
}

/// Seconds of this process's CPU, all threads, and of the wall clock.
private func measure<T>(_ body: () throws -> T) rethrows -> (result: T, seconds: Double, cpu: Double) {
    func cpu() -> Double {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
    }
    let start = ContinuousClock.now, before = cpu()
    let result = try body()
    let spent = ContinuousClock.now - start
    return (result, Double(spent.components.seconds) + Double(spent.components.attoseconds) / 1e18, cpu() - before)
}

private func peakMiB() -> Int {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    return usage.ru_maxrss / 1024
}

private struct Bench {
    let folder: String
    let count: Int
    private let perAuthor = 4000

    init(folder: String, count: Int) { (self.folder, self.count) = (folder, count) }

    private func home(_ name: String, _ charter: Charter) throws -> HomeLayout {
        let home = HomeLayout(path: "\(folder)/\(name)")
        for path in [home.keys, home.state] { try Files.makeDirectory(path, mode: 0o700) }
        try Files.writeDurably(charter.bytes, to: home.charter)
        return home
    }

    func run() throws {
        let root = SigningKey.generate(), charter = Charter.create(root: root), mesh = charter.meshID
        print("| work | figure |\n|---|---|")
        // Ever more releases and channel moves, by as many publishers as it takes.
        let authors = (0..<(count + perAuthor - 1) / perAuthor).map { _ in SigningKey.generate() }
        var envelopes: [[UInt8]] = [], prev: Digest?
        envelopes.reserveCapacity(count + authors.count)
        for (i, author) in authors.enumerated() {
            let grant = Fact.sign(kind: "grant", subject: author.publicKey.id.digest, body: ["role": "publisher", "scope": [.string("app-\(i)-*")]], mesh: mesh, seq: i + 1, prev: prev, at: 1_764_000_000_000, by: root)
            prev = try Fact(parsing: grant, mesh: mesh).id
            envelopes.append(grant)
        }
        let made = measure { () -> [[UInt8]] in
            let lists = Lists(authors.count)
            DispatchQueue.concurrentPerform(iterations: authors.count) { i in
                var last: Digest?, own: [[UInt8]] = []
                for seq in 1...min(perAuthor, count - i * perAuthor) {
                    let subject = Digest.of(Array("\(i) \(seq)".utf8)), name = "app-\(i)-\(seq / 40)"
                    let body: [String: JSONValue] = seq % 4 == 0
                        ? ["name": .string(name), "channel": "stable", "epoch": 0, "ver": JSONValue(seq)] : ["name": .string(name), "version": .string("1.\(seq).0")]
                    let envelope = Fact.sign(kind: seq % 4 == 0 ? "channel" : "release", subject: subject, body: body, mesh: mesh, seq: seq, prev: last, at: 1_764_000_000_000, by: authors[i])
                    last = (try? Envelope(parsing: envelope))?.contentID
                    own.append(envelope)
                }
                lists.set(i, own)
            }
            return lists.all
        }
        envelopes += made.result
        let bytes = envelopes.reduce(0) { $0 + $1.count }
        print("| facts | \(envelopes.count), \(bytes / envelopes.count) bytes each on average |")
        let file = "\(folder)/mesh.facts"
        try FactFile.write(charter: charter, envelopes, to: file)

        let first = try home("a", charter)
        var catalog: Catalog? = try Catalog(home: first, clock: Clock())
        let taken = try measure { try FactFile.read(file, into: catalog!) }
        precondition(taken.result.admitted == envelopes.count)
        print(String(format: "| taken in from a file | %.1f s, %.0f facts/s, %.1f s of CPU |", taken.seconds, Double(envelopes.count) / taken.seconds, taken.cpu))
        print("| peak memory so far, with the facts themselves in it | \(peakMiB()) MiB |")
        envelopes = []
        catalog = nil
        let size = try ["", "-wal"].reduce(Int64(0)) { sum, ending in Files.exists(first.catalogDatabase + ending) ? sum + (try OpenFile(reading: first.catalogDatabase + ending).size()) : sum }
        print(String(format: "| on the disk | %.0f MB |", Double(size) / 1e6))
        var opens: [Double] = []
        for _ in 0..<5 { opens.append(try measure { try Catalog(home: first, clock: Clock()) }.seconds) }
        print(String(format: "| opening the home's catalog, median of 5 | %.0f ms |", opens.sorted()[2] * 1000))

        let ours = try Catalog(home: first, clock: Clock())
        let one = measure { try? ours.publish(kind: "release", subject: Digest.of([1]), body: ["name": "x", "version": "1.0.0"], by: root) }
        print(String(format: "| one fact more, durably | %.1f ms |", one.seconds * 1000))
        for d in [2, 100, 1000, 10_000] { try reconcile(try ours.factIDs(), d) }
    }

    /// Both sides in this process, each measured by itself; the other side lacks half of `d` and has half of `d` of its own.
    private func reconcile(_ ids: [Digest], _ d: Int) throws {
        var theirs = ids
        for i in 0..<d / 2 { theirs[(i * 7919) % theirs.count] = Digest.of(Array("other \(d) \(i)".utf8)) }
        theirs.sort()
        let root = Digest.of([0])
        var sent = 0, received = 0, trips = 0, asking = 0.0, answering = 0.0, askingCPU = 0.0, answeringCPU = 0.0
        let begun = measure { () -> (Reconciliation.Session, Reconciliation.Question) in
            let session = Reconciliation.Session(ids)
            return (session, session.first)
        }
        (asking, askingCPU) = (begun.seconds, begun.cpu)
        var (session, question) = begun.result
        while true {
            let asked = question.bytes
            let answered = try measure { try Reconciliation.answer(Reconciliation.Question(parsing: asked), theirs, root: root).bytes }
            sent += asked.count
            received += answered.result.count
            trips += 1
            answering += answered.seconds
            answeringCPU += answered.cpu
            let step = try measure { try session.take(Reconciliation.Answer(parsing: answered.result)) }
            asking += step.seconds
            askingCPU += step.cpu
            switch step.result {
            case .ask(let more): question = more
            case .list: print("| d = \(d) | listed |"); return
            case .differ(let wanted, let extra):
                precondition(wanted.count + extra.count == Set(ids).symmetricDifference(theirs).count)
                // The wanted ids go along with the facts that are given.
                let total = sent + received + 8 * wanted.count + 28
                print(String(format: "| d = %d | %d bytes besides the facts, %d round trips with that of the facts, asking %.0f ms (%.0f ms of CPU), answering %.0f ms (%.0f ms of CPU) |",
                             wanted.count + extra.count, total, trips + 1, asking * 1000, askingCPU * 1000, answering * 1000, answeringCPU * 1000))
                return
            }
        }
    }
}

/// Lists that several threads fill, each its own.
private final class Lists: Sendable {
    private let lists: Mutex<[[[UInt8]]]>

    init(_ count: Int) { lists = Mutex(Array(repeating: [], count: count)) }
    func set(_ i: Int, _ list: [[UInt8]]) { lists.withLock { $0[i] = list } }
    var all: [[UInt8]] { lists.withLock { $0.flatMap { $0 } } }
}
