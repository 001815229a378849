/*
 * What CRIU is shown of a container's memory in the old OS, for hook.c: none of what list.c writes down, since CRIU
 * takes hold of each page that it sees, and the more memory, the longer all stands still. So /proc/PID/pagemap is
 * covered, among CRIU's own mounts, by a sparse file with the rest; and smaps, which the kernel writes slowly, by what
 * was read while all still ran.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>
#include "hook.h"
#include "images.h"
#include "memory.h"
#include "relocate.h"

/* The end of the address space, of which every page has an entry of 8 bytes. */
#define SHOWN_BYTES (UINT64_MAX / PAGE * 8)

static void show(int pagemap, int copy, uint64_t from, uint64_t to)
{
    static uint64_t entry[PIECE];
    while (from < to) {
        uint64_t pages = (to - from) / PAGE < PIECE ? (to - from) / PAGE : PIECE, first = 0;
        ssize_t got = pread(pagemap, entry, pages * 8, (off_t)(from / PAGE * 8));
        /* The kernel's own page at the end of the address space has none. */
        if (got <= 0)
            return;
        uint64_t last = pages = (uint64_t)got / 8;
        while (first < last && entry[first] == 0)
            first++;
        while (last > first && entry[last - 1] == 0)
            last--;
        size_t bytes = (last - first) * 8;
        if (pwrite(copy, entry + first, bytes, (off_t)((from / PAGE + first) * 8)) != (ssize_t)bytes)
            end(FAILED, "what CRIU is shown: %s", strerror(errno));
        from += pages * PAGE;
    }
}

/* CRIU wants the page at the end of each stack with what is not fetched. */
static void show_stacks(int pid, int pagemap, int copy)
{
    char path[PATH_MAX], line[256];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *folder = opendir(path);
    struct dirent *entry;
    while (folder && (entry = readdir(folder))) {
        snprintf(path, sizeof path, "/proc/%d/task/%s/syscall", pid, entry->d_name);
        FILE *file = entry->d_name[0] != '.' ? fopen(path, "re") : NULL;
        if (file && fgets(line, sizeof line, file)) {
            /* "NUMBER ARGUMENT... STACK INSTRUCTION", or "-1 STACK INSTRUCTION". */
            char *last = strrchr(line, ' ');
            if (last)
                *last = 0;
            last = strrchr(line, ' ');
            uint64_t stack = last ? strtoull(last + 1, NULL, 16) & ~(uint64_t)(PAGE - 1) : 0;
            if (stack != 0)
                show(pagemap, copy, stack, stack + PAGE);
        }
        if (file)
            fclose(file);
    }
    if (folder)
        closedir(folder);
}

/* CRIU lets no locked memory be fetched. */
static void show_locked(int pid, int pagemap, int copy)
{
    char path[64], line[PATH_MAX + 256], mode[5];
    uint64_t from = 0, to = 0, a, b;
    snprintf(path, sizeof path, "/proc/%d/smaps", pid);
    FILE *file = fopen(path, "re");
    if (!file)
        end(FAILED, "%s: %s", path, strerror(errno));
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s", &a, &b, mode) == 3) {
            from = a;
            to = b;
        } else if (!strncmp(line, "VmFlags:", 8) && strstr(line, " lo")) {
            show(pagemap, copy, from, to);
        }
    }
    fclose(file);
}

static void put_over(const char *path, int pid, const char *what)
{
    char place[64];
    snprintf(place, sizeof place, "/proc/%d/%s", pid, what);
    if (mount(path, place, NULL, MS_BIND, NULL) < 0)
        end(FAILED, "%s: %s", place, strerror(errno));
}

static const char *smaps_of(int pid)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%d.smaps", shown(), pid);
    return path;
}

/* What CRIU reads of it: where memory is, and its flags. NULL if there is no such process. */
static char *read_smaps(int pid, size_t *length)
{
    char path[64], *line = NULL, *text = NULL;
    size_t capacity = 0;
    uint64_t from, to;
    snprintf(path, sizeof path, "/proc/%d/smaps", pid);
    FILE *smaps = fopen(path, "re"), *out;
    if (!smaps)
        return NULL;
    out = open_memstream(&text, length);
    if (!out)
        end(FAILED, "no memory for %s", path);
    while (getline(&line, &capacity, smaps) > 0)
        if (!strncmp(line, "VmFlags: ", 9) || sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &from, &to) == 2)
            fputs(line, out);
    free(line);
    fclose(smaps);
    if (fclose(out) != 0 || *length > IMAGE)
        end(FAILED, "%s: there is too much of it", path);
    return text;
}

/*
 * For a large process the kernel takes long to write smaps, a tenth of a microsecond a page and more. So it is
 * read while all still runs, and a process may end meanwhile.
 */
void save_smaps(int pid)
{
    size_t length;
    if (!find_status(pid).is_large)
        return;
    char *text = read_smaps(pid, &length);
    if (!text)
        return;
    FILE *file = fopen(smaps_of(pid), "we");
    if (!file || fwrite(text, 1, length, file) != length || fclose(file) != 0)
        end(FAILED, "%s: %s", smaps_of(pid), strerror(errno));
    free(text);
}

/* Whether the process has its memory where it had it when smaps was read. */
static bool is_saved(int pid)
{
    FILE *file = fopen(smaps_of(pid), "re"), *maps;
    char *line = NULL, *before = NULL;
    size_t capacity = 0, capacity_before = 0;
    bool same = true;
    if (!file)
        return false;
    maps = open_maps(pid);
    while (same && getline(&line, &capacity, maps) > 0)
        same = getline(&before, &capacity_before, file) > 0 && !strcmp(line, before)
            && getline(&before, &capacity_before, file) > 0;
    same = same && getline(&before, &capacity_before, file) < 0;
    free(line);
    free(before);
    fclose(maps);
    fclose(file);
    return same;
}

/* What CRIU was shown was so: flags too, which maps does not tell. */
void check_smaps(int pid)
{
    size_t length, length_shown;
    if (access(smaps_of(pid), F_OK) < 0)
        return;
    char *text = read_smaps(pid, &length), *saved = slurp(smaps_of(pid), IMAGE, &length_shown);
    if (!text || length != length_shown || memcmp(text, saved, length) != 0)
        end(FAILED, "process %d changed the flags of its memory just before it was paused", pid);
    free(text);
    free(saved);
}

void show_process(int pid)
{
    char path[PATH_MAX];
    struct place place;
    snprintf(path, sizeof path, "%s/%d", shown(), pid);
    int pagemap = open_pagemap(pid);
    int copy = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *maps = open_maps(pid);
    if (copy < 0 || ftruncate(copy, (off_t)SHOWN_BYTES) < 0)
        end(FAILED, "%s: %s", path, strerror(errno));
    while (next_place(maps, &place))
        if (!place.private)
            show(pagemap, copy, place.from, place.to);
    show_stacks(pid, pagemap, copy);
    if (read_status(pid).locks)
        show_locked(pid, pagemap, copy);
    put_over(path, pid, "pagemap");
    if (is_saved(pid))
        put_over(smaps_of(pid), pid, "smaps");
    else
        unlink(smaps_of(pid));
    fclose(maps);
    close(copy);
    close(pagemap);
}

void uncover(int pid)
{
    static const char *const what[] = {"pagemap", "smaps"};
    char place[64];
    for (unsigned i = 0; i < sizeof what / sizeof *what; i++) {
        snprintf(place, sizeof place, "/proc/%d/%s", pid, what[i]);
        umount2(place, MNT_DETACH);
    }
}
