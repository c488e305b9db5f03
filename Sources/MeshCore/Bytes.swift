internal import CLinux

extension UnsafeRawBufferPointer {
    /// Where `needle` first begins at or after `start`; by the C library's vectorised search.
    public func firstOccurrence(of needle: [UInt8], from start: Int = 0) -> Int? {
        guard let baseAddress, start < count, let hit = memmem(baseAddress + start, count - start, needle, needle.count) else { return nil }
        return UnsafeRawPointer(hit) - baseAddress
    }
}

extension Array where Element == UInt8 {
    /// `withUnsafeBytes` for a body with typed errors, which the standard library's does not keep.
    public func withRawBytes<T>(_ body: (UnsafeRawBufferPointer) throws(MeshError) -> T) throws(MeshError) -> T {
        let result: Result<T, MeshError> = withUnsafeBytes { raw in
            do throws(MeshError) { return .success(try body(raw)) } catch { return .failure(error) }
        }
        return try result.get()
    }
}
