/*
 *     tar ARGUMENTS...
 *         As CRIU's tar, for what a tmpfs holds: found first by the path that "container" gives to CRIU. Quicker than
 *         the real one, which it starts.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include "hook.h"
#include "parts.h"
#include "relocate.h"

/* Held by who does something beside CRIU. */
static int take_lock(const char *name, int how)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", shown(), name);
    int lock = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0 || flock(lock, how) < 0)
        end(FAILED, "%s: %s", path, strerror(errno));
    return lock;
}

static void mark(const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", shown(), name);
    close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

void await_archives(void)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/failed", shown());
    close(take_lock("archives", LOCK_EX));
    if (access(path, F_OK) == 0)
        end(FAILED, "the files of a tmpfs cannot be written down");
}

/* The files of a tmpfs, which stand still, go into their image beside CRIU; post-dump waits for it. */
static int create(char **arguments)
{
    int lock = take_lock("archives", LOCK_SH);
    pid_t child = fork();
    if (child < 0)
        end(FAILED, "fork: %s", strerror(errno));
    if (child == 0 && run_program(arguments) != 0)
        mark("failed");
    close(lock);
    return DONE;
}

/* busybox begins sooner, but does not know files with holes. */
static int extract(char **arguments)
{
    char *folder = NULL;
    off_t begin = lseek(0, 0, SEEK_CUR);
    for (char **at = arguments; at[0] && at[1]; at++)
        if (!strcmp(at[0], "--directory"))
            folder = at[1];
    if (folder && run_program((char *[]){"/bin/busybox", "tar", "-x", "-f", "-", "-C", folder, NULL}) == 0)
        return DONE;
    if (begin < 0 || lseek(0, begin, SEEK_SET) < 0)
        end(FAILED, "an image: %s", strerror(errno));
    return run_program(arguments);
}

/* A few small files are not worth compressing: starting gzip takes longer than all the rest. */
int tar(char **arguments)
{
    char **to = arguments;
    bool creates = false;
    for (char **from = arguments; *from; from++) {
        creates |= !strcmp(*from, "--create");
        if (strcmp(*from, "--gzip"))
            *to++ = *from;
    }
    *to = NULL;
    arguments[0] = "/usr/bin/tar";
    return creates && shown() ? create(arguments) : extract(arguments);
}
