/* Environment: PORT (required), DATA_DIR (where `entries` is kept; default: the current folder). */
#include "guestbook.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_stop(int signal_number)
{
    (void)signal_number;
    stop_requested = 1;
}

int main(void)
{
    const char *port_text = getenv("PORT");
    char *end = NULL;
    long port = port_text ? strtol(port_text, &end, 10) : 0;
    if (!port_text || end == port_text || *end || port < 1 || port > 65535) {
        fprintf(stderr, "PORT must be a port number\n");
        return 78;
    }
    const char *directory = getenv("DATA_DIR");
    if (!directory || !*directory)
        directory = ".";
    if (!entries_open(directory)) {
        fprintf(stderr, "cannot keep entries in %s: %s\n", directory, strerror(errno));
        return 73;
    }
    /* Blocked but for the wait in ppoll: a signal between a check and the wait cannot be missed. */
    sigset_t blocked, before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGINT);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    sigdelset(&before, SIGTERM);
    sigdelset(&before, SIGINT);
    struct sigaction action = { .sa_handler = on_stop };
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);

    int status = serve((int)port, &before);
    entries_close();
    return status;
}
