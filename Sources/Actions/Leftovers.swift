internal import Glibc
internal import MeshCore

/// Unfinished work beside its place, `PATH.KIND-<process>-<random>`: locked by whoever is at it, so that what is not locked
/// was left by a crash.
enum Leftovers {
    static func newPath(beside path: String, kind: String) -> String { "\(path).\(kind)-\(getpid())-\(UInt32.random(in: 0 ... .max))" }

    /// As far as it goes: what cannot be removed is in nobody's way.
    static func remove(beside path: String, kind: String) {
        let folder = Files.parent(of: path), prefix = "\(path.split(separator: "/").last ?? "").\(kind)-"
        for name in (try? Files.names(in: folder)) ?? [] where name.hasPrefix(prefix) && isOurs(name.dropFirst(prefix.count)) {
            let leftover = "\(folder)/\(name)"
            let descriptor = open(leftover, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
            guard descriptor >= 0 else { continue }
            if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { try? Files.removeTree(leftover) }
            close(descriptor)
        }
    }

    /// Two numbers: nobody else's file goes because its name begins alike.
    private static func isOurs(_ ending: Substring) -> Bool {
        let numbers = ending.utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        return numbers.count == 2 && numbers.allSatisfy { !$0.isEmpty && $0.allSatisfy { (0x30...0x39).contains($0) } }
    }
}
