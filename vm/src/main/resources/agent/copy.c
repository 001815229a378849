/* Moving bytes into a port or a file, without waiting in the kernel. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "copy.h"
#include "text.h"

bool pour(int device, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t done = write(device, bytes, length);
        if (done >= 0) {
            bytes += done;
            length -= (size_t)done;
        } else if (errno == EAGAIN) {
            struct pollfd wanted = {.fd = device, .events = POLLOUT};
            poll(&wanted, 1, -1);
            if (!(wanted.revents & POLLOUT))
                return false;
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

int failed(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    return 1;
}

int copy_bytes(const char *from, const char *bytes, const char *to)
{
    static char chunk[PUMP];
    int64_t left;
    if (!number(bytes, 0, INT64_MAX, &left)) {
        fprintf(stderr, "'%s' is no number of bytes\n", bytes);
        return 2;
    }
    int source = open(from, O_RDONLY | O_NOCTTY | O_CLOEXEC);
    if (source < 0)
        return failed(from);
    int target = open(to, O_WRONLY | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
    if (target < 0)
        return failed(to);
    struct timespec first = {0}, last;
    while (left > 0) {
        ssize_t got = read(source, chunk, left < PUMP ? (size_t)left : PUMP);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? failed(from) : (fprintf(stderr, "%s ended early\n", from), 1);
        if (first.tv_sec == 0)
            clock_gettime(CLOCK_MONOTONIC, &first);
        if (!pour(target, chunk, (size_t)got))
            return failed(to);
        left -= got;
    }
    clock_gettime(CLOCK_MONOTONIC, &last);
    printf("%lld\n", (long long)(last.tv_sec - first.tv_sec) * 1000000000 + last.tv_nsec
                          - first.tv_nsec);
    return 0;
}
