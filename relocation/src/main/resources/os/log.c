/*
 * Writes a container's log.
 *
 *     log FOLDER
 *
 * Appends what it reads to FOLDER/log, until the end. A log that has become long is called log.1 from then on, the one before
 * log.2, and the one before that is gone. What cannot be written is lost: whoever writes is a container, and is not kept
 * waiting because a disk is full. Another OS may do the same with the same folder, for the moment in which a container
 * moves there.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LOG_BYTES = 10 << 20, /* of one file; ContainerLog.java reads so many of them */
    CHUNK = 64 << 10,
};

static int folder;

static int open_log(void)
{
    return openat(folder, "log", O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static int turned(int log)
{
    renameat(folder, "log.1", folder, "log.2");
    renameat(folder, "log", folder, "log.1");
    close(log);
    return open_log();
}

static void append(int log, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t done = write(log, bytes, length);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return;
        bytes += done;
        length -= (size_t)done;
    }
}

int main(int count, char **arguments)
{
    static char chunk[CHUNK];
    if (count != 2) {
        fprintf(stderr, "usage: log FOLDER\n");
        return 2;
    }
    folder = open(arguments[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) {
        fprintf(stderr, "%s: %s\n", arguments[1], strerror(errno));
        return 1;
    }
    int log = open_log();
    while (1) {
        ssize_t got = read(0, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0;
        struct stat what;
        if (log < 0)
            log = open_log();
        else if (fstat(log, &what) == 0 && what.st_size + got > LOG_BYTES)
            log = turned(log);
        if (log >= 0)
            append(log, chunk, (size_t)got);
    }
}
