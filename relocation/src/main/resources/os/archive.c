/*
 * CRIU's images as one file.
 *
 *     relocate unpack ARCHIVE FOLDER
 *         In the new OS, for "container restore": puts the images that are in the archive into the folder, and then
 *         writes the one that CRIU reads first to the output.
 *
 * hook.c makes the archive in the old OS.
 *
 * cpio's "newc": a header of hexadecimal numbers, the name with its zero, the content; name and content filled up
 * to four bytes. By hand, and in few large pieces, because it is done while the container stands still: a small
 * read or write in the shared folder takes as long as a large one, and to start tar as long as all the rest.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "hook.h"
#include "parts.h"
#include "relocate.h"

#define NEWC "070701"
#define NEWC_END "TRAILER!!!"
#define INVENTORY "inventory.img"

enum { NEWC_HEADER = 110, ARCHIVE_BUFFER = 1 << 20 };

static char archive_buffer[ARCHIVE_BUFFER];

static FILE *open_archive(const char *path, const char *mode)
{
    FILE *file = fopen(path, mode);
    if (!file)
        end(FAILED, "%s: %s", path, strerror(errno));
    setvbuf(file, archive_buffer, _IOFBF, sizeof archive_buffer);
    return file;
}

static void put_entry(FILE *archive, const char *name, uint32_t mode, uint32_t size)
{
    fprintf(archive, NEWC "%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 0, mode, 0, 0, 1, 0, size, 0, 0, 0, 0,
            (unsigned)strlen(name) + 1, 0);
    fwrite(name, 1, strlen(name) + 1, archive);
    fwrite("\0\0\0", 1, -(NEWC_HEADER + strlen(name) + 1) & 3, archive);
}

static void pack_file(FILE *archive, int folder, const char *name)
{
    static char piece[64 * 1024];
    struct stat what;
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &what) < 0 || !S_ISREG(what.st_mode) || what.st_size > UINT32_MAX)
        end(FAILED, "%s is no image", name);
    put_entry(archive, name, S_IFREG | 0600, (uint32_t)what.st_size);
    uint64_t left = (uint64_t)what.st_size;
    while (left > 0) {
        ssize_t got = read(fd, piece, left < sizeof piece ? left : sizeof piece);
        if (got <= 0)
            end(FAILED, "%s: %s", name, got < 0 ? strerror(errno) : "ended early");
        fwrite(piece, 1, (size_t)got, archive);
        left -= (uint64_t)got;
    }
    fwrite("\0\0\0", 1, -(uint64_t)what.st_size & 3, archive);
    close(fd);
}

void pack(const char *images, const char *path)
{
    FILE *archive = open_archive(path, "we");
    DIR *folder = opendir(images);
    struct dirent *entry;
    if (!folder)
        end(FAILED, "%s: %s", images, strerror(errno));
    while ((entry = readdir(folder)))
        if (entry->d_name[0] != '.')
            pack_file(archive, dirfd(folder), entry->d_name);
    closedir(folder);
    put_entry(archive, NEWC_END, 0, 0);
    if (ferror(archive) || fclose(archive) != 0)
        end(FAILED, "the images cannot be put together: %s", strerror(errno));
}

static void take(FILE *archive, void *to, size_t bytes, const char *path)
{
    if (fread(to, 1, bytes, archive) != bytes)
        end(MALFORMED, "%s ends early", path);
}

static uint32_t hexadecimal(const char *digits, const char *path)
{
    uint32_t value = 0;
    for (int i = 0; i < 8; i++) {
        char c = digits[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
            end(MALFORMED, "%s has a header that is none", path);
        value = value << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return value;
}

/* The name of the next image, and how long it is; false at the end. */
static bool next_image(FILE *archive, char name[NAME_MAX + 1], uint32_t *size, const char *path)
{
    char header[NEWC_HEADER], filling[3];
    take(archive, header, sizeof header, path);
    if (memcmp(header, NEWC, strlen(NEWC)) != 0)
        end(MALFORMED, "%s is no archive", path);
    *size = hexadecimal(header + 54, path);
    uint32_t length = hexadecimal(header + 94, path);
    if (length < 2 || length > NAME_MAX + 1)
        end(MALFORMED, "%s has an image without a name", path);
    take(archive, name, length, path);
    take(archive, filling, -(NEWC_HEADER + length) & 3, path);
    if (name[length - 1] != 0 || strlen(name) != length - 1 || name[0] == '.' || strchr(name, '/'))
        end(MALFORMED, "%s has an image with a name that is none", path);
    return strcmp(name, NEWC_END) != 0;
}

static void unpack_file(FILE *archive, int folder, const char *name, uint32_t size, const char *path)
{
    static char piece[64 * 1024];
    char filling[3];
    /* What waits for this one has a pipe in its place. */
    unlinkat(folder, name, 0);
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        end(FAILED, "%s: %s", name, strerror(errno));
    for (uint32_t left = size; left > 0;) {
        uint32_t part = left < sizeof piece ? left : sizeof piece;
        take(archive, piece, part, path);
        if (write(fd, piece, part) != (ssize_t)part)
            end(FAILED, "%s: %s", name, strerror(errno));
        left -= part;
    }
    take(archive, filling, -size & 3, path);
    close(fd);
}

int unpack(const char *path, const char *images)
{
    char name[NAME_MAX + 1];
    uint32_t size;
    FILE *archive = open_archive(path, "re");
    int folder = open(images, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        end(FAILED, "%s: %s", images, strerror(errno));
    while (next_image(archive, name, &size, path))
        unpack_file(archive, folder, name, size, path);
    fclose(archive);
    close(folder);
    size_t length;
    char inventory[PATH_MAX];
    snprintf(inventory, sizeof inventory, "%s/" INVENTORY, images);
    char *bytes = slurp(inventory, sizeof archive_buffer, &length);
    if (write(1, bytes, length) != (ssize_t)length)
        end(FAILED, "the output: %s", strerror(errno));
    return DONE;
}
