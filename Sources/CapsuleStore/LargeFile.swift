internal import CapsuleFormat
internal import MeshCore
internal import Synchronization

/// The digest of a file's whole content.
enum WholeDigest: Sendable {
    case known(Digest)
    case later(Promise<Digest>)

    func wait() throws(MeshError) -> Digest {
        switch self {
        case .known(let digest): digest
        case .later(let promise): try promise.wait()
        }
    }
}

/// A file that is read in several shares. Three things are done with each, beside those of other shares: it is read and cut, which
/// needs where the one before was cut last; it is searched for secrets and hashed as a part of the whole file, each needing what came of
/// the one before; its chunks are hashed, which needs nothing.
final class LargeFile: Sendable {
    private let item: SourceTree.Item
    private let path: String
    private let size: Int64
    private let reading: Mutex<Reading>
    private let whole: Mutex<Whole>
    private let readingInOrder = InOrder()
    private let wholeInOrder = InOrder()
    /// While its chunks turn out to be those of the last version its digest is that version's, and is not computed: that would hash
    /// every byte twice.
    private let last: LastVersion.File?
    private let comparison = Mutex<(same: Int, again: Promise<Digest>?)>((0, nil))

    private struct Reading {
        var source: OpenSource?
        var offset: Int64 = 0
        var rest: [UInt8] = []
    }

    private struct Whole {
        /// nil where the last version may know.
        var hasher: DigestHasher?
        var scanner: SecretScanner?
    }

    private final class OpenSource: Sendable {
        let file: SourceFile
        init(_ file: consuming SourceFile) { self.file = file }
    }

    init(_ item: SourceTree.Item, path: String, scans: Bool, last: LastVersion.File?) {
        self.item = item
        self.path = path
        self.last = last
        if case .file(let size) = item.kind { self.size = size } else { size = 0 }
        reading = Mutex(Reading())
        whole = Mutex(Whole(hasher: last == nil ? DigestHasher() : nil, scanner: scans ? SecretScanner() : nil))
    }

    /// How often `readNext` is to be called.
    var parts: Int { Int((size + Int64(Limits.ingestUnitBytes) - 1) / Int64(Limits.ingestUnitBytes)) }

    /// A part that was read, until both kinds of hashing are done with it.
    private final class Part: Sendable {
        private let state: Mutex<(content: CutContent, error: MeshError?, left: Int)>
        private let promise: Promise<CutContent>

        init(_ content: CutContent, _ promise: Promise<CutContent>) {
            state = Mutex((content, nil, 2))
            self.promise = promise
        }

        func finish(_ change: (inout CutContent) throws(MeshError) -> Void) {
            let outcome: (content: CutContent, error: MeshError?)? = state.withLock { state in
                do throws(MeshError) { try change(&state.content) } catch { state.error = state.error ?? error }
                state.left -= 1
                return state.left == 0 ? (state.content, state.error) : nil
            }
            guard let outcome else { return }
            promise.fulfil { () throws(MeshError) in
                if let error = outcome.error { throw error }
                return outcome.content
            }
        }
    }

    func readNext(into buffer: SharedBuffer, on workers: WorkerPool, _ promise: Promise<CutContent>) {
        readingInOrder.submit(to: workers) {
            do throws(MeshError) {
                let (content, new, isLast) = try self.read(into: buffer)
                let part = Part(content, promise)
                workers.submit(urgent: true) {
                    var hashed = content
                    hashed.hash()
                    let digests = hashed.digests
                    part.finish { $0.digests = digests }
                }
                self.wholeInOrder.submit(to: workers) {
                    let outcome = Result { () throws(MeshError) in
                        try self.addToWhole(UnsafeRawBufferPointer(rebasing: content.buffer.bytes[new]), isLast: isLast)
                    }
                    part.finish { content throws(MeshError) in
                        let digest = try outcome.get()
                        if isLast { content.files.append(digest) }
                    }
                }
            } catch { promise.fulfil { () throws(MeshError) in throw error } }
        }
    }

    /// The next part with what was left of the one before, cut; where in the buffer the part lies.
    private func read(into buffer: SharedBuffer) throws(MeshError) -> (content: CutContent, new: Range<Int>, isLast: Bool) {
        try reading.withLock { reading throws(MeshError) in
            var content = CutContent(buffer)
            let source: OpenSource
            if let open = reading.source { source = open } else {
                source = OpenSource(try SourceFile(item, path))
                source.file.adviseSequential()
                reading.source = source
            }
            let carried = reading.rest.count
            reading.rest.withUnsafeBytes { buffer.bytes.copyMemory(from: $0) }
            let count = Int(min(Int64(Limits.ingestUnitBytes), size - reading.offset))
            let new = carried..<carried + count
            try source.file.fill(UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[new]), at: reading.offset)
            reading.offset += Int64(count)
            let isLast = reading.offset == size
            let uncut = content.cut(0, new.upperBound, isLast: isLast)
            reading.rest = Array(UnsafeRawBufferPointer(rebasing: buffer.bytes[uncut..<new.upperBound]))
            content.bytes = Int64(count)
            if isLast {
                try source.file.requireUnchanged()
                reading.source = nil
            }
            return (content, new, isLast)
        }
    }

    /// The file's digest after its last part, if it is computed here.
    private func addToWhole(_ bytes: UnsafeRawBufferPointer, isLast: Bool) throws(MeshError) -> Digest? {
        try whole.withLock { whole throws(MeshError) in
            if let found = whole.scanner?.scan(bytes, isLast: isLast) { throw SecretScanner.error(item.path, what: found.what, line: found.line) }
            whole.hasher?.update(bytes)
            guard isLast, var hasher = whole.hasher else { return nil }
            return hasher.finish()
        }
    }

    /// Hears of the chunks of each part, in order. With the first that is another than before the whole file is hashed, beside whatever
    /// else is done.
    func compare(_ digests: [Digest], on workers: WorkerPool) {
        guard let last else { return }
        comparison.withLock { state in
            guard state.again == nil else { return }
            let known = last.chunks.dropFirst(state.same).prefix(digests.count)
            state.same += digests.count
            if !known.map(\.digest).elementsEqual(digests) { state.again = hashAgain(on: workers) }
        }
    }

    /// After its last part was compared.
    func digest(on workers: WorkerPool) -> WholeDigest {
        comparison.withLock { state in
            if let again = state.again { return .later(again) }
            guard let last, state.same == last.chunks.count else { return .later(hashAgain(on: workers)) }
            return .known(last.digest)
        }
    }

    private func hashAgain(on workers: WorkerPool) -> Promise<Digest> {
        let promise = Promise<Digest>()
        workers.submit { promise.fulfil { () throws(MeshError) in try self.hashAgain() } }
        return promise
    }

    private func hashAgain() throws(MeshError) -> Digest {
        let file = try SourceFile(item, path)
        file.adviseSequential()
        var hasher = DigestHasher(), offset: Int64 = 0
        let buffer = SharedBuffer(Limits.ingestUnitBytes)
        while offset < size {
            let bytes = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<Int(min(Int64(Limits.ingestUnitBytes), size - offset))])
            try file.fill(bytes, at: offset)
            hasher.update(UnsafeRawBufferPointer(bytes))
            offset += Int64(bytes.count)
        }
        try file.requireUnchanged()
        return hasher.finish()
    }
}
