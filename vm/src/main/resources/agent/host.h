/* The host: whether it is there, and the lines that come from it. */
#ifndef HOST_H
#define HOST_H

/* For tests: the host is at the other end of a connected socket. */
void take_port(int socket);

/* Opens the port, when there is one by now. */
void open_port(void);

/* Does all that can be done at the port now. */
void serve_port(void);

#endif
