/*
 * The first and only service of a machine: mounts, loads modules, then answers its host.
 *
 * One thread, one epoll loop. The host speaks over the virtio-serial port PORT_NAME; the protocol is
 * described in docs/design/machines.md. Every table and buffer has a fixed size,
 * and nothing that the host sends can make it grow.
 *
 *     agent                  as process 1
 *     agent copy FROM BYTES TO   as a program that the agent itself starts: moves so many bytes from
 *                            one file or port to another, and prints how long that took after the
 *                            first of them came, in nanoseconds
 *     agent remove PATH      likewise: removes a file below /run/hf
 *     agent FD RUN SYS       for tests: serves the connected socket FD until its end, with the
 *                            folders RUN and SYS in place of /run/hf and /sys
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define VERSION "1"
#define PORT_NAME "dev.hyperfresh.agent"

enum {
    LINE = 64 * 1024,         /* the longest line, with its end */
    QUEUE = 8 * LINE,         /* what waits to be sent */
    FIELDS = 2048,            /* of one request */
    ID = 20,                  /* the longest identifier of a request */
    NAME = 256,               /* names that are waited for */
    CHILDREN = 128,           /* programs that run or whose end was not told yet */
    WAITS = 128,
    OUTLETS = 64,
    ENVIRONMENT = 256,
    OPENINGS = 64,
    TAIL = 2048,              /* of a program's output, told with its end */
    LOG = 256 * 1024,         /* of a program's output, kept in a file */
    THREADS = 4096,
    PUMP = 256 * 1024,
    TAP = IFNAMSIZ - 1 - 2,   /* the bridge has two letters more */
    EXEC_MS = 5000,
    TICK_MS = 100,            /* uevents say when to look again; this is for lost ones */
    MAX_WAIT_MS = 3600 * 1000,
    CANCEL = 0x18,
};

enum source { FROM_PORT, FROM_SIGNALS, FROM_UEVENTS, FROM_CHILD };

static const char *run_folder = "/run/hf", *sys_folder = "/sys";
static bool is_init;

static int events = -1;
static int port = -1;
static bool connected;
/* Answers to requests of an earlier connection are not sent to a later one. */
static unsigned connection;

static char in[LINE];
static size_t in_length;
static bool in_skipping;
static char out[QUEUE];
static size_t out_length;

static char *field[FIELDS];
static int fields;

static char answer[LINE];
static size_t answer_length;
static bool answer_overflow;

static struct child {
    pid_t pid; /* 0: free */
    int output, log;
    size_t logged, tail_length;
    char tail[TAIL];
    bool ended;
    int status;
} child[CHILDREN];

enum wait_kind { WAIT_NONE, WAIT_PORT, WAIT_DISK, WAIT_LINK };

static struct wait {
    enum wait_kind kind;
    unsigned connection;
    int64_t deadline;
    char id[ID + 1], name[NAME], tap[TAP + 1];
} waiting[WAITS];

static struct outlet {
    pid_t pid; /* 0: free */
    char path[sizeof ((struct sockaddr_un *)0)->sun_path];
} outlet[OUTLETS];

/* Into the kernel's log, which has the only console. */
static void complain(const char *format, ...)
{
    char text[512] = "<3>hyperfresh: ";
    size_t length = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + length, sizeof text - length - 1, format, arguments);
    va_end(arguments);
    strcat(text, "\n");
    int fd = is_init ? open("/dev/kmsg", O_WRONLY | O_CLOEXEC) : dup(2);
    if (fd >= 0) {
        if (write(fd, text, strlen(text)) < 0) {
            /* Nobody else to tell. */
        }
        close(fd);
    }
}

static int64_t milliseconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* Reads at most size - 1 bytes and cuts off the end of the last line; -1 with errno. */
static ssize_t slurp(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -1;
    size_t length = 0;
    ssize_t got;
    while (length < size - 1 && (got = read(fd, text + length, size - 1 - length)) != 0) {
        if (got < 0) {
            int error = errno;
            close(fd);
            errno = error;
            return -1;
        }
        length += (size_t)got;
    }
    close(fd);
    while (length > 0 && isspace((unsigned char)text[length - 1]))
        length--;
    text[length] = 0;
    return (ssize_t)length;
}

static int spill(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t done = write(fd, text, strlen(text));
    int error = errno;
    close(fd);
    errno = error;
    return done < 0 ? -1 : 0;
}

/* ---- what is sent ---- */

static void put_byte(char byte)
{
    if (answer_length < LINE - 1)
        answer[answer_length++] = byte;
    else
        answer_overflow = true;
}

static void put_bytes(const char *bytes, size_t length)
{
    put_byte(' ');
    if (length == 0)
        put_byte('%');
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        if (byte <= 0x20 || byte == 0x7f || byte == '%') {
            put_byte('%');
            put_byte("0123456789ABCDEF"[byte >> 4]);
            put_byte("0123456789ABCDEF"[byte & 15]);
        } else {
            put_byte((char)byte);
        }
    }
}

static void put(const char *text) { put_bytes(text, strlen(text)); }

static void put_number(int64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)number);
    put(text);
}

static void put_pair(const char *name, const char *value)
{
    char text[512];
    snprintf(text, sizeof text, "%.250s=%.250s", name, value);
    put(text);
}

static void begin(const char *id, const char *verb)
{
    answer_length = 0;
    answer_overflow = false;
    for (const char *c = id; *c; c++)
        put_byte(*c);
    put_byte(' ');
    for (const char *c = verb; *c; c++)
        put_byte(*c);
}

static void flush(void)
{
    size_t sent = 0;
    while (port >= 0 && sent < out_length) {
        ssize_t done = write(port, out + sent, out_length - sent);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            break;
        sent += (size_t)done;
    }
    memmove(out, out + sent, out_length - sent);
    out_length -= sent;
}

static void error(const char *id, const char *format, ...);

/* Requests are only read while there is room for their answers, so only events can be too much. */
static void finish(const char *id)
{
    if (answer_overflow) {
        error(id, "the answer is longer than a line");
        return;
    }
    answer[answer_length++] = '\n';
    if (connected && out_length + answer_length <= QUEUE) {
        memcpy(out + out_length, answer, answer_length);
        out_length += answer_length;
        flush();
    }
}

static void error(const char *id, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    begin(id, "error");
    put(text);
    finish(id);
}

static void ok(const char *id)
{
    begin(id, "ok");
    finish(id);
}

static void put_hello(void)
{
    struct utsname name = {0};
    uname(&name);
    long long available = 0, total = 0;
    char text[4096];
    if (slurp("/proc/meminfo", text, sizeof text) > 0) {
        const char *at = strstr(text, "MemTotal:");
        total = at ? atoll(at + 9) : 0;
        at = strstr(text, "MemAvailable:");
        available = at ? atoll(at + 13) : 0;
    }
    put(VERSION);
    put(name.release);
    put_number(milliseconds(CLOCK_BOOTTIME));
    put_number(available);
    put_number(total);
}

/* ---- what is read ---- */

static bool number(const char *text, int64_t least, int64_t most, int64_t *value)
{
    if (!isdigit((unsigned char)*text) || strlen(text) > 18)
        return false;
    char *end;
    *value = strtoll(text, &end, 10);
    return *end == 0 && *value >= least && *value <= most;
}

static int digit(char c)
{
    return isdigit((unsigned char)c) ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10
        : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place. A NUL would end the text in the middle, so it counts as malformed. */
static bool unescape(char *text)
{
    if (strcmp(text, "%") == 0) {
        *text = 0;
        return true;
    }
    char *to = text;
    for (const char *from = text; *from; from++) {
        if (*from != '%') {
            *to++ = *from;
            continue;
        }
        int high = digit(from[1]), low = high < 0 ? -1 : digit(from[2]);
        if (low < 0 || (high | low) == 0)
            return false;
        *to++ = (char)(high << 4 | low);
        from += 2;
    }
    *to = 0;
    return true;
}

/* Splits at blanks into field[]; an empty one between two blanks is malformed. */
static bool split(char *line)
{
    fields = 0;
    while (true) {
        char *end = strchrnul(line, ' ');
        bool last = *end == 0;
        if (end == line || fields == FIELDS)
            return false;
        *end = 0;
        field[fields++] = line;
        if (!unescape(line))
            return false;
        if (last)
            return true;
        line = end + 1;
    }
}

/* ---- programs ---- */

static struct child *find_child(const char *text)
{
    int64_t pid;
    if (number(text, 1, INT32_MAX, &pid))
        for (struct child *c = child; c < child + CHILDREN; c++)
            if (c->pid == pid && !c->ended)
                return c;
    return NULL;
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
static void read_output(struct child *c)
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

static void log_path(char *path, size_t size, pid_t pid)
{
    snprintf(path, size, "%s/%d.log", run_folder, (int)pid);
}

static void tell_end(struct child *c)
{
    if (!connected || out_length > QUEUE - LINE)
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

static void close_outlet(struct outlet *o)
{
    unlink(o->path);
    o->pid = 0;
}

static void reap(void)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (struct outlet *o = outlet; o < outlet + OUTLETS; o++)
            if (o->pid == pid)
                close_outlet(o);
        for (struct child *c = child; c < child + CHILDREN; c++) {
            if (c->pid != pid || c->ended)
                continue;
            read_output(c);
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

static int attach_tap(const char *name)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0 && ioctl(fd, TUNSETIFF, &request) < 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
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

static void leave_agent(void)
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

static void watch(int fd, enum source source, uint32_t index, uint32_t what)
{
    struct epoll_event event = {.events = what, .data.u64 = (uint64_t)source << 32 | index};
    epoll_ctl(events, EPOLL_CTL_ADD, fd, &event);
}

static void spawn(const char *id, struct child *c, const struct opening *opening, int openings,
                  char **environment, char **arguments)
{
    int report[2], output[2];
    if (pipe2(report, O_CLOEXEC) < 0) {
        error(id, "pipe: %s", strerror(errno));
        return;
    }
    if (pipe2(output, O_CLOEXEC) < 0) {
        error(id, "pipe: %s", strerror(errno));
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
        error(id, "%s", failure);
        return;
    }
    char path[PATH_MAX];
    log_path(path, sizeof path, pid);
    fcntl(output[0], F_SETFL, O_NONBLOCK);
    *c = (struct child){.pid = pid, .output = output[0],
                        .log = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
    watch(c->output, FROM_CHILD, (uint32_t)(c - child), EPOLLIN);
    begin(id, "ok");
    put_number(pid);
    finish(id);
}

static void start(const char *id)
{
    static char *environment[ENVIRONMENT + 1], *arguments[FIELDS + 1];
    struct opening opening[OPENINGS];
    int64_t variables, openings;
    if (fields < 3 || !number(field[2], 0, ENVIRONMENT, &variables) || fields < 4 + variables
        || !number(field[3 + variables], 0, OPENINGS, &openings)
        || fields < 5 + variables + openings || *field[4 + variables + openings] == 0) {
        error(id, "counts do not fit the fields");
        return;
    }
    for (int i = 0; i < variables; i++) {
        environment[i] = field[3 + i];
        if (*environment[i] == '=' || !strchr(environment[i], '=')) {
            error(id, "'%.200s' is not K=V", environment[i]);
            return;
        }
    }
    environment[variables] = NULL;
    for (int i = 0; i < openings; i++) {
        if (!parse_opening(field[4 + variables + i], &opening[i])) {
            error(id, "opening %d is not FD:MODE:PATH", i);
            return;
        }
        for (int other = 0; other < i; other++) {
            if (opening[other].fd == opening[i].fd) {
                error(id, "descriptor %d is opened twice", (int)opening[i].fd);
                return;
            }
        }
    }
    int count = 0;
    for (int i = 4 + (int)variables + (int)openings; i < fields; i++)
        arguments[count++] = field[i];
    arguments[count] = NULL;
    for (struct child *c = child; c < child + CHILDREN; c++) {
        if (c->pid == 0) {
            spawn(id, c, opening, (int)openings, environment, arguments);
            return;
        }
    }
    error(id, "%d programs run already", CHILDREN);
}

static void send_signal(const char *id)
{
    int64_t signal;
    struct child *c = find_child(field[2]);
    if (!c)
        error(id, "no program %.20s runs", field[2]);
    else if (!number(field[3], 0, 64, &signal))
        error(id, "'%.20s' is no signal", field[3]);
    else if (kill(c->pid, (int)signal) < 0)
        error(id, "kill %d: %s", (int)c->pid, strerror(errno));
    else
        ok(id);
}

/* What follows the program's name in a stat file, which may hold blanks and brackets. */
static char *after_name(char *text)
{
    char *end = strrchr(text, ')');
    return end && end[1] == ' ' ? end + 2 : NULL;
}

static void state(const char *id)
{
    struct child *c = find_child(field[2]);
    char path[PATH_MAX], text[1024], letters[THREADS + 1];
    int count = 0;
    if (!c) {
        error(id, "no program %.20s runs", field[2]);
        return;
    }
    snprintf(path, sizeof path, "/proc/%d/task", (int)c->pid);
    DIR *tasks = opendir(path);
    for (struct dirent *task; tasks && count < THREADS && (task = readdir(tasks));) {
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/stat", (int)c->pid, task->d_name);
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

static void io(const char *id)
{
    struct child *c = find_child(field[2]);
    char path[64], text[1024];
    if (!c) {
        error(id, "no program %.20s runs", field[2]);
        return;
    }
    snprintf(path, sizeof path, "/proc/%d/io", (int)c->pid);
    if (slurp(path, text, sizeof text) < 0) {
        error(id, "%s: %s", path, strerror(errno));
        return;
    }
    begin(id, "ok");
    put_number(line_value(text, "rchar: "));
    put_number(line_value(text, "wchar: "));
    finish(id);
}

static void faults(const char *id)
{
    struct child *c = find_child(field[2]);
    char path[64], text[1024];
    long long minor, major;
    if (!c) {
        error(id, "no program %.20s runs", field[2]);
        return;
    }
    snprintf(path, sizeof path, "/proc/%d/stat", (int)c->pid);
    char *rest = slurp(path, text, sizeof text) > 0 ? after_name(text) : NULL;
    if (!rest || sscanf(rest, "%*c %*d %*d %*d %*d %*d %*u %lld %*u %lld", &minor, &major) != 2) {
        error(id, "%s cannot be read", path);
        return;
    }
    begin(id, "ok");
    put_number(minor);
    put_number(major);
    finish(id);
}

/* ---- networks ---- */

static int on_interface(const char *name, unsigned long call, struct ifreq *request)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    strncpy(request->ifr_name, name, IFNAMSIZ - 1);
    int done = ioctl(fd, call, request), error = errno;
    close(fd);
    errno = error;
    return done;
}

static int set_up(const char *name)
{
    struct ifreq request = {0};
    if (on_interface(name, SIOCGIFFLAGS, &request) < 0)
        return -1;
    request.ifr_flags |= IFF_UP;
    return on_interface(name, SIOCSIFFLAGS, &request);
}

static int net_setting(const char *name, const char *setting, const char *value)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/class/net/%s/%s", sys_folder, name, setting);
    return spill(path, value);
}

/* Without addresses of its own an interface sends nothing by itself. */
static void silence(const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
    spill(path, "1"); /* absent in a kernel without IPv6 */
}

static bool net_has(const char *name, const char *entry)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/class/net/%.15s/%s", sys_folder, name, entry);
    return access(path, F_OK) == 0;
}

/* A bridge takes the address of its port over, so bridges do not count. */
static bool find_interface(const char *mac, char *name)
{
    char path[PATH_MAX], address[64];
    bool found = false;
    snprintf(path, sizeof path, "%s/class/net", sys_folder);
    DIR *all = opendir(path);
    for (struct dirent *one; !found && all && (one = readdir(all));) {
        snprintf(path, sizeof path, "%s/class/net/%.15s/address", sys_folder, one->d_name);
        if (one->d_name[0] == '.' || slurp(path, address, sizeof address) <= 0
            || strcasecmp(mac, address) != 0 || net_has(one->d_name, "bridge")
            || net_has(one->d_name, "tun_flags"))
            continue;
        found = true;
        snprintf(name, IFNAMSIZ, "%.15s", one->d_name);
    }
    if (all)
        closedir(all);
    return found;
}

static int delete_interface(const char *name)
{
    struct {
        struct nlmsghdr header;
        struct ifinfomsg info;
    } request = {
        .header = {.nlmsg_len = sizeof request, .nlmsg_type = RTM_DELLINK,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
        .info = {.ifi_index = (int)if_nametoindex(name)},
    };
    struct {
        struct nlmsghdr header;
        struct nlmsgerr result;
        char rest[1024];
    } reply = {0};
    if (request.info.ifi_index == 0)
        return -1;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0)
        return -1;
    bool done = send(fd, &request, sizeof request, 0) == sizeof request
        && recv(fd, &reply, sizeof reply, 0) >= (ssize_t)(sizeof reply.header + sizeof reply.result);
    int error = done ? -reply.result.error : errno;
    close(fd);
    errno = error;
    return error ? -1 : 0;
}

static int add_to_bridge(const char *bridge, const char *name)
{
    struct ifreq request = {.ifr_ifindex = (int)if_nametoindex(name)};
    if (on_interface(bridge, SIOCBRADDIF, &request) < 0)
        return -1;
    /* Two ports: what comes in at one goes out at the other. A bridge that learns would hold back
     * frames for a guest that it heard on the outer side before that guest arrived here. */
    return net_setting(name, "brport/learning", "0");
}

static int make_bridge(const char *bridge)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int done = ioctl(fd, SIOCBRADDBR, bridge), error = errno;
    close(fd);
    errno = error;
    return done;
}

static int make_tap(const char *name)
{
    if (if_nametoindex(name) != 0) {
        errno = EEXIST;
        return -1;
    }
    int fd = attach_tap(name);
    if (fd < 0)
        return -1;
    int done = ioctl(fd, TUNSETPERSIST, 1), error = errno;
    close(fd);
    errno = error;
    return done;
}

/* The step that failed, or NULL. */
static const char *join(const char *name, const char *bridge, const char *tap)
{
    silence(bridge);
    silence(name);
    silence(tap);
    if (net_setting(bridge, "bridge/stp_state", "0") < 0) return "spanning tree";
    if (net_setting(bridge, "bridge/forward_delay", "0") < 0) return "forward delay";
    if (net_setting(bridge, "bridge/multicast_snooping", "0") < 0) return "snooping";
    /* Link-local groups too, apart from those that the kernel never forwards. */
    if (net_setting(bridge, "bridge/group_fwd_mask", "0xfff8") < 0) return "forwarded groups";
    if (add_to_bridge(bridge, name) < 0) return "interface";
    if (add_to_bridge(bridge, tap) < 0) return "tap";
    if (set_up(tap) < 0) return "tap up";
    if (set_up(bridge) < 0) return "bridge up";
    if (set_up(name) < 0) return "interface up";
    return NULL;
}

static void bridge_name(char *bridge, const char *tap)
{
    snprintf(bridge, IFNAMSIZ, "b-%.*s", TAP, tap);
}

static void make_link(const char *id, const char *name, const char *tap)
{
    char bridge[IFNAMSIZ];
    bridge_name(bridge, tap);
    if (net_has(name, "brport")) {
        error(id, "%s is in a bridge already", name);
    } else if (make_bridge(bridge) < 0) {
        error(id, "bridge %s: %s", bridge, strerror(errno));
    } else if (make_tap(tap) < 0) {
        error(id, "tap %s: %s", tap, strerror(errno));
        delete_interface(bridge);
    } else {
        const char *step = join(name, bridge, tap);
        if (step) {
            error(id, "%s to %s, %s: %s", name, tap, step, strerror(errno));
            delete_interface(tap);
            delete_interface(bridge);
        } else {
            ok(id);
        }
    }
}

static bool is_tap_name(const char *name)
{
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");
    return length > 0 && length <= TAP && name[length] == 0;
}

static void remove_link(const char *id)
{
    char bridge[IFNAMSIZ];
    if (!is_tap_name(field[2])) {
        error(id, "'%.40s' is no tap's name", field[2]);
        return;
    }
    bridge_name(bridge, field[2]);
    if (!net_has(bridge, "bridge") || !net_has(field[2], "tun_flags"))
        error(id, "there is no link %s", field[2]);
    else if (delete_interface(field[2]) < 0 || delete_interface(bridge) < 0)
        error(id, "%s: %s", field[2], strerror(errno));
    else
        ok(id);
}

/* ---- devices that may not be there yet ---- */

/* The entry of SYS/FOLDER in whose FILE stands WANTED. */
static bool find_entry(const char *folder, const char *file, const char *wanted, char *name)
{
    char path[PATH_MAX], text[NAME];
    bool found = false;
    snprintf(path, sizeof path, "%s/%s", sys_folder, folder);
    DIR *all = opendir(path);
    for (struct dirent *one; !found && all && (one = readdir(all));) {
        snprintf(path, sizeof path, "%s/%s/%.64s/%s", sys_folder, folder, one->d_name, file);
        if (one->d_name[0] != '.' && slurp(path, text, sizeof text) >= 0 && !strcmp(text, wanted)) {
            found = true;
            snprintf(name, NAME, "/dev/%.64s", one->d_name);
        }
    }
    if (all)
        closedir(all);
    return found;
}

static bool find_port(const char *wanted, char *name)
{
    return find_entry("class/virtio-ports", "name", wanted, name);
}

static bool found_now(const struct wait *w)
{
    char name[NAME];
    bool found = w->kind == WAIT_PORT ? find_port(w->name, name)
        : w->kind == WAIT_DISK        ? find_entry("block", "serial", w->name, name)
                                      : find_interface(w->name, name);
    if (!found || w->connection != connection)
        return found;
    if (w->kind == WAIT_LINK) {
        make_link(w->id, name, w->tap);
    } else {
        begin(w->id, "ok");
        put(name);
        finish(w->id);
    }
    return true;
}

static void look_again(void)
{
    for (struct wait *w = waiting; w < waiting + WAITS; w++) {
        if (w->kind == WAIT_NONE)
            continue;
        if (w->connection != connection) {
            w->kind = WAIT_NONE;
        } else if (found_now(w)) {
            w->kind = WAIT_NONE;
        } else if (milliseconds(CLOCK_MONOTONIC) >= w->deadline) {
            error(w->id, "%s did not appear", w->name);
            w->kind = WAIT_NONE;
        }
    }
}

static void wait_for(const char *id, enum wait_kind kind)
{
    const char *tap = kind == WAIT_LINK ? field[3] : "";
    int64_t limit;
    if (!number(field[fields - 1], 0, MAX_WAIT_MS, &limit) || strlen(field[2]) >= NAME
        || *field[2] == 0) {
        error(id, "malformed name or time");
        return;
    }
    if (kind == WAIT_LINK && !is_tap_name(tap)) {
        error(id, "'%.40s' is no tap's name: 1 to %d letters, digits, '-', '_'", tap, TAP);
        return;
    }
    struct wait w = {.kind = kind, .connection = connection,
                     .deadline = milliseconds(CLOCK_MONOTONIC) + limit};
    strcpy(w.id, id);
    strcpy(w.name, field[2]);
    strcpy(w.tap, tap);
    if (found_now(&w))
        return;
    for (struct wait *free = waiting; free < waiting + WAITS; free++) {
        if (free->kind == WAIT_NONE) {
            *free = w;
            return;
        }
    }
    error(id, "%d requests wait already", WAITS);
}

/* ---- outlets ---- */

/* False when the device's other end has gone. */
static bool pour(int device, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t done = write(device, bytes, length);
        if (done >= 0) {
            bytes += done;
            length -= (size_t)done;
        } else if (errno == EAGAIN) {
            struct pollfd wanted = {.fd = device, .events = POLLOUT};
            poll(&wanted, 1, -1);
            if (!(wanted.revents & POLLOUT))
                return false;
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

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

/* Below RUN, and no way out of it. */
static bool is_own_path(const char *path)
{
    size_t length = strlen(run_folder);
    return strncmp(path, run_folder, length) == 0 && path[length] == '/' && path[length + 1] != 0
        && !strstr(path, "/..") && strlen(path) < sizeof outlet->path;
}

static void open_outlet(const char *id)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct outlet *free = NULL;
    if (!is_own_path(field[3])) {
        error(id, "'%.200s' is not below %s", field[3], run_folder);
        return;
    }
    strcpy(address.sun_path, field[3]);
    for (struct outlet *o = outlet; o < outlet + OUTLETS && !free; o++)
        if (o->pid == 0)
            free = o;
    if (!free) {
        error(id, "%d outlets are open already", OUTLETS);
        return;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        error(id, "%s: %s", field[3], strerror(errno));
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
        error(id, "%s: %s", field[3], strerror(errno));
        unlink(field[3]);
    } else {
        free->pid = pid;
        strcpy(free->path, field[3]);
        ok(id);
    }
    close(fd);
}

static void end_outlet(const char *id)
{
    for (struct outlet *o = outlet; o < outlet + OUTLETS; o++) {
        if (o->pid != 0 && strcmp(o->path, field[2]) == 0) {
            kill(o->pid, SIGKILL);
            close_outlet(o); /* the process is reaped like an orphan */
            ok(id);
            return;
        }
    }
    error(id, "there is no outlet %.200s", field[2]);
}

/* ---- the machine ---- */

/* QEMU's docs/specs/acpi_mem_hotplug: a selector, then the slot's flags: 1 enabled, 8 eject. */
static void eject(const char *id)
{
    enum { SELECTOR = 0xa00, FLAGS = 0xa14, ENABLED = 1, KNOWN = 7, EJECT = 8 };
    int64_t slot;
    if (!number(field[2], 0, 255, &slot)) {
        error(id, "'%.20s' is no slot", field[2]);
        return;
    }
    if (!is_init) {
        error(id, "not in a machine");
        return;
    }
    if (ioperm(SELECTOR, 0x18, 1) < 0) {
        error(id, "ioperm: %s", strerror(errno));
        return;
    }
    outl((unsigned)slot, SELECTOR);
    unsigned flags = inb(FLAGS);
    /* Where no such device answers, all bits are set. */
    if ((flags & ~(unsigned)KNOWN) != 0 || !(flags & ENABLED)) {
        error(id, "slot %d holds no memory (flags %#x)", (int)slot, flags);
        return;
    }
    outb(EJECT, FLAGS);
    ok(id);
}

/* FOLDER's files as NAME=VALUE fields; those that cannot be read are left out. */
static int put_files(const char *folder)
{
    char path[PATH_MAX], text[256];
    int count = 0;
    DIR *all = opendir(folder);
    for (struct dirent *one; all && (one = readdir(all));) {
        struct stat what;
        snprintf(path, sizeof path, "%s/%s", folder, one->d_name);
        if (stat(path, &what) == 0 && S_ISREG(what.st_mode)
            && slurp(path, text, sizeof text) >= 0) {
            put_pair(one->d_name, text);
            count++;
        }
    }
    if (all)
        closedir(all);
    return count;
}

static void kvm(const char *id)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/kernel/debug/kvm", sys_folder);
    begin(id, "ok");
    if (put_files(path) == 0)
        error(id, "%s has no statistics", path);
    else
        finish(id);
}

static void parameters(const char *id)
{
    static const char *const module[] = {"kvm", "kvm_amd", "kvm_intel"};
    char path[PATH_MAX];
    int count = 0;
    begin(id, "ok");
    for (size_t i = 0; i < sizeof module / sizeof *module; i++) {
        snprintf(path, sizeof path, "%s/module/%s/parameters", sys_folder, module[i]);
        count += put_files(path);
    }
    if (count == 0)
        error(id, "KVM is not loaded");
    else
        finish(id);
}

static void halt_poll(const char *id)
{
    char path[PATH_MAX];
    int64_t value;
    snprintf(path, sizeof path, "%s/module/kvm/parameters/halt_poll_ns", sys_folder);
    if (!number(field[2], 0, UINT32_MAX, &value))
        error(id, "'%.20s' is no number of nanoseconds", field[2]);
    else if (spill(path, field[2]) < 0)
        error(id, "%s: %s", path, strerror(errno));
    else
        ok(id);
}

static void hello(const char *id)
{
    begin(id, "ok");
    put_hello();
    finish(id);
}

static void clock_now(const char *id)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    begin(id, "ok");
    put_number(now.tv_sec * 1000000000LL + now.tv_nsec);
    finish(id);
}

static void power_off(const char *id)
{
    ok(id);
    if (!is_init)
        exit(0);
    sync();
    reboot(RB_POWER_OFF);
}

/* ---- requests ---- */

static void wait_port(const char *id) { wait_for(id, WAIT_PORT); }
static void wait_disk(const char *id) { wait_for(id, WAIT_DISK); }
static void wait_link(const char *id) { wait_for(id, WAIT_LINK); }

static const struct {
    const char *verb;
    int fields; /* after the verb; -1: any */
    void (*serve)(const char *id);
} verbs[] = {
    {"hello", 0, hello}, {"port", 2, wait_port}, {"disk", 2, wait_disk}, {"link", 3, wait_link},
    {"unlink", 1, remove_link}, {"start", -1, start}, {"signal", 2, send_signal},
    {"state", 1, state}, {"io", 1, io}, {"faults", 1, faults}, {"outlet", 2, open_outlet},
    {"outlet-close", 1, end_outlet}, {"eject", 1, eject}, {"kvm", 0, kvm}, {"clock", 0, clock_now},
    {"halt-poll", 1, halt_poll}, {"parameters", 0, parameters}, {"poweroff", 0, power_off},
};

/* The first word when it can be one, else '?', into id. */
static void take_id(const char *line, char *id)
{
    size_t length = 0;
    while (length <= ID && isalnum((unsigned char)line[length]))
        length++;
    bool good = length > 0 && length <= ID && (line[length] == ' ' || line[length] == 0);
    snprintf(id, ID + 1, "%.*s", good ? (int)length : 1, good ? line : "?");
}

static bool has_control(const char *line, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            return true;
    return false;
}

static void serve(char *line, size_t length)
{
    char id[ID + 1];
    /* A host that connects sends CANCEL, to end what an earlier one may have begun. */
    if (length == 0 || (length == 1 && *line == CANCEL))
        return;
    take_id(line, id);
    if (*id == '?' || has_control(line, length) || !split(line) || fields < 2) {
        error(id, "malformed request");
        return;
    }
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(verbs[i].verb, field[1]) != 0)
            continue;
        if (verbs[i].fields >= 0 && verbs[i].fields != fields - 2)
            error(id, "%s takes %d fields", verbs[i].verb, verbs[i].fields);
        else
            verbs[i].serve(id);
        return;
    }
    error(id, "there is no verb '%.40s'", field[1]);
}

/* Serves the whole lines in the buffer and keeps the rest. */
static void serve_lines(void)
{
    size_t from = 0;
    char *end;
    while (out_length <= QUEUE - 2 * LINE
           && (end = memchr(in + from, '\n', in_length - from)) != NULL) {
        *end = 0;
        if (!in_skipping)
            serve(in + from, (size_t)(end - in) - from);
        in_skipping = false;
        from = (size_t)(end - in) + 1;
    }
    memmove(in, in + from, in_length - from);
    in_length -= from;
    if (in_length == LINE && memchr(in, '\n', in_length) == NULL) {
        char id[ID + 1];
        in[LINE - 1] = 0;
        take_id(in, id);
        if (!in_skipping)
            error(id, "a line has at most %d bytes", LINE);
        in_skipping = true;
        in_length = 0;
    }
}

static void tell_ends(void)
{
    for (struct child *c = child; c < child + CHILDREN; c++)
        if (c->pid != 0 && c->ended)
            tell_end(c);
}

static void connect_host(void)
{
    connected = true;
    connection++;
    begin("-", "hello");
    put_hello();
    finish("-");
}

static void lose_host(void)
{
    connected = false;
    connection++;
    in_length = out_length = 0;
    in_skipping = false;
}

static void lose_port(void)
{
    lose_host();
    close(port);
    port = -1;
    if (!is_init)
        exit(0);
}

/* Edge-triggered, because a port without a host is always ready. */
static void open_port(void)
{
    char path[NAME];
    if (!find_port(PORT_NAME, path))
        return;
    port = open(path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (port >= 0)
        watch(port, FROM_PORT, 0, EPOLLIN | EPOLLOUT | EPOLLET);
}

/* Does all that can be done at the port now. */
static void serve_port(void)
{
    while (port >= 0) {
        struct pollfd now = {.fd = port, .events = POLLIN | POLLOUT};
        poll(&now, 1, 0);
        bool host = !(now.revents & POLLHUP);
        if (!host && is_init) {
            if (connected)
                lose_host();
            return;
        }
        if (!connected)
            connect_host();
        flush();
        tell_ends();
        serve_lines();
        if (in_length == LINE || out_length > QUEUE - 2 * LINE)
            return;
        ssize_t got = read(port, in + in_length, LINE - in_length);
        if (got > 0)
            in_length += (size_t)got;
        else if (got == 0 && is_init)
            continue; /* the host has gone meanwhile, which the next round sees */
        else if (got == 0 || (errno != EAGAIN && errno != EINTR))
            lose_port();
        else if (errno == EAGAIN)
            return;
    }
}

static void drain(int fd)
{
    char bytes[8192];
    while (read(fd, bytes, sizeof bytes) > 0) {
    }
}

static int patience(void)
{
    if (port < 0)
        return TICK_MS;
    for (const struct wait *w = waiting; w < waiting + WAITS; w++)
        if (w->kind != WAIT_NONE)
            return TICK_MS;
    return -1;
}

static void serve_for_ever(void)
{
    sigset_t children;
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    sigprocmask(SIG_BLOCK, &children, NULL);
    signal(SIGPIPE, SIG_IGN);
    int signals = signalfd(-1, &children, SFD_NONBLOCK | SFD_CLOEXEC);
    int uevents = socket(AF_NETLINK, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
                         NETLINK_KOBJECT_UEVENT);
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK, .nl_groups = 1};
    watch(signals, FROM_SIGNALS, 0, EPOLLIN);
    if (uevents >= 0 && bind(uevents, (struct sockaddr *)&kernel, sizeof kernel) == 0)
        watch(uevents, FROM_UEVENTS, 0, EPOLLIN);
    while (true) {
        if (port < 0)
            open_port();
        serve_port();
        struct epoll_event event[16];
        int count = epoll_wait(events, event, 16, patience());
        for (int i = 0; i < count; i++) {
            switch ((enum source)(event[i].data.u64 >> 32)) {
            case FROM_SIGNALS:
                drain(signals);
                reap();
                break;
            case FROM_UEVENTS:
                drain(uevents);
                break;
            case FROM_CHILD:
                read_output(&child[(uint32_t)event[i].data.u64]);
                break;
            case FROM_PORT:
                break;
            }
        }
        look_again();
    }
}

/* ---- process 1 ---- */

static void mount_at(const char *type, const char *folder)
{
    mkdir(folder, 0755);
    if (mount(type, folder, type, MS_NOSUID, NULL) < 0)
        complain("mount %s: %s", folder, strerror(errno));
}

/* Bit 2 of leaf 0x80000001's ecx is SVM; the other module is for VMX. */
static bool is_wanted(const char *module)
{
    unsigned a = 0x80000001, b, c = 0, d;
    __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    bool svm = c & 4;
    return strcmp(module, svm ? "kvm_intel.ko" : "kvm_amd.ko") != 0;
}

static void load_modules(void)
{
    char path[PATH_MAX], line[128];
    FILE *order = fopen("/lib/modules/order", "re");
    while (order && fgets(line, sizeof line, order)) {
        line[strcspn(line, "\n")] = 0;
        snprintf(path, sizeof path, "/lib/modules/%s", line);
        int fd = is_wanted(line) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        if (fd < 0)
            continue;
        if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST)
            complain("module %s: %s", line, strerror(errno));
        close(fd);
        unlink(path); /* loaded, so its memory is better used otherwise */
    }
    if (order)
        fclose(order);
}

static void set_kernel(void)
{
    spill("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
    spill("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
    /* A device state fits whole, so a hypervisor never waits for the pump. */
    spill("/proc/sys/net/core/wmem_max", "4194304");
    spill("/proc/sys/net/core/wmem_default", "4194304");
    if (set_up("lo") < 0)
        complain("lo: %s", strerror(errno));
}

static void prepare_machine(void)
{
    mount_at("devtmpfs", "/dev");
    mount_at("proc", "/proc");
    mount_at("sysfs", "/sys");
    mount_at("tmpfs", "/run");
    mount_at("tmpfs", "/tmp");
    mount_at("debugfs", "/sys/kernel/debug");
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    if (null > 2)
        close(null);
    load_modules();
    set_kernel();
    if (chdir("/tmp") < 0)
        complain("chdir /tmp: %s", strerror(errno));
}

static void raise_limit(void)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < 65536 ? files.rlim_max : 65536;
    setrlimit(RLIMIT_NOFILE, &files);
}

/* ---- programs of its own: the image has no other ---- */

static int failed(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    return 1;
}

static int copy(const char *from, const char *bytes, const char *to)
{
    static char chunk[PUMP];
    int64_t left;
    if (!number(bytes, 0, INT64_MAX, &left)) {
        fprintf(stderr, "'%s' is no number of bytes\n", bytes);
        return 2;
    }
    int source = open(from, O_RDONLY | O_NOCTTY | O_CLOEXEC);
    if (source < 0)
        return failed(from);
    int target = open(to, O_WRONLY | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
    if (target < 0)
        return failed(to);
    struct timespec first = {0}, last;
    while (left > 0) {
        ssize_t got = read(source, chunk, left < PUMP ? (size_t)left : PUMP);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? failed(from) : (fprintf(stderr, "%s ended early\n", from), 1);
        if (first.tv_sec == 0)
            clock_gettime(CLOCK_MONOTONIC, &first);
        if (!pour(target, chunk, (size_t)got))
            return failed(to);
        left -= got;
    }
    clock_gettime(CLOCK_MONOTONIC, &last);
    printf("%lld\n", (long long)(last.tv_sec - first.tv_sec) * 1000000000 + last.tv_nsec
                          - first.tv_nsec);
    return 0;
}

static int as_program(int count, char **arguments)
{
    if (count == 5 && !strcmp(arguments[1], "copy"))
        return copy(arguments[2], arguments[3], arguments[4]);
    if (count == 3 && !strcmp(arguments[1], "remove") && is_own_path(arguments[2]))
        return unlink(arguments[2]) < 0 ? failed(arguments[2]) : 0;
    fprintf(stderr, "usage: agent FD RUN SYS | copy FROM BYTES TO | remove PATH\n");
    return 2;
}

/* Whoever asks waits, whatever else runs in here. Programs that are started are ordinary again. */
static void be_first(void)
{
    struct sched_param how = {.sched_priority = 1};
    if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &how) < 0)
        complain("scheduling: %s", strerror(errno));
}

int main(int count, char **arguments)
{
    int64_t fd;
    is_init = getpid() == 1 && count == 1;
    umask(077);
    if (is_init) {
        prepare_machine();
        be_first();
    } else if (count == 4 && number(arguments[1], 0, 1023, &fd)) {
        port = (int)fd;
        run_folder = arguments[2];
        sys_folder = arguments[3];
        fcntl(port, F_SETFL, fcntl(port, F_GETFL) | O_NONBLOCK);
        fcntl(port, F_SETFD, FD_CLOEXEC);
    } else {
        return as_program(count, arguments);
    }
    raise_limit();
    mkdir(run_folder, 0700);
    events = epoll_create1(EPOLL_CLOEXEC);
    if (port >= 0)
        watch(port, FROM_PORT, 0, EPOLLIN | EPOLLOUT | EPOLLET);
    serve_for_ever();
}
