/*
 * Moves the memory of a container from one operating system to another that sees the first one's RAM.
 * CRIU moves everything else. Built into every OS; the script "container" starts it, and CRIU does.
 *
 *     relocate check CGROUP               obstacles.c in the old OS, beforehand
 *     relocate pages CGROUP FILE          list.c      in the old OS
 *     relocate compare CGROUP FILE        list.c      in the old OS
 *     relocate, as criu's --action-script hook.c      in the old OS, during criu dump
 *     tar ARGUMENTS...                    tar.c       in both, started by CRIU
 *     relocate drain IMAGES PAGES ADDRESS BYTES SPLIT FREED CGROUP
 *                                         drain.c     in the new OS
 *     relocate unpack ARCHIVE FOLDER      archive.c   in the new OS
 *     relocate within CGROUP COMMAND...   within.c    in the new OS, around criu restore
 *     relocate urgent PID                 priority.c  in both
 *     relocate ordinary COMMAND...        priority.c  in both
 *     relocate gather CGROUP BUSY         gather.c    in the new OS, afterwards
 *
 * Each file says what its word does. They share relocate.h, memory.c (what /proc tells of the processes), list.c (the
 * list of page frames) and images.c (how CRIU's images are read); hook.c uses show.c, timers.c and archive.c, and
 * drain.c uses extents.c and window.c.
 *
 * Exit codes: see enum outcome. Nothing read from an image, a list or CRIU makes anything grow beyond fixed limits.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "parts.h"
#include "relocate.h"

const char *hostages;

void kill_hostages(void)
{
    char path[PATH_MAX];
    if (!hostages)
        return;
    snprintf(path, sizeof path, "%s/cgroup.kill", hostages);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "1", 1) < 0) {
        /* Nothing more can be done. */
    }
}

void end(enum outcome outcome, const char *format, ...)
{
    kill_hostages();
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "relocate: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    exit(outcome);
}

int64_t microseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

bool number(const char *text, uint64_t *value)
{
    char *rest;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *value = strtoull(text, &rest, 0);
    return errno == 0 && *rest == 0;
}

void *slurp(const char *path, uint64_t most, size_t *length)
{
    struct stat what;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &what) < 0)
        end(FAILED, "%s: %s", path, strerror(errno));
    if (!S_ISREG(what.st_mode) || (uint64_t)what.st_size > most)
        end(MALFORMED, "%s is no file of at most %" PRIu64 " bytes", path, most);
    size_t size = (size_t)what.st_size, done = 0;
    char *bytes = malloc(size + 1);
    if (!bytes)
        end(FAILED, "no memory for %s", path);
    while (done < size) {
        ssize_t got = read(fd, bytes + done, size - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            end(FAILED, "%s: %s", path, got < 0 ? strerror(errno) : "ended early");
        done += (size_t)got;
    }
    close(fd);
    *length = size;
    return bytes;
}

int run_program(char *const *command)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        execv(command[0], command);
        _exit(127);
    }
    while (child > 0 && waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return child > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int main(int count, char **arguments)
{
    const char *name = strrchr(arguments[0], '/');
    if (!strcmp(name ? name + 1 : arguments[0], "tar"))
        return tar(arguments);
    if (count == 3 && !strcmp(arguments[1], "check"))
        return check(arguments[2]);
    if (count == 4 && !strcmp(arguments[1], "pages"))
        return pages(arguments[2], arguments[3]);
    if (count == 4 && !strcmp(arguments[1], "compare"))
        return compare(arguments[2], arguments[3]);
    if (count == 9 && !strcmp(arguments[1], "drain"))
        return drain(arguments + 2);
    if (count == 4 && !strcmp(arguments[1], "gather"))
        return gather(arguments[2], arguments[3]);
    if (count == 4 && !strcmp(arguments[1], "unpack"))
        return unpack(arguments[2], arguments[3]);
    if (count == 3 && !strcmp(arguments[1], "urgent"))
        return urgent(arguments[2]);
    if (count > 2 && !strcmp(arguments[1], "ordinary"))
        return ordinary(arguments + 2);
    if (count == 4 && !strcmp(arguments[1], "clock"))
        return set_clock(arguments[2], arguments[3]);
    if (count > 3 && !strcmp(arguments[1], "within"))
        return within(arguments[2], arguments + 3);
    if (count == 1 && getenv("CRTOOLS_SCRIPT_ACTION"))
        return hook();
    fprintf(stderr, "usage: relocate check CGROUP\n"
                    "       relocate pages CGROUP FILE\n"
                    "       relocate compare CGROUP FILE\n"
                    "       relocate drain IMAGES PAGES ADDRESS BYTES SPLIT FREED CGROUP\n"
                    "       relocate gather CGROUP BUSY\n"
                    "       relocate unpack ARCHIVE FOLDER\n"
                    "       relocate within CGROUP COMMAND...\n"
                    "       relocate clock step|slew MICROSECONDS\n"
                    "       relocate urgent PID\n"
                    "       relocate ordinary COMMAND...\n"
                    "       relocate, as --action-script of criu\n");
    return USAGE;
}
