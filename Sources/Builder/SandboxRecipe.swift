internal import Glibc
internal import MeshCore

/// What the sandbox is made of. Everything in here that a step could see is a constant or comes from the capsule; a change
/// of it is a new `version`, because it may change results. docs/build.md says what each part is for.
enum SandboxRecipe {
    static let version = 1
    /// One, because every machine has one: a program that asks how many there are gets the same answer everywhere.
    static let cpus = 1
    private static let sharedMemoryBytes = 64 << 20
    private static let processIDs = (user: 1000, group: 100)

    struct DataFile {
        let path: String
        let text: String
    }

    /// Files with fixed content, in place of what would tell one machine from another.
    static let dataFiles = [
        DataFile(path: "/etc/passwd", text: """
            root:x:0:0:root:/:/bin/sh
            build:x:1000:100:build:/homeless:/bin/sh
            nobody:x:65534:65534:nobody:/:/bin/sh

            """),
        DataFile(path: "/etc/group", text: "root:x:0:\nusers:x:100:\nnogroup:x:65534:\n"),
        DataFile(path: "/etc/hosts", text: "127.0.0.1 localhost\n::1 localhost\n"),
        DataFile(path: "/etc/nsswitch.conf", text: "passwd: files\ngroup: files\nhosts: files\n"),
        DataFile(path: "/proc/cpuinfo", text: "processor\t: 0\nmodel name\t: sandbox\ncpu MHz\t\t: 1000.000\ncpu cores\t: 1\n\n"),
        DataFile(path: "/proc/meminfo", text: """
            MemTotal:        8388608 kB
            MemFree:         8388608 kB
            MemAvailable:    8388608 kB
            Buffers:               0 kB
            Cached:                0 kB
            SwapTotal:             0 kB
            SwapFree:              0 kB

            """),
        DataFile(path: "/proc/uptime", text: "1.00 1.00\n"),
        DataFile(path: "/proc/loadavg", text: "0.00 0.00 0.00 1/1 1\n"),
        DataFile(path: "/proc/stat", text: """
            cpu  0 0 0 0 0 0 0 0 0 0
            cpu0 0 0 0 0 0 0 0 0 0 0
            intr 0
            ctxt 0
            btime 315532800
            processes 1
            procs_running 1
            procs_blocked 0

            """),
        DataFile(path: "/proc/version", text: "Linux version 6.1.0 (sandbox) #1 SMP\n"),
        DataFile(path: "/proc/cmdline", text: "\n"),
    ]

    /// The descriptors that bubblewrap is started with, in their order; those of `dataFiles` follow.
    enum Channel: Int32, CaseIterable {
        /// The sources as a tar.
        case sources
        /// What the steps print.
        case log
        /// What the driver says; before its first word, what bubblewrap says against itself.
        case status
        /// What the driver is told.
        case control
        /// Where bubblewrap says which process the driver is.
        case information
    }

    /// What every sandbox begins with, the empty one that only proves that it can be made included.
    static func foundation() -> [String] {
        [
            "--unshare-user", "--unshare-all", "--disable-userns", "--uid", "\(processIDs.user)", "--gid", "\(processIDs.group)",
            "--hostname", "localhost", "--die-with-parent", "--new-session", "--as-pid-1", "--cap-drop", "ALL", "--clearenv",
            // Before the files that cover parts of it: mounting it later would hide them.
            "--proc", "/proc", "--dev", "/dev",
        ] + toolchainArguments()
    }

    static func bubblewrapArguments(_ plan: BuildPlan) -> [String] {
        var out = foundation() + ["--info-fd", "\(Channel.information.rawValue)"]
        var descriptor = Int32(Channel.allCases.count)
        out += ["--perms", "0755", "--dir", "/etc"]
        for file in dataFiles {
            out += ["--perms", "0444", "--ro-bind-data", "\(descriptor)", file.path]
            descriptor += 1
        }
        out += ["--perms", "1777", "--size", "\(sharedMemoryBytes)", "--tmpfs", "/dev/shm"]
        out += ["--perms", "1777", "--size", "\(plan.bounds.memoryBytes)", "--tmpfs", "/tmp"]
        out += ["--perms", "0755", "--size", "\(plan.bounds.memoryBytes)", "--tmpfs", "/build"]
        out += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/build"]
        for variable in plan.environment { out += ["--setenv", variable.name, variable.value] }
        return out + ["--", "/bin/sh", "-c", driver, "sh", "\(plan.bounds.processes)"] + plan.steps
    }

    /// The host's /usr, as its package manager left it: /usr/local is nobody's record, so it is empty here.
    private static func toolchainArguments() -> [String] {
        var out = ["--ro-bind", "/usr", "/usr"]
        if Files.isDirectory("/usr/local") {
            out += ["--perms", "0755", "--size", "4096", "--tmpfs", "/usr/local", "--remount-ro", "/usr/local"]
        }
        for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
            if let target = linkTarget("/" + name) {
                out += ["--symlink", target, "/" + name]
            } else if Files.isDirectory("/" + name) {
                out += ["--ro-bind", "/" + name, "/" + name]
            }
        }
        // /usr/bin/awk, cc and others are links through it.
        if Files.isDirectory(HostToolchain.alternatives) {
            out += ["--perms", "0755", "--dir", "/etc", "--ro-bind", HostToolchain.alternatives, HostToolchain.alternatives]
        }
        return out
    }

    static func linkTarget(_ path: String) -> String? {
        var buffer = [CChar](repeating: 0, count: Limits.pathBytesMax + 1)
        let count = readlink(path, &buffer, buffer.count)
        return count > 0 ? String(decoding: buffer[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self) : nil
    }

    /// Process 1 of the sandbox: unpacks the sources, then runs the steps one by one, each when it is told to. Its words go
    /// to a channel that no step gets, its complaints (a step's shell that was killed) to the log.
    static let driver = """
        exec 9>&2 2>&1
        umask 022
        echo 1000 >/proc/self/oom_score_adj
        ulimit -c 0
        ulimit -s 8192
        ulimit -n 1024
        ulimit -p "$1" 2>/dev/null || ulimit -u "$1"
        shift
        echo ready >&9
        read -r go <&3 || exit
        tar -x -p -f - 3<&- 9>&-
        code=$?
        echo unpacked $code >&9
        test $code -eq 0 || exit 0
        exec </dev/null
        i=0
        for step do
          echo start $i >&9
          read -r go <&3 || exit
          /bin/sh -eu -c "$step" 3<&- 9>&-
          code=$?
          echo end $i $code >&9
          read -r go <&3 || exit
          test $code -eq 0 || exit 0
          i=$((i + 1))
        done
        """
}
