internal import Builder
internal import Glibc
internal import MeshCore

/// What an app's process sees of the machine: its output at /app (read-only, where it starts), its data at /data, the
/// host's programs and network, and nothing else; and who it is there. docs/deployments.md lists it for app authors.
package struct SandboxView: Sendable, Hashable {
    package enum Identity: Sendable, Hashable {
        /// The node is root: a user id that belongs to this deployment alone, taken on after root has built the view.
        case user(UInt32)
        /// The node is an ordinary user: its own id, in a user namespace without any privilege.
        case ownUser
    }

    package static let app = "/app", data = "/data"
    package static let path = "/usr/local/bin:/usr/bin:/bin"
    /// Where bubblewrap writes about itself, and from where it reads two files; after the three standard streams.
    package static let informationDescriptor = 3, passwdDescriptor = 4, groupDescriptor = 5

    package let outputFolder: String
    package let dataFolder: String
    package let identity: Identity

    package init(outputFolder: String, dataFolder: String, identity: Identity) {
        self.outputFolder = outputFolder
        self.dataFolder = dataFolder
        self.identity = identity
    }

    /// Ids that no system gives to anyone: above what systemd and container managers use (systemd's UIDS-GIDS).
    package static func userID(of key: DeploymentKey) -> UInt32 {
        let digest = Digest.of(Array(key.description.utf8)).bytes
        let number = digest.prefix(4).reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        return 1_879_048_192 + number % (1 << 27)
    }

    static func identity(of key: DeploymentKey) -> Identity { geteuid() == 0 ? .user(userID(of: key)) : .ownUser }

    /// bubblewrap and its arguments. It gets an empty environment: were the app's variables its own, an `LD_PRELOAD` of the
    /// app would run in bubblewrap and setpriv, as root. Only the last program before the app, env(1), is given them.
    package func arguments(bubblewrap: String, command: [String], environment: [String: String]) -> [String] {
        var out = [bubblewrap]
        if identity == .ownUser { out += ["--unshare-user", "--disable-userns", "--uid", "1000", "--gid", "1000"] }
        out += ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname", "localhost", "--die-with-parent", "--new-session",
                "--info-fd", "\(Self.informationDescriptor)", "--cap-drop", "ALL"]
        if case .user = identity { out += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP"] }
        out += ["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--size", "\(Limits.appTemporaryBytesMax)", "--tmpfs", "/dev/shm",
                "--perms", "1777", "--size", "\(Limits.appTemporaryBytesMax)", "--tmpfs", "/tmp", "--ro-bind", "/usr", "/usr"]
        out += Self.links()
        out += ["--perms", "0755", "--dir", "/etc", "--perms", "0444", "--ro-bind-data", "\(Self.passwdDescriptor)", "/etc/passwd",
                "--perms", "0444", "--ro-bind-data", "\(Self.groupDescriptor)", "/etc/group"]
        for path in ["/etc/alternatives", "/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/ssl/certs", "/etc/ca-certificates", "/etc/localtime", "/etc/ld.so.cache"] {
            out += ["--ro-bind-try", path, path]
        }
        out += ["--ro-bind", outputFolder, Self.app, "--bind", dataFolder, Self.data, "--remount-ro", "/", "--chdir", Self.app, "--"]
        if case .user(let id) = identity {
            out += ["/usr/bin/setpriv", "--reuid", "\(id)", "--regid", "\(id)", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--"]
        }
        out += ["/usr/bin/env", "-i"]
        for (name, value) in environment.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) { out.append("\(name)=\(value)") }
        return out + command
    }

    /// The app's own variables may replace `PATH`, never the two that are the node's word.
    package static func environment(_ app: [String: String], port: Int) -> [String: String] {
        ["PATH": path].merging(app) { $1 }.merging(["PORT": String(port), "DATA_DIR": data]) { $1 }
    }

    /// So that programs that ask who they are get an answer.
    var passwd: String { "app:x:\(insideID):\(insideID):app:\(Self.data):/usr/sbin/nologin\n" }
    var group: String { "app:x:\(insideID):\n" }

    private var insideID: UInt32 {
        switch identity {
        case .user(let id): id
        case .ownUser: 1000
        }
    }

    /// /bin, /lib and the like as the host has them: links into /usr, or folders.
    private static func links() -> [String] {
        var out: [String] = []
        for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
            var buffer = [UInt8](repeating: 0, count: Limits.pathBytesMax + 1)
            let count = buffer.withUnsafeMutableBytes { raw in
                raw.baseAddress.map { readlink("/" + name, $0.assumingMemoryBound(to: CChar.self), raw.count) } ?? -1
            }
            if count > 0 {
                out += ["--symlink", String(decoding: buffer[..<count], as: UTF8.self), "/" + name]
            } else if Files.isDirectory("/" + name) {
                out += ["--ro-bind", "/" + name, "/" + name]
            }
        }
        return out
    }

    /// - Throws: `sandbox_unavailable`: no process of an app runs outside a sandbox.
    static func findBubblewrap() throws(MeshError) -> String {
        for path in ["/usr/bin/bwrap", "/bin/bwrap", "/usr/local/bin/bwrap"] where access(path, X_OK) == 0 { return path }
        throw MeshError(.sandboxUnavailable, "bwrap is not installed, and no app runs outside a sandbox", hint: "apt install bubblewrap")
    }
}

extension DeploymentFolder {
    /// The data folder, owned by whom the app's processes run as, closed to others.
    func prepareData(for identity: SandboxView.Identity) throws(MeshError) {
        try Files.makeDirectory(data, mode: 0o700)
        guard case .user(let id) = identity else { return }
        var info = stat()
        guard lstat(data, &info) == 0 else { throw Files.failure("look at", data) }
        // A folder from a backup, or of a node that was not root before.
        if info.st_uid != id { try Self.give(data, to: id) }
    }

    private static func give(_ path: String, to id: UInt32) throws(MeshError) {
        var info = stat()
        guard lstat(path, &info) == 0 else { throw Files.failure("look at", path) }
        if info.st_mode & S_IFMT == S_IFDIR {
            for name in try Files.names(in: path) { try give(path + "/" + name, to: id) }
        }
        guard lchown(path, id, id) == 0 else { throw Files.failure("change the owner of", path) }
    }
}
