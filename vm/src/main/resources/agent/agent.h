/* What all parts of the agent know of the process that they are: agent.c says how it was started. */
#ifndef AGENT_H
#define AGENT_H

#include <stdbool.h>

/* Whether it is process 1 of a machine. */
extern bool is_init;

/* Where its logs and sockets are, and the kernel's folder of devices: others in tests. */
extern const char *run_folder, *sys_folder;

#endif
