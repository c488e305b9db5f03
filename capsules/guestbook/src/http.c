/* Just enough of HTTP/1.1 (RFC 9112): one request a connection, a body only with a Content-Length. */
#include "guestbook.h"

#include <string.h>
#include <strings.h>

static const char *reason(int status)
{
    switch (status) {
    case 200: return "OK";
    case 303: return "See Other";
    case 400: return "Bad Request";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 411: return "Length Required";
    case 413: return "Content Too Large";
    case 415: return "Unsupported Media Type";
    case 431: return "Request Header Fields Too Large";
    case 507: return "Insufficient Storage";
    default: return "Internal Server Error";
    }
}

static bool parse_length(const char *value, size_t count, size_t *length)
{
    *length = 0;
    if (!count || count > 9)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (value[i] < '0' || value[i] > '9')
            return false;
        *length = *length * 10 + (size_t)(value[i] - '0');
    }
    return true;
}

static bool parse_request_line(const char *line, size_t count, struct request *request)
{
    const char *space = memchr(line, ' ', count);
    if (!space || space == line || (size_t)(space - line) >= sizeof request->method)
        return false;
    memcpy(request->method, line, (size_t)(space - line));
    const char *target = space + 1;
    size_t left = count - (size_t)(target - line);
    const char *after = memchr(target, ' ', left);
    if (!after || *target != '/')
        return false;
    size_t protocol = left - (size_t)(after + 1 - target);
    if (protocol != 8 || memcmp(after + 1, "HTTP/1.", 7))
        return false;
    const char *query = memchr(target, '?', (size_t)(after - target));
    size_t path = (size_t)((query ? query : after) - target);
    if (path >= sizeof request->path || memchr(target, 0, path))
        return false;
    memcpy(request->path, target, path);
    return true;
}

static bool is_field(const char *line, size_t name, const char *wanted)
{
    return name == strlen(wanted) && strncasecmp(line, wanted, name) == 0;
}

enum parse_result http_parse(const char *bytes, size_t count, struct request *request)
{
    memset(request, 0, sizeof *request);
    const char *end = memmem(bytes, count < HEAD_BYTES_MAX ? count : HEAD_BYTES_MAX, "\r\n\r\n", 4);
    if (!end)
        return count < HEAD_BYTES_MAX ? PARSE_MORE : PARSE_HEAD_TOO_LARGE;

    const char *line = bytes, *body = end + 4;
    const char *stop = memmem(line, (size_t)(body - line), "\r\n", 2);
    if (!stop || !parse_request_line(line, (size_t)(stop - line), request))
        return PARSE_BAD;
    size_t length = 0;
    bool has_length = false, has_coding = false;
    for (line = stop + 2; line < end + 2; line = stop + 2) {
        stop = memmem(line, (size_t)(body - line), "\r\n", 2);
        const char *colon = stop ? memchr(line, ':', (size_t)(stop - line)) : NULL;
        if (!colon || colon == line || memchr(line, ' ', (size_t)(colon - line)))
            return PARSE_BAD;
        const char *value = colon + 1, *value_end = stop;
        while (value < value_end && (*value == ' ' || *value == '\t'))
            value++;
        while (value_end > value && (value_end[-1] == ' ' || value_end[-1] == '\t'))
            value_end--;
        size_t name = (size_t)(colon - line), value_count = (size_t)(value_end - value);
        if (is_field(line, name, "content-length")) {
            size_t parsed;
            if (!parse_length(value, value_count, &parsed) || (has_length && parsed != length))
                return PARSE_BAD;
            length = parsed;
            has_length = true;
        } else if (is_field(line, name, "transfer-encoding")) {
            has_coding = true;
        } else if (is_field(line, name, "content-type")) {
            static const char form[] = "application/x-www-form-urlencoded";
            size_t form_count = sizeof form - 1;
            request->is_form = value_count >= form_count && strncasecmp(value, form, form_count) == 0
                && (value_count == form_count || value[form_count] == ';' || value[form_count] == ' ');
        }
    }
    if (has_coding || (!has_length && strcmp(request->method, "POST") == 0))
        return PARSE_NO_LENGTH;
    if (length > BODY_BYTES_MAX)
        return PARSE_BODY_TOO_LARGE;
    if (count - (size_t)(body - bytes) < length)
        return PARSE_MORE;
    request->body = body;
    request->body_count = length;
    return PARSE_DONE;
}

void http_answer(struct text *out, int status, const char *type, const char *location, const struct text *body, bool head_only)
{
    text_format(out, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: %s\r\nContent-Length: %zu\r\n",
                status, reason(status), type, body->count);
    text_put(out, "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: same-origin\r\n"
                  "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'\r\n");
    if (status == 405)
        text_put(out, "Allow: GET, HEAD, POST\r\n");
    if (location)
        text_format(out, "Location: %s\r\n", location);
    text_put(out, "\r\n");
    if (!head_only)
        text_append(out, body->bytes, body->count);
    out->failed |= body->failed;
}

bool form_field(const char *body, size_t count, const char *name, char *value, size_t capacity)
{
    const char *end = body + count;
    while (body < end) {
        const char *stop = memchr(body, '&', (size_t)(end - body));
        if (!stop)
            stop = end;
        const char *equals = memchr(body, '=', (size_t)(stop - body));
        if (equals && (size_t)(equals - body) == strlen(name) && memcmp(body, name, strlen(name)) == 0)
            return percent_decode(equals + 1, (size_t)(stop - equals - 1), value, capacity, true);
        body = stop + 1;
    }
    return false;
}
