/*
 * Fetches a container's memory, page by page where somebody waits and in large batches otherwise.
 *
 *     relocate drain IMAGES PAGES ADDRESS BYTES SPLIT FREED CGROUP
 *         In the new OS: serves "criu restore --lazy-pages" in place of "criu lazy-pages", with
 *         the contents of the old OS's RAM. IMAGES are CRIU's, PAGES is what list.c wrote. The
 *         RAM is at the physical address ADDRESS, BYTES long; or in the device or file ADDRESS if that
 *         has a slash. SPLIT bytes of it were below the old machine's hole under 4 GiB, and what follows
 *         was at 4 GiB; 0 if there was no hole. The socket is made in the current folder, which must be
 *         the restore's --work-dir; IMAGES and PAGES are only read when CRIU has connected to it and a byte
 *         has come from the input, so this can be started long before, and says "ready". As it goes, FREED
 *         (- for the output) is told which part of the RAM is not needed any more, as lines
 *         "freed FRAME COUNT": so many pages of 4096 bytes from that one on, counted from the beginning of
 *         the RAM. The end is a line
 *         "drained PAGES pages BYTES bytes MICROSECONDS us FAULTS faults LONGEST us RATE MiB/s",
 *         LONGEST being the longest time that a fault took from when it was read to its answer. Whoever loses
 *         his memory must not go on with zeroes: when this program fails, it first kills all in the
 *         cgroup folder CGROUP.
 *
 * "container prepare" starts it; its last line is read by "container drain".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "extents.h"
#include "parts.h"
#include "relocate.h"
#include "window.h"

enum {
    CLUSTER = 16, /* pages that are copied at once when somebody waits */
    TOGETHER = 8, /* pages that are not worth gathering */
    RETRIES = 1024,
    TELL = 8192,  /* pages, after which freed ones are told */
    EVENTS = 64,
    FIRST_US = 200000, /* after the restore, in which only those that wait get pages */
};

#define SOCKET "lazy-pages.socket"
#define FINISHED 0x52535446

/* Where pages are put together. */
static uint8_t *staging;

static struct {
    struct process *process;
    uint64_t at;
} retry[RETRIES];

static size_t retries;

static uint64_t drained, faults;
static int64_t longest;

enum copied {
    COPIED,
    EXISTS,
    LATER,   /* the process changes its memory, and tells so in an event */
    NOWHERE, /* no such memory, or not all of one area */
    GONE,
};

/*
 * At most count pages, as many as are copied best at once: those that lie together in the old RAM go
 * directly from there, others are gathered first. What came over is in *done, whatever is returned.
 */
static enum copied copy(struct process *p, uint64_t to, uint64_t from, uint64_t count, uint64_t *done)
{
    uint64_t at, got = 0, found;
    const uint8_t *source = staging;
    while (got < count) {
        found = find_frames(p, from + got * PAGE, count - got, &at);
        if (found >= TOGETHER && in_window(at)) {
            if (got == 0) {
                source = in_window(at);
                got = found;
            }
            break;
        }
        fetch(staging + got * PAGE, at, found);
        got += found;
    }
    struct uffdio_copy request = {.dst = to, .src = (uintptr_t)source, .len = got * PAGE};
    int error = ioctl(p->fd, UFFDIO_COPY, &request) < 0 ? errno : 0;
    *done = request.copy > 0 ? (uint64_t)request.copy / PAGE : 0;
    switch (error) {
    case 0:
        return COPIED;
    case EEXIST:
        return EXISTS;
    case EAGAIN:
        /* Part of it was copied: the rest gives the reason when it is tried. */
        return *done > 0 ? COPIED : request.copy == -EEXIST ? EXISTS
            : request.copy == -ENOENT ? NOWHERE : LATER;
    case ENOENT:
        return NOWHERE;
    case ESRCH:
    case ENOSPC:
        return GONE;
    default:
        end(error == EFAULT ? WINDOW_BROKEN : FAILED, "copying to %#" PRIx64 " of process %d: %s", to,
            p->pid, strerror(error));
    }
}

static void wake(struct process *p, uint64_t at)
{
    struct uffdio_range range = {at, PAGE};
    ioctl(p->fd, UFFDIO_WAKE, &range);
}

static enum copied zero(struct process *p, uint64_t at)
{
    struct uffdio_zeropage request = {.range = {at, PAGE}};
    if (ioctl(p->fd, UFFDIO_ZEROPAGE, &request) == 0)
        return COPIED;
    return errno == EEXIST ? EXISTS : errno == EAGAIN ? LATER
        : errno == ESRCH || errno == ENOSPC ? GONE : NOWHERE;
}

/*
 * Somebody waits for a page. Memory that was not lazy, or is new, is zeroes. When there are too many
 * extents to split another one, the drain will find the page done.
 */
static void answer(struct process *p, uint64_t at)
{
    size_t index = search(p, at);
    const struct extent *e = index < p->last && p->extent[index].at <= at ? &p->extent[index] : NULL;
    uint64_t done;
    enum copied result;
    if (e) {
        uint64_t skip = (at - e->at) / PAGE, count = e->count - skip;
        uint64_t from = e->from + skip * PAGE;
        result = copy(p, at, from, count < CLUSTER ? count : CLUSTER, &done);
        if (result == NOWHERE)
            result = copy(p, at, from, 1, &done);
        if (done > 0 && p->last < EXTENTS / 2) {
            drop(p, at, at + done * PAGE);
            drained += done;
        }
    } else {
        result = zero(p, at);
    }
    if (result == GONE) {
        finish(p);
    } else if (result == LATER && retries < RETRIES) {
        retry[retries].process = p;
        retry[retries++].at = at;
    } else if (result != COPIED) {
        wake(p, at);
    }
}

/* The next pages of a process; false: nothing can be done before its events are read. */
static bool drain_some(struct process *p)
{
    struct extent *e = &p->extent[p->first];
    uint64_t count = e->count < p->batch ? e->count : p->batch, done;
    enum copied result = copy(p, e->at, e->from, count, &done);
    while (result == NOWHERE && done == 0 && count > 1) {
        count /= 2;
        result = copy(p, e->at, e->from, count, &done);
    }
    if (result == GONE) {
        finish(p);
        return true;
    }
    p->batch = result == EXISTS ? 1 : p->batch < BATCH ? p->batch * 2 : BATCH;
    if (done == 0 && (result == EXISTS || result == NOWHERE))
        done = 1;
    if (result == LATER && done == 0)
        return false;
    for_frames(p, e->from, done, release);
    drained += done;
    *e = (struct extent){e->at + done * PAGE, e->from + done * PAGE, e->count - done};
    p->first += e->count == 0;
    return true;
}

static int poller;

static void watch(int fd, uint64_t who)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = who};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0)
        end(FAILED, "epoll: %s", strerror(errno));
}

static int await_restore(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = SOCKET};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unlink(SOCKET);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) < 0
        || listen(listener, 1) < 0)
        end(FAILED, "%s: %s", SOCKET, strerror(errno));
    printf("ready\n");
    fflush(stdout);
    int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (connection < 0)
        end(FAILED, "%s: %s", SOCKET, strerror(errno));
    close(listener);
    unlink(SOCKET);
    return connection;
}

/* It may be written while CRIU restores what can be restored without it. */
static void await_list(void)
{
    char byte;
    if (read(0, &byte, 1) != 1)
        end(RESTORE_FAILED, "nobody said that the list of pages is there");
}

static int receive_descriptor(int connection)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr aligned;
    } control;
    char byte;
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = sizeof control};
    if (recvmsg(connection, &message, MSG_CMSG_CLOEXEC) != 1)
        end(RESTORE_FAILED, "CRIU sent no userfaultfd");
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS
        || header->cmsg_len != CMSG_LEN(sizeof(int)) || message.msg_flags & MSG_CTRUNC)
        end(RESTORE_FAILED, "CRIU sent something that is no userfaultfd");
    int fd;
    memcpy(&fd, CMSG_DATA(header), sizeof fd);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return fd;
}

/* A pid and its userfaultfd, the negative pid of one that has ended, or the end: true. */
static bool hear_restore(int connection, const char *images, const char *cgroup)
{
    int32_t word;
    if (recv(connection, &word, sizeof word, MSG_WAITALL) != sizeof word)
        end(RESTORE_FAILED, "CRIU went away before it had finished");
    if (word == FINISHED)
        return true;
    if (word <= 0)
        return false;
    struct process *p = process;
    while (p < process + processes && (p->pid != word || p->fd >= 0))
        p++;
    if (p == process + processes)
        p = load(images, word, NULL, 0);
    p->fd = receive_descriptor(connection);
    hostages = cgroup;
    watch(p->fd, (uint64_t)(p - process));
    return false;
}

static void fork_process(struct process *parent, int fd)
{
    struct process *p = new_process(parent->pid);
    p->fd = fd;
    inherit(p, parent);
    watch(fd, (uint64_t)(p - process));
}

static void hear_process(struct process *p)
{
    struct uffd_msg message[16];
    ssize_t got = read(p->fd, message, sizeof message);
    if (got < 0 && errno != EAGAIN && errno != EINTR)
        end(FAILED, "the userfaultfd of process %d: %s", p->pid, strerror(errno));
    int64_t begun = microseconds();
    for (ssize_t i = 0; i < got / (ssize_t)sizeof *message && p->fd >= 0; i++) {
        const struct uffd_msg *m = &message[i];
        switch (m->event) {
        case UFFD_EVENT_PAGEFAULT:
            answer(p, m->arg.pagefault.address & ~(uint64_t)(PAGE - 1));
            faults++;
            break;
        case UFFD_EVENT_FORK:
            fork_process(p, (int)m->arg.fork.ufd);
            break;
        case UFFD_EVENT_REMAP:
            move(p, m->arg.remap.from, m->arg.remap.to, m->arg.remap.len);
            break;
        case UFFD_EVENT_REMOVE:
        case UFFD_EVENT_UNMAP:
            drop(p, m->arg.remove.start, m->arg.remove.end);
            break;
        default:
            end(FAILED, "process %d has event %d, which is unknown", p->pid, m->event);
        }
    }
    int64_t took = microseconds() - begun;
    longest = got > 0 && took > longest ? took : longest;
}

static void try_again(void)
{
    size_t count = retries;
    retries = 0;
    for (size_t i = 0; i < count; i++)
        if (retry[i].process->fd >= 0)
            answer(retry[i].process, retry[i].at);
}

/* One that waits for pages, or for being told that there are no more. */
static struct process *next_process(void)
{
    for (struct process *p = process; p < process + processes; p++)
        if (p->pid != 0 && p->fd >= 0)
            return p;
    return NULL;
}

/*
 * What the container touches first keeps it waiting, so that is answered before all else; what is not asked for takes its
 * turn with everybody afterwards. How long that is away, milliseconds.
 */
static int first_left(int64_t restored)
{
    int64_t left = restored + FIRST_US - microseconds();
    return left > 0 ? (int)(left / 1000) + 1 : 0;
}

int drain(char **argument)
{
    open_window(argument[2], argument[3], argument[4], argument[5]);
    staging = mmap(NULL, BATCH * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (staging == MAP_FAILED)
        end(FAILED, "no memory");
    poller = epoll_create1(EPOLL_CLOEXEC);
    int connection = await_restore();
    schedule(0, true);
    await_list();
    load_all(argument[0], argument[1]);
    watch(connection, UINT64_MAX);
    bool finished = false, stuck = false, first = true;
    int64_t begun = 0;
    uint64_t told = 0;
    struct process *p = process;
    while (!finished || p) {
        struct epoll_event event[EVENTS];
        int count = epoll_wait(poller, event, EVENTS, !finished ? -1 : first ? first_left(begun) : stuck ? 1 : 0);
        if (count < 0 && errno != EINTR)
            end(FAILED, "epoll: %s", strerror(errno));
        for (int i = 0; i < count; i++) {
            if (event[i].data.u64 < (uint64_t)processes) {
                if (process[event[i].data.u64].fd >= 0)
                    hear_process(&process[event[i].data.u64]);
            } else if (hear_restore(connection, argument[0], argument[6])) {
                finished = true;
                begun = microseconds();
                close(connection);
            }
        }
        try_again();
        stuck = false;
        p = next_process();
        if (!finished || count > 0 || !p || (first && first_left(begun) > 0))
            continue;
        if (first) {
            schedule(0, false);
            begun = microseconds();
            first = false;
        }
        if (p->first == p->last)
            finish(p);
        else
            stuck = !drain_some(p);
        if (drained - told >= TELL) {
            tell_freed();
            told = drained;
        }
    }
    int64_t took = microseconds() - begun;
    tell_freed();
    printf("drained %" PRIu64 " pages %" PRIu64 " bytes %" PRId64 " us %" PRIu64 " faults %" PRId64
           " us %" PRIu64 " MiB/s\n", drained, drained * PAGE, took, faults, longest,
           took > 0 ? drained * PAGE * 1000000 / (uint64_t)took >> 20 : 0);
    return DONE;
}
