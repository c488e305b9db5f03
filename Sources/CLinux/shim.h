// Linux calls that Swift's Glibc module leaves out because they need _GNU_SOURCE. Only macros and builtin types are taken
// from system headers: a type must belong to one module, and that is Glibc.
#include <stddef.h>
#include <sys/syscall.h>

extern long syscall(long number, ...);

// Files
extern int syncfs(int fd);

/// RENAME_NOREPLACE: fails with EEXIST where the target exists, so that two writers never overwrite each other.
static inline int mesh_rename_exclusive(const char *from, const char *to) {
    return (int)syscall(SYS_renameat2, -100 /* AT_FDCWD */, from, -100, to, 1 /* RENAME_NOREPLACE */);
}

/// Opens `path` below `dirfd` without following a link or leaving it (openat2: RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS).
static inline int mesh_open_beneath(int dirfd, const char *path, int flags, unsigned mode) {
    struct { unsigned long long flags, mode, resolve; } how = { (unsigned long long)flags, mode, 0x08 | 0x04 };
    return (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
}

/// memmem(3): where `needle` begins in `haystack`, or null.
extern void *memmem(const void *haystack, size_t haystacklen, const void *needle, size_t needlelen);

// Processes. Every descriptor made here is close-on-exec from its first moment, so that no other spawn inherits it.
extern int pipe2(int ends[2], int flags);
extern int memfd_create(const char *name, unsigned flags);
extern int eventfd(unsigned initial, int flags);
extern int posix_spawn_file_actions_addclosefrom_np(void *actions, int from);

static inline int mesh_pipe(int ends[2]) { return pipe2(ends, 02000000 /* O_CLOEXEC */); }
static inline int mesh_memory_file(const char *name) { return memfd_create(name, 1 /* MFD_CLOEXEC */); }
static inline int mesh_event(void) { return eventfd(0, 02000000 | 04000 /* O_CLOEXEC | O_NONBLOCK */); }
static inline int mesh_pidfd_open(int pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }
static inline int mesh_pidfd_kill(int pidfd, int signal) { return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, (void *)0, 0); }

/// The `n`-th (counted round) of the first 1,024 CPUs that this process may use; -1 when they cannot be told.
static inline int mesh_allowed_cpu(unsigned n) {
    unsigned char set[128] = {0};
    unsigned count = 0;
    if (syscall(SYS_sched_getaffinity, 0, sizeof set, set) <= 0) return -1;
    for (int cpu = 0; cpu < 1024; cpu++) count += set[cpu / 8] >> (cpu % 8) & 1;
    if (count == 0) return -1;
    n %= count;
    for (int cpu = 0; cpu < 1024; cpu++)
        if ((set[cpu / 8] >> (cpu % 8) & 1) && n-- == 0) return cpu;
    return -1;
}
