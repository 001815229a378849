/*
 *     relocate gather CGROUP BUSY
 *         In the new OS, when all is there: brings the container's memory together to huge pages, which
 *         are quickly written down the next time. One at a time, a quarter of a processor at most, and
 *         not while anything is in the folder BUSY. May be killed at any time; must not run when the container
 *         is to stand still.
 *
 * "container drain" starts it, at the end of a move; the next "container freeze" ends it.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include "memory.h"
#include "parts.h"
#include "relocate.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* of linux/mman.h since Linux 6.1 */
#endif

enum { HUGE_PAGES = 512, HUGE = HUGE_PAGES * PAGE, IDLE = 3, BUSY_US = 200000 };

static const char *busy;

static void await_quiet(void)
{
    for (;;) {
        DIR *folder = opendir(busy);
        struct dirent *entry;
        bool empty = true;
        while (folder && (entry = readdir(folder)))
            empty = empty && entry->d_name[0] == '.';
        if (folder)
            closedir(folder);
        if (empty)
            return;
        usleep(BUSY_US);
    }
}

/* All are there, of this process alone, and not together yet. */
static bool is_scattered(const uint64_t *entry)
{
    bool together = (entry[0] & FRAME) % HUGE_PAGES == 0;
    for (unsigned i = 0; i < HUGE_PAGES; i++) {
        if ((entry[i] & (PRESENT | OF_FILE | EXCLUSIVE)) != (PRESENT | EXCLUSIVE))
            return false;
        together = together && (entry[i] & FRAME) == (entry[0] & FRAME) + i;
    }
    return !together;
}

/* Nothing is lost when it does not work. false: the process is gone. */
static bool gather_place(int process, int pagemap, struct place place)
{
    uint64_t entry[HUGE_PAGES];
    for (uint64_t at = (place.from + HUGE - 1) / HUGE * HUGE; at + HUGE <= place.to; at += HUGE) {
        if (pread(pagemap, entry, sizeof entry, (off_t)(at / PAGE * 8)) != sizeof entry)
            return false;
        if (!is_scattered(entry))
            continue;
        await_quiet();
        struct iovec huge = {(void *)(uintptr_t)at, HUGE};
        int64_t begun = microseconds();
        if (syscall(SYS_process_madvise, process, &huge, 1, MADV_COLLAPSE, 0) < 0 && errno == ESRCH)
            return false;
        usleep((useconds_t)(IDLE * (microseconds() - begun)));
    }
    return true;
}

static void gather_process(int pid)
{
    char path[64];
    struct place place;
    int process = (int)syscall(SYS_pidfd_open, pid, 0);
    snprintf(path, sizeof path, "/proc/%d/pagemap", pid);
    int pagemap = open(path, O_RDONLY | O_CLOEXEC);
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *maps = fopen(path, "re");
    bool here = process >= 0 && pagemap >= 0 && maps;
    while (here && next_place(maps, &place))
        here = !place.private || gather_place(process, pagemap, place);
    if (maps)
        fclose(maps);
    close(pagemap);
    close(process);
}

int gather(const char *group, const char *folder)
{
    busy = folder;
    schedule(0, false);
    setpriority(PRIO_PROCESS, 0, 19);
    for_group(group, gather_process);
    return DONE;
}
