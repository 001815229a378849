/* What hook.c and tar.c do together, and the parts of hook.c. All of it in the old OS, during criu dump. */
#ifndef HOOK_H
#define HOOK_H

/* show.c: of a process that still runs, what takes the kernel long to tell. */
void save_smaps(int pid);

/* show.c: covers what CRIU would read of a process that stands, but for what it is to copy. */
void show_process(int pid);

/* show.c: the opposite, for this program. */
void uncover(int pid);

/* show.c: ends the program if CRIU was shown what is not so any more. */
void check_smaps(int pid);

/* timers.c: in the images in the folder, timers that would stand still go on. */
void rearm_timers(const char *group, const char *images);

/* sleeps.c: in the images in the folder, sleeps that would end early go on. */
void continue_sleeps(const char *images);

/* archive.c: puts the images into one file. */
void pack(const char *images, const char *path);

/* tar.c: waits for what goes on beside CRIU. */
void await_archives(void);

/* The folder HF_SHOWN, or NULL. */
const char *shown(void);

#endif
