/* The old OS's RAM, for drain.c. See window.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "relocate.h"
#include "window.h"

static struct {
    const uint8_t *memory; /* NULL: read from fd */
    int fd;
    uint64_t pages, split;
    uint8_t *users;   /* of each page: who still needs it, 255 for too many to count */
    uint64_t *freed;  /* a bit a page: not told yet */
    uint64_t first_freed, last_freed;
    int tell;
} window;

static void on_bus_error(int signal)
{
    (void)signal;
    kill_hostages();
    static const char text[] = "relocate: the old RAM cannot be read\n";
    if (write(2, text, sizeof text - 1) < 0) {
        /* The exit code says it. */
    }
    _exit(WINDOW_BROKEN);
}

void open_window(const char *where, const char *bytes, const char *split, const char *freed)
{
    uint64_t address = 0, size, below;
    bool physical = !strchr(where, '/');
    if ((physical && !number(where, &address)) || !number(bytes, &size) || !number(split, &below)
        || size == 0 || size % PAGE != 0 || address % PAGE != 0 || below % PAGE != 0 || below > size
        || size > (1ull << 46) || address > INT64_MAX - size)
        end(USAGE, "ADDRESS, BYTES and SPLIT must be whole pages");
    window.pages = size / PAGE;
    window.split = below / PAGE;
    window.fd = open(physical ? "/dev/mem" : where,
                     O_RDONLY | O_CLOEXEC | (physical ? 0 : O_DIRECT));
    if (window.fd < 0)
        end(NO_WINDOW, "%s: %s", physical ? "/dev/mem" : where, strerror(errno));
    if (physical) {
        window.memory = mmap(NULL, size, PROT_READ, MAP_SHARED, window.fd, (off_t)address);
        if (window.memory == MAP_FAILED)
            end(NO_WINDOW, "%s bytes of /dev/mem at %s: %s", bytes, where, strerror(errno));
        struct sigaction action = {.sa_handler = on_bus_error};
        sigaction(SIGBUS, &action, NULL);
        sigaction(SIGSEGV, &action, NULL);
    }
    window.users = calloc(window.pages, 1);
    window.freed = calloc(window.pages / 64 + 1, 8);
    if (!window.users || !window.freed)
        end(FAILED, "no memory");
    window.first_freed = UINT64_MAX;
    window.tell = strcmp(freed, "-")
        ? open(freed, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600) : 1;
    if (window.tell < 0)
        end(FAILED, "%s: %s", freed, strerror(errno));
}

const uint8_t *in_window(uint64_t at) { return window.memory ? window.memory + at * PAGE : NULL; }

uint64_t locate(uint64_t frame, uint64_t count)
{
    const uint64_t four_gib = (4ull << 30) / PAGE;
    uint64_t at = frame, limit = window.pages;
    if (window.split > 0 && frame >= four_gib)
        at = frame - four_gib + window.split;
    else if (window.split > 0)
        limit = window.split;
    if (at >= limit || count > limit - at)
        end(MALFORMED, "frame %#" PRIx64 " and %" PRIu64 " after it are not in the old RAM", frame,
            count - 1);
    return at;
}

void fetch(uint8_t *to, uint64_t at, uint64_t count)
{
    if (window.memory) {
        memcpy(to, window.memory + at * PAGE, count * PAGE);
        return;
    }
    ssize_t got = pread(window.fd, to, count * PAGE, (off_t)(at * PAGE));
    if (got != (ssize_t)(count * PAGE))
        end(WINDOW_BROKEN, "the old RAM cannot be read: %s", got < 0 ? strerror(errno) : "too short");
}

void use(uint64_t at, uint64_t count)
{
    static const uint8_t nobody[8], one[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    while (count > 0) {
        uint8_t *user = window.users + at;
        /* Pages of several processes are rare. */
        if (count >= sizeof one && memcmp(user, nobody, sizeof nobody) == 0) {
            memcpy(user, one, sizeof one);
            at += sizeof one;
            count -= sizeof one;
            continue;
        }
        *user += *user < UINT8_MAX;
        at++;
        count--;
    }
}

void release(uint64_t at, uint64_t count)
{
    for (; count > 0; at++, count--) {
        if (window.users[at] == UINT8_MAX || window.users[at] == 0 || --window.users[at] > 0)
            continue;
        window.freed[at / 64] |= 1ull << at % 64;
        window.first_freed = at < window.first_freed ? at : window.first_freed;
        window.last_freed = at > window.last_freed ? at : window.last_freed;
    }
}

static char told[32 * 1024];
static size_t told_length;

static void flush_told(void)
{
    for (size_t done = 0; done < told_length;) {
        ssize_t put = write(window.tell, told + done, told_length - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            end(FAILED, "what is freed: %s", strerror(errno));
        done += (size_t)put;
    }
    told_length = 0;
}

void tell_freed(void)
{
    uint64_t count = 0, at;
    if (window.first_freed == UINT64_MAX)
        return;
    for (at = window.first_freed; at <= window.last_freed + 1; at++) {
        if (count == 0 && at % 64 == 0 && window.freed[at / 64] == 0) {
            at += 63;
            continue;
        }
        if (at <= window.last_freed && window.freed[at / 64] & 1ull << at % 64) {
            window.freed[at / 64] &= ~(1ull << at % 64);
            count++;
        } else if (count > 0) {
            if (told_length > sizeof told - 64)
                flush_told();
            told_length += (size_t)sprintf(told + told_length, "freed %" PRIu64 " %" PRIu64 "\n",
                                           at - count, count);
            count = 0;
        }
    }
    flush_told();
    window.first_freed = UINT64_MAX;
    window.last_freed = 0;
}
