/* The connection to the host, and the whole lines that wait to be sent. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "wire.h"

int port = -1;
bool connected;
unsigned connection;

static char out[QUEUE];
static size_t out_length;

void flush(void)
{
    size_t sent = 0;
    while (port >= 0 && sent < out_length) {
        ssize_t done = write(port, out + sent, out_length - sent);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            break;
        sent += (size_t)done;
    }
    memmove(out, out + sent, out_length - sent);
    out_length -= sent;
}

void send_line(const char *line, size_t length)
{
    if (connected && out_length + length <= QUEUE) {
        memcpy(out + out_length, line, length);
        out_length += length;
        flush();
    }
}

bool has_room(int lines) { return out_length <= (size_t)(QUEUE - lines * LINE); }

void forget_unsent(void) { out_length = 0; }
