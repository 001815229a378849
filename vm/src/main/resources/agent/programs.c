/* The programs that the agent has started, until their end has been told. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"
#include "answer.h"
#include "loop.h"
#include "outlets.h"
#include "programs.h"
#include "requests.h"
#include "text.h"
#include "verbs.h"
#include "wire.h"

enum { LOG = 256 * 1024 }; /* of a program's output, kept in a file */

static struct child {
    pid_t pid; /* 0: free */
    int output, log;
    size_t logged, tail_length;
    char tail[TAIL];
    bool ended;
    int status;
} child[CHILDREN];

pid_t find_program(const char *text)
{
    int64_t pid;
    if (number(text, 1, INT32_MAX, &pid))
        for (struct child *c = child; c < child + CHILDREN; c++)
            if (c->pid == pid && !c->ended)
                return c->pid;
    return 0;
}

struct child *free_child(void)
{
    for (struct child *c = child; c < child + CHILDREN; c++)
        if (c->pid == 0)
            return c;
    return NULL;
}

static void log_path(char *path, size_t size, pid_t pid)
{
    snprintf(path, size, "%s/%d.log", run_folder, (int)pid);
}

void keep_child(struct child *c, pid_t pid, int output)
{
    char path[PATH_MAX];
    log_path(path, sizeof path, pid);
    fcntl(output, F_SETFL, O_NONBLOCK);
    *c = (struct child){.pid = pid, .output = output,
                        .log = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
    watch(c->output, FROM_CHILD, (uint32_t)(c - child), EPOLLIN);
}

static void keep_tail(struct child *c, const char *bytes, size_t length)
{
    if (length > TAIL) {
        bytes += length - TAIL;
        length = TAIL;
    }
    size_t keep = c->tail_length + length > TAIL ? TAIL - length : c->tail_length;
    memmove(c->tail, c->tail + c->tail_length - keep, keep);
    memcpy(c->tail + keep, bytes, length);
    c->tail_length = keep + length;
}

/* At most a few buffers at once, so that a program that never stops printing is no burden. */
static void take_output(struct child *c)
{
    char bytes[16 * 1024];
    for (int i = 0; i < 8 && c->output >= 0; i++) {
        ssize_t got = read(c->output, bytes, sizeof bytes);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got <= 0) {
            close(c->output);
            c->output = -1;
            return;
        }
        keep_tail(c, bytes, (size_t)got);
        size_t room = c->logged < LOG ? LOG - c->logged : 0;
        size_t part = (size_t)got < room ? (size_t)got : room;
        if (c->log >= 0 && part > 0 && write(c->log, bytes, part) > 0)
            c->logged += part;
    }
}

void read_output(uint32_t index) { take_output(&child[index]); }

static void tell_end(struct child *c)
{
    if (!connected || !has_room(1))
        return;
    char path[PATH_MAX];
    log_path(path, sizeof path, c->pid);
    unlink(path);
    begin("-", "exited");
    put_number(c->pid);
    put_number(c->status);
    put_bytes(c->tail, c->tail_length);
    finish("-");
    c->pid = 0;
}

void tell_ends(void)
{
    for (struct child *c = child; c < child + CHILDREN; c++)
        if (c->pid != 0 && c->ended)
            tell_end(c);
}

void reap(void)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        outlet_ended(pid);
        for (struct child *c = child; c < child + CHILDREN; c++) {
            if (c->pid != pid || c->ended)
                continue;
            take_output(c);
            if (c->output >= 0)
                close(c->output);
            if (c->log >= 0)
                close(c->log);
            c->ended = true;
            c->status = status;
            tell_end(c);
        }
    }
}

void send_signal(const char *id)
{
    int64_t signal;
    pid_t pid = find_program(field[2]);
    if (pid == 0)
        refuse(id, "no program %.20s runs", field[2]);
    else if (!number(field[3], 0, 64, &signal))
        refuse(id, "'%.20s' is no signal", field[3]);
    else if (kill(pid, (int)signal) < 0)
        refuse(id, "kill %d: %s", (int)pid, strerror(errno));
    else
        ok(id);
}
