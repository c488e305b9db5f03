import MeshCore
import Testing

@Suite struct FollowersTests {
    @Test func everyReaderHearsAndSeveralChangesComeAsOne() async {
        let followers = Followers()
        let one = followers.signals(), two = followers.signals()
        for _ in 0..<5 { followers.tell() }
        var readers = [one.makeAsyncIterator(), two.makeAsyncIterator()]
        for i in readers.indices { #expect(await readers[i].next() != nil) }
    }

    /// Telling and the end of readers meet from many sides: nothing waits for another for ever.
    @Test(.timeLimit(.minutes(1))) func readersMayEndWhileTheyAreTold() async {
        let followers = Followers()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<200 {
                group.addTask {
                    let reader = Task { for await _ in followers.signals() {} }
                    await Task.yield()
                    followers.tell()
                    reader.cancel()
                    followers.tell()
                    await reader.value
                }
            }
        }
    }
}
