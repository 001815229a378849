/* Moving bytes into a port or a file, without waiting in the kernel. */
#ifndef COPY_H
#define COPY_H

#include <stdbool.h>
#include <stddef.h>

enum { PUMP = 256 * 1024 }; /* at once */

/* False when the device's other end has gone. */
bool pour(int device, const char *bytes, size_t length);

/* The program "copy": see agent.c. The exit code. */
int copy_bytes(const char *from, const char *bytes, const char *to);

/* Prints a call that failed. The exit code. */
int failed(const char *what);

#endif
