/* What process 1 does before it serves anybody. */
#ifndef BOOT_H
#define BOOT_H

/* Mounts, loads the modules and sets the kernel. */
void prepare_machine(void);

/* Whoever asks waits, whatever else runs in here. Programs that are started are ordinary again. */
void be_first(void);

#endif
