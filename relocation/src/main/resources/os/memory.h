/*
 * What the kernel tells of a container's processes and their memory: the only reader of /proc and of cgroup folders here.
 */
#ifndef MEMORY_H
#define MEMORY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Pages whose frames are asked for at once. */
enum { PIECE = 64 * 1024 };

/* What /proc/PID/pagemap says of a page. */
#define PRESENT (1ull << 63)
#define SWAPPED (1ull << 62)
#define OF_FILE (1ull << 61)
#define EXCLUSIVE (1ull << 56) /* nobody else has it */
#define FRAME ((1ull << 55) - 1)

/* The number after the beginning of a line of a file, or -1. */
long long read_field(const char *path, const char *beginning);

/* What /proc/PID/status says of a process. */
struct status {
    uint32_t own;  /* the pid as the process itself sees it, the last of the line */
    bool contained; /* in a namespace of pids of its own */
    bool locks;    /* some of its memory is locked */
    bool is_large; /* so that the kernel takes long to say what memory it has */
    uint64_t pending; /* signals for all of its threads, bit 0 for the first */
};

/* own is 0 if there is no such process. */
struct status find_status(int pid);

/* Of a process that must be there. */
struct status read_status(int pid);

/* Where a process has memory; private: that is written down, because it is in no file. */
struct place {
    uint64_t from, to;
    bool private;
};

/* false at the end of /proc/PID/maps. */
bool next_place(FILE *maps, struct place *place);

FILE *open_maps(int pid);

int open_pagemap(int pid);

/* For each process in the cgroup folder and below. */
void for_group(const char *group, void (*what)(int pid));

#endif
