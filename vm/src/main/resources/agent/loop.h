/* The main loop, and what it waits for. */
#ifndef LOOP_H
#define LOOP_H

#include <stdint.h>

enum source { FROM_PORT, FROM_SIGNALS, FROM_UEVENTS, FROM_CHILD };

/* Before anything is watched. */
void open_loop(void);

/* Has the loop see events of a descriptor.
 *
 * index: which of that source; what: as in epoll_ctl(2) */
void watch(int fd, enum source source, uint32_t index, uint32_t what);

_Noreturn void serve_for_ever(void);

#endif
