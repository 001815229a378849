/*
 * What keeps a container from being moved: what its processes have that CRIU does not take along.
 *
 *     relocate check CGROUP
 *         In the old OS, for "container check", before a move: prints a sentence for each obstacle of the processes in
 *         the cgroup folder CGROUP and below. They run on meanwhile, so what comes and goes is only seen by chance;
 *         CRIU refuses what is left, and the container runs on then too. Exit code 0 also when there are some.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "memory.h"
#include "parts.h"
#include "relocate.h"

enum {
    MOST = 20, /* sentences that anybody reads */
    MEMORY_DEVICES = 1, /* numbers of drivers, as linux/major.h has them */
    TERMINALS = 4,
    CONSOLES = 5,
    PTMX = 2, /* among the consoles */
    PSEUDO_TERMINALS = 128,
    AFTER_THEM = 144,
};

/* The largest deleted file that CRIU is told to take along, which it does while the container stands. */
#define GHOST_LIMIT (256ull << 20)

static unsigned said, checked;

static void obstacle(int pid, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void obstacle(int pid, const char *format, ...)
{
    char path[64], name[64] = "";
    if (++said > MOST)
        return;
    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? 0 : read(fd, name, sizeof name - 1);
    close(fd);
    name[length > 0 ? length - 1 : 0] = 0;
    for (char *c = name; *c; c++)
        *c = *c < ' ' || *c > '~' ? '?' : *c;
    va_list arguments;
    va_start(arguments, format);
    printf("Process %d (%s) ", pid, name);
    vprintf(format, arguments);
    printf(".\n");
    va_end(arguments);
}

static bool has_mount(int pid, long long wanted)
{
    char path[64], *line = NULL;
    size_t size = 0;
    bool found = false;
    snprintf(path, sizeof path, "/proc/%d/mountinfo", pid);
    FILE *file = fopen(path, "re");
    while (file && !found && getline(&line, &size, file) > 0)
        found = strtoll(line, NULL, 10) == wanted;
    if (file)
        fclose(file);
    free(line);
    return found;
}

static bool is_on_mount(int pid, int number)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", pid, number);
    long long mount = read_field(path, "mnt_id:");
    return mount < 0 || has_mount(pid, mount);
}

/* The container's own terminals move, but not one whose other end is outside. */
static void check_terminal(int pid, int number, const char *target, bool pseudo)
{
    if (!pseudo || !is_on_mount(pid, number))
        obstacle(pid, "has the terminal %s of the operating system open", target);
}

static void check_device(int pid, int number, const char *target, const struct stat *what)
{
    unsigned kind = S_ISCHR(what->st_mode) ? major(what->st_rdev) : UINT_MAX;
    unsigned which = minor(what->st_rdev);
    bool harmless = kind == MEMORY_DEVICES
        && (which == 3 || which == 5 || which == 7 || which == 8 || which == 9);
    if (kind == TERMINALS || kind == CONSOLES || (kind >= PSEUDO_TERMINALS && kind < AFTER_THEM))
        check_terminal(pid, number, target, kind != TERMINALS && (kind != CONSOLES || which == PTMX));
    else if (!harmless)
        obstacle(pid, "has the device %s open", target);
}

/* Kinds that CRIU knows; of the network also by protocol. */
static void check_socket(int pid, int number)
{
    int domain = -1, type = -1, protocol = -1;
    socklen_t size = sizeof domain;
    int process = (int)syscall(SYS_pidfd_open, pid, 0);
    int fd = process < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, process, number, 0);
    close(process);
    if (fd < 0)
        return;
    bool known = !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size)
        && !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size)
        && !getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size);
    close(fd);
    if (!known)
        return;
    if (domain == AF_INET || domain == AF_INET6)
        known = type == SOCK_RAW || protocol == IPPROTO_TCP || protocol == IPPROTO_UDP
            || protocol == IPPROTO_UDPLITE;
    else
        known = domain == AF_UNIX || domain == AF_NETLINK || domain == AF_PACKET;
    if (!known)
        obstacle(pid, "has a socket of family %d, protocol %d open", domain, protocol);
}

static void check_file(int pid, int number, const char *target, const struct stat *what)
{
    if (!strncmp(target, "/memfd:", 7))
        return;
    if (!is_on_mount(pid, number))
        obstacle(pid, "has %s open, which is a message queue or lies outside of the container", target);
    else if (S_ISREG(what->st_mode) && what->st_nlink == 0 && (uint64_t)what->st_size > GHOST_LIMIT)
        obstacle(pid, "has a deleted file of %lld MiB open, %s; 256 MiB is the most",
            (long long)what->st_size >> 20, target);
}

static void check_descriptor(int pid, int folder, const char *name)
{
    static const char *const known[] = {"[eventpoll]", "[eventfd]", "[signalfd]", "[timerfd]", "inotify",
                                        "[pidfd]"};
    char target[PATH_MAX];
    struct stat what;
    ssize_t length = readlinkat(folder, name, target, sizeof target - 1);
    if (length < 0 || fstatat(folder, name, &what, 0) < 0)
        return; /* closed meanwhile */
    target[length] = 0;
    for (char *c = target; *c; c++)
        *c = *c < ' ' ? '?' : *c;
    if (S_ISCHR(what.st_mode) || S_ISBLK(what.st_mode)) {
        check_device(pid, atoi(name), target, &what);
    } else if (S_ISSOCK(what.st_mode)) {
        check_socket(pid, atoi(name));
    } else if (target[0] == '/') {
        check_file(pid, atoi(name), target, &what);
    } else if (!strncmp(target, "anon_inode:", 11)) {
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            if (!strcmp(target + 11, known[i]))
                return;
        obstacle(pid, "has %s open", target + 11);
    }
}

static void check_descriptors(int pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *folder = opendir(path);
    struct dirent *entry;
    while (folder && (entry = readdir(folder)))
        if (entry->d_name[0] != '.')
            check_descriptor(pid, dirfd(folder), entry->d_name);
    if (folder)
        closedir(folder);
}

static uint64_t namespace(int pid, const char *kind)
{
    char path[64];
    struct stat what;
    snprintf(path, sizeof path, "/proc/%d/ns/%s", pid, kind);
    return stat(path, &what) < 0 ? 0 : what.st_ino;
}

/* All must be in the first one's namespaces, as CRIU restores no others in there. */
static void check_namespaces(int pid, int first)
{
    static const char *const kinds[] = {"pid", "ipc", "uts", "user", "time", "net", "cgroup"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        uint64_t own = namespace(pid, kinds[i]), common = namespace(first, kinds[i]);
        if (own != 0 && common != 0 && own != common)
            obstacle(pid, "is in a %s namespace of its own", kinds[i]);
    }
}

/* What was started from outside, with exec, and has not been given up by who started it. */
static void check_parents(int pid, int first)
{
    char path[64];
    long long at = pid;
    for (int steps = 0; at > 1 && at != first && steps < 10000; steps++) {
        snprintf(path, sizeof path, "/proc/%d/status", (int)at);
        at = read_field(path, "PPid:");
        if (at < 0)
            return; /* ended meanwhile */
    }
    if (at != first)
        obstacle(pid, "was started by exec and has not ended");
}

static void check_process(int pid)
{
    static int first;
    char path[64];
    first = first == 0 ? pid : first;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    long long tracer = read_field(path, "TracerPid:");
    if (tracer > 0)
        obstacle(pid, "is traced by process %lld", tracer);
    check_namespaces(pid, first);
    check_parents(pid, first);
    check_descriptors(pid);
    checked++;
}

int check(const char *group)
{
    if (access(group, F_OK) == 0)
        for_group(group, check_process);
    if (checked == 0)
        printf("It has ended.\n");
    if (said > MOST)
        printf("%u more.\n", said - MOST);
    return DONE;
}
