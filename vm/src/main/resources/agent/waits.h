/* Requests that wait for a device which may not be there yet. */
#ifndef WAITS_H
#define WAITS_H

#include <stdbool.h>

enum { NAME = 256 }; /* names that are waited for */

/* The path of the device of the virtio port, into name, which has room for NAME. */
bool find_port(const char *wanted, char *name);

/* Answers those whose device has come, or whose time is over. */
void look_again(void);

bool anyone_waits(void);

#endif
