/*
 * Knows how a container ended.
 *
 *     keep run WORK GROUP COMMAND...   runs COMMAND, which leaves the container's first process behind (runc, CRIU),
 *                                      and stays until that has ended
 *     keep wait WORK                   prints how it ended, as soon as it has:
 *
 *         code 3 oom 0 ago_ms 1530     or "signal 9 oom 1 ago_ms 20", or "unknown"
 *
 * WORK is a folder of the container. In it are
 *
 *     pid     the number of the first process, which COMMAND writes
 *     code    the exit code of COMMAND, when it has ended; 128 and the signal's number when a signal ended it
 *     ended   how the first process ended, when it has: whole or not at all
 *     kept    locked as long as "run" lives
 *     waiter  locked by the "wait" that lives. There is one: what an earlier host has begun is of no use to anybody.
 *
 * "oom" says whether a process of the cgroup GROUP was killed since "run" began because memory had run out. A "run" that
 * was killed leaves no "ended", which is not the same as an end with code 0.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    REAPED = 64, /* of those that ended before COMMAND did, the last */
    AGAIN_US = 1000,
};

static const char *work, *group;

static struct {
    pid_t pid;
    int status;
} reaped[REAPED];

static unsigned reapings;

static int failed(const char *what)
{
    fprintf(stderr, "keep: %s: %s\n", what, strerror(errno));
    return 1;
}

static void in_work(char *path, const char *name) { snprintf(path, PATH_MAX, "%s/%s", work, name); }

static ssize_t slurp(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t got = read(fd, text, size - 1);
    close(fd);
    text[got > 0 ? got : 0] = 0;
    return got;
}

/* A reader sees all of it or nothing. */
static void record(const char *name, const char *text)
{
    char path[PATH_MAX], draft[PATH_MAX];
    in_work(path, name);
    snprintf(draft, sizeof draft, "%s/%s.new", work, name);
    int fd = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return; /* the container has been removed meanwhile */
    ssize_t done = write(fd, text, strlen(text));
    close(fd);
    if (done == (ssize_t)strlen(text))
        rename(draft, path);
}

/* Since the kernel started, also while it slept. The wall clock in here is not the host's. */
static long long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* Of its processes, also in groups below; 0 while there is no such group. */
static long long oom_kills(void)
{
    char path[PATH_MAX], text[1024];
    snprintf(path, sizeof path, "%s/memory.events", group);
    if (slurp(path, text, sizeof text) <= 0)
        return 0;
    const char *at = strstr(text, "oom_kill ");
    return at ? atoll(at + strlen("oom_kill ")) : 0;
}

static pid_t parent_of(pid_t pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (slurp(path, text, sizeof text) <= 0)
        return 0;
    const char *at = strrchr(text, ')');
    int parent = 0;
    return at && sscanf(at, ") %*c %d", &parent) == 1 ? parent : 0;
}

/* What COMMAND has written down, or else a child of ours in the group; 0 when there is neither. */
static pid_t first_process(void)
{
    char path[PATH_MAX], text[64];
    in_work(path, "pid");
    int pid = slurp(path, text, sizeof text) > 0 ? atoi(text) : 0;
    if (pid > 0)
        return pid;
    snprintf(path, sizeof path, "%s/cgroup.procs", group);
    FILE *all = fopen(path, "re");
    bool found = false;
    while (all && !found && fscanf(all, "%d", &pid) == 1)
        found = parent_of(pid) == getpid();
    if (all)
        fclose(all);
    return found ? pid : 0;
}

static bool has_been_reaped(pid_t pid, int *status)
{
    for (unsigned i = 0; i < REAPED && i < reapings; i++) {
        if (reaped[i].pid == pid) {
            *status = reaped[i].status;
            return true;
        }
    }
    return false;
}

/* Until process `wanted` has ended, whichever other children end before it; false when there is no such child. */
static bool await(pid_t wanted, int *status)
{
    while (true) {
        pid_t pid = waitpid(-1, status, 0);
        if (pid < 0 && errno == EINTR)
            continue;
        if (pid < 0 || pid == wanted)
            return pid == wanted;
        reaped[reapings % REAPED].pid = pid;
        reaped[reapings++ % REAPED].status = *status;
    }
}

static void leave_files_alone(int lock)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    if (lock != 3)
        dup3(lock, 3, O_CLOEXEC);
    close_range(4, ~0U, 0);
}

/* Whoever has to end somebody because memory has run out takes a container, and not who is to tell of it. */
static void be_spared(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, "-1000", 5) < 0) {
        /* Without the right to it, the chance is small still. */
    }
    close(fd);
}

static int lock_file(const char *name)
{
    char path[PATH_MAX];
    in_work(path, name);
    return open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

static void forget(const char *name)
{
    char path[PATH_MAX];
    in_work(path, name);
    unlink(path);
}

static int run(char **command)
{
    int lock = lock_file("kept");
    if (lock < 0 || flock(lock, LOCK_EX) < 0)
        return failed("kept");
    forget("pid");
    forget("code");
    forget("ended");
    long long kills = oom_kills();
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    pid_t starter = fork();
    if (starter == 0) {
        execvp(command[0], command);
        _exit(failed(command[0]) + 126);
    }
    if (starter < 0)
        return failed("fork");
    leave_files_alone(lock);
    be_spared();
    int status;
    if (!await(starter, &status))
        return 1;
    char text[128];
    snprintf(text, sizeof text, "%d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    pid_t first = first_process();
    record("code", text);
    if (first == 0 || (!has_been_reaped(first, &status) && !await(first, &status)))
        return 1;
    snprintf(text, sizeof text, "%s %d oom %d at %lld\n", WIFEXITED(status) ? "code" : "signal",
             WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), oom_kills() > kills, now_ms());
    record("ended", text);
    return 0;
}

static void be_the_only_waiter(int waiter)
{
    char text[24] = "";
    while (flock(waiter, LOCK_EX | LOCK_NB) < 0) {
        ssize_t got = pread(waiter, text, sizeof text - 1, 0);
        text[got > 0 ? got : 0] = 0;
        /* Who has the lock has written its own number, or does so at once. */
        if (atoi(text) > 1)
            kill(atoi(text), SIGKILL);
        usleep(AGAIN_US);
    }
    snprintf(text, sizeof text, "%d\n", (int)getpid());
    if (ftruncate(waiter, 0) < 0 || pwrite(waiter, text, strlen(text), 0) < 0) {
        /* The next one waits for this one's end. */
    }
}

static int wait_for_end(void)
{
    char path[PATH_MAX], text[128], what[8];
    int waiter = lock_file("waiter"), number, oom;
    long long at;
    if (waiter >= 0)
        be_the_only_waiter(waiter);
    in_work(path, "kept");
    int lock = open(path, O_RDONLY | O_CLOEXEC);
    if (lock >= 0)
        flock(lock, LOCK_SH);
    in_work(path, "ended");
    if (slurp(path, text, sizeof text) > 0
        && sscanf(text, "%7s %d oom %d at %lld", what, &number, &oom, &at) == 4)
        printf("%s %d oom %d ago_ms %lld\n", what, number, oom, now_ms() - at);
    else
        printf("unknown\n");
    return 0;
}

int main(int count, char **arguments)
{
    work = count > 2 ? arguments[2] : "";
    group = count > 3 ? arguments[3] : "";
    if (count > 4 && !strcmp(arguments[1], "run"))
        return run(arguments + 4);
    if (count == 3 && !strcmp(arguments[1], "wait"))
        return wait_for_end();
    fprintf(stderr, "usage: keep run WORK GROUP COMMAND... | wait WORK\n");
    return 2;
}
