internal import Glibc

/// How many threads work side by side on this machine.
public enum ProcessorCount {
    public static let here = max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
}
