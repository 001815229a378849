/*
 * The list of page frames, the file "pages" of a move: a struct header, then so many struct run, those of one process
 * together and in the order of their addresses; little-endian. The old OS writes it, the new OS and the host read it.
 */
#ifndef LIST_H
#define LIST_H

#include <stddef.h>
#include <stdint.h>

/* The most runs of a list. */
#define RUNS (1ull << 26)

#define LIST_MAGIC "HFPAGES" /* with its zero */
#define LIST_VERSION 1

struct header {
    char magic[8];
    uint32_t version, page;
    uint64_t runs;
};

struct run {
    uint64_t address, frame;
    uint32_t count, pid; /* the pid as the process itself sees it */
};

/* All but the magic, without which nobody reads it: of the processes in a cgroup folder, which stand. */
void write_list(const char *group, const char *path);

/* From then on it may be used. */
void seal_list(const char *path);

/* The whole list of a file, checked. */
const struct run *read_list(const char *path, size_t *count);

#endif
