internal import Dispatch

/// Runs file and CPU work on a thread of its own kind, so that it never holds one of the few threads that async code shares.
public func offEventLoops<T: Sendable>(_ body: @escaping @Sendable () throws(MeshError) -> T) async throws(MeshError) -> T {
    let result: Result<T, MeshError> = await withCheckedContinuation { continuation in
        DispatchQueue.global().async {
            do throws(MeshError) { continuation.resume(returning: .success(try body())) } catch { continuation.resume(returning: .failure(error)) }
        }
    }
    return try result.get()
}
