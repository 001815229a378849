/* What the verbs of requests.c lead to. Each has its fields in field[], from 2 on, and answers the request ID. */
#ifndef VERBS_H
#define VERBS_H

/* waits.c */
void wait_port(const char *id);
void wait_disk(const char *id);
void wait_link(const char *id);

/* links.c */
void remove_link(const char *id);

/* launch.c */
void start_program(const char *id);

/* programs.c */
void send_signal(const char *id);

/* inspect.c */
void tell_state(const char *id);
void tell_io(const char *id);
void tell_faults(const char *id);

/* outlets.c */
void open_outlet(const char *id);
void end_outlet(const char *id);

/* clocks.c */
void tell_clock(const char *id);

/* slots.c */
void eject_memory(const char *id);

/* machine.c */
void tell_hello(const char *id);
void tell_kvm(const char *id);
void tell_parameters(const char *id);
void set_halt_poll(const char *id);
void power_off(const char *id);

#endif
