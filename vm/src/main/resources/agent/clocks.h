/* What time it is. */
#ifndef CLOCKS_H
#define CLOCKS_H

#include <stdint.h>
#include <time.h>

/* Of a clock of clock_gettime(2). */
int64_t milliseconds(clockid_t clock);

#endif
