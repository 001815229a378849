/* Streams that go from a unix socket inside to a port, each through a process of its own. */
#ifndef OUTLETS_H
#define OUTLETS_H

#include <stdbool.h>
#include <sys/types.h>

/* Below RUN, and no way out of it. */
bool is_own_path(const char *path);

/* A child has ended: if it was an outlet, its socket goes. */
void outlet_ended(pid_t pid);

#endif
