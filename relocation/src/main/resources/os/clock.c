/*
 * The wall clock, which an OS takes from emulated hardware that knows only whole seconds. A container that moves sees the
 * difference between two of them, so each follows the host's.
 *
 *     relocate clock step MICROSECONDS
 *         Adds so many to the clock at once: while nobody looks at it.
 *
 *     relocate clock slew MICROSECONDS
 *         Has the kernel add them bit by bit, at most 0.5 ms a second (adjtime(3)): the clock never jumps or goes back.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include "parts.h"
#include "relocate.h"

enum { MICROS = 1000000, NANOS = 1000000000 };

static void step(long long micros)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    long long nanos = now.tv_nsec + micros % MICROS * 1000;
    now.tv_sec += (time_t)(micros / MICROS) + (nanos < 0 ? -1 : nanos / NANOS);
    now.tv_nsec = (long)(nanos < 0 ? nanos + NANOS : nanos % NANOS);
    if (clock_settime(CLOCK_REALTIME, &now) < 0)
        end(FAILED, "the clock: %s", strerror(errno));
}

static void slew(long long micros)
{
    struct timeval delta = {.tv_sec = (time_t)(micros / MICROS), .tv_usec = (suseconds_t)(micros % MICROS)};
    if (adjtime(&delta, NULL) < 0)
        end(FAILED, "the clock: %s", strerror(errno));
}

int set_clock(const char *how, const char *micros)
{
    char *rest;
    errno = 0;
    long long value = strtoll(micros, &rest, 10);
    if (errno || rest == micros || *rest)
        end(USAGE, "'%s' is no number of microseconds", micros);
    if (!strcmp(how, "step"))
        step(value);
    else if (!strcmp(how, "slew"))
        slew(value);
    else
        end(USAGE, "'%s' is no way to set a clock", how);
    return DONE;
}
