/* What is still to come, for drain.c. See extents.h. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "extents.h"
#include "images.h"
#include "relocate.h"
#include "window.h"

enum { AREAS = 1 << 18 };

#define LAZY 2u

/* Of an area in an image: as CRIU's vma_entry_can_be_lazy, of what it can give a userfaultfd to. */
#define NEEDED_FLAGS (MAP_PRIVATE | MAP_ANONYMOUS)
#define EXCLUDED_FLAGS (MAP_LOCKED | MAP_HUGETLB)
#define EXCLUDED_STATUS (1u << 2 | 1u << 3 | 1u << 12) /* the vsyscall page, the vDSO and its data */

struct process process[PROCESSES];
int processes;

static bool is_in_run(uint64_t address, const struct run *run)
{
    return address >= run->address && (address - run->address) / PAGE < run->count;
}

/* The last run that begins at or before an address, or the first. */
static size_t find_run(const struct process *p, uint64_t address)
{
    size_t low = 0, high = p->runs;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (p->run[middle].address <= address)
            low = middle;
        else
            high = middle;
    }
    return low;
}

uint64_t find_frames(struct process *p, uint64_t address, uint64_t most, uint64_t *at)
{
    if (p->found + 1 < p->runs && is_in_run(address, p->run + p->found + 1))
        p->found++;
    else if (p->found >= p->runs || !is_in_run(address, p->run + p->found))
        p->found = find_run(p, address);
    const struct run *run = p->run + p->found;
    if (p->found >= p->runs || !is_in_run(address, run))
        end(PAGE_MISSING, "page %#" PRIx64 " of process %d is in no frame", address, p->pid);
    uint64_t skip = (address - run->address) / PAGE, count = run->count - skip;
    count = count < most ? count : most;
    *at = locate(run->frame + skip, count);
    return count;
}

void for_frames(struct process *p, uint64_t address, uint64_t count,
                       void (*what)(uint64_t at, uint64_t count))
{
    while (count > 0) {
        uint64_t at, found = find_frames(p, address, count, &at);
        what(at, found);
        address += found * PAGE;
        count -= found;
    }
}

/* Makes room for one more extent at an index. */
static struct extent *insert(struct process *p, size_t index)
{
    if (p->last == p->capacity) {
        size_t capacity = p->capacity ? p->capacity * 2 : 64;
        struct extent *grown =
            capacity <= EXTENTS ? realloc(p->extent, capacity * sizeof *grown) : NULL;
        if (!grown)
            end(FAILED, "process %d has its memory in too many parts", p->pid);
        p->extent = grown;
        p->capacity = capacity;
    }
    struct extent *e = p->extent + index;
    memmove(e + 1, e, (p->last - index) * sizeof *e);
    p->last++;
    return e;
}

size_t search(const struct process *p, uint64_t address)
{
    size_t low = p->first, high = p->last;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct extent *e = &p->extent[middle];
        if (e->at + e->count * PAGE > address)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* No extent goes across an address any more. */
static void split(struct process *p, uint64_t address)
{
    size_t index = search(p, address);
    if (index == p->last || p->extent[index].at >= address)
        return;
    struct extent *rest = insert(p, index + 1), *e = rest - 1;
    uint64_t pages = (address - e->at) / PAGE;
    *rest = (struct extent){address, e->from + pages * PAGE, e->count - pages};
    e->count = pages;
}

static void remove_extents(struct process *p, size_t from, size_t to)
{
    memmove(p->extent + from, p->extent + to, (p->last - to) * sizeof *p->extent);
    p->last -= to - from;
}

void drop(struct process *p, uint64_t from, uint64_t to)
{
    split(p, from);
    split(p, to);
    size_t first = search(p, from), last = search(p, to);
    for (size_t i = first; i < last; i++)
        for_frames(p, p->extent[i].from, p->extent[i].count, release);
    remove_extents(p, first, last);
}

void move(struct process *p, uint64_t from, uint64_t to, uint64_t bytes)
{
    split(p, from);
    split(p, from + bytes);
    size_t first = search(p, from), last = search(p, from + bytes), count = last - first;
    if (count == 0)
        return;
    struct extent *moved = malloc(count * sizeof *moved);
    if (!moved)
        end(FAILED, "no memory");
    memcpy(moved, p->extent + first, count * sizeof *moved);
    remove_extents(p, first, last);
    for (size_t i = 0; i < count; i++) {
        moved[i].at += to - from;
        *insert(p, search(p, moved[i].at)) = moved[i];
    }
    free(moved);
}

struct process *new_process(int pid)
{
    struct process *p = process;
    while (p < process + processes && p->pid != 0)
        p++;
    if (p == process + PROCESSES)
        end(FAILED, "there are more than %d processes", PROCESSES);
    if (p == process + processes)
        processes++;
    *p = (struct process){.pid = pid, .fd = -1, .batch = BATCH};
    return p;
}

/* The areas of a process's memory, and whether CRIU lets their pages be fetched. */
static struct area {
    uint64_t from, to;
    bool fetched;
} area[AREAS];

static size_t areas;

static void read_areas(const char *path)
{
    struct message image = open_image(path, MM_MAGIC), mm, one, none;
    const uint8_t *bytes = image.at - 8;
    uint64_t value;
    unsigned field;
    areas = 0;
    if (!next_message(&image, &mm))
        end(MALFORMED, "%s is empty", path);
    while ((field = get_field(&mm, &value, &one)) != 0) {
        if (field != 14)
            continue;
        struct area a = {0};
        uint64_t flags = 0, status = 0;
        while ((field = get_field(&one, &value, &none)) != 0) {
            a.from = field == 1 ? value : a.from;
            a.to = field == 2 ? value : a.to;
            flags = field == 6 ? value : flags;
            status = field == 7 ? value : status;
        }
        a.fetched = (flags & NEEDED_FLAGS) == NEEDED_FLAGS && !(flags & EXCLUDED_FLAGS)
            && !(status & EXCLUDED_STATUS);
        if (areas == AREAS || a.from >= a.to || (a.from | a.to) % PAGE != 0
            || (areas > 0 && area[areas - 1].to > a.from))
            end(MALFORMED, "%s has too many areas, or they are not in order", path);
        area[areas++] = a;
    }
    free((void *)bytes);
}

/* The pages that CRIU knows of, in the order of their addresses; those that are not lazy it has copied. */
static struct known {
    uint64_t from, to;
    bool lazy;
} *known;

static size_t knowns, known_capacity;

static void know(const char *path, struct known one)
{
    if (one.from % PAGE != 0 || one.from >= one.to || one.to > INT64_MAX
        || (knowns > 0 && known[knowns - 1].to > one.from))
        end(MALFORMED, "%s is not in order", path);
    if (knowns == known_capacity) {
        known_capacity = known_capacity ? known_capacity * 2 : 64;
        known = known_capacity <= EXTENTS ? realloc(known, known_capacity * sizeof *known) : NULL;
        if (!known)
            end(FAILED, "%s has too many parts", path);
    }
    known[knowns++] = one;
}

static void read_known(const char *path)
{
    struct message image = open_image(path, PAGEMAP_MAGIC), entry, none;
    const uint8_t *bytes = image.at - 8;
    knowns = 0;
    if (!next_message(&image, &entry))
        end(MALFORMED, "%s is empty", path);
    while (next_message(&image, &entry)) {
        uint64_t value, from = 0, many = 0, flags = 0;
        unsigned field;
        while ((field = get_field(&entry, &value, &none)) != 0) {
            from = field == 1 ? value : from;
            /* From CRIU 4.2 on the number is in a wider field too. */
            many = field == 2 || field == 5 ? value : many;
            flags = field == 4 ? value : flags;
        }
        if (many > RUNS)
            end(MALFORMED, "%s has too many pages", path);
        know(path, (struct known){from, from + many * PAGE, flags & LAZY});
    }
    free((void *)bytes);
}

/* CRIU must have copied what it gives to nobody else. */
static void require_copied(int pid, uint64_t from, uint64_t to)
{
    for (size_t i = 0; i < knowns && from < to; i++)
        if (known[i].from <= from && from < known[i].to && !known[i].lazy)
            from = known[i].to;
    if (from < to)
        end(PAGE_MISSING, "page %#" PRIx64 " of process %d is neither copied nor fetched", from, pid);
}

/* Cut where one area ends and another begins, because what is copied at once must be of one. */
static void add_run(struct process *p, size_t *next_area, uint64_t from, uint64_t to)
{
    while (from < to) {
        while (*next_area < areas && area[*next_area].to <= from)
            ++*next_area;
        if (*next_area == areas || area[*next_area].from > from)
            end(MALFORMED, "process %d has a page at %#" PRIx64 ", where it has no memory", p->pid, from);
        const struct area *a = &area[*next_area];
        uint64_t part = (a->to < to ? a->to : to) - from;
        const struct extent *before = p->last > 0 ? &p->extent[p->last - 1] : NULL;
        if (!a->fetched)
            require_copied(p->pid, from, from + part);
        else if (before && before->at >= a->from && before->at + before->count * PAGE == from)
            p->extent[p->last - 1].count += part / PAGE;
        else
            *insert(p, p->last) = (struct extent){from, from, part / PAGE};
        from += part;
    }
}

static void nothing(uint64_t at, uint64_t count)
{
    (void)at;
    (void)count;
}

struct process *load(const char *images, int pid, const struct run *run, size_t count)
{
    for (struct process *p = process; p < process + processes; p++)
        if (p->pid == pid)
            end(MALFORMED, "process %d is there twice", pid);
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/mm-%d.img", images, pid);
    read_areas(path);
    snprintf(path, sizeof path, "%s/pagemap-%d.img", images, pid);
    read_known(path);
    struct process *p = new_process(pid);
    p->run = run;
    p->runs = count;
    size_t next_area = 0;
    for (size_t i = 0; i < count; i++)
        add_run(p, &next_area, run[i].address, run[i].address + run[i].count * (uint64_t)PAGE);
    for (size_t i = 0; i < knowns; i++)
        if (known[i].lazy)
            for_frames(p, known[i].from, (known[i].to - known[i].from) / PAGE, nothing);
    for (size_t i = 0; i < p->last; i++)
        for_frames(p, p->extent[i].from, p->extent[i].count, use);
    return p;
}

void load_all(const char *images, const char *list)
{
    size_t run_count;
    const struct run *runs = read_list(list, &run_count);
    for (size_t i = 0, next; i < run_count; i = next) {
        for (next = i + 1; next < run_count && runs[next].pid == runs[i].pid; next++)
            continue;
        load(images, (int)runs[i].pid, runs + i, next - i);
    }
}

void finish(struct process *p)
{
    for (size_t i = p->first; i < p->last; i++)
        for_frames(p, p->extent[i].from, p->extent[i].count, release);
    free(p->extent);
    close(p->fd);
    *p = (struct process){.fd = -1};
}

void inherit(struct process *p, const struct process *parent)
{
    p->run = parent->run;
    p->runs = parent->runs;
    for (size_t i = parent->first; i < parent->last; i++) {
        *insert(p, p->last) = parent->extent[i];
        for_frames(p, parent->extent[i].from, parent->extent[i].count, use);
    }
}
