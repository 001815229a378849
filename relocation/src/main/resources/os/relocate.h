/*
 * What all parts of "relocate" have in common: how it ends, and small readers. The program is one, because one that
 * runs already starts quickest, and its parts are files: relocate.c says which word leads to which.
 */
#ifndef RELOCATE_H
#define RELOCATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PAGE = 4096 };

enum outcome {
    DONE,
    FAILED,         /* a call of the system */
    USAGE,
    MALFORMED,      /* an image or FILE */
    NO_WINDOW,      /* the RAM cannot be mapped */
    WINDOW_BROKEN,  /* it was mapped, but reading it failed */
    PAGE_MISSING,   /* an image wants a page that FILE does not have */
    RESTORE_FAILED, /* CRIU went away before it had finished */
    MOVED,          /* memory does not lie where it lay */
};

/* Ends the program with a line of what is wrong. */
void end(enum outcome outcome, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));

/* The cgroup folder of the container, as soon as it depends on this program: it is killed when that fails. */
extern const char *hostages;

void kill_hostages(void);

/* Of a clock that never goes back. */
int64_t microseconds(void);

/* Whether the text is a number and nothing else. */
bool number(const char *text, uint64_t *value);

/* A file of at most so many bytes, to be freed. */
void *slurp(const char *path, uint64_t most, size_t *length);

/* Whether a process, 0 for this one, is scheduled before all that is not urgent. See priority.c. */
void schedule(int pid, bool urgent);

/* Runs a program to its end; its exit code, or -1. */
int run_program(char *const *command);

#endif
