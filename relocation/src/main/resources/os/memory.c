/* What /proc and cgroup folders tell of a container's processes, for all parts of "relocate". See memory.h. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "memory.h"
#include "relocate.h"

enum {
    DEPTH = 8,         /* of groups in groups */
    LARGE = 64 * 1024, /* KiB */
};

long long read_field(const char *path, const char *beginning)
{
    char line[512];
    long long value = -1;
    FILE *file = fopen(path, "re");
    while (file && value < 0 && fgets(line, sizeof line, file))
        if (!strncmp(line, beginning, strlen(beginning)))
            value = strtoll(line + strlen(beginning), NULL, 10);
    if (file)
        fclose(file);
    return value;
}

struct status find_status(int pid)
{
    char path[64], line[512];
    bool contained = false;
    unsigned long own = 0, locked = 0, resident = 0, pending = 0;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file)) {
        if (!strncmp(line, "NSpid:", 6) && strrchr(line, '\t')) {
            own = strtoul(strrchr(line, '\t') + 1, NULL, 10);
            contained = strchr(line, '\t') != strrchr(line, '\t');
        }
        if (!strncmp(line, "VmLck:", 6))
            locked = strtoul(line + 6, NULL, 10);
        if (!strncmp(line, "VmRSS:", 6))
            resident = strtoul(line + 6, NULL, 10);
        if (!strncmp(line, "ShdPnd:", 7))
            pending = strtoul(line + 7, NULL, 16);
    }
    if (file)
        fclose(file);
    return (struct status){own > INT_MAX ? 0 : (uint32_t)own, contained, locked > 0, resident >= LARGE, pending};
}

struct status read_status(int pid)
{
    struct status status = find_status(pid);
    if (status.own == 0)
        end(FAILED, "process %d tells no pid", pid);
    return status;
}

bool next_place(FILE *maps, struct place *place)
{
    char line[PATH_MAX + 256], mode[5];
    uint64_t file;
    if (!fgets(line, sizeof line, maps))
        return false;
    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*s %*s %" SCNu64, &place->from, &place->to, mode, &file) != 4)
        end(FAILED, "the memory of a process has a line that is none: %s", line);
    bool special = strstr(line, "[vdso]") || strstr(line, "[vvar") || strstr(line, "[vsyscall]");
    place->private = mode[3] == 'p' && file == 0 && !special;
    return true;
}

int open_pagemap(int pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/pagemap", pid);
    struct statfs where;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstatfs(fd, &where) < 0)
        end(FAILED, "%s: %s", path, strerror(errno));
    if (where.f_type != PROC_SUPER_MAGIC)
        end(FAILED, "%s is not the kernel's", path);
    return fd;
}

FILE *open_maps(int pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *maps = fopen(path, "re");
    if (!maps)
        end(FAILED, "%s: %s", path, strerror(errno));
    return maps;
}

static void for_groups(const char *group, int depth, void (*what)(int pid))
{
    char path[PATH_MAX];
    int pid;
    snprintf(path, sizeof path, "%s/cgroup.procs", group);
    FILE *file = fopen(path, "re");
    /* One in the container may go while it runs. */
    if (!file && depth > 0 && errno == ENOENT)
        return;
    if (!file)
        end(FAILED, "%s: %s", path, strerror(errno));
    while (fscanf(file, "%d", &pid) == 1)
        what(pid);
    fclose(file);
    DIR *folder = opendir(group);
    struct dirent *entry;
    while (folder && (entry = readdir(folder))) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
            continue;
        if (depth == DEPTH
            || snprintf(path, sizeof path, "%s/%s", group, entry->d_name) >= (int)sizeof path)
            end(FAILED, "%s has too many groups in it", group);
        for_groups(path, depth + 1, what);
    }
    if (folder)
        closedir(folder);
}

void for_group(const char *group, void (*what)(int pid)) { for_groups(group, 0, what); }
