/* The connection to the host, and the whole lines that wait to be sent. */
#ifndef WIRE_H
#define WIRE_H

#include <stdbool.h>
#include <stddef.h>

enum {
    LINE = 64 * 1024, /* the longest line, with its end */
    QUEUE = 8 * LINE, /* what waits to be sent */
};

/* The virtio-serial port, or the socket of a test; -1: not there. */
extern int port;

/* Whether there is a host at the other end. */
extern bool connected;

/* Answers to requests of an earlier connection are not sent to a later one. */
extern unsigned connection;

/* Sends what the port takes now. */
void flush(void);

/* Lets a line with its end follow what waits. Requests are only read while there is room for their
 * answers, so only events can be too much; these are left out. */
void send_line(const char *line, size_t length);

/* Whether so many more lines fit, however long they are. */
bool has_room(int lines);

/* What waits is for nobody any more. */
void forget_unsent(void);

#endif
