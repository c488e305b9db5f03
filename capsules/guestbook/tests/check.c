/* Run by `make check` as the second build step: a guestbook that fails these is not built. */
#include "guestbook.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int failures = 0;
#define CHECK(condition) \
    do { if (!(condition)) { fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); failures++; } } while (0)

static enum parse_result parse(const char *bytes)
{
    struct request request;
    return http_parse(bytes, strlen(bytes), &request);
}

static void check_requests(void)
{
    CHECK(parse("GET / HTTP/1.1\r\nHost: a\r\n\r\n") == PARSE_DONE);
    CHECK(parse("GET / HTTP/1.1\r\nHost: a\r\n") == PARSE_MORE);
    CHECK(parse("GET\r\n\r\n") == PARSE_BAD);
    CHECK(parse("GET http://x/ HTTP/1.1\r\n\r\n") == PARSE_BAD);
    CHECK(parse("GET / HTTP/2.0\r\n\r\n") == PARSE_BAD);
    CHECK(parse("GET / HTTP/1.1\r\nno colon\r\n\r\n") == PARSE_BAD);
    CHECK(parse("POST /entries HTTP/1.1\r\n\r\n") == PARSE_NO_LENGTH);
    CHECK(parse("POST /entries HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n") == PARSE_NO_LENGTH);
    CHECK(parse("POST /entries HTTP/1.1\r\nContent-Length: 3\r\n\r\nab") == PARSE_MORE);
    CHECK(parse("POST /entries HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc") == PARSE_DONE);
    CHECK(parse("POST /entries HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd") == PARSE_BAD);
    CHECK(parse("POST /entries HTTP/1.1\r\nContent-Length: -1\r\n\r\n") == PARSE_BAD);
    CHECK(parse("POST /entries HTTP/1.1\r\nContent-Length: 999999\r\n\r\n") == PARSE_BODY_TOO_LARGE);
    char *long_head = calloc(1, HEAD_BYTES_MAX + 100);
    strcpy(long_head, "GET / HTTP/1.1\r\nx: ");
    memset(long_head + strlen(long_head), 'a', HEAD_BYTES_MAX);
    CHECK(parse(long_head) == PARSE_HEAD_TOO_LARGE);
    free(long_head);
}

static void check_text(void)
{
    struct text text = { 0 };
    text_escape_html(&text, "<b a=\"1\">&'</b>");
    text_append(&text, "", 1);
    CHECK(strcmp(text.bytes, "&lt;b a=&quot;1&quot;&gt;&amp;&#39;&lt;/b&gt;") == 0);
    text_free(&text);

    char value[16];
    CHECK(form_field("name=a%20b+c&message=x", 22, "name", value, sizeof value) && strcmp(value, "a b c") == 0);
    CHECK(form_field("name=a&message=x", 16, "message", value, sizeof value) && strcmp(value, "x") == 0);
    CHECK(!form_field("name=%zz", 8, "name", value, sizeof value));
    CHECK(!form_field("name=%00", 8, "name", value, sizeof value));
    CHECK(!form_field("name=0123456789abcdef", 21, "name", value, sizeof value));
    CHECK(!form_field("surname=a", 9, "name", value, sizeof value));

    char words[] = " \n a\tb\r\nc \n";
    text_tidy(words, true);
    CHECK(strcmp(words, "a b\nc") == 0);
}

static void check_entries(void)
{
    char directory[] = "/tmp/guestbook-check-XXXXXX";
    CHECK(mkdtemp(directory) != NULL);
    CHECK(entries_open(directory));
    struct entry *entries = calloc(ENTRIES_SHOWN, sizeof *entries);
    CHECK(entries_newest(entries, ENTRIES_SHOWN) == 0);
    for (int i = 0; i < ENTRIES_SHOWN + 20; i++) {
        struct entry entry = { .seconds = i, .name = "Ada & <Bob>" };
        snprintf(entry.message, sizeof entry.message, "line\n%d ü %%", i);
        CHECK(entries_add(&entry) == ADD_OK);
    }
    entries_close();

    /* A power cut in the middle of a line, then a restart. */
    char path[64];
    snprintf(path, sizeof path, "%s/entries", directory);
    FILE *file = fopen(path, "a");
    CHECK(file && fputs("999 half", file) >= 0 && fclose(file) == 0);
    CHECK(entries_open(directory));
    struct entry last = { .seconds = 5000, .name = "Last", .message = "after the cut" };
    CHECK(entries_add(&last) == ADD_OK);
    CHECK(entries_newest(entries, ENTRIES_SHOWN) == ENTRIES_SHOWN);
    CHECK(entries[0].seconds == 5000 && strcmp(entries[0].message, "after the cut") == 0);
    CHECK(entries[1].seconds == ENTRIES_SHOWN + 19 && strcmp(entries[1].message, "line\n119 ü %") == 0);
    CHECK(strcmp(entries[1].name, "Ada & <Bob>") == 0);
    entries_close();
    free(entries);
    unlink(path);
    rmdir(directory);
}

int main(void)
{
    check_requests();
    check_text();
    check_entries();
    if (!failures)
        puts("guestbook: all checks passed");
    return failures ? 1 : 0;
}
