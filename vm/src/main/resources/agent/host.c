/* The host: whether it is there, and the lines that come from it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "agent.h"
#include "answer.h"
#include "host.h"
#include "loop.h"
#include "machine.h"
#include "programs.h"
#include "requests.h"
#include "waits.h"
#include "wire.h"

#define PORT_NAME "dev.hyperfresh.agent"

static char in[LINE];
static size_t in_length;
static bool in_skipping;

/* Serves the whole lines in the buffer and keeps the rest. */
static void serve_lines(void)
{
    size_t from = 0;
    char *end;
    while (has_room(2) && (end = memchr(in + from, '\n', in_length - from)) != NULL) {
        *end = 0;
        if (!in_skipping)
            serve(in + from, (size_t)(end - in) - from);
        in_skipping = false;
        from = (size_t)(end - in) + 1;
    }
    memmove(in, in + from, in_length - from);
    in_length -= from;
    if (in_length == LINE && memchr(in, '\n', in_length) == NULL) {
        char id[ID + 1];
        in[LINE - 1] = 0;
        take_id(in, id);
        if (!in_skipping)
            refuse(id, "a line has at most %d bytes", LINE);
        in_skipping = true;
        in_length = 0;
    }
}

static void connect_host(void)
{
    connected = true;
    connection++;
    begin("-", "hello");
    put_hello();
    finish("-");
}

static void lose_host(void)
{
    connected = false;
    connection++;
    in_length = 0;
    forget_unsent();
    in_skipping = false;
}

static void lose_port(void)
{
    lose_host();
    close(port);
    port = -1;
    if (!is_init)
        exit(0);
}

/* Edge-triggered, because a port without a host is always ready. */
static void watch_port(void) { watch(port, FROM_PORT, 0, EPOLLIN | EPOLLOUT | EPOLLET); }

void take_port(int socket)
{
    port = socket;
    fcntl(port, F_SETFL, fcntl(port, F_GETFL) | O_NONBLOCK);
    fcntl(port, F_SETFD, FD_CLOEXEC);
    watch_port();
}

void open_port(void)
{
    char path[NAME];
    if (!find_port(PORT_NAME, path))
        return;
    port = open(path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (port >= 0)
        watch_port();
}

void serve_port(void)
{
    while (port >= 0) {
        struct pollfd now = {.fd = port, .events = POLLIN | POLLOUT};
        poll(&now, 1, 0);
        bool host = !(now.revents & POLLHUP);
        if (!host && is_init) {
            if (connected)
                lose_host();
            return;
        }
        if (!connected)
            connect_host();
        flush();
        tell_ends();
        serve_lines();
        if (in_length == LINE || !has_room(2))
            return;
        ssize_t got = read(port, in + in_length, LINE - in_length);
        if (got > 0)
            in_length += (size_t)got;
        else if (got == 0 && is_init)
            continue; /* the host has gone meanwhile, which the next round sees */
        else if (got == 0 || (errno != EAGAIN && errno != EINTR))
            lose_port();
        else if (errno == EAGAIN)
            return;
    }
}
