/* The machine: what it is, how its KVM does, and its end. */
#ifndef MACHINE_H
#define MACHINE_H

/* The fields of a hello. */
void put_hello(void);

#endif
