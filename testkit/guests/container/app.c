/*
 * A program that notices when its memory, its clock or its connections suffer: what runs in the
 * container while the operating system below it is replaced.
 *
 *     app MEGABYTES PORT [PAGES [CHILDREN]]
 *
 * Fills MEGABYTES of private memory with pages that say which page they are, how often they were
 * written, and a pattern made of both. A thread rewrites PAGES of them each 10 ms (default 8), spread
 * over all. Each of CHILDREN forked processes keeps that memory as it was at the fork, except for every
 * eighth page, which it writes itself, so most of its pages are shared with the parent.
 *
 * Serves TCP connections at PORT, one command a line:
 *
 *     ping     pong COUNTER PAUSE KERNEL     the counter grows with every answer, PAUSE is the longest
 *                                            time in ms between two rounds of the server since the last
 *                                            ping
 *     stream   tick COUNTER KERNEL           each 10 ms, until the connection ends
 *     verify   good PAGES WRITTEN            all pages of all processes are as they must be
 *              bad PAGES                     so many are not
 *
 * Says on its output each second how it is.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

enum {
    PAGE = 4096,
    WORDS = PAGE / 8,
    CONNECTIONS = 16,
    CHILDREN = 8,
    LINE = 64,
    PIECE = 256, /* pages that are verified between two looks at the connections */
    TICK_MS = 10,
    OWN = 8, /* a child writes each so many'th page */
};

static uint64_t *memory;
static uint32_t *written; /* how often each page was */
static size_t pages;
static uint64_t writes;
static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;

static int children;
static int to_child[CHILDREN];

static struct connection {
    int fd; /* -1: free */
    char line[LINE];
    size_t length;
    bool streams, verifies;
    size_t at, bad;
} connection[CONNECTIONS];

static uint64_t counter;
static int64_t longest_ms;

static void fail(const char *what)
{
    fprintf(stderr, "app: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static uint64_t pattern(size_t page, uint32_t time)
{
    return (page * 0x9E3779B97F4A7C15ull) ^ (time * 0xC2B2AE3D27D4EB4Full);
}

static void write_page(size_t page, uint32_t time)
{
    uint64_t *word = memory + page * WORDS, mix = pattern(page, time);
    word[0] = page;
    word[1] = time;
    for (size_t i = 2; i < WORDS; i++)
        word[i] = mix + i;
    written[page] = time;
}

static bool is_good(size_t page)
{
    const uint64_t *word = memory + page * WORDS;
    uint64_t mix = pattern(page, written[page]);
    bool good = word[0] == page && word[1] == written[page];
    for (size_t i = 2; i < WORDS; i++)
        good &= word[i] == mix + i;
    return good;
}

static size_t count_bad(size_t from, size_t to)
{
    size_t bad = 0;
    for (size_t page = from; page < to; page++)
        bad += !is_good(page);
    return bad;
}

static void *keep_writing(void *amount)
{
    size_t count = *(size_t *)amount, at = 0;
    while (true) {
        usleep(TICK_MS * 1000);
        pthread_mutex_lock(&writing);
        for (size_t i = 0; i < count; i++) {
            at = (at + 7919) % pages; /* a prime, so that it comes to all of them */
            write_page(at, written[at] + 1);
        }
        writes += count;
        pthread_mutex_unlock(&writing);
    }
    return NULL;
}

/* ---- children ---- */

static void be_child(int fd)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (size_t page = 0; page < pages; page += OWN)
        write_page(page, written[page] + 1000000);
    char byte;
    while (read(fd, &byte, 1) == 1) {
        uint64_t bad = count_bad(0, pages);
        if (write(fd, &bad, sizeof bad) != sizeof bad)
            break;
    }
    _exit(0);
}

static void start_children(int count)
{
    for (; children < count; children++) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
            fail("socketpair");
        pid_t pid = fork();
        if (pid < 0)
            fail("fork");
        if (pid == 0) {
            close(pair[0]);
            be_child(pair[1]);
        }
        close(pair[1]);
        to_child[children] = pair[0];
    }
}

static size_t ask_children(void)
{
    size_t sum = 0;
    for (int i = 0; i < children; i++) {
        uint64_t bad;
        if (write(to_child[i], "v", 1) != 1 || read(to_child[i], &bad, sizeof bad) != sizeof bad)
            bad = pages;
        sum += bad;
    }
    return sum;
}

/* ---- connections ---- */

static void hang_up(struct connection *c)
{
    close(c->fd);
    c->fd = -1;
}

static void say(struct connection *c, const char *text)
{
    ssize_t sent = send(c->fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR) && c->streams)
        return; /* who does not read loses ticks */
    if (sent != (ssize_t)strlen(text))
        hang_up(c);
}

static const char *kernel(void)
{
    static struct utsname name;
    uname(&name);
    return name.release;
}

static void answer(struct connection *c)
{
    char text[160];
    if (!strcmp(c->line, "ping")) {
        snprintf(text, sizeof text, "pong %" PRIu64 " %" PRId64 " %s\n", ++counter, longest_ms,
                 kernel());
        longest_ms = 0;
        say(c, text);
    } else if (!strcmp(c->line, "stream")) {
        c->streams = true;
    } else if (!strcmp(c->line, "verify")) {
        c->verifies = true;
        c->at = c->bad = 0;
    } else {
        say(c, "what?\n");
    }
}

static void listen_to(struct connection *c)
{
    char bytes[LINE];
    ssize_t got = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        hang_up(c);
        return;
    }
    for (ssize_t i = 0; i < got && c->fd >= 0; i++) {
        if (bytes[i] == '\n') {
            c->line[c->length] = 0;
            c->length = 0;
            answer(c);
        } else if (c->length < LINE - 1) {
            c->line[c->length++] = bytes[i];
        } else {
            hang_up(c);
        }
    }
}

static void welcome(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), on = 1;
    if (fd < 0)
        return;
    for (struct connection *c = connection; c < connection + CONNECTIONS; c++) {
        if (c->fd < 0) {
            *c = (struct connection){.fd = fd};
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            return;
        }
    }
    close(fd);
}

static void go_on_verifying(struct connection *c)
{
    size_t to = pages - c->at < PIECE ? pages : c->at + PIECE;
    pthread_mutex_lock(&writing);
    c->bad += count_bad(c->at, to);
    pthread_mutex_unlock(&writing);
    c->at = to;
    if (to < pages)
        return;
    c->verifies = false;
    c->bad += ask_children();
    char text[80];
    if (c->bad > 0)
        snprintf(text, sizeof text, "bad %zu\n", c->bad);
    else
        snprintf(text, sizeof text, "good %zu %" PRIu64 "\n", pages * (size_t)(1 + children), writes);
    say(c, text);
}

static int serve_at(int port)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1, off = 0;
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    /* One socket for IPv4 too, as many servers have it. */
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 8) < 0)
        fail("the port");
    return fd;
}

static void serve(int listener)
{
    int64_t last = milliseconds(), ticked = 0, said = 0;
    while (true) {
        struct pollfd watched[CONNECTIONS + 1] = {{.fd = listener, .events = POLLIN}};
        bool busy = false;
        for (int i = 0; i < CONNECTIONS; i++) {
            watched[i + 1] = (struct pollfd){.fd = connection[i].fd, .events = POLLIN};
            busy |= connection[i].fd >= 0 && connection[i].verifies;
        }
        poll(watched, CONNECTIONS + 1, busy ? 0 : TICK_MS);
        int64_t now = milliseconds();
        if (now - last > longest_ms)
            longest_ms = now - last;
        last = now;
        if (watched[0].revents)
            welcome(listener);
        bool tick = now - ticked >= TICK_MS;
        if (tick)
            ticked = now;
        for (int i = 0; i < CONNECTIONS; i++) {
            struct connection *c = &connection[i];
            if (c->fd >= 0 && c->fd == watched[i + 1].fd && watched[i + 1].revents)
                listen_to(c);
            if (c->fd >= 0 && c->verifies)
                go_on_verifying(c);
            if (c->fd >= 0 && c->streams && tick) {
                char text[120];
                snprintf(text, sizeof text, "tick %" PRIu64 " %s\n", ++counter, kernel());
                say(c, text);
            }
        }
        if (now - said >= 1000) {
            said = now;
            printf("counter %" PRIu64 ", %" PRIu64 " writes to %zu pages, on %s\n", counter, writes,
                   pages, kernel());
            fflush(stdout);
        }
    }
}

static size_t number(const char *text, size_t least, size_t most)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || value < least || value > most) {
        fprintf(stderr, "app: '%s' is no number from %zu to %zu\n", text, least, most);
        exit(2);
    }
    return value;
}

int main(int count, char **arguments)
{
    if (count < 3 || count > 5) {
        fprintf(stderr, "usage: app MEGABYTES PORT [PAGES [CHILDREN]]\n");
        return 2;
    }
    pages = number(arguments[1], 1, 1 << 20) * (1024 * 1024 / PAGE);
    int port = (int)number(arguments[2], 1, 65535);
    static size_t amount = 8;
    if (count > 3)
        amount = number(arguments[3], 0, 100000);
    int wanted = count > 4 ? (int)number(arguments[4], 0, CHILDREN) : 0;
    signal(SIGPIPE, SIG_IGN);
    memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    written = calloc(pages, sizeof *written);
    if (memory == MAP_FAILED || !written)
        fail("memory");
    for (size_t page = 0; page < pages; page++)
        write_page(page, 1);
    start_children(wanted);
    for (int i = 0; i < CONNECTIONS; i++)
        connection[i].fd = -1;
    int listener = serve_at(port);
    pthread_t writer;
    if (amount > 0 && pthread_create(&writer, NULL, keep_writing, &amount) != 0)
        fail("the writer");
    serve(listener);
}
