#include "guestbook.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char html[] = "text/html; charset=utf-8";

static const char top[] =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta name=\"color-scheme\" content=\"dark\">"
    "<title>Guestbook</title><style>"
    "*{box-sizing:border-box}body{margin:0;padding:2rem 1rem;background:#0a0d18;color:#eef1fb;font:1rem/1.6 system-ui,sans-serif}"
    "main{max-width:42rem;margin:0 auto}h1{color:#7cf5e3}p,time{color:#aab3cf}"
    "form,li{padding:1.25rem;margin:0 0 1rem;border:1px solid rgb(255 255 255/16%);border-radius:1rem;background:rgb(255 255 255/6%)}"
    "ul{list-style:none;padding:0}label{display:block;margin-bottom:.75rem}q,.m{white-space:pre-wrap;overflow-wrap:anywhere;margin:0;color:#eef1fb}"
    "input,textarea{display:block;width:100%;padding:.6rem;border-radius:.5rem;border:1px solid #55608a;background:#12172a;color:inherit;font:inherit}"
    "button{padding:.6rem 1.4rem;border:0;border-radius:.5rem;background:#7cf5e3;color:#0a0d18;font:inherit;font-weight:600;cursor:pointer}"
    ":focus-visible{outline:3px solid #8f7bff;outline-offset:2px}"
    "</style></head><body><main><h1>Guestbook</h1>\n";

static const char form[] =
    "<form method=\"post\" action=\"/entries\">"
    "<label>Your name<input name=\"name\" maxlength=\"60\" required autocomplete=\"name\"></label>"
    "<label>Your words<textarea name=\"message\" maxlength=\"1000\" rows=\"3\" required></textarea></label>"
    "<button>Sign</button></form>\n";

static const char bottom[] = "</main></body></html>\n";

static void put_entry(struct text *body, const struct entry *entry)
{
    char shown[32] = "", exact[32] = "";
    time_t seconds = (time_t)entry->seconds;
    struct tm parts;
    if (gmtime_r(&seconds, &parts)) {
        strftime(shown, sizeof shown, "%Y-%m-%d %H:%M UTC", &parts);
        strftime(exact, sizeof exact, "%Y-%m-%dT%H:%M:%SZ", &parts);
    }
    text_put(body, "<li><p class=\"m\">");
    text_escape_html(body, entry->message);
    text_put(body, "</p><strong>");
    text_escape_html(body, entry->name);
    text_format(body, "</strong> <time datetime=\"%s\">%s</time></li>\n", exact, shown);
}

static void answer_page(struct text *out, bool head_only)
{
    struct entry *entries = calloc(ENTRIES_SHOWN, sizeof *entries);
    int count = entries ? entries_newest(entries, ENTRIES_SHOWN) : -1;
    if (count < 0) {
        page_problem(out, 500, "The entries cannot be read.", head_only);
    } else {
        struct text body = { 0 };
        text_put(&body, top);
        text_put(&body, form);
        if (!count)
            text_put(&body, "<p>Nobody has signed yet.</p>");
        text_put(&body, "<ul>\n");
        for (int i = 0; i < count; i++)
            put_entry(&body, &entries[i]);
        text_put(&body, "</ul>");
        text_put(&body, bottom);
        http_answer(out, 200, html, NULL, &body, head_only);
        text_free(&body);
    }
    free(entries);
}

static void answer_entry(struct text *out, const struct request *request)
{
    struct entry entry = { .seconds = (long long)time(NULL) };
    if (!request->is_form) {
        page_problem(out, 415, "Send the entry as a form (application/x-www-form-urlencoded).", false);
        return;
    }
    if (!form_field(request->body, request->body_count, "name", entry.name, sizeof entry.name)
        || !form_field(request->body, request->body_count, "message", entry.message, sizeof entry.message)) {
        page_problem(out, 400, "An entry has a name of at most 60 bytes and a message of at most 1000.", false);
        return;
    }
    text_tidy(entry.name, false);
    text_tidy(entry.message, true);
    if (!entry.name[0] || !entry.message[0]) {
        page_problem(out, 400, "An entry needs both a name and a message.", false);
        return;
    }
    switch (entries_add(&entry)) {
    case ADD_OK: {
        struct text body = { 0 };
        http_answer(out, 303, html, "/", &body, false);
        text_free(&body);
        break;
    }
    case ADD_FULL: page_problem(out, 507, "The book is full.", false); break;
    case ADD_FAILED: page_problem(out, 500, "The entry could not be written.", false); break;
    }
}

void page_problem(struct text *out, int status, const char *sentence, bool head_only)
{
    struct text body = { 0 };
    text_put(&body, top);
    text_put(&body, "<p>");
    text_escape_html(&body, sentence);
    text_put(&body, " <a href=\"/\">Back to the book</a></p>");
    text_put(&body, bottom);
    http_answer(out, status, html, NULL, &body, head_only);
    text_free(&body);
}

void page_answer(struct text *out, const struct request *request)
{
    bool head = strcmp(request->method, "HEAD") == 0, get = head || strcmp(request->method, "GET") == 0;
    bool post = strcmp(request->method, "POST") == 0;
    if (strcmp(request->path, "/") == 0 && get) {
        answer_page(out, head);
    } else if (strcmp(request->path, "/entries") == 0 && post) {
        answer_entry(out, request);
    } else if (strcmp(request->path, "/health") == 0 && get) {
        struct text body = { 0 };
        text_put(&body, "ok\n");
        http_answer(out, 200, "text/plain; charset=utf-8", NULL, &body, head);
        text_free(&body);
    } else if (strcmp(request->path, "/") == 0 || strcmp(request->path, "/entries") == 0 || strcmp(request->path, "/health") == 0) {
        page_problem(out, 405, "That cannot be done here.", head);
    } else {
        page_problem(out, 404, "There is no such page.", head);
    }
}
