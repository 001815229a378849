/*
 * Who gets a processor first. While a container stands still, whatever brings it over is urgent, in both OSes, so that
 * a container that never rests does not multiply the time. Urgent processes are scheduled by the real-time class, before
 * all others; the priority ends with them, so no failure leaves it behind.
 *
 *     relocate urgent PID
 *         For "container freeze" and "container restore": process PID is urgent, and what it starts from then on.
 *
 *     relocate ordinary COMMAND...
 *         Runs COMMAND as one that is not urgent: for what outlives the order.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>
#include "parts.h"
#include "relocate.h"

void schedule(int pid, bool urgent)
{
    struct sched_param how = {.sched_priority = urgent ? 1 : 0};
    /* A kernel that grants no urgency only makes a move slower. */
    if (sched_setscheduler(pid, urgent ? SCHED_FIFO : SCHED_OTHER, &how) < 0 && !urgent)
        end(FAILED, "the scheduling of process %d: %s", pid, strerror(errno));
}

int urgent(const char *pid)
{
    uint64_t value;
    if (!number(pid, &value) || value == 0 || value > INT_MAX)
        end(USAGE, "'%s' is no process", pid);
    schedule((int)value, true);
    return DONE;
}

int ordinary(char **command)
{
    schedule(0, false);
    execvp(command[0], command);
    end(FAILED, "%s: %s", command[0], strerror(errno));
}
