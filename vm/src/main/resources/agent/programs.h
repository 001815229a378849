/* The programs that the agent has started, until their end has been told. */
#ifndef PROGRAMS_H
#define PROGRAMS_H

#include <stdint.h>
#include <sys/types.h>

enum {
    CHILDREN = 128, /* programs that run or whose end was not told yet */
    TAIL = 2048,    /* of a program's output, told with its end */
};

struct child;

/* Room for one more; NULL when there is none. */
struct child *free_child(void);

/* Puts a program that runs there, whose output is read from now on. */
void keep_child(struct child *c, pid_t pid, int output);

/* The program with the number that the text is, if it runs; else 0. */
pid_t find_program(const char *text);

/* Of the program with this index in the table: see loop.h. */
void read_output(uint32_t index);

/* Takes up all that have ended. */
void reap(void);

/* Tells the ends that no host has heard of. */
void tell_ends(void);

#endif
