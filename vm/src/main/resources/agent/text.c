/* Numbers, and small files of text. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "text.h"

bool number(const char *text, int64_t least, int64_t most, int64_t *value)
{
    if (!isdigit((unsigned char)*text) || strlen(text) > 18)
        return false;
    char *end;
    *value = strtoll(text, &end, 10);
    return *end == 0 && *value >= least && *value <= most;
}

ssize_t slurp(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -1;
    size_t length = 0;
    ssize_t got;
    while (length < size - 1 && (got = read(fd, text + length, size - 1 - length)) != 0) {
        if (got < 0) {
            int error = errno;
            close(fd);
            errno = error;
            return -1;
        }
        length += (size_t)got;
    }
    close(fd);
    while (length > 0 && isspace((unsigned char)text[length - 1]))
        length--;
    text[length] = 0;
    return (ssize_t)length;
}

int spill(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t done = write(fd, text, strlen(text));
    int error = errno;
    close(fd);
    errno = error;
    return done < 0 ? -1 : 0;
}
