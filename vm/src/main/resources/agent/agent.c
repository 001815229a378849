/*
 * The first and only service of a machine: mounts, loads modules, then answers its host.
 *
 * One thread, one epoll loop. The host speaks over the virtio-serial port dev.hyperfresh.agent; the
 * protocol is described in docs/design/machines.md. Every table and buffer has a fixed size, and
 * nothing that the host sends can make it grow.
 *
 *     agent                  as process 1
 *     agent copy FROM BYTES TO   as a program that the agent itself starts: moves so many bytes from
 *                            one file or port to another, and prints how long that took after the
 *                            first of them came, in nanoseconds
 *     agent remove PATH      likewise: removes a file below /run/hf
 *     agent FD RUN SYS       for tests: serves the connected socket FD until its end, with the
 *                            folders RUN and SYS in place of /run/hf and /sys
 *
 * Its parts, from the host's words to what they do: loop.c sees what has happened, host.c has the
 * connection, requests.c knows which verb a line is. Each verb of verbs.h stands in the file of its
 * concern, and answers through answer.c and wire.c.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"
#include "boot.h"
#include "copy.h"
#include "host.h"
#include "loop.h"
#include "outlets.h"
#include "text.h"

const char *run_folder = "/run/hf", *sys_folder = "/sys";
bool is_init;

static void raise_limit(void)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < 65536 ? files.rlim_max : 65536;
    setrlimit(RLIMIT_NOFILE, &files);
}

/* The image has no other program. */
static int as_program(int count, char **arguments)
{
    if (count == 5 && !strcmp(arguments[1], "copy"))
        return copy_bytes(arguments[2], arguments[3], arguments[4]);
    if (count == 3 && !strcmp(arguments[1], "remove") && is_own_path(arguments[2]))
        return unlink(arguments[2]) < 0 ? failed(arguments[2]) : 0;
    fprintf(stderr, "usage: agent FD RUN SYS | copy FROM BYTES TO | remove PATH\n");
    return 2;
}

int main(int count, char **arguments)
{
    int64_t fd = -1;
    is_init = getpid() == 1 && count == 1;
    umask(077);
    if (is_init) {
        prepare_machine();
        be_first();
    } else if (count == 4 && number(arguments[1], 0, 1023, &fd)) {
        run_folder = arguments[2];
        sys_folder = arguments[3];
    } else {
        return as_program(count, arguments);
    }
    raise_limit();
    mkdir(run_folder, 0700);
    open_loop();
    if (!is_init)
        take_port((int)fd);
    serve_for_ever();
}
