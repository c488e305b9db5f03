/* A guestbook over HTTP: one page, one form, one file of entries. */
#ifndef GUESTBOOK_H
#define GUESTBOOK_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

enum {
    HEAD_BYTES_MAX = 8 * 1024,      /* request line and header fields */
    BODY_BYTES_MAX = 8 * 1024,
    REQUEST_BYTES_MAX = HEAD_BYTES_MAX + BODY_BYTES_MAX,
    NAME_BYTES_MAX = 60,
    MESSAGE_BYTES_MAX = 1000,
    ENTRIES_SHOWN = 100,
    CONNECTIONS_MAX = 128,
    REQUEST_SECONDS_MAX = 10,       /* from the first byte to the last of request and answer together */
    ENTRIES_FILE_BYTES_MAX = 64 * 1024 * 1024
};

/* text.c: a growing buffer. Every append checks its memory; a failed one sets `failed` and the rest does nothing. */
struct text {
    char *bytes;
    size_t count, capacity;
    bool failed;
};
void text_append(struct text *text, const char *bytes, size_t count);
void text_put(struct text *text, const char *string);
void text_format(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_escape_html(struct text *text, const char *string);
void text_free(struct text *text);
/* One line of printable text out of what a form sent: control characters become spaces, ends are trimmed. */
void text_tidy(char *string, bool keep_lines);

/* entries.c: the file, one entry a line: seconds, name and message, percent-encoded, separated by spaces. */
struct entry {
    long long seconds;
    char name[NAME_BYTES_MAX + 1];
    char message[MESSAGE_BYTES_MAX + 1];
};
enum add_result { ADD_OK, ADD_FULL, ADD_FAILED };
/* Opens or creates `directory`/entries; false with errno set when that is not possible. */
bool entries_open(const char *directory);
/* The entry is on the disk when this returns ADD_OK. */
enum add_result entries_add(const struct entry *entry);
/* The newest entries, newest first; returns how many, -1 when the file cannot be read. */
int entries_newest(struct entry *entries, int max);
void entries_close(void);
bool percent_decode(const char *from, size_t count, char *to, size_t capacity, bool plus_is_space);
void percent_encode(struct text *to, const char *from);

/* http.c */
enum parse_result { PARSE_MORE, PARSE_DONE, PARSE_BAD, PARSE_HEAD_TOO_LARGE, PARSE_BODY_TOO_LARGE, PARSE_NO_LENGTH };
struct request {
    char method[8];
    char path[1024];
    bool is_form;
    const char *body;
    size_t body_count;
};
/* Looks at the bytes that came so far. */
enum parse_result http_parse(const char *bytes, size_t count, struct request *request);
void http_answer(struct text *out, int status, const char *type, const char *location, const struct text *body, bool head_only);
/* The field of a form body, decoded; false when it is missing, malformed or too long. */
bool form_field(const char *body, size_t count, const char *name, char *value, size_t capacity);

/* page.c */
void page_answer(struct text *out, const struct request *request);
void page_problem(struct text *out, int status, const char *sentence, bool head_only);

/* server.c: serves 127.0.0.1:`port` until `stop_requested` is set by a signal; returns the exit status. */
int serve(int port, const sigset_t *signals_while_waiting);
extern volatile sig_atomic_t stop_requested;

#endif
