/* How a program is started: with what it has open, and nothing else. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "answer.h"
#include "launch.h"
#include "links.h"
#include "programs.h"
#include "requests.h"
#include "text.h"
#include "verbs.h"

enum {
    ENVIRONMENT = 256,
    OPENINGS = 64,
    EXEC_MS = 5000,
};

struct opening {
    int64_t fd;
    const char *mode, *path;
};

/* FD:MODE:PATH, cut in place. */
static bool parse_opening(char *text, struct opening *opening)
{
    char *mode = strchr(text, ':');
    char *path = mode ? strchr(mode + 1, ':') : NULL;
    if (!path || path[1] == 0)
        return false;
    *mode++ = 0;
    *path++ = 0;
    opening->mode = mode;
    opening->path = path;
    return number(text, 3, 1023, &opening->fd)
        && (!strcmp(mode, "r") || !strcmp(mode, "w") || !strcmp(mode, "rw")
            || (!strcmp(mode, "tap") && strlen(path) < IFNAMSIZ));
}

/* Never waits, whatever the path leads to, and returns a descriptor that does. */
static int open_for_child(const struct opening *o)
{
    if (!strcmp(o->mode, "tap")) {
        /* Attaching to a tap that is not there would make one. */
        return if_nametoindex(o->path) == 0 ? -1 : attach_tap(o->path);
    }
    int how = !strcmp(o->mode, "r") ? O_RDONLY : !strcmp(o->mode, "w") ? O_WRONLY : O_RDWR;
    int fd = open(o->path, how | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0)
        fcntl(fd, F_SETFL, 0);
    return fd;
}

/* In the child: what failed, then why, into the pipe that a successful exec closes. */
static void fail_child(int report, const char *what)
{
    char text[512];
    snprintf(text, sizeof text, "%.400s: %s", what, strerror(errno));
    if (write(report, text, strlen(text)) < 0) {
        /* The parent sees the exit code. */
    }
    _exit(127);
}

void leave_agent(void)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static void run_child(int report, int output, const struct opening *opening, int openings,
                      char **environment, char **arguments)
{
    leave_agent();
    setsid();
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0 || dup2(null, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0)
        fail_child(report, "standard descriptors");
    int kept = fcntl(report, F_DUPFD_CLOEXEC, 1024);
    if (kept < 0)
        fail_child(report, "descriptors");
    close_range(3, (unsigned)kept - 1, 0);
    close_range((unsigned)kept + 1, ~0U, 0);
    for (int i = 0; i < openings; i++) {
        int fd = open_for_child(&opening[i]);
        if (fd < 0)
            fail_child(kept, opening[i].path);
        if (fd == opening[i].fd) {
            fcntl(fd, F_SETFD, 0);
        } else {
            if (dup2(fd, (int)opening[i].fd) < 0)
                fail_child(kept, opening[i].path);
            close(fd);
        }
    }
    execvpe(arguments[0], arguments, environment);
    fail_child(kept, arguments[0]);
}

/* Waits for the exec; empty when it was done. */
static void await_exec(int report, pid_t pid, char *text, size_t size)
{
    size_t length = 0;
    struct pollfd wanted = {.fd = report, .events = POLLIN};
    while (length < size - 1) {
        if (poll(&wanted, 1, EXEC_MS) == 0) {
            kill(pid, SIGKILL);
            length = (size_t)snprintf(text, size, "not started within %d ms", EXEC_MS);
            break;
        }
        ssize_t got = read(report, text + length, size - 1 - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        length += (size_t)got;
    }
    text[length] = 0;
}

static void spawn(const char *id, struct child *c, const struct opening *opening, int openings,
                  char **environment, char **arguments)
{
    int report[2], output[2];
    if (pipe2(report, O_CLOEXEC) < 0) {
        refuse(id, "pipe: %s", strerror(errno));
        return;
    }
    if (pipe2(output, O_CLOEXEC) < 0) {
        refuse(id, "pipe: %s", strerror(errno));
        close(report[0]);
        close(report[1]);
        return;
    }
    pid_t pid = fork();
    if (pid == 0)
        run_child(report[1], output[1], opening, openings, environment, arguments);
    int reason = errno;
    close(report[1]);
    close(output[1]);
    char failure[512];
    if (pid < 0)
        snprintf(failure, sizeof failure, "fork: %s", strerror(reason));
    else
        await_exec(report[0], pid, failure, sizeof failure);
    close(report[0]);
    if (*failure) {
        close(output[0]);
        refuse(id, "%s", failure);
        return;
    }
    keep_child(c, pid, output[0]);
    begin(id, "ok");
    put_number(pid);
    finish(id);
}

void start_program(const char *id)
{
    static char *environment[ENVIRONMENT + 1], *arguments[FIELDS + 1];
    struct opening opening[OPENINGS];
    int64_t variables, openings;
    if (fields < 3 || !number(field[2], 0, ENVIRONMENT, &variables) || fields < 4 + variables
        || !number(field[3 + variables], 0, OPENINGS, &openings)
        || fields < 5 + variables + openings || *field[4 + variables + openings] == 0) {
        refuse(id, "counts do not fit the fields");
        return;
    }
    for (int i = 0; i < variables; i++) {
        environment[i] = field[3 + i];
        if (*environment[i] == '=' || !strchr(environment[i], '=')) {
            refuse(id, "'%.200s' is not K=V", environment[i]);
            return;
        }
    }
    environment[variables] = NULL;
    for (int i = 0; i < openings; i++) {
        if (!parse_opening(field[4 + variables + i], &opening[i])) {
            refuse(id, "opening %d is not FD:MODE:PATH", i);
            return;
        }
        for (int other = 0; other < i; other++) {
            if (opening[other].fd == opening[i].fd) {
                refuse(id, "descriptor %d is opened twice", (int)opening[i].fd);
                return;
            }
        }
    }
    int count = 0;
    for (int i = 4 + (int)variables + (int)openings; i < fields; i++)
        arguments[count++] = field[i];
    arguments[count] = NULL;
    struct child *c = free_child();
    if (c)
        spawn(id, c, opening, (int)openings, environment, arguments);
    else
        refuse(id, "%d programs run already", CHILDREN);
}
