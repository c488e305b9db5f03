import Builder
import CapsuleFormat
import CapsuleStore
import Glibc
import MeshCore
import Signing
import Testing

/// What a build can find out about the machine it runs on.
@Suite(.needsSandbox) struct LeakTests {
    /// Writes what it sees to `out/`.
    static let look = """
        mkdir out
        env | sort >out/env
        tr '\\0' '\\n' </proc/1/environ | sort >out/env-of-1
        ls /proc/self/fd >out/fds
        for f in /proc/1/fd/*; do readlink $f; done | sed 's/:.*//' | sort -u >out/fds-of-1
        id >out/id
        hostname >out/hostname
        pwd >out/pwd
        umask >out/umask
        nproc >out/nproc
        getconf _NPROCESSORS_ONLN >out/cpus-online
        ulimit -n >out/open-files
        ulimit -s >out/stack
        ulimit -c >out/core
        ls -A / >out/root
        ls -A /etc >out/etc
        ls -A /usr/local >out/usr-local
        ls -lA /dev | awk '{ print $1, $3, $4, $NF }' >out/dev
        ls -A /dev/shm /tmp >out/scratch
        test "$(ls /proc | grep -c '^[0-9]')" -le 10 && echo few >out/processes
        for f in cpuinfo meminfo uptime loadavg stat version cmdline; do cat /proc/$f; done >out/proc
        cat /etc/passwd /etc/group /etc/hosts /etc/nsswitch.conf >out/users
        cat /proc/self/uid_map | tr -s ' ' >out/uid-map
        grep -E '^(Cap|NoNewPrivs)' /proc/self/status >out/rights
        cat /proc/self/personality >out/personality
        cat /proc/net/dev | grep : | cut -d: -f1 | tr -d ' ' >out/interfaces
        ls -f . | grep -v '^\\.' >out/order
        stat -c '%n %a %u %g %Y' a b d d/x >out/sources
        cat /proc/self/cgroup >out/cgroup
        test -t 0 || test -t 1 || echo none >out/terminal
        """

    static let files = ["b": "b\n", "a": "a\n", "z/q": "", "d/x": "#!/bin/sh\n", "m": ""]

    @Test func aBuildSeesOnlyWhatIsTheSameEverywhere() async throws {
        let workshop = try Workshop()
        setenv("MESH_TEST_LEAK", "secret", 1)
        let held = open("/etc/hostname", O_RDONLY)  // inherited by every child that nobody takes care of
        defer { close(held) }
        let capsule = try workshop.pack(Self.files, steps: [Self.look], env: ["GREETING": "hello world", "PATH": "/nowhere"])
        let output = try await workshop.replayer.build(capsule).output
        func seen(_ file: String) throws -> [String] { try workshop.text(output, file).split(separator: "\n").map(String.init) }

        let environment = [
            "GREETING=hello world", "HOME=/homeless", "LC_ALL=C.UTF-8", "PATH=/usr/bin:/bin:/usr/sbin:/sbin", "PWD=/build", "PYTHONHASHSEED=0",
            "SOURCE_DATE_EPOCH=315532800", "TMPDIR=/tmp", "TZ=UTC", "ZERO_AR_DATE=1",
        ]
        #expect(try seen("env") == environment)
        #expect(try seen("env-of-1") == environment)
        // 3 is ls's own, of the folder it lists.
        #expect(try seen("fds") == ["0", "1", "2", "3"])
        // The driver has its channels, and no file of the host.
        #expect(try seen("fds-of-1") == ["/dev/null", "pipe", "socket"])
        #expect(try seen("id") == ["uid=1000(build) gid=100(users) groups=100(users)"])
        #expect(try seen("hostname") == ["localhost"])
        #expect(try seen("pwd") == ["/build"])
        #expect(try seen("umask") == ["0022"])
        #expect(try seen("nproc") == ["1"])
        #expect(try seen("cpus-online") == ["1"])
        #expect(try seen("open-files") == ["1024"])
        #expect(try seen("stack") == ["8192"])
        #expect(try seen("core") == ["0"])
        #expect(Set(try seen("root")).isSubset(of: ["bin", "build", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "tmp", "usr"]))
        #expect(Set(try seen("etc")) == ["alternatives", "group", "hosts", "nsswitch.conf", "passwd"])
        #expect(try seen("usr-local") == [])
        #expect(try seen("processes") == ["few"])
        #expect(try seen("proc").contains("cpu MHz\t\t: 1000.000"))
        #expect(try seen("uid-map") == [" 1000 0 1"])
        #expect(try seen("rights").filter { $0.hasPrefix("Cap") }.allSatisfy { $0.hasSuffix("\t0000000000000000") })
        #expect(try seen("rights").contains("NoNewPrivs:\t1"))
        #expect(try seen("personality") == ["00040000"])
        #expect(try seen("interfaces") == ["lo"])
        #expect(try seen("cgroup").allSatisfy { $0.hasSuffix(":/") })
        #expect(try seen("terminal") == ["none"])
        #expect(try seen("sources") == ["a 644 1000 100 315532800", "b 644 1000 100 315532800", "d 755 1000 100 315532800", "d/x 644 1000 100 315532800"])
    }

    /// Everything the probe sees, folder order included, is the same in another home, from another folder, with another umask
    /// and other variables.
    @Test func twoBuildsSeeTheSame() async throws {
        let here = try Workshop(), there = try Workshop()
        let one = try await here.replayer.build(try here.pack(Self.files, steps: [Self.look]))
        setenv("LANG", "de_DE.UTF-8", 1)
        let two = try await withPrivateUmask {
            try await there.replayer.build(try there.pack(Self.files, steps: [Self.look], folder: "other"))
        }
        #expect(one.capsule == two.capsule)
        let seen = ["env", "fds", "root", "etc", "dev", "scratch", "proc", "users", "order", "sources"]
        let differing = try seen.filter { try here.text(one.output, $0) != there.text(two.output, $0) }
        #expect(differing == [])
        #expect(one.output == two.output)
    }

    /// Looks only, so that it can run on the host as well: what it finds there shows that it can find something.
    static let reach = """
        leak() { echo "leak: $1"; }
        for place in / /usr /etc /dev /proc/sys/kernel/hostname; do test -w $place && leak "may write to $place"; done
        for place in /root /home /var /run /sys/class /etc/machine-id /etc/resolv.conf /etc/hostname; do
          test -e $place && leak "saw $place"
        done
        test -n "${MESH_TEST_LEAK:-}" && leak 'saw the environment'
        test "$(id -u)" = 0 && leak 'is root'
        test "$(grep -c . /proc/net/dev)" -gt 3 && leak 'saw a network interface'
        test "$(ls /proc | grep -c '^[0-9]')" -gt 10 && leak 'saw other processes'
        true
        """

    /// Changes what it can: for the sandbox alone.
    static let force = """
        leak() { echo "leak: $1"; }
        for place in / /usr /usr/local /etc /dev; do (echo x >$place/x) 2>/dev/null && leak "wrote to $place"; done
        (echo x >/etc/passwd) 2>/dev/null && leak 'wrote to /etc/passwd'
        (echo x >/proc/sys/kernel/hostname) 2>/dev/null && leak 'wrote to the kernel'
        unshare -Ur true 2>/dev/null && leak 'made a user namespace'
        mount -t tmpfs none /tmp 2>/dev/null && leak 'mounted'
        mount -o remount,rw / 2>/dev/null && leak 'remounted /'
        chroot /build /bin/true 2>/dev/null && leak 'changed the root'
        mknod /tmp/device c 1 3 2>/dev/null && leak 'made a device'
        chown 0 /tmp 2>/dev/null && leak 'gave a file away'
        hostname changed 2>/dev/null && leak 'changed the host name'
        kill -9 1 2>/dev/null; true
        """

    @Test func nothingOutsideCanBeReached() async throws {
        let workshop = try Workshop()
        setenv("MESH_TEST_LEAK", "secret", 1)
        let steps = ["mkdir out", "sh reach.sh >out/seen", "sh force.sh >out/forced"]
        let inside = try await workshop.replayer.build(try workshop.pack(["reach.sh": Self.reach, "force.sh": Self.force], steps: steps)).output
        #expect(try workshop.text(inside, "seen") == "")
        #expect(try workshop.text(inside, "forced") == "")
        let outside = try output(of: ["/bin/sh", "-c", Self.reach], environment: ["MESH_TEST_LEAK=secret", "PATH=/usr/bin:/bin"])
        #expect(outside.text.split(separator: "\n").count >= 5, "\(outside.text)")
    }

    @Test func theNetworkCannotBeReached() async throws {
        let workshop = try Workshop()
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        defer { close(listener) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = bind(listener, $0, length)
                _ = listen(listener, 8)
                _ = getsockname(listener, $0, &length)
            }
        }
        let port = UInt16(bigEndian: address.sin_port)
        let connect = "perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(PeerAddr => \"127.0.0.1:\(port)\", Timeout => 2) ? \"reached\" : \"not reached\"'"
        let result = try await workshop.replayer.build(try workshop.pack(steps: ["mkdir out; \(connect) >out/answer"]))
        #expect(try workshop.text(result.output, "answer") == "not reached")
        #expect(try output(of: ["/bin/sh", "-c", connect], environment: ["PATH=/usr/bin:/bin"]).text == "reached")
    }

    @Test func createdAtIsTheTimeOfTheBuild() async throws {
        let workshop = try Workshop()
        let manifest: JSONValue = [
            "id": "urn:oursynth:app:probe@1.0.0", "name": "Probe", "version": "1.0.0", "createdAt": 1_700_000_000_999, "app": ["framework": "none"],
            "build": ["steps": ["mkdir out", "echo $SOURCE_DATE_EPOCH >out/epoch"], "outDir": "out"],
        ]
        let result = try await workshop.replayer.build(try workshop.pack([:], manifest: manifest))
        #expect(try workshop.text(result.output, "epoch") == "1700000000\n")
    }
}
