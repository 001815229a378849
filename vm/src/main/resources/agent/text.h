/* Numbers, and small files of text. */
#ifndef TEXT_H
#define TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Whether the text is a number and nothing else, and within its bounds. */
bool number(const char *text, int64_t least, int64_t most, int64_t *value);

/* Reads at most size - 1 bytes and cuts off the end of the last line; -1 with errno. */
ssize_t slurp(const char *path, char *text, size_t size);

/* Into a file that is there; -1 with errno. */
int spill(const char *path, const char *text);

#endif
