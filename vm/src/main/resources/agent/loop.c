/* The main loop: one thread that sees whatever happens. */
#define _GNU_SOURCE
#include <linux/netlink.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host.h"
#include "loop.h"
#include "programs.h"
#include "waits.h"
#include "wire.h"

/* Uevents say when to look again; this is for lost ones. */
enum { TICK_MS = 100 };

static int events = -1;

void open_loop(void) { events = epoll_create1(EPOLL_CLOEXEC); }

void watch(int fd, enum source source, uint32_t index, uint32_t what)
{
    struct epoll_event event = {.events = what, .data.u64 = (uint64_t)source << 32 | index};
    epoll_ctl(events, EPOLL_CTL_ADD, fd, &event);
}

static void drain(int fd)
{
    char bytes[8192];
    while (read(fd, bytes, sizeof bytes) > 0) {
    }
}

static int patience(void) { return port < 0 || anyone_waits() ? TICK_MS : -1; }

_Noreturn void serve_for_ever(void)
{
    sigset_t children;
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    sigprocmask(SIG_BLOCK, &children, NULL);
    signal(SIGPIPE, SIG_IGN);
    int signals = signalfd(-1, &children, SFD_NONBLOCK | SFD_CLOEXEC);
    int uevents = socket(AF_NETLINK, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
                         NETLINK_KOBJECT_UEVENT);
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK, .nl_groups = 1};
    watch(signals, FROM_SIGNALS, 0, EPOLLIN);
    if (uevents >= 0 && bind(uevents, (struct sockaddr *)&kernel, sizeof kernel) == 0)
        watch(uevents, FROM_UEVENTS, 0, EPOLLIN);
    while (true) {
        if (port < 0)
            open_port();
        serve_port();
        struct epoll_event event[16];
        int count = epoll_wait(events, event, 16, patience());
        for (int i = 0; i < count; i++) {
            switch ((enum source)(event[i].data.u64 >> 32)) {
            case FROM_SIGNALS:
                drain(signals);
                reap();
                break;
            case FROM_UEVENTS:
                drain(uevents);
                break;
            case FROM_CHILD:
                read_output((uint32_t)event[i].data.u64);
                break;
            case FROM_PORT:
                break;
            }
        }
        look_again();
    }
}
