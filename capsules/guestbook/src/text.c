#include "guestbook.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void text_append(struct text *text, const char *bytes, size_t count)
{
    if (text->failed)
        return;
    if (text->capacity - text->count < count) {
        size_t wanted = text->capacity ? text->capacity : 1024;
        while (wanted - text->count < count)
            wanted *= 2;
        char *grown = realloc(text->bytes, wanted);
        if (!grown) {
            text->failed = true;
            return;
        }
        text->bytes = grown;
        text->capacity = wanted;
    }
    if (count)
        memcpy(text->bytes + text->count, bytes, count);
    text->count += count;
}

void text_put(struct text *text, const char *string)
{
    text_append(text, string, strlen(string));
}

void text_format(struct text *text, const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int count = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (count < 0 || (size_t)count >= sizeof line)
        text->failed = true;
    else
        text_append(text, line, (size_t)count);
}

void text_escape_html(struct text *text, const char *string)
{
    for (; *string; string++) {
        switch (*string) {
        case '&': text_put(text, "&amp;"); break;
        case '<': text_put(text, "&lt;"); break;
        case '>': text_put(text, "&gt;"); break;
        case '"': text_put(text, "&quot;"); break;
        case '\'': text_put(text, "&#39;"); break;
        default: text_append(text, string, 1);
        }
    }
}

void text_free(struct text *text)
{
    free(text->bytes);
    memset(text, 0, sizeof *text);
}

void text_tidy(char *string, bool keep_lines)
{
    char *to = string;
    for (const char *from = string; *from; from++) {
        unsigned char byte = (unsigned char)*from;
        if (byte == '\r')
            continue;
        if (byte == '\n' && keep_lines)
            *to++ = '\n';
        else
            *to++ = byte < 0x20 || byte == 0x7f ? ' ' : (char)byte;
    }
    *to = 0;
    size_t lead = strspn(string, " \n");
    memmove(string, string + lead, strlen(string + lead) + 1);
    for (size_t count = strlen(string); count && strchr(" \n", string[count - 1]); count--)
        string[count - 1] = 0;
}
