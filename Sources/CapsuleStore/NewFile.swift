internal import Glibc
internal import MeshCore

/// A file that was just made, written from start to end. Long runs of zeros become holes: they read the same and take no space.
struct NewFile: ~Copyable {
    let descriptor: Int32
    let path: String
    private var endsInHole = false

    /// Shorter runs save little and would cost a call each.
    static let holeBytesMin = 64 * 1024

    /// Owns the descriptor.
    init(descriptor: Int32, path: String) {
        self.descriptor = descriptor
        self.path = path
    }

    deinit { close(descriptor) }

    mutating func write(_ bytes: UnsafeRawBufferPointer) throws(MeshError) {
        var start = 0
        while let hole = Self.zeros(in: bytes, from: start) {
            try writeAll(UnsafeRawBufferPointer(rebasing: bytes[start..<hole.lowerBound]))
            guard lseek(descriptor, off_t(hole.count), SEEK_CUR) >= 0 else { throw Files.failure("write", path) }
            endsInHole = true
            start = hole.upperBound
        }
        try writeAll(UnsafeRawBufferPointer(rebasing: bytes[start...]))
    }

    private mutating func writeAll(_ bytes: UnsafeRawBufferPointer) throws(MeshError) {
        var done = 0
        while done < bytes.count {
            let count = Glibc.write(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw Files.failure("write", path) }
            done += count
        }
        if done > 0 { endsInHole = false }
    }

    /// The first run of at least `holeBytesMin` zeros that begins at `start` or after it.
    private static func zeros(in bytes: UnsafeRawBufferPointer, from start: Int) -> Range<Int>? {
        // A run so long has a byte at one of these places: of a chunk, two bytes are looked at.
        for probe in stride(from: start, to: bytes.count, by: holeBytesMin) where bytes[probe] == 0 {
            var first = probe, end = probe + 1
            while first > start, bytes[first - 1] == 0 { first -= 1 }
            while end + 8 <= bytes.count, bytes.loadUnaligned(fromByteOffset: end, as: UInt64.self) == 0 { end += 8 }
            while end < bytes.count, bytes[end] == 0 { end += 1 }
            if end - first >= holeBytesMin { return first..<end }
        }
        return nil
    }

    /// Whatever the umask is. After this nothing is written any more.
    func finish(mode: Int) throws(MeshError) {
        if endsInHole {
            let size = lseek(descriptor, 0, SEEK_CUR)
            guard size >= 0, ftruncate(descriptor, size) == 0 else { throw Files.failure("write", path) }
        }
        guard fchmod(descriptor, mode_t(mode)) == 0 else { throw Files.failure("set the mode of", path) }
        var times = [RestoreFolder.modified, RestoreFolder.modified]
        futimens(descriptor, &times)
    }
}
