/*
 * Lets a QEMU before 8.1, whose memory-backend-file has no offset=, take guest memory from a window
 * of /dev/mem. Loaded with LD_PRELOAD; HF_WINDOW=ADDRESS:BYTES (decimal) names the window.
 *
 * A shared mapping of /dev/mem at offset 0 is one of the window instead, and must fit it. Nobody may
 * change the size of /dev/mem, so that is reported as done. Everything else passes unchanged.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static bool is_memory(int fd)
{
    struct stat what;
    int error = errno;
    bool is = fd >= 0 && fstat(fd, &what) == 0 && S_ISCHR(what.st_mode)
        && what.st_rdev == makedev(1, 1);
    errno = error;
    return is;
}

static bool number(const char **text, unsigned long long *value)
{
    char *end;
    if (**text < '0' || **text > '9')
        return false;
    int error = errno;
    errno = 0;
    *value = strtoull(*text, &end, 10);
    bool good = errno == 0;
    errno = error;
    *text = end;
    return good;
}

static bool window(unsigned long long *address, unsigned long long *bytes)
{
    const char *text = getenv("HF_WINDOW");
    return text && number(&text, address) && *text++ == ':' && number(&text, bytes) && *text == 0
        && (long long)*address >= 0;
}

void *mmap64(void *at, size_t length, int protection, int flags, int fd, off64_t offset)
{
    unsigned long long address, bytes;
    if (offset == 0 && (flags & MAP_TYPE) == MAP_SHARED && is_memory(fd)) {
        if (!window(&address, &bytes) || length > bytes) {
            errno = EINVAL;
            return MAP_FAILED;
        }
        offset = (off64_t)address;
    }
    return (void *)syscall(SYS_mmap, at, length, protection, flags, fd, offset);
}

void *mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset)
{
    return mmap64(at, length, protection, flags, fd, offset);
}

int ftruncate64(int fd, off64_t length)
{
    return is_memory(fd) ? 0 : (int)syscall(SYS_ftruncate, fd, length);
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }
