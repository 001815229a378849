/*
 * Where a container's memory lies in its OS's RAM.
 *
 *     relocate pages CGROUP FILE
 *         In the old OS: writes down in FILE in which page frames the private memory of the container's
 *         processes lies. The processes, all in the cgroup folder CGROUP or below, must stand still, and what
 *         stopped them must see to it that no frame is used for anything else. In a move hook.c does it.
 *
 *     relocate compare CGROUP FILE
 *         In the old OS, for "container moved", when all of it has been fetched: whether the memory still lies where
 *         FILE says.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "list.h"
#include "memory.h"
#include "parts.h"
#include "relocate.h"

static struct {
    FILE *file;
    bool compare; /* with what is in the file, instead of writing it */
    struct run run;
    uint64_t runs, pages, swapped;
    unsigned processes;
} list;

static uint64_t zero_frame;

static void put_run(void)
{
    struct run before;
    if (list.run.count > 0 && list.compare) {
        if (fread(&before, sizeof before, 1, list.file) != 1 || memcmp(&before, &list.run, sizeof before) != 0)
            end(MOVED, "memory of process %" PRIu32 " at %#" PRIx64 " does not lie where it lay", list.run.pid,
                list.run.address);
    } else if (list.run.count > 0 && fwrite(&list.run, sizeof list.run, 1, list.file) != 1) {
        end(FAILED, "the list of pages: %s", strerror(errno));
    }
    list.runs += list.run.count > 0;
    list.run.count = 0;
}

static void put_pages(uint32_t pid, uint64_t address, uint64_t frame, uint32_t count)
{
    struct run *run = &list.run;
    if (run->count == 0 || run->pid != pid || run->address + run->count * (uint64_t)PAGE != address
        || run->frame + run->count != frame || run->count > UINT32_MAX - count) {
        put_run();
        *run = (struct run){.address = address, .frame = frame, .pid = pid};
    }
    run->count += count;
    list.pages += count;
}

/* Everybody's page of zeroes is nobody's memory, and CRIU leaves it out. */
static void find_zero_frame(void)
{
    const volatile char *page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    uint64_t entry;
    if (page == MAP_FAILED || fd < 0 || *page != 0
        || pread(fd, &entry, 8, (off_t)((uintptr_t)page / PAGE * 8)) != 8 || !(entry & FRAME))
        end(FAILED, "/proc/self/pagemap does not tell frames: %s", strerror(errno));
    zero_frame = entry & FRAME;
    close(fd);
    munmap((void *)page, PAGE);
}

static bool is_private(uint64_t entry)
{
    return (entry & PRESENT) && !(entry & OF_FILE) && (entry & FRAME) != zero_frame;
}

static void list_area(int pagemap, uint32_t pid, uint64_t from, uint64_t to)
{
    static uint64_t entry[PIECE];
    while (from < to) {
        uint64_t pages = (to - from) / PAGE < PIECE ? (to - from) / PAGE : PIECE;
        ssize_t got = pread(pagemap, entry, pages * 8, (off_t)(from / PAGE * 8));
        if (got < 8)
            end(FAILED, "the frames of process %" PRIu32 ": %s", pid, strerror(errno));
        pages = (uint64_t)got / 8;
        for (uint64_t i = 0, first; i < pages; from += (i - first) * PAGE) {
            first = i++;
            if (!is_private(entry[first])) {
                list.swapped += (entry[first] & (PRESENT | SWAPPED)) == SWAPPED;
                continue;
            }
            /* The next frame, with nothing else about it that differs: the most usual case, so it is quick. */
            while (i < pages && entry[i] == entry[i - 1] + 1 && (entry[i] & FRAME) != zero_frame)
                i++;
            put_pages(pid, from, entry[first] & FRAME, (uint32_t)(i - first));
        }
    }
}

static void list_process(int pid)
{
    struct place place;
    uint32_t own = read_status(pid).own;
    int pagemap = open_pagemap(pid);
    FILE *maps = open_maps(pid);
    while (next_place(maps, &place))
        if (place.private)
            list_area(pagemap, own, place.from, place.to);
    put_run();
    fclose(maps);
    close(pagemap);
    list.processes++;
}

void write_list(const char *group, const char *path)
{
    static char buffer[256 * 1024];
    struct header header = {.version = LIST_VERSION, .page = PAGE};
    int64_t begun = microseconds();
    find_zero_frame();
    list.file = fopen(path, "we");
    if (!list.file)
        end(FAILED, "%s: %s", path, strerror(errno));
    setvbuf(list.file, buffer, _IOFBF, sizeof buffer);
    fwrite(&header, sizeof header, 1, list.file);
    for_group(group, list_process);
    header.runs = list.runs;
    if (list.swapped > 0)
        end(FAILED, "%" PRIu64 " pages are swapped out", list.swapped);
    if (fseek(list.file, 0, SEEK_SET) < 0 || fwrite(&header, sizeof header, 1, list.file) != 1
        || fclose(list.file) != 0)
        end(FAILED, "%s: %s", path, strerror(errno));
    printf("listed %u processes %" PRIu64 " pages %" PRIu64 " runs %" PRId64 " us\n", list.processes,
           list.pages, list.runs, microseconds() - begun);
}

void seal_list(const char *path)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, LIST_MAGIC, sizeof LIST_MAGIC) != sizeof LIST_MAGIC)
        end(FAILED, "%s: %s", path, strerror(errno));
    close(fd);
}

int pages(const char *group, const char *path)
{
    write_list(group, path);
    seal_list(path);
    return DONE;
}

int compare(const char *group, const char *path)
{
    struct header header;
    find_zero_frame();
    list.compare = true;
    list.file = fopen(path, "re");
    if (!list.file || fread(&header, sizeof header, 1, list.file) != 1)
        end(FAILED, "%s: %s", path, list.file ? "it is too short" : strerror(errno));
    for_group(group, list_process);
    if (list.runs != header.runs)
        end(MOVED, "there is less memory than there was");
    return DONE;
}

const struct run *read_list(const char *path, size_t *count)
{
    size_t length;
    char *bytes = slurp(path, sizeof(struct header) + RUNS * sizeof(struct run), &length);
    struct header header;
    if (length < sizeof header)
        end(MALFORMED, "%s is too short", path);
    memcpy(&header, bytes, sizeof header);
    if (memcmp(header.magic, LIST_MAGIC, sizeof LIST_MAGIC) != 0 || header.version != LIST_VERSION || header.page != PAGE)
        end(MALFORMED, "%s is no list of pages of version %d", path, LIST_VERSION);
    if (header.runs > RUNS || length != sizeof header + header.runs * sizeof(struct run))
        end(MALFORMED, "%s is not as long as it says", path);
    const struct run *runs = (const struct run *)(bytes + sizeof header);
    for (size_t i = 0; i < header.runs; i++) {
        const struct run *run = &runs[i], *before = i > 0 ? run - 1 : NULL;
        bool follows = !before || before->pid != run->pid
            || before->address + before->count * (uint64_t)PAGE <= run->address;
        if (run->count == 0 || run->address % PAGE != 0 || run->address > INT64_MAX || run->pid == 0 || run->pid > INT_MAX
            || run->frame > INT64_MAX / PAGE - UINT32_MAX || !follows)
            end(MALFORMED, "run %zu of %s", i, path);
    }
    *count = header.runs;
    return runs;
}
