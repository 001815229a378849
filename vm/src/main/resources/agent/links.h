/* Network interfaces, and the links of two: a silent bridge of an interface and a tap. */
#ifndef LINKS_H
#define LINKS_H

#include <net/if.h>
#include <stdbool.h>

enum { TAP = IFNAMSIZ - 1 - 2 }; /* the bridge has two letters more */

/* A descriptor of the tap; -1 with errno. */
int attach_tap(const char *name);

/* Puts an interface into operation; -1 with errno. */
int set_up(const char *name);

/* The interface with this address, into name, which has room for IFNAMSIZ. */
bool find_interface(const char *mac, char *name);

bool is_tap_name(const char *name);

/* Answers the request. */
void make_link(const char *id, const char *name, const char *tap);

#endif
