import Dispatch

/// Two bodies at once, each on its thread, and both waited for.
enum DispatchGroupOfTwo {
    static func run(_ first: @escaping @Sendable () -> Void, _ second: @escaping @Sendable () -> Void) {
        let done = DispatchSemaphore(value: 0)
        for body in [first, second] {
            DispatchQueue(label: "test").async {
                body()
                done.signal()
            }
        }
        done.wait()
        done.wait()
    }
}
