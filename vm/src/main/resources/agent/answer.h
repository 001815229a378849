/* How lines to the host are put together: one at a time, from begin to finish. */
#ifndef ANSWER_H
#define ANSWER_H

#include <stddef.h>
#include <stdint.h>

/* Begins an answer to the request ID, or an event, whose ID is "-". */
void begin(const char *id, const char *verb);

/* A field each. */
void put(const char *text);
void put_bytes(const char *bytes, size_t length);
void put_number(int64_t number);
void put_pair(const char *name, const char *value);

/* Sends it. What is longer than a line becomes an error. */
void finish(const char *id);

/* An answer without fields. */
void ok(const char *id);

/* Answers that it was not done, and why; drops what was begun. */
void refuse(const char *id, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
