// Faults for a program that is not changed for it: a library to preload that counts the calls by which the program changes
// files below $FAULTS_UNDER, and at the n-th of them does what a crash, a full disk or a bad one does.
//
//   FAULTS_UNDER=DIR    an absolute path without links; what the program does elsewhere is left alone
//   FAULTS_COUNT=FILE   one line a point, written as it comes, before the call: `name path`, for renames `name from -> to`
//   FAULTS_AT=N         the point, counted from 1, and FAULTS_DO what happens there:
//     kill              SIGKILL before the call
//     torn              half of the bytes, then SIGKILL (as kill where nothing is written)
//     enospc            this call fails with ENOSPC, and from then on everything that needs room
//     short             half of the bytes are taken, then as enospc: what a disk that fills up really does
//   FAULTS_RECORD=FILE  every change with its bytes, and when something was said on standard output, from which
//                       powercut.py makes what a power cut would have left
//
// A point is a call that would change something or make it durable: making a folder that is there, or removing a file that is
// not, is none. Watched calls happen one at a time, so that nothing happens after the one at which the process dies.
//
// Seen are calls of the C library's functions from any library (the program, SQLite, Swift's runtime), and renameat2 and
// openat2 through syscall(2). Not seen: stores through mmap (SQLite's -shm, which is made again after a crash), stdio, and
// changes of owner and times; a change of mode is recorded, but no point. What else is not here is not used:
// `scripts/crash-matrix --coverage` holds the counts against strace's.
// The path behind a descriptor is asked from /proc at each call: 1 µs, and right after dup, close and rename alike.
#include "points.h"

// MARK: - Writing

/// `offset` < 0: where the file stands.
static ssize_t write_parts(const char *name, int fd, const struct iovec *parts, int many, long long offset, const char *path) {
    enum action action = begin(name, WRITES, path, NULL);
    ssize_t done = -1;
    if (action == HALF) {
        size_t bytes = 0;
        for (int i = 0; i < many; i++) bytes += parts[i].iov_len;
        struct iovec half = {parts[0].iov_base, many == 1 ? bytes / 2 : parts[0].iov_len};
        if (half.iov_len == 0 && !dies_after) done = refuse();
        else done = offset < 0 ? kernel(SYS_writev, fd, &half, 1) : kernel(SYS_pwritev, fd, &half, 1, (long)offset, 0);
    } else if (action == GO) {
        done = offset < 0 ? kernel(SYS_writev, fd, parts, many) : kernel(SYS_pwritev, fd, parts, many, (long)offset, 0);
    }
    int number = errno;
    if (done > 0) record('w', path, NULL, offset < 0 ? lseek(fd, 0, SEEK_CUR) - done : offset, parts, (size_t)done);
    errno = number;
    end();
    return done;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    char path[PATH_MAX];
    if (fd == 1 && record_file >= 0) mark_answer();
    if (!watches(fd, path)) return kernel(SYS_write, fd, bytes, length);
    return write_parts("write", fd, &(struct iovec){(void *)bytes, length}, 1, -1, path);
}

ssize_t writev(int fd, const struct iovec *parts, int many) {
    char path[PATH_MAX];
    if (!watches(fd, path)) return kernel(SYS_writev, fd, parts, many);
    return write_parts("writev", fd, parts, many, -1, path);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    char path[PATH_MAX];
    if (!watches(fd, path)) return kernel(SYS_pwrite64, fd, bytes, length, offset);
    return write_parts("pwrite", fd, &(struct iovec){(void *)bytes, length}, 1, offset, path);
}
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return pwrite64(fd, bytes, length, offset); }

static int truncate_fd(int fd, off64_t length) {
    char path[PATH_MAX];
    if (!watches(fd, path)) return (int)kernel(SYS_ftruncate, fd, length);
    struct stat info = {0};
    fstat(fd, &info);
    return (int)POINT("ftruncate", length > info.st_size ? GROWS : OTHER, path, NULL, kernel(SYS_ftruncate, fd, length), 't', path, NULL, length);
}
int ftruncate(int fd, off_t length) { return truncate_fd(fd, length); }
int ftruncate64(int fd, off64_t length) { return truncate_fd(fd, length); }

// MARK: - Syncing

static int sync_fd(const char *name, long call, int fd, char op) {
    char path[PATH_MAX];
    if (!watches(fd, path)) return (int)kernel(call, fd);
    return (int)POINT(name, SYNCS, path, NULL, kernel(call, fd), op, path, NULL, 0);
}
int fsync(int fd) { return sync_fd("fsync", SYS_fsync, fd, 's'); }
int fdatasync(int fd) { return sync_fd("fdatasync", SYS_fdatasync, fd, 's'); }
int syncfs(int fd) { return sync_fd("syncfs", SYS_syncfs, fd, 'y'); }

int sync_file_range(int fd, off64_t offset, off64_t length, unsigned flags) {
    char path[PATH_MAX];
    if (!watches(fd, path)) return (int)kernel(SYS_sync_file_range, fd, offset, length, flags);
    // It promises nothing, so it is not recorded as a sync.
    return (int)POINT("sync_file_range", SYNCS, path, NULL, kernel(SYS_sync_file_range, fd, offset, length, flags), '-', path, NULL, 0);
}

// MARK: - Names

static int open_at(const char *name, int folder, const char *file, int flags, mode_t mode) {
    char path[PATH_MAX];
    int writes = (flags & O_ACCMODE) != O_RDONLY;
    if (!(flags & (O_CREAT | O_TRUNC)) || (flags & O_TMPFILE) == O_TMPFILE || !watches_at(folder, file, path))
        return (int)kernel(SYS_openat, folder, file, flags, mode);
    if (!exists(folder, file)) {
        if (!(flags & O_CREAT)) return (int)kernel(SYS_openat, folder, file, flags, mode);
        return (int)POINT(name, GROWS, path, NULL, kernel(SYS_openat, folder, file, flags, mode), 'c', path, NULL, mode & ~mask);
    }
    if (!(flags & O_TRUNC) || !writes || (flags & O_EXCL)) return (int)kernel(SYS_openat, folder, file, flags, mode);
    return (int)POINT(name, OTHER, path, NULL, kernel(SYS_openat, folder, file, flags, mode), 't', path, NULL, 0);
}

#define MODE_OF(flags, mode)                                                      \
    if ((flags) & O_CREAT || ((flags) & O_TMPFILE) == O_TMPFILE) {                \
        va_list more;                                                             \
        va_start(more, flags);                                                    \
        mode = va_arg(more, mode_t);                                              \
        va_end(more);                                                             \
    }

#define OPENS(symbol)                                                             \
    int symbol(const char *file, int flags, ...) {                                \
        mode_t mode = 0;                                                          \
        MODE_OF(flags, mode)                                                      \
        return open_at("open", AT_FDCWD, file, flags, mode);                      \
    }
#define OPENS_AT(symbol)                                                          \
    int symbol(int folder, const char *file, int flags, ...) {                    \
        mode_t mode = 0;                                                          \
        MODE_OF(flags, mode)                                                      \
        return open_at("openat", folder, file, flags, mode);                      \
    }
OPENS(open)
OPENS(open64)
OPENS_AT(openat)
OPENS_AT(openat64)
int creat(const char *file, mode_t mode) { return open_at("creat", AT_FDCWD, file, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *file, mode_t mode) { return creat(file, mode); }

static long open_beneath(int folder, const char *file, struct open_how *how, size_t size) {
    char path[PATH_MAX];
    if (!(how->flags & O_CREAT) || !watches_at(folder, file, path) || exists(folder, file)) return kernel(SYS_openat2, folder, file, how, size);
    return POINT("openat2", GROWS, path, NULL, kernel(SYS_openat2, folder, file, how, size), 'c', path, NULL, (mode_t)how->mode & ~mask);
}

static int rename_at(const char *name, int from_folder, const char *from, int to_folder, const char *to, unsigned flags) {
    char source[PATH_MAX], target[PATH_MAX];
    int watched = watches_at(from_folder, from, source) | watches_at(to_folder, to, target);
    if (!watched) return (int)kernel(SYS_renameat2, from_folder, from, to_folder, to, flags);
    return (int)POINT(name, exists(to_folder, to) ? OTHER : GROWS, source, target, kernel(SYS_renameat2, from_folder, from, to_folder, to, flags),
                      flags & ~RENAME_NOREPLACE ? '?' : 'r', source, target, 0);
}
int rename(const char *from, const char *to) { return rename_at("rename", AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int a, const char *from, int b, const char *to) { return rename_at("renameat", a, from, b, to, 0); }
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) { return rename_at("renameat2", a, from, b, to, flags); }

static int remove_at(const char *name, int folder, const char *file, int flags) {
    char path[PATH_MAX];
    if (!watches_at(folder, file, path) || !exists(folder, file)) return (int)kernel(SYS_unlinkat, folder, file, flags);
    return (int)POINT(name, OTHER, path, NULL, kernel(SYS_unlinkat, folder, file, flags), 'u', path, NULL, 0);
}
int unlink(const char *file) { return remove_at("unlink", AT_FDCWD, file, 0); }
int unlinkat(int folder, const char *file, int flags) { return remove_at("unlinkat", folder, file, flags); }
int rmdir(const char *file) { return remove_at("rmdir", AT_FDCWD, file, AT_REMOVEDIR); }

static int make_at(const char *name, int folder, const char *file, mode_t mode) {
    char path[PATH_MAX];
    if (!watches_at(folder, file, path) || exists(folder, file)) return (int)kernel(SYS_mkdirat, folder, file, mode);
    return (int)POINT(name, GROWS, path, NULL, kernel(SYS_mkdirat, folder, file, mode), 'm', path, NULL, mode & ~mask);
}
int mkdir(const char *file, mode_t mode) { return make_at("mkdir", AT_FDCWD, file, mode); }
int mkdirat(int folder, const char *file, mode_t mode) { return make_at("mkdirat", folder, file, mode); }

static int change_mode(int result, const char *path, mode_t mode) {
    int number = errno;
    if (result == 0) {
        pthread_mutex_lock(&turn);
        record('p', path, NULL, mode, NULL, 0);
        pthread_mutex_unlock(&turn);
    }
    errno = number;
    return result;
}
int fchmod(int fd, mode_t mode) {
    char path[PATH_MAX];
    int result = (int)kernel(SYS_fchmod, fd, mode);
    return watches(fd, path) ? change_mode(result, path, mode) : result;
}
int fchmodat(int folder, const char *file, mode_t mode, int flags) {
    char path[PATH_MAX];
    // The kernel's call has no flags; a link's mode cannot be changed anyway.
    if (flags & AT_SYMLINK_NOFOLLOW) {
        errno = EOPNOTSUPP;
        return -1;
    }
    int result = (int)kernel(SYS_fchmodat, folder, file, mode);
    return watches_at(folder, file, path) ? change_mode(result, path, mode) : result;
}
int chmod(const char *file, mode_t mode) { return fchmodat(AT_FDCWD, file, mode, 0); }

int symlinkat(const char *goal, int folder, const char *file) {
    char path[PATH_MAX];
    if (!watches_at(folder, file, path)) return (int)kernel(SYS_symlinkat, goal, folder, file);
    return (int)POINT("symlink", GROWS, path, NULL, kernel(SYS_symlinkat, goal, folder, file), 'n', path, goal, 0);
}
int symlink(const char *goal, const char *file) { return symlinkat(goal, AT_FDCWD, file); }

// MARK: - A full disk says so

int statvfs64(const char *file, struct statvfs64 *info) {
    static int (*real)(const char *, struct statvfs64 *);
    if (!real) real = (int (*)(const char *, struct statvfs64 *))dlsym(RTLD_NEXT, "statvfs64");
    char path[PATH_MAX];
    int result = real(file, info);
    if (result == 0 && is_full && watches_at(AT_FDCWD, file, path)) info->f_bavail = info->f_bfree = 0;
    return result;
}
#if __SIZEOF_LONG__ == 8
int statvfs(const char *file, struct statvfs *info) { return statvfs64(file, (struct statvfs64 *)info); }
#endif

// MARK: - syscall(2)

long syscall(long number, ...) {
    long a[6];
    va_list more;
    va_start(more, number);
    for (int i = 0; i < 6; i++) a[i] = va_arg(more, long);
    va_end(more);
    switch (number) {
    case SYS_renameat2: return rename_at("renameat2", (int)a[0], (const char *)a[1], (int)a[2], (const char *)a[3], (unsigned)a[4]);
    case SYS_openat2: return open_beneath((int)a[0], (const char *)a[1], (struct open_how *)a[2], (size_t)a[3]);
    case SYS_fsync: return fsync((int)a[0]);
    case SYS_fdatasync: return fdatasync((int)a[0]);
    case SYS_syncfs: return syncfs((int)a[0]);
    case SYS_write: return write((int)a[0], (const void *)a[1], (size_t)a[2]);
    case SYS_pwrite64: return pwrite64((int)a[0], (const void *)a[1], (size_t)a[2], a[3]);
    default: return kernel(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    }
}
