/* The parts of "relocate" that relocate.c leads to. Each returns the exit code. */
#ifndef PARTS_H
#define PARTS_H

int check(const char *group);
int pages(const char *group, const char *path);
int compare(const char *group, const char *path);
int hook(void);
int tar(char **arguments);
int drain(char **argument);
int unpack(const char *path, const char *images);
int within(const char *group, char **command);
int set_clock(const char *how, const char *micros);
int urgent(const char *pid);
int ordinary(char **command);
int gather(const char *group, const char *folder);

#endif
