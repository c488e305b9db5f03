/* One thread, one poll loop: a slow client costs a slot and its time, never the others' turn. */
#include "guestbook.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

volatile sig_atomic_t stop_requested = 0;

struct connection {
    int socket;
    time_t deadline;
    size_t received;
    struct text answer;
    size_t sent;
    bool closing;           /* the answer is out; what the client still sends is read and dropped */
    char bytes[REQUEST_BYTES_MAX];
};

static struct connection *connections[CONNECTIONS_MAX];

static time_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec;
}

static void drop(int slot)
{
    close(connections[slot]->socket);
    text_free(&connections[slot]->answer);
    free(connections[slot]);
    connections[slot] = NULL;
}

static void accept_one(int listener)
{
    int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (client < 0)
        return;
    for (int slot = 0; slot < CONNECTIONS_MAX; slot++) {
        if (connections[slot])
            continue;
        connections[slot] = calloc(1, sizeof *connections[slot]);
        if (!connections[slot])
            break;
        connections[slot]->socket = client;
        connections[slot]->deadline = now() + REQUEST_SECONDS_MAX;
        return;
    }
    close(client);
}

static void answer(struct connection *connection)
{
    struct request request;
    struct text *out = &connection->answer;
    switch (http_parse(connection->bytes, connection->received, &request)) {
    case PARSE_MORE: return;
    case PARSE_DONE: page_answer(out, &request); break;
    case PARSE_BAD: page_problem(out, 400, "That is not an HTTP request.", false); break;
    case PARSE_HEAD_TOO_LARGE: page_problem(out, 431, "The header fields are too long.", false); break;
    case PARSE_BODY_TOO_LARGE: page_problem(out, 413, "The entry is too long.", false); break;
    case PARSE_NO_LENGTH: page_problem(out, 411, "The request must say how long it is.", false); break;
    }
}

/* false: the connection is over. */
static bool receive(struct connection *connection)
{
    char scrap[4096];
    bool reading = !connection->closing && !connection->answer.count;
    char *to = reading ? connection->bytes + connection->received : scrap;
    size_t room = reading ? sizeof connection->bytes - connection->received : sizeof scrap;
    ssize_t got = recv(connection->socket, to, room, 0);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR;
    if (got == 0)
        return !connection->closing && connection->answer.count;
    if (reading) {
        connection->received += (size_t)got;
        answer(connection);
        /* Full and still no request: the parser's limits are lower, so this cannot be reached by a whole one. */
        if (!connection->answer.count && connection->received == sizeof connection->bytes)
            page_problem(&connection->answer, 431, "The request is too long.", false);
    }
    return !connection->answer.failed;
}

static bool send_some(struct connection *connection)
{
    struct text *out = &connection->answer;
    ssize_t sent = send(connection->socket, out->bytes + connection->sent, out->count - connection->sent, MSG_NOSIGNAL);
    if (sent < 0)
        return errno == EAGAIN || errno == EINTR;
    connection->sent += (size_t)sent;
    if (connection->sent == out->count) {
        /* Close our side and wait for the client's end: closing with unread bytes would reset the answer away. */
        shutdown(connection->socket, SHUT_WR);
        connection->closing = true;
    }
    return true;
}

static int listen_on(int port)
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int yes = 1;
    if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes)
        || bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 128)) {
        fprintf(stderr, "cannot listen on 127.0.0.1:%d: %s\n", port, strerror(errno));
        if (listener >= 0)
            close(listener);
        return -1;
    }
    return listener;
}

static bool step(int slot, short events)
{
    struct connection *connection = connections[slot];
    if (connection->deadline <= now()) {
        /* A word to a client that is merely slow; it is sent if the socket takes it at once. */
        if (!connection->answer.count && connection->received) {
            page_problem(&connection->answer, 408, "The request took too long.", false);
            send_some(connection);
        }
        return false;
    }
    if (events & (POLLIN | POLLHUP | POLLERR) && !receive(connection))
        return false;
    if (connection->answer.count && !connection->closing)
        return send_some(connection);
    return true;
}

/* Asked to stop: no new clients; those who asked something get their answer, those who still talk get a moment. */
static void hurry_up(void)
{
    for (int slot = 0; slot < CONNECTIONS_MAX; slot++) {
        struct connection *connection = connections[slot];
        time_t last = now() + (connection && connection->answer.count ? 3 : 1);
        if (connection && connection->deadline > last)
            connection->deadline = last;
    }
}

int serve(int port, const sigset_t *signals_while_waiting)
{
    int listener = listen_on(port);
    if (listener < 0)
        return 1;
    printf("listening on 127.0.0.1:%d\n", port);
    fflush(stdout);
    for (;;) {
        struct pollfd polled[CONNECTIONS_MAX + 1];
        int slots[CONNECTIONS_MAX + 1], count = 0, open = 0;
        for (int slot = 0; slot < CONNECTIONS_MAX; slot++) {
            struct connection *connection = connections[slot];
            if (!connection)
                continue;
            bool sending = connection->answer.count && !connection->closing;
            slots[count] = slot;
            polled[count++] = (struct pollfd){ .fd = connection->socket, .events = sending ? POLLOUT : POLLIN };
            open++;
        }
        if (stop_requested && listener >= 0) {
            close(listener);
            listener = -1;
            hurry_up();
        }
        if (listener < 0 && !open)
            break;
        bool accepting = listener >= 0 && open < CONNECTIONS_MAX;
        if (accepting)
            polled[count] = (struct pollfd){ .fd = listener, .events = POLLIN };
        struct timespec second = { .tv_sec = 1 };
        int ready = ppoll(polled, (nfds_t)count + accepting, open ? &second : NULL, signals_while_waiting);
        if (ready < 0 && errno != EINTR) {
            perror("ppoll");
            return 1;
        }
        if (ready < 0)
            continue;
        for (int i = 0; i < count; i++)
            if (!step(slots[i], polled[i].revents))
                drop(slots[i]);
        if (accepting && polled[count].revents & POLLIN)
            accept_one(listener);
    }
    return 0;
}
