/*
 *     relocate within CGROUP COMMAND...
 *         Runs COMMAND, a restore by CRIU, in the cgroup folder CGROUP, which is the root of all that it can see of
 *         cgroups. Its exit code is that of COMMAND.
 *
 * "container restore" starts CRIU with it, and so does the rehearsal.
 *
 * A container may end just when it is restored. CRIU, whose part failed, then waits for the container's first process,
 * that one for its children, and those for CRIU, which traces them: none of them ever ends. So when the group has had
 * processes of the container and has none any more, all that is left in it is killed, and that is CRIU.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "memory.h"
#include "parts.h"
#include "relocate.h"

/* How often is looked, and for how long nothing of the container may run while CRIU does. */
enum { LOOK_MS = 200, EMPTY_LOOKS = 10 };

static unsigned contained;

static void count(int pid) { contained += find_status(pid).contained; }

static void enter(const char *group, char **command)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/cgroup.procs", group);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "0", 1) != 1 || unshare(CLONE_NEWCGROUP) < 0)
        end(FAILED, "%s: %s", path, strerror(errno));
    execvp(command[0], command);
    end(FAILED, "%s: %s", command[0], strerror(errno));
}

int within(const char *group, char **command)
{
    int status, empty = 0;
    bool begun = false;
    pid_t child = fork();
    if (child == 0)
        enter(group, command);
    struct pollfd ended = {.fd = child < 0 ? -1 : (int)syscall(SYS_pidfd_open, child, 0), .events = POLLIN};
    if (ended.fd < 0)
        end(FAILED, "%s: %s", command[0], strerror(errno));
    while (poll(&ended, 1, LOOK_MS) <= 0) {
        contained = 0;
        for_group(group, count);
        begun = begun || contained > 0;
        empty = begun && contained == 0 ? empty + 1 : 0;
        if (empty == EMPTY_LOOKS) {
            hostages = group;
            end(RESTORE_FAILED, "the container ended while it was restored");
        }
    }
    if (waitpid(child, &status, 0) < 0)
        end(FAILED, "%s: %s", command[0], strerror(errno));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
