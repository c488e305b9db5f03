#include "guestbook.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The longest line: every byte of name and message as three characters, the time, two spaces, the newline. */
enum { LINE_BYTES_MAX = 3 * (NAME_BYTES_MAX + MESSAGE_BYTES_MAX) + 32, TAIL_BYTES_MAX = ENTRIES_SHOWN * LINE_BYTES_MAX };

static int file = -1;

bool entries_open(const char *directory)
{
    char path[4096];
    int count = snprintf(path, sizeof path, "%s/entries", directory);
    if (count < 0 || (size_t)count >= sizeof path) {
        errno = ENAMETOOLONG;
        return false;
    }
    file = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (file < 0)
        return false;
    /* The name of a new file is durable only when its folder is synced as well. */
    int folder = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = folder >= 0 && fsync(folder) == 0;
    if (folder >= 0)
        close(folder);
    return synced;
}

void entries_close(void)
{
    if (file >= 0)
        close(file);
    file = -1;
}

void percent_encode(struct text *to, const char *from)
{
    static const char digits[] = "0123456789ABCDEF";
    for (; *from; from++) {
        unsigned char byte = (unsigned char)*from;
        if ((byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') || strchr("-._~", byte)) {
            text_append(to, from, 1);
        } else {
            char escaped[3] = { '%', digits[byte >> 4], digits[byte & 15] };
            text_append(to, escaped, 3);
        }
    }
}

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9') return digit - '0';
    if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
    if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
    return -1;
}

bool percent_decode(const char *from, size_t count, char *to, size_t capacity, bool plus_is_space)
{
    size_t done = 0;
    for (size_t i = 0; i < count; i++) {
        char byte = from[i];
        if (byte == '%') {
            if (count - i < 3)
                return false;
            int high = hex_value(from[i + 1]), low = hex_value(from[i + 2]);
            if (high < 0 || low < 0)
                return false;
            byte = (char)(high << 4 | low);
            i += 2;
        } else if (byte == '+' && plus_is_space) {
            byte = ' ';
        }
        if (byte == 0 || done + 1 >= capacity)
            return false;
        to[done++] = byte;
    }
    to[done] = 0;
    return true;
}

static bool write_all(const char *bytes, size_t count)
{
    while (count) {
        ssize_t written = write(file, bytes, count);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        bytes += written;
        count -= (size_t)written;
    }
    return true;
}

/* Holding the lock. A line cut short by a power cut is ended first, so that it never swallows the next one. */
static enum add_result append_line(struct text *line)
{
    struct stat info;
    if (fstat(file, &info))
        return ADD_FAILED;
    if (info.st_size > ENTRIES_FILE_BYTES_MAX)
        return ADD_FULL;
    char last = '\n';
    if (info.st_size && pread(file, &last, 1, info.st_size - 1) != 1)
        return ADD_FAILED;
    if (last != '\n' && !write_all("\n", 1))
        return ADD_FAILED;
    if (!write_all(line->bytes, line->count) || fsync(file))
        return errno == ENOSPC ? ADD_FULL : ADD_FAILED;
    return ADD_OK;
}

enum add_result entries_add(const struct entry *entry)
{
    struct text line = { 0 };
    text_format(&line, "%lld ", entry->seconds);
    percent_encode(&line, entry->name);
    text_put(&line, " ");
    percent_encode(&line, entry->message);
    text_put(&line, "\n");
    enum add_result result = ADD_FAILED;
    /* Two generations of the service share the file for a moment while one takes over from the other. */
    if (!line.failed && flock(file, LOCK_EX) == 0) {
        result = append_line(&line);
        flock(file, LOCK_UN);
    }
    text_free(&line);
    return result;
}

static bool parse_line(const char *line, size_t count, struct entry *entry)
{
    const char *end = line + count;
    const char *first = memchr(line, ' ', count);
    const char *second = first ? memchr(first + 1, ' ', (size_t)(end - first - 1)) : NULL;
    if (!second)
        return false;
    char *stop;
    entry->seconds = strtoll(line, &stop, 10);
    return stop == first && stop != line
        && percent_decode(first + 1, (size_t)(second - first - 1), entry->name, sizeof entry->name, false)
        && percent_decode(second + 1, (size_t)(end - second - 1), entry->message, sizeof entry->message, false);
}

int entries_newest(struct entry *entries, int max)
{
    struct stat info;
    if (fstat(file, &info))
        return -1;
    size_t count = info.st_size < TAIL_BYTES_MAX ? (size_t)info.st_size : TAIL_BYTES_MAX;
    char *tail = malloc(count + 1);
    if (!tail)
        return -1;
    ssize_t got = pread(file, tail, count, info.st_size - (off_t)count);
    if (got < 0) {
        free(tail);
        return -1;
    }
    int found = 0;
    /* From the end; what follows the last newline was not finished, what precedes the first one may be half a line. */
    size_t end = (size_t)got;
    while (end && tail[end - 1] != '\n')
        end--;
    while (end && found < max) {
        size_t start = end - 1;
        while (start && tail[start - 1] != '\n')
            start--;
        bool whole = start > 0 || (off_t)count == info.st_size;
        if (whole && parse_line(tail + start, end - 1 - start, &entries[found]))
            found++;
        end = start;
    }
    free(tail);
    return found;
}
