internal import CapsuleFormat
internal import MeshCore

/// The files of a scan that need not be read: they are what they were when they were read last, and all their chunks are here.
struct UnchangedFiles: Sendable {
    /// nil when nothing is remembered.
    private let memory: SourceMemory?
    /// By item of the scan; empty when nothing is remembered.
    private var places: [Int?] = []
    private(set) var files = 0
    /// Their sizes together.
    private(set) var bytes: Int64 = 0

    static let none = UnchangedFiles()

    private init() { memory = nil }

    /// - Parameter index: is asked for every chunk; nil when all are known to be here.
    init(_ source: SourceTree, _ memory: SourceMemory, asking index: StoreIndex?) throws(MeshError) {
        self.memory = memory
        places = memory.places(of: source.items)
        for (i, place) in places.enumerated() {
            // A secret must stop the pack whenever it came to be one: by a newer scanner, or by no longer being allowed.
            guard let place, source.scans(source.items[i].path), !Self.isClean(memory.records[place], in: memory) else { continue }
            places[i] = nil
        }
        if let index { try dropIncomplete(memory, index) }
        for place in places {
            guard let place else { continue }
            files += 1
            bytes += memory.records[place].size
        }
    }

    private static func isClean(_ record: SourceMemory.Record, in memory: SourceMemory) -> Bool {
        record.wasScanned && memory.scannerVersion == SecretScanner.version
    }

    private mutating func dropIncomplete(_ memory: SourceMemory, _ index: StoreIndex) throws(MeshError) {
        let chunks = places.map { place in place.map { memory.chunks(of: memory.records[$0]).map(\.digest) } ?? [] }
        let isHere = try index.known(chunks.flatMap { $0 })
        var next = 0
        for i in places.indices {
            if !isHere[next..<next + chunks[i].count].allSatisfy({ $0 }) { places[i] = nil }
            next += chunks[i].count
        }
    }

    func contains(_ item: Int) -> Bool { places.isEmpty ? false : places[item] != nil }

    /// What an item's content is; nil for one that has to be read.
    func content(of item: Int) -> (digest: Digest, chunks: [ChunkReference])? {
        guard let memory, contains(item), let place = places[item] else { return nil }
        return (memory.records[place].digest, memory.chunks(of: memory.records[place]))
    }

    /// Whether an item was found to hold no secrets by this scanner, now or when it was read.
    func isClean(_ item: Int) -> Bool {
        guard let memory, contains(item), let place = places[item] else { return false }
        return Self.isClean(memory.records[place], in: memory)
    }

    /// Whether remembering this tree, whose chunks were here at `generation`, would say what is remembered already.
    func saysAll(of source: SourceTree, at generation: Int64) -> Bool {
        guard let memory, memory.mark.generation == generation, memory.scannerVersion == SecretScanner.version else { return false }
        let count = source.items.count { if case .file = $0.kind { true } else { false } }
        return files == count && files == memory.records.count
    }
}
