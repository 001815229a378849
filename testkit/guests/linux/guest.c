/*
 * The work of the Linux test guest: a heartbeat in one page of RAM that a host can find and watch,
 * a region of memory whose contents are proved again and again, and load on network, disk and RAM.
 * README.md describes the heartbeat page, which is the contract with the host.
 *
 * Each subcommand does its set-up, goes to the background and only then lets its caller go on, with
 * status 0 if it is up and 1 (and one line on stderr) if not.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096u
#define MIB (1024u * 1024u)
#define SECOND 1000000000ull
#define HEARTBEAT_FILE "/run/heartbeat"
#define HEARTBEAT_VERSION 3u
#define DEFAULT_PERIOD_US 250
#define REGION_BYTES (4 * MIB)
#define REGION_WORDS (REGION_BYTES / sizeof(uint64_t))
#define SLICE_WORDS 16384u
#define IDLE_PER_BUSY 19u /* 5 % of one processor */
#define DISK_BYTES (16 * MIB)
#define DISK_INTERVAL_NS (SECOND / 20)
#define FILL_WORDS (PAGE / sizeof(uint64_t) - 5)
#define DISK_MAGIC 0x4859504653444b31ull
#define DATA "/data"
#define FILES 16u
#define FILE_RECORDS 64u
#define FILE_RECORD_WORDS 64u
#define FILE_RECORD_BYTES (FILE_RECORD_WORDS * sizeof(uint64_t))
#define FILE_BYTES (FILE_RECORDS * FILE_RECORD_BYTES)
#define FILE_MAGIC 0x4859504653464c31ull
#define FILE_INTERVAL_NS (SECOND / 5)
#define UNMOUNT_ATTEMPTS 200
#define DIRTY_TICK_NS (SECOND / 100)
#define CLIENTS 256
#define CLIENT_BYTES 16384
#define INPUTS 8

typedef _Atomic uint64_t word;

struct heartbeat {
    word magic[2];
    word version;
    word beats;
    word beat_ns;
    word largest_gap_ns;
    word region_expected;
    word region_computed;
    word region_passes;
    word region_mismatches;
    word disk_sequence;
    word disk_errors;
    word echo_connections;
    word echo_bytes;
    word boot_id;
    word file_sequence;
    word file_errors;
    word file_mismatches;
    word wall_offset_ns;
};

_Static_assert(sizeof(struct heartbeat) == 19 * sizeof(uint64_t), "the page layout is a contract");

/* The magic words must stand nowhere in RAM but in the heartbeat page, so the binary has them only
   as halves of an XOR, and volatile keeps the compiler from joining them. */
static const volatile uint64_t magic_mask = 0x7c1f3a55e9d204b8ull;
static const volatile uint64_t magic_half[2] = {0x34466a13bb814c89ull, 0xe12556407134a01dull};

static struct heartbeat *page;
static const char *subcommand = "guest";

static void set(word *to, uint64_t value) {
    atomic_store_explicit(to, value, memory_order_release);
}

static uint64_t get(word *from) {
    return atomic_load_explicit(from, memory_order_acquire);
}

/* Each word has a single writer, so adding needs no atomic read-modify-write. */
static void add(word *to, uint64_t value) { set(to, get(to) + value); }

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
    int error = errno;
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", subcommand);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    if (error) fprintf(stderr, ": %s", strerror(error));
    fputc('\n', stderr);
    exit(1);
}

static uint64_t number(const char *text, uint64_t least, uint64_t most, const char *what) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || *end || end == text || *text == '-' || value < least || value > most) {
        errno = 0;
        fail("%s is \"%s\", it must be a number from %llu to %llu", what, text,
             (unsigned long long)least, (unsigned long long)most);
    }
    return value;
}

static uint64_t clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

static void sleep_until(uint64_t ns) {
    struct timespec until = {.tv_sec = (time_t)(ns / SECOND), .tv_nsec = (long)(ns % SECOND)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
    }
}

/* Beats that were missed, because the guest stood still, are not made up for in a burst. */
static uint64_t next_tick(uint64_t last, uint64_t period) {
    uint64_t now = clock_ns(CLOCK_MONOTONIC);
    return last + period > now ? last + period : now + period;
}

static int ready_pipe;

static void go_to_background(void) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC)) fail("pipe");
    pid_t child = fork();
    if (child < 0) fail("fork");
    if (child > 0) {
        char byte;
        close(ends[1]);
        exit(read(ends[0], &byte, 1) == 1 ? 0 : 1);
    }
    close(ends[0]);
    ready_pipe = ends[1];
    setsid();
}

static void tell_ready(void) {
    if (write(ready_pipe, "", 1) != 1) fail("tell the caller");
    close(ready_pipe);
}

/* One page of a tmpfs file, so that all subcommands share the very same page of guest RAM. */
static void map_heartbeat(void) {
    int file = open(HEARTBEAT_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0) fail("open " HEARTBEAT_FILE);
    if (ftruncate(file, PAGE)) fail("size " HEARTBEAT_FILE);
    page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file, 0);
    if (page == MAP_FAILED) fail("map " HEARTBEAT_FILE);
    if (mlock(page, PAGE)) fail("lock " HEARTBEAT_FILE);
    close(file);
}

static void *map_memory(size_t bytes, const char *what) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (memory == MAP_FAILED) fail("map %zu bytes for %s", bytes, what);
    return memory;
}

static void *map_locked(size_t bytes, const char *what) {
    void *memory = map_memory(bytes, what);
    if (mlock(memory, bytes)) fail("lock %zu bytes for %s", bytes, what);
    return memory;
}

/* splitmix64: the pattern of the region, one word after the other. */
static uint64_t pattern(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

#define CHECKSUM_START 0xcbf29ce484222325ull

/* FNV-1a with its 64-bit prime, a word instead of a byte a step because an emulated processor is
   slow. The rotation brings the high bits down, which FNV alone never does. */
static uint64_t checksum_step(uint64_t sum, uint64_t value) {
    sum = (sum ^ value) * 0x100000001b3ull;
    return sum << 29 | sum >> 35;
}

static uint64_t checksum(uint64_t sum, const uint64_t *words, size_t count) {
    for (size_t i = 0; i < count; i++) sum = checksum_step(sum, words[i]);
    return sum;
}

/* ---- heartbeat ---- */

static uint64_t make_boot_id(void) {
    uint64_t id = 0;
    /* GRND_INSECURE: the id must differ between guests and not delay a boot; it is no secret. */
    if (getrandom(&id, sizeof id, GRND_INSECURE) != sizeof id) fail("getrandom");
    id ^= clock_ns(CLOCK_REALTIME) * 0x9e3779b97f4a7c15ull;
    return id ? id : 1;
}

static void *check_region(void *argument) {
    const uint64_t *region = argument;
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 10);
    for (;;) {
        uint64_t sum = CHECKSUM_START;
        for (size_t at = 0; at < REGION_WORDS; at += SLICE_WORDS) {
            uint64_t busy = clock_ns(CLOCK_THREAD_CPUTIME_ID);
            sum = checksum(sum, region + at, SLICE_WORDS);
            busy = clock_ns(CLOCK_THREAD_CPUTIME_ID) - busy;
            sleep_until(clock_ns(CLOCK_MONOTONIC) + busy * IDLE_PER_BUSY);
        }
        set(&page->region_computed, sum);
        if (sum != get(&page->region_expected)) add(&page->region_mismatches, 1);
        add(&page->region_passes, 1);
    }
    return NULL;
}

static void start_region(uint64_t seed) {
    uint64_t *region = map_locked(REGION_BYTES, "the known region");
    uint64_t sum = CHECKSUM_START, state = seed;
    /* The expected value comes from the generator, not from memory that could be wrong already. */
    for (size_t i = 0; i < REGION_WORDS; i++) {
        uint64_t value = pattern(&state);
        region[i] = value;
        sum = checksum_step(sum, value);
    }
    set(&page->region_expected, sum);
    pthread_t thread;
    errno = pthread_create(&thread, NULL, check_region, region);
    if (errno) fail("start the region's thread");
}

static void run_first(void) {
    struct sched_param lowest = {.sched_priority = sched_get_priority_min(SCHED_FIFO)};
    if (sched_setscheduler(0, SCHED_FIFO, &lowest)) fail("SCHED_FIFO");
}

static uint64_t beat(uint64_t last) {
    uint64_t now = clock_ns(CLOCK_MONOTONIC);
    if (now - last > get(&page->largest_gap_ns)) set(&page->largest_gap_ns, now - last);
    set(&page->wall_offset_ns, clock_ns(CLOCK_REALTIME) - now);
    set(&page->beat_ns, now);
    add(&page->beats, 1);
    return now;
}

static void heartbeat(uint64_t period_us, int spin) {
    go_to_background();
    map_heartbeat();
    uint64_t id = make_boot_id();
    set(&page->boot_id, id);
    start_region(id);
    if (!spin) run_first();
    uint64_t last = clock_ns(CLOCK_MONOTONIC);
    last = beat(last);
    set(&page->version, HEARTBEAT_VERSION);
    set(&page->magic[1], magic_half[1] ^ magic_mask);
    set(&page->magic[0], magic_half[0] ^ magic_mask);
    tell_ready();
    if (spin)
        for (;;) last = beat(last);
    uint64_t period = period_us * 1000, tick = last;
    for (;;) {
        tick = next_tick(tick, period);
        sleep_until(tick);
        last = beat(last);
    }
}

/* ---- echo ---- */

struct client {
    size_t from, to;
    char bytes[CLIENT_BYTES];
};

static struct client clients[CLIENTS];

static int listen_on(uint16_t port) {
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (listener < 0) fail("socket");
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&any, sizeof any)) fail("bind TCP port %u", port);
    if (listen(listener, CLIENTS)) fail("listen on TCP port %u", port);
    return listener;
}

static void accept_client(int listener, struct pollfd *polled) {
    int one = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    int i = 0;
    while (i < CLIENTS && polled[i].fd >= 0) i++;
    if (i == CLIENTS) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    polled[i] = (struct pollfd){.fd = fd, .events = POLLIN};
    clients[i].from = clients[i].to = 0;
    add(&page->echo_connections, 1);
}

/* Reads only what has room and writes all of it before it reads again, so one client that does not
   read holds up nobody else. Returns whether the connection lives on. */
static int serve(struct client *client, struct pollfd *polled) {
    if (client->from == client->to) {
        ssize_t got = read(polled->fd, client->bytes, CLIENT_BYTES);
        if (got <= 0) return got < 0 && errno == EAGAIN;
        client->from = 0;
        client->to = (size_t)got;
    }
    ssize_t sent = write(polled->fd, client->bytes + client->from, client->to - client->from);
    if (sent < 0 && errno != EAGAIN) return 0;
    if (sent > 0) {
        client->from += (size_t)sent;
        add(&page->echo_bytes, (uint64_t)sent);
    }
    polled->events = client->from == client->to ? POLLIN : POLLOUT;
    return 1;
}

static void echo(uint16_t port) {
    go_to_background();
    map_heartbeat();
    signal(SIGPIPE, SIG_IGN);
    struct pollfd polled[CLIENTS + 1];
    for (int i = 0; i < CLIENTS; i++) polled[i] = (struct pollfd){.fd = -1};
    int listener = listen_on(port);
    polled[CLIENTS] = (struct pollfd){.fd = listener, .events = POLLIN};
    tell_ready();
    for (;;) {
        if (poll(polled, CLIENTS + 1, -1) < 0 && errno != EINTR) fail("poll");
        for (int i = 0; i < CLIENTS; i++) {
            if (polled[i].fd < 0 || !polled[i].revents || serve(&clients[i], &polled[i])) continue;
            close(polled[i].fd);
            polled[i] = (struct pollfd){.fd = -1};
        }
        if (polled[CLIENTS].revents) accept_client(listener, polled);
    }
}

/* ---- diskwriter ---- */

struct disk_record {
    uint64_t magic, sequence, ns, checksum, boot_id, fill[FILL_WORDS];
};

_Static_assert(sizeof(struct disk_record) == PAGE, "a record is one page");

static void fill_record(struct disk_record *record, uint64_t sequence) {
    record->magic = DISK_MAGIC;
    record->sequence = sequence;
    record->ns = clock_ns(CLOCK_MONOTONIC);
    record->boot_id = get(&page->boot_id);
    for (size_t i = 0; i < FILL_WORDS; i++) record->fill[i] = sequence;
    record->checksum = 0;
    record->checksum = checksum(CHECKSUM_START, (uint64_t *)record, PAGE / sizeof(uint64_t));
}

static int write_record(int disk, uint64_t slots, struct disk_record *record, uint64_t sequence) {
    fill_record(record, sequence);
    errno = 0;
    if (pwrite(disk, record, PAGE, (off_t)(sequence % slots * PAGE)) != PAGE) {
        add(&page->disk_errors, 1);
        return 0;
    }
    set(&page->disk_sequence, sequence);
    return 1;
}

static void diskwriter(const char *device) {
    go_to_background();
    map_heartbeat();
    int disk = open(device, O_WRONLY | O_DIRECT | O_DSYNC | O_CLOEXEC);
    if (disk < 0) fail("open %s", device);
    off_t bytes = lseek(disk, 0, SEEK_END);
    uint64_t slots = (uint64_t)(bytes < (off_t)DISK_BYTES ? bytes : (off_t)DISK_BYTES) / PAGE;
    if (bytes < 0 || !slots) fail("%s has no room for a record", device);
    struct disk_record *record = map_locked(PAGE, "a disk record");
    uint64_t sequence = 1, tick = clock_ns(CLOCK_MONOTONIC);
    if (!write_record(disk, slots, record, sequence)) fail("write %s", device);
    tell_ready();
    for (;;) {
        tick = next_tick(tick, DISK_INTERVAL_NS);
        sleep_until(tick);
        /* A failed record keeps its number, so the sequence on the disk has no holes. */
        if (write_record(disk, slots, record, sequence + 1)) sequence++;
    }
}

/* ---- filewriter ---- */

/* The first words are magic, sequence, boot id and checksum, the rest are the sequence again. */
static void fill_file_record(uint64_t *record, uint64_t sequence) {
    for (size_t i = 0; i < FILE_RECORD_WORDS; i++) record[i] = sequence;
    record[0] = FILE_MAGIC;
    record[2] = get(&page->boot_id);
    record[3] = 0;
    record[3] = checksum(CHECKSUM_START, record, FILE_RECORD_WORDS);
}

static uint64_t file_of(uint64_t sequence) { return (sequence - 1) / FILE_RECORDS % FILES; }

static uint64_t place_of(uint64_t sequence) { return (sequence - 1) % FILE_RECORDS; }

static int open_file(int folder, uint64_t sequence, int flags) {
    char name[32];
    snprintf(name, sizeof name, "seq-%02u", (unsigned)file_of(sequence));
    return openat(folder, name, flags | O_CLOEXEC, 0600);
}

/* The record counts once the file system says that it is on the disk, and the name of a new file
   with it. */
static int append(int folder, uint64_t sequence) {
    uint64_t record[FILE_RECORD_WORDS];
    int first = place_of(sequence) == 0;
    int file = open_file(folder, sequence, O_WRONLY | (first ? O_CREAT | O_TRUNC : 0));
    if (file < 0) return 0;
    fill_file_record(record, sequence);
    off_t at = (off_t)(place_of(sequence) * FILE_RECORD_BYTES);
    int kept = pwrite(file, record, sizeof record, at) == (ssize_t)sizeof record && !fsync(file)
               && (!first || !fsync(folder));
    close(file);
    return kept;
}

/* Reads a whole file from the disk and not from the cache; `last` is its last record. */
static int is_intact(int folder, uint64_t last, const uint64_t *buffer) {
    uint64_t wanted[FILE_RECORD_WORDS];
    int file = open_file(folder, last, O_RDONLY | O_DIRECT);
    if (file < 0) return 0;
    int intact = pread(file, (void *)buffer, FILE_BYTES, 0) == (ssize_t)FILE_BYTES;
    close(file);
    for (size_t i = 0; intact && i < FILE_RECORDS; i++) {
        fill_file_record(wanted, last - FILE_RECORDS + 1 + i);
        intact = !memcmp(wanted, buffer + i * FILE_RECORD_WORDS, sizeof wanted);
    }
    return intact;
}

static void filewriter(const char *path) {
    go_to_background();
    map_heartbeat();
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) fail("open %s", path);
    uint64_t *buffer = map_locked(FILE_BYTES, "a file of records");
    uint64_t sequence = 1, tick = clock_ns(CLOCK_MONOTONIC);
    if (!append(folder, sequence)) fail("write to %s", path);
    set(&page->file_sequence, sequence);
    tell_ready();
    for (;;) {
        tick = next_tick(tick, FILE_INTERVAL_NS);
        sleep_until(tick);
        if (!append(folder, sequence + 1)) {
            add(&page->file_errors, 1);
            continue;
        }
        set(&page->file_sequence, ++sequence);
        if (place_of(sequence) == FILE_RECORDS - 1 && !is_intact(folder, sequence, buffer))
            add(&page->file_mismatches, 1);
    }
}

/* ---- dirty ---- */

static void dirty(uint64_t mib, uint64_t rate_mib_s) {
    go_to_background();
    volatile char *memory = map_memory(mib * MIB, "dirtying");
    uint64_t pages = mib * MIB / PAGE, at = 0, owed = 0;
    uint64_t a_second = rate_mib_s * MIB / PAGE, tick = clock_ns(CLOCK_MONOTONIC);
    tell_ready();
    for (;;) {
        for (owed += a_second; owed >= SECOND / DIRTY_TICK_NS; owed -= SECOND / DIRTY_TICK_NS) {
            memory[at * PAGE]++;
            at = (at + 1) % pages;
        }
        tick = next_tick(tick, DIRTY_TICK_NS);
        sleep_until(tick);
    }
}

/* ---- powerbutton ---- */

static int has_power_key(int input) {
    unsigned char keys[KEY_CNT / 8] = {0};
    return ioctl(input, EVIOCGBIT(EV_KEY, sizeof keys), keys) > 0
           && (keys[KEY_POWER / 8] >> (KEY_POWER % 8) & 1);
}

static nfds_t open_power_buttons(struct pollfd *buttons) {
    nfds_t count = 0;
    for (int i = 0; i < INPUTS; i++) {
        char name[32];
        snprintf(name, sizeof name, "/dev/input/event%d", i);
        int input = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (input < 0) continue;
        if (has_power_key(input))
            buttons[count++] = (struct pollfd){.fd = input, .events = POLLIN};
        else
            close(input);
    }
    return count;
}

/* Everything that writes is ended first, so that the file system can be unmounted and is clean. */
static void power_off(void) {
    kill(-1, SIGKILL);
    for (int i = 0; i < UNMOUNT_ATTEMPTS && umount(DATA) && errno == EBUSY; i++)
        sleep_until(clock_ns(CLOCK_MONOTONIC) + SECOND / 100);
    sync();
    reboot(RB_POWER_OFF);
}

static void powerbutton(void) {
    go_to_background();
    struct pollfd buttons[INPUTS];
    nfds_t count = open_power_buttons(buttons);
    errno = 0;
    if (!count) fail("no input device has a power key");
    tell_ready();
    for (;;) {
        if (poll(buttons, count, -1) < 0 && errno != EINTR) fail("poll");
        for (nfds_t i = 0; i < count; i++) {
            struct input_event event;
            while (read(buttons[i].fd, &event, sizeof event) == sizeof event) {
                if (event.type != EV_KEY || event.code != KEY_POWER || event.value != 1) continue;
                power_off();
            }
        }
    }
}

/* ---- status ---- */

/* Prints the page from its mapping: a program that reads the file instead, such as cat, would leave
   a second page with the magic words in RAM. */
static void status(void) {
    static const char *const names[] = {
        "version", "beats", "beat_ns", "largest_gap_ns", "region_expected", "region_computed",
        "region_passes", "region_mismatches", "disk_sequence", "disk_errors", "echo_connections",
        "echo_bytes", "boot_id", "file_sequence", "file_errors", "file_mismatches",
        "wall_offset_ns"};
    map_heartbeat();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        printf("%s %llu\n", names[i], (unsigned long long)get(&page->version + i));
}

static const char usage[] =
    "usage: guest heartbeat [PERIOD_US [spin]] | echo PORT | diskwriter DEVICE\n"
    "             | filewriter FOLDER | dirty MIB RATE_MIB_PER_S | powerbutton | status\n";

static int is(const char *name, int arguments, int least, int most) {
    return !strcmp(subcommand, name) && arguments >= least && arguments <= most;
}

int main(int count, char **words) {
    subcommand = count > 1 ? words[1] : "";
    char **given = words + 2;
    int arguments = count - 2;
    if (is("heartbeat", arguments, 0, 2) && (arguments < 2 || !strcmp(given[1], "spin")))
        heartbeat(arguments ? number(given[0], 50, 1000000, "the period in µs") : DEFAULT_PERIOD_US,
                  arguments == 2);
    else if (is("echo", arguments, 1, 1))
        echo((uint16_t)number(given[0], 1, 65535, "the TCP port"));
    else if (is("diskwriter", arguments, 1, 1))
        diskwriter(given[0]);
    else if (is("filewriter", arguments, 1, 1))
        filewriter(given[0]);
    else if (is("dirty", arguments, 2, 2))
        dirty(number(given[0], 1, 1u << 20, "the size in MiB"),
              number(given[1], 1, 1u << 20, "the rate in MiB/s"));
    else if (is("powerbutton", arguments, 0, 0))
        powerbutton();
    else if (is("status", arguments, 0, 0))
        status();
    else {
        fputs(usage, stderr);
        return 2;
    }
    return 0;
}
