internal import Glibc

/// Unfinished work beside its place, `PATH.KIND-<process>-<random>`: what belongs to a process that is no more was left by a crash.
/// Who works long on it locks it too (flock(2)), for a process in another PID namespace.
public enum Leftovers {
    public static func newPath(beside path: String, kind: String = "tmp") -> String { "\(path).\(kind)-\(getpid())-\(UInt32.random(in: 0 ... .max))" }

    /// As far as it goes: what cannot be removed is in nobody's way.
    public static func remove(beside path: String, kind: String = "tmp") {
        let name = path.split(separator: "/").last ?? ""
        remove(in: Files.parent(of: path)) { $0 == name && $1 == kind }
    }

    /// Of all files in a folder.
    public static func remove(in folder: String, kind: String = "tmp") { remove(in: folder) { $1 == kind } }

    private static func remove(in folder: String, where isWanted: (_ name: Substring, _ kind: Substring) -> Bool) {
        for entry in (try? Files.names(in: folder)) ?? [] {
            guard let (name, kind, process) = parts(of: entry), isWanted(name, kind), process != getpid(), kill(process, 0) != 0, errno == ESRCH else { continue }
            let leftover = "\(folder)/\(entry)"
            let descriptor = open(leftover, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
            guard descriptor >= 0 else { continue }
            if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { try? Files.removeTree(leftover) }
            close(descriptor)
        }
    }

    /// Two numbers at the end: nobody else's file goes because its name begins alike.
    private static func parts(of entry: String) -> (name: Substring, kind: Substring, process: Int32)? {
        guard let dot = entry.utf8.lastIndex(of: UInt8(ascii: ".")) else { return nil }
        let ending = entry[entry.utf8.index(after: dot)...].split(separator: "-", omittingEmptySubsequences: false)
        guard ending.count == 3, ending[1...].allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }), let process = Int32(ending[1]), process > 0
        else { return nil }
        return (entry[..<dot], ending[0], process)
    }
}
