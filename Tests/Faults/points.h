// The part of faults.c that counts points, decides what happens at each and writes the record.
#pragma once
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { WRITES, GROWS, SYNCS, OTHER };
enum action { GO, REFUSE, HALF };

static char under[PATH_MAX];
static size_t under_length;
static long at, count;
static mode_t mask;
static const char *what = "";
static int count_file = -1, record_file = -1, is_full, dies_after;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

typedef long (*kernel_call)(long, ...);

/// The C library's syscall(2). Libraries start up before this one, so it is looked up by whoever comes first.
static kernel_call find_kernel(void) {
    static kernel_call found;
    if (!found) found = (kernel_call)dlsym(RTLD_NEXT, "syscall");
    return found;
}
#define kernel (*find_kernel())

static int output(const char *variable) {
    const char *path = getenv(variable);
    // Far from the numbers that the program's own files get.
    int file = path ? (int)kernel(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600) : -1;
    if (file < 0) return -1;
    int far = fcntl(file, F_DUPFD_CLOEXEC, 900);
    kernel(SYS_close, file);
    return far;
}

__attribute__((constructor)) static void start(void) {
    const char *folder = getenv("FAULTS_UNDER");
    if (!folder || folder[0] != '/' || strlen(folder) >= sizeof under) return;
    if (getenv("FAULTS_AT")) at = atol(getenv("FAULTS_AT"));
    if (getenv("FAULTS_DO")) what = strdup(getenv("FAULTS_DO"));
    count_file = output("FAULTS_COUNT");
    record_file = output("FAULTS_RECORD");
    // The program's children are not the ones that are to fail.
    unsetenv("LD_PRELOAD");
    umask(mask = umask(0));
    strcpy(under, folder);
    under_length = strlen(under);
}

// MARK: - Paths

static int is_under(const char *path) {
    return under_length && strncmp(path, under, under_length) == 0 && (path[under_length] == '/' || path[under_length] == 0);
}

static int fd_path(int fd, char *out) {
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, out, PATH_MAX - 1);
    out[length < 0 ? 0 : length] = 0;
    return length > 0;
}

static int watches(int fd, char *path) {
    int number = errno;
    int yes = under_length && fd_path(fd, path) && is_under(path);
    errno = number;
    return yes;
}

/// The path made absolute, without `.` and `..`; links on the way are not looked at.
static int watches_at(int folder, const char *path, char *out) {
    if (!under_length || !path) return 0;
    int number = errno;
    char full[2 * PATH_MAX] = "";
    if (path[0] != '/' && !(folder == AT_FDCWD ? getcwd(full, PATH_MAX) != NULL : fd_path(folder, full))) full[0] = 0;
    errno = number;
    size_t base = strlen(full);
    snprintf(full + base, sizeof full - base, "/%s", path);
    size_t length = 0;
    for (char *rest, *part = strtok_r(full, "/", &rest); part; part = strtok_r(NULL, "/", &rest)) {
        if (strcmp(part, ".") == 0) continue;
        if (strcmp(part, "..") == 0) {
            while (length && out[--length] != '/') {}
            continue;
        }
        if (length + strlen(part) + 2 > PATH_MAX) return 0;
        out[length++] = '/';
        length = (size_t)(stpcpy(out + length, part) - out);
    }
    out[length] = 0;
    return is_under(out);
}

static int exists(int folder, const char *path) {
    struct stat info;
    int number = errno;
    int yes = fstatat(folder, path, &info, AT_SYMLINK_NOFOLLOW) == 0;
    errno = number;
    return yes;
}

// MARK: - Points

static void die(void) {
    kernel(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

static long refuse(void) {
    errno = ENOSPC;
    return -1;
}

/// Counts a point, and says what is to happen with the call. Every `begin` has its `end`.
static enum action begin(const char *name, enum kind kind, const char *path, const char *to) {
    int number = errno;
    pthread_mutex_lock(&turn);
    count++;
    if (count_file >= 0) {
        char line[2 * PATH_MAX + 64];
        int length = snprintf(line, sizeof line, "%s %s%s%s\n", name, path, to ? " -> " : "", to ? to : "");
        kernel(SYS_write, count_file, line, (size_t)length);
    }
    enum action action = GO;
    if (count == at) {
        if (strcmp(what, "kill") == 0 || (strcmp(what, "torn") == 0 && kind != WRITES)) die();
        dies_after = strcmp(what, "torn") == 0;
        is_full = strcmp(what, "enospc") == 0 || strcmp(what, "short") == 0;
        if (kind == WRITES && (strcmp(what, "torn") == 0 || strcmp(what, "short") == 0)) action = HALF;
        else if (is_full && kind != OTHER) action = REFUSE;
    } else if (is_full && (kind == WRITES || kind == GROWS)) action = REFUSE;
    errno = action == REFUSE ? ENOSPC : number;
    return action;
}

static void record(char op, const char *path, const char *to, long long offset, const struct iovec *parts, size_t bytes) {
    if (record_file < 0) return;
    char line[128];
    int length = snprintf(line, sizeof line, "%ld %c %lld %zu %zu %zu\n", count, op, offset, strlen(path), to ? strlen(to) : 0, bytes);
    kernel(SYS_write, record_file, line, (size_t)length);
    kernel(SYS_write, record_file, path, strlen(path));
    if (to) kernel(SYS_write, record_file, to, strlen(to));
    for (size_t i = 0; bytes; i++) {
        size_t part = parts[i].iov_len < bytes ? parts[i].iov_len : bytes;
        kernel(SYS_write, record_file, parts[i].iov_base, part);
        bytes -= part;
    }
}

/// From here on somebody was told.
static void mark_answer(void) {
    int number = errno;
    pthread_mutex_lock(&turn);
    record('a', "", NULL, 0, NULL, 0);
    pthread_mutex_unlock(&turn);
    errno = number;
}

static void end(void) {
    int number = errno;
    if (dies_after) die();
    pthread_mutex_unlock(&turn);
    errno = number;
}

#define POINT(name, kind, path, to, call, ...)                                    \
    ({                                                                            \
        long result_ = begin(name, kind, path, to) == REFUSE ? -1 : (call);       \
        int number_ = errno;                                                      \
        if (result_ >= 0) record(__VA_ARGS__, NULL, 0);                           \
        errno = number_;                                                          \
        end();                                                                    \
        result_;                                                                  \
    })
