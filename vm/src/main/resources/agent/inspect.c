/* How a program inside is getting on, as the kernel says it in /proc. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "programs.h"
#include "requests.h"
#include "text.h"
#include "verbs.h"

enum { THREADS = 4096 };

/* What follows the program's name in a stat file, which may hold blanks and brackets. */
static char *after_name(char *text)
{
    char *end = strrchr(text, ')');
    return end && end[1] == ' ' ? end + 2 : NULL;
}

void tell_state(const char *id)
{
    pid_t pid = find_program(field[2]);
    char path[PATH_MAX], text[1024], letters[THREADS + 1];
    int count = 0;
    if (pid == 0) {
        refuse(id, "no program %.20s runs", field[2]);
        return;
    }
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    for (struct dirent *task; tasks && count < THREADS && (task = readdir(tasks));) {
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/stat", (int)pid, task->d_name);
        if (task->d_name[0] == '.' || slurp(path, text, sizeof text) <= 0)
            continue;
        const char *rest = after_name(text);
        if (rest)
            letters[count++] = *rest;
    }
    if (tasks)
        closedir(tasks);
    letters[count] = 0;
    begin(id, "ok");
    put(letters);
    finish(id);
}

/* Of a file of lines "NAME: NUMBER". */
static int64_t line_value(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    return at ? atoll(at + strlen(name)) : 0;
}

void tell_io(const char *id)
{
    pid_t pid = find_program(field[2]);
    char path[64], text[1024];
    if (pid == 0) {
        refuse(id, "no program %.20s runs", field[2]);
        return;
    }
    snprintf(path, sizeof path, "/proc/%d/io", (int)pid);
    if (slurp(path, text, sizeof text) < 0) {
        refuse(id, "%s: %s", path, strerror(errno));
        return;
    }
    begin(id, "ok");
    put_number(line_value(text, "rchar: "));
    put_number(line_value(text, "wchar: "));
    finish(id);
}

void tell_faults(const char *id)
{
    pid_t pid = find_program(field[2]);
    char path[64], text[1024];
    long long minor, major;
    if (pid == 0) {
        refuse(id, "no program %.20s runs", field[2]);
        return;
    }
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    char *rest = slurp(path, text, sizeof text) > 0 ? after_name(text) : NULL;
    if (!rest || sscanf(rest, "%*c %*d %*d %*d %*d %*d %*u %lld %*u %lld", &minor, &major) != 2) {
        refuse(id, "%s cannot be read", path);
        return;
    }
    begin(id, "ok");
    put_number(minor);
    put_number(major);
    finish(id);
}
