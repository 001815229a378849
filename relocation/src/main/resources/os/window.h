/* The old OS's RAM as the new OS has it, for drain.c: reading it, and telling which part is not needed any more. */
#ifndef WINDOW_H
#define WINDOW_H

#include <stdint.h>

/* The RAM is at the physical address, or in the device or file if that has a slash; freed ones are told to a file. */
void open_window(const char *where, const char *bytes, const char *split, const char *freed);

/* Where a frame of the old machine is in its RAM, in pages; count pages must be there. */
uint64_t locate(uint64_t frame, uint64_t count);

/* The pages themselves, or NULL when they can only be copied. */
const uint8_t *in_window(uint64_t at);

void fetch(uint8_t *to, uint64_t at, uint64_t count);

/* One more needs these pages, or one less. */
void use(uint64_t at, uint64_t count);
void release(uint64_t at, uint64_t count);

/* Tells what has been released and nobody else needs. */
void tell_freed(void);

#endif
