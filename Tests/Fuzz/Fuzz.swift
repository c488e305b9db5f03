@testable import CapsuleFormat
import CapsuleStore
@testable import Catalog
import Glibc
import MeshCore
import Signing

// Readers of foreign bytes under libFuzzer: `scripts/fuzz NAME [SECONDS]`. A reader may refuse its input with a MeshError of exit
// 65 and nothing else; what it takes must come out again as it went in. Anything else ends the run: a trap, another error, more
// than 2 GiB, more than 25 s for one input.

private enum Reader: String, CaseIterable {
    case manifest, index, chunks, envelope, statement, json, tar, caps, layout, pack, secrets, ignore, reference, fact, charter, reconciliation

    /// Chosen once: libFuzzer keeps a corpus for each.
    static let chosen: Reader = {
        let name = getenv("FUZZ_READER").map { String(cString: $0) } ?? ""
        guard let reader = Reader(rawValue: name) else {
            print("FUZZ_READER is one of \(allCases.map(\.rawValue).joined(separator: " "))")
            exit(64)
        }
        return reader
    }()

    func read(_ bytes: [UInt8]) throws(MeshError) {
        switch self {
        case .manifest:
            let manifest = try Manifest(parsing: bytes)
            require(try Manifest(parsing: manifest.json.canonicalBytes).json == manifest.json)
        case .index:
            for kind in [TreeKind.app, .rootfs] { require(try TreeIndex(parsing: bytes, kind: kind).bytes == bytes) }
        case .chunks:
            require(try ChunkList(parsing: bytes).bytes == bytes)
        case .envelope:
            let envelope = try Envelope(parsing: bytes)
            require(envelope.bytes == bytes)
            _ = try? Statement(parsing: envelope.payload)
        case .statement:
            require(try Statement(parsing: bytes).bytes == bytes)
        case .json:
            let value = try JSONValue.parse(bytes)
            require(try JSONValue.parseCanonical(value.canonicalBytes) == value)
            require(((try? JSONValue.parseCanonical(bytes)) != nil) == (value.canonicalBytes == bytes))
        case .tar:
            let file = try Descriptor.memoryFile(bytes)
            let layout = try TarLayout(path: file.path)
            for (name, size) in layout.members { require(try layout.read(name, offset: 0, count: Int(size)).count == Int(size)) }
        case .caps:
            let file = try Descriptor.memoryFile(bytes)
            let archive = try CapsuleArchive(CapsReader(path: file.path, codec: ZstdCodec()))
            try archive.verifyContents { _, _ throws(MeshError) in }
        case .layout:
            let file = try Descriptor.memoryFile(bytes)
            let archive = try CapsuleArchive(TarLayout(path: file.path))
            try archive.verifyContents { _, _ throws(MeshError) in }
        case .pack:
            let file = try Descriptor.memoryFile(bytes)
            let footer = try PackFooter.read(file.path)
            require(bytes.suffix(footer.frame.count).elementsEqual(footer.frame))
        case .secrets: scan(bytes)
        case .ignore:
            var rules = IgnoreRules()
            try rules.add(bytes, in: [])
            for path in ["a", "a/b.c", "node_modules/x/y", ".git"] { _ = rules.ignores(Array(path.utf8), isDirectory: path.utf8.count % 2 == 0) }
        case .reference:
            let text = String(decoding: bytes, as: UTF8.self)
            _ = try? Reference(parsing: text)
            _ = try? CapsuleID(parsing: text)
        case .fact:
            // Of whatever mesh it says, and whoever signed it: what lies behind these two checks is to be reached.
            let said = try? Statement(parsing: Envelope(parsing: bytes).payload)
            let mesh = said?.predicate["mesh"]?.string.flatMap { Digest(hex: $0) } ?? Digest.of([])
            let fact = try Fact(stored: bytes, mesh: mesh)
            let charter = Charter.create(root: Self.key), set = AdmittedSet(offered: [fact], charter: charter)
            _ = CatalogView(set, charter: charter)
        case .charter:
            let charter = try Charter(parsing: bytes)
            require(try Charter(parsing: charter.bytes).isSame(as: charter))
        case .reconciliation: try reconcile(bytes)
        }
    }

    private static let key = SigningKey(seed: [UInt8](repeating: 7, count: 32)) ?? .generate()
    private static let ids = (0..<40).map { Digest.of([UInt8($0)]) }.sorted()

    /// One of the three messages; what it asks is answered, what it answers is taken.
    private func reconcile(_ bytes: [UInt8]) throws(MeshError) {
        switch bytes.dropFirst(3).first {
        case UInt8(ascii: "Q"):
            let question = try Reconciliation.Question(parsing: bytes)
            require(try Reconciliation.Question(parsing: question.bytes) == question)
            let answer = Reconciliation.answer(question, Self.ids, root: Digest.of([]))
            require(try Reconciliation.Answer(parsing: answer.bytes) == answer)
        case UInt8(ascii: "A"):
            let answer = try Reconciliation.Answer(parsing: bytes)
            require(try Reconciliation.Answer(parsing: answer.bytes) == answer)
            guard let key = SessionKey([UInt8](repeating: 1, count: 16)) else { return }
            var session = Reconciliation.Session(Self.ids, key: key)
            _ = try session.take(answer)
        default:
            let exchange = try Reconciliation.Exchange(parsing: bytes)
            require(try Reconciliation.Exchange(parsing: exchange.bytes) == exchange)
        }
    }

    /// However a file comes in pieces, the same is found.
    private func scan(_ bytes: [UInt8]) {
        var whole = SecretScanner()
        let found = bytes.withUnsafeBytes { whole.scan($0, isLast: true) }
        var parts = SecretScanner()
        let first = max(8192, bytes.count / 2)
        guard bytes.count > first else { return }
        let early = bytes[..<first].withUnsafeBytes { parts.scan($0, isLast: false) }
        let late = early ?? bytes[first...].withUnsafeBytes { parts.scan($0, isLast: true) }
        require(found?.line == late?.line)
    }
}

private func require(_ holds: Bool) {
    if !holds { abort() }
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    do throws(MeshError) { try Reader.chosen.read(bytes) } catch {
        // A person's own file is refused with 64 where it is the words of a command.
        require(error.code.exit == .badData)
    }
    return 0
}
