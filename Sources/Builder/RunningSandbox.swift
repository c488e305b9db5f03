internal import Glibc
internal import MeshCore

/// A sandbox whose driver has spoken and in which no foreign code has run yet: its process 1, and its file systems held
/// open from outside, so that they can be looked at while it runs and be read after all its processes are gone.
struct RunningSandbox {
    let build: Descriptor
    private let temporary: Descriptor
    private let shared: Descriptor
    private let processes: Descriptor
    private let driver: Descriptor

    /// - Parameter information: what bubblewrap wrote about the sandbox, JSON with `child-pid`.
    init(information: Descriptor) throws(MeshError) {
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = read(information.number, &bytes, bytes.count)
        guard count > 0, let id = try JSONValue.parse(Array(bytes[..<count]), bytesMax: bytes.count)["child-pid"]?.integer, id > 1 else {
            throw MeshError(.sandboxUnavailable, "bubblewrap did not say which process it started",
                            hint: "bubblewrap 0.8 or newer is needed: bwrap --version")
        }
        do throws(MeshError) {
            driver = try Descriptor.process(Int32(truncatingIfNeeded: id))
            build = try Descriptor.directory("/proc/\(id)/root/build")
            temporary = try Descriptor.directory("/proc/\(id)/root/tmp")
            shared = try Descriptor.directory("/proc/\(id)/root/dev/shm")
            processes = try Descriptor.directory("/proc/\(id)/root/proc")
        } catch {
            throw MeshError(.sandboxUnavailable, "the sandbox runs, but this process may not look into it",
                            hint: error.message, cause: error)
        }
    }

    /// The kernel ends every other process of the sandbox with its first.
    func kill() { driver.send(signal: SIGKILL) }

    /// Memory of all processes and files, in bytes. Pages that processes share are counted for each of them first; only when
    /// that is more than `limit` does it pay to ask the kernel for the true share.
    func memoryBytes(beyond limit: Int64) -> Int64 {
        let files = [build, temporary, shared].reduce(0) { $0 + Self.fileBytes($1) }
        let ids = ((try? Files.names(in: processes.path)) ?? []).filter { $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }
        let resident = ids.reduce(0) { $0 + residentBytes($1) }
        return files + resident <= limit ? files + resident : files + ids.reduce(0) { $0 + proportionalBytes($1) }
    }

    /// Whether one of its file systems has no room left.
    var isFull: Bool {
        [build, temporary, shared].contains { directory in
            var info = statvfs()
            return fstatvfs(directory.number, &info) == 0 && info.f_bavail == 0
        }
    }

    private static func fileBytes(_ directory: Descriptor) -> Int64 {
        var info = statvfs()
        guard fstatvfs(directory.number, &info) == 0 else { return 0 }
        // Names and inodes are memory too, although the file system does not count them.
        return Int64(info.f_blocks &- info.f_bfree) * Int64(info.f_frsize) + Int64(info.f_files &- info.f_ffree) * 1024
    }

    private func residentBytes(_ process: String) -> Int64 {
        guard let text = try? Files.read("\(processes.path)/\(process)/statm", bytesMax: 4096) else { return 0 }
        let words = String(decoding: text, as: UTF8.self).split(separator: " ")
        return words.count > 1 ? (Int64(words[1]) ?? 0) * Int64(sysconf(Int32(_SC_PAGESIZE))) : 0
    }

    private func proportionalBytes(_ process: String) -> Int64 {
        guard let text = try? Files.read("\(processes.path)/\(process)/smaps_rollup", bytesMax: 8192) else { return residentBytes(process) }
        for line in String(decoding: text, as: UTF8.self).split(separator: "\n") where line.hasPrefix("Pss:") {
            return (line.split(separator: " ").dropFirst().first.flatMap { Int64($0) } ?? 0) * 1024
        }
        return residentBytes(process)
    }
}

/// Milliseconds that only ever go on.
enum Monotonic {
    static func milliseconds() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}
