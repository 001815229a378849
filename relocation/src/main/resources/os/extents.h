/*
 * Which pages of which process are still to come, for drain.c: what list.c has listed, checked against CRIU's images,
 * and changed as processes fork, move and give up memory.
 */
#ifndef EXTENTS_H
#define EXTENTS_H

#include <stddef.h>
#include <stdint.h>

#include "list.h"

enum {
    BATCH = 256,       /* pages that are copied at once when nobody waits */
    PROCESSES = 4096,
    EXTENTS = 1 << 20, /* of one process */
};

/* Pages that are still to come. */
struct extent {
    uint64_t at;   /* where they belong */
    uint64_t from; /* where they were at the dump */
    uint64_t count;
};

struct process {
    int pid, fd; /* pid 0: free; fd -1: not given by CRIU yet */
    struct extent *extent;
    size_t first, last, capacity;
    const struct run *run; /* its part of the list */
    size_t runs, found;    /* which was the right one last */
    uint64_t batch;        /* pages to copy at once, few after one that was there already */
};

extern struct process process[PROCESSES];
extern int processes;

/* A process of which nothing is to come yet. */
struct process *new_process(int pid);

/* What is to be copied for a process. That every page is there is known before anybody needs one. */
struct process *load(const char *images, int pid, const struct run *run, size_t count);

/* All processes of a list. */
void load_all(const char *images, const char *list);

/* What is to come for the child of a fork, which is new: the same as for its parent. */
void inherit(struct process *p, const struct process *parent);

/* The first extent that ends after an address. */
size_t search(const struct process *p, uint64_t address);

/* The process gave up a range of its memory. */
void drop(struct process *p, uint64_t from, uint64_t to);

/* The process moved a range of its memory. */
void move(struct process *p, uint64_t from, uint64_t to, uint64_t bytes);

/* How many pages from an address on lie together, at most so many, and where in the old RAM. */
uint64_t find_frames(struct process *p, uint64_t address, uint64_t most, uint64_t *at);

/* For all pages from an address on, part by part as they lie in the old RAM. */
void for_frames(struct process *p, uint64_t address, uint64_t count, void (*what)(uint64_t at, uint64_t count));

/* Gone, or all is there: closing makes what still waits go on, and its memory ordinary. */
void finish(struct process *p);

#endif
