/* Streams that go from a unix socket inside to a port, each through a process of its own. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent.h"
#include "answer.h"
#include "copy.h"
#include "launch.h"
#include "outlets.h"
#include "requests.h"
#include "verbs.h"

enum { OUTLETS = 64 };

static struct outlet {
    pid_t pid; /* 0: free */
    char path[sizeof ((struct sockaddr_un *)0)->sun_path];
} outlet[OUTLETS];

/* In a process of its own. Writes that do not wait keep the port's whole queue filled; one that
 * waits would spin in the kernel until the host has taken each buffer. */
static void pump(int listener, const char *device)
{
    static char bytes[PUMP];
    signal(SIGPIPE, SIG_IGN);
    while (true) {
        int from = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (from < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (from < 0)
            _exit(1);
        int to = open(device, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        ssize_t got = 0;
        while (to >= 0 && ((got = read(from, bytes, sizeof bytes)) > 0 || (got < 0 && errno == EINTR)))
            if (got > 0 && !pour(to, bytes, (size_t)got))
                break;
        if (to >= 0)
            close(to);
        close(from);
    }
}

bool is_own_path(const char *path)
{
    size_t length = strlen(run_folder);
    return strncmp(path, run_folder, length) == 0 && path[length] == '/' && path[length + 1] != 0
        && !strstr(path, "/..") && strlen(path) < sizeof outlet->path;
}

static void close_outlet(struct outlet *o)
{
    unlink(o->path);
    o->pid = 0;
}

void outlet_ended(pid_t pid)
{
    for (struct outlet *o = outlet; o < outlet + OUTLETS; o++)
        if (o->pid == pid)
            close_outlet(o);
}

void open_outlet(const char *id)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct outlet *free = NULL;
    if (!is_own_path(field[3])) {
        refuse(id, "'%.200s' is not below %s", field[3], run_folder);
        return;
    }
    strcpy(address.sun_path, field[3]);
    for (struct outlet *o = outlet; o < outlet + OUTLETS && !free; o++)
        if (o->pid == 0)
            free = o;
    if (!free) {
        refuse(id, "%d outlets are open already", OUTLETS);
        return;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        refuse(id, "%s: %s", field[3], strerror(errno));
        close(fd);
        return;
    }
    pid_t pid = listen(fd, 4) < 0 ? -1 : fork();
    if (pid == 0) {
        leave_agent();
        dup2(fd, 3);
        close_range(4, ~0U, 0);
        pump(3, field[2]);
    }
    if (pid < 0) {
        refuse(id, "%s: %s", field[3], strerror(errno));
        unlink(field[3]);
    } else {
        free->pid = pid;
        strcpy(free->path, field[3]);
        ok(id);
    }
    close(fd);
}

void end_outlet(const char *id)
{
    for (struct outlet *o = outlet; o < outlet + OUTLETS; o++) {
        if (o->pid != 0 && strcmp(o->path, field[2]) == 0) {
            kill(o->pid, SIGKILL);
            close_outlet(o); /* the process is reaped like an orphan */
            ok(id);
            return;
        }
    }
    refuse(id, "there is no outlet %.200s", field[2]);
}
