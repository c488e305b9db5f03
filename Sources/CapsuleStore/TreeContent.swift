internal import CapsuleFormat
internal import MeshCore
internal import Synchronization

/// The chunks of a tree for whoever reads them in order, any number of times: places are looked up many at a time.
final class TreeContent: ContentSource, Sendable {
    private struct State {
        var next = 0
        var placesStart = 0
        var places: [ChunkPlace?] = []
    }

    private static let ahead = 512

    private let store: CapsuleStore
    private let chunks: [ChunkReference]
    private let state = Mutex(State())

    init(_ store: CapsuleStore, _ tree: VerifiedTree) {
        self.store = store
        chunks = tree.chunks.chunks
    }

    func read(chunk: ChunkReference) throws(MeshError) -> [UInt8] {
        guard let place = try place(of: chunk) else { return try store.read(chunk: chunk) }
        let reader = try store.readers.take()
        defer { store.readers.give(reader) }
        return try store.withChunk(chunk, at: place, of: nil, reader) { bytes throws(MeshError) in Array(bytes) }
    }

    /// nil when the chunk is not the next one of the tree, or not here.
    private func place(of chunk: ChunkReference) throws(MeshError) -> ChunkPlace? {
        try state.withLock { state throws(MeshError) in
            if state.next == chunks.count { state.next = 0 }
            guard state.next < chunks.count, chunks[state.next] == chunk else { return nil }
            if !(state.placesStart..<state.placesStart + state.places.count).contains(state.next) {
                state.placesStart = state.next
                state.places = try store.index.places(chunks[state.next..<min(chunks.count, state.next + Self.ahead)].map(\.digest))
            }
            defer { state.next += 1 }
            return state.places[state.next - state.placesStart]
        }
    }
}
