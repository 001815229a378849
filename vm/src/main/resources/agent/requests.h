/* Requests: a line of fields, the second of which is a verb. */
#ifndef REQUESTS_H
#define REQUESTS_H

#include <stdbool.h>
#include <stddef.h>

enum {
    FIELDS = 2048, /* of one request */
    ID = 20,       /* the longest identifier of a request */
};

/* Those of the request that is being served: its ID, its verb, and what follows. */
extern char *field[FIELDS];
extern int fields;

/* The first word when it can be one, else '?', into id, which has room for ID characters. */
void take_id(const char *line, char *id);

/* Serves one line without its end, which is cut into its fields. */
void serve(char *line, size_t length);

#endif
