/*
 * A program that has one of nearly everything a process can have of the kernel, and looks again and
 * again whether it still has it: what runs in a container while its operating system is replaced.
 *
 *     odd         says "odd NUMBER good KERNEL" five times a second, or "odd NUMBER bad: WHAT"
 *     odd HOLD    has something that cannot be moved open and says "holds" all the time: "io_uring",
 *                 "mqueue", "traced", or the name of a device
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 3, PAGE = 4096, TICK_US = 200000 };

static unsigned long number;
static char wrong[256];

/* Everything that fails to be as it was is told by its name, once a round. */
static void want(bool holds, const char *what)
{
    if (!holds)
        snprintf(wrong + strlen(wrong), sizeof wrong - strlen(wrong), " %s(%s)", what, strerror(errno));
    errno = 0;
}

static void need(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "odd: %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

/* ---- what it has ---- */

static int unlinked, renamed, locked, recorded, appended, pair[2], datagram[2], timer, event, poller, watcher,
    signals, memory_file, folder, fifo, message_queue, udp, listener, named, waiting[2], shared_file, packets,
    terminal[2];
static key_t semaphores;
static char *private_file, *mapped_unlinked, *fixed, *hidden;
static int sparse;
static unsigned long alarms, notices;
static timer_t posix_timer;

static const struct itimerval half_a_second = {.it_value = {0, 500000}};

/* A timer that goes off once, set again each time. */
static void on_alarm(int signal)
{
    (void)signal;
    alarms++;
    setitimer(ITIMER_REAL, &half_a_second, NULL);
}

static void on_timer(int signal)
{
    (void)signal;
    notices++;
}

/* ---- threads, and a process that shares memory ---- */

static _Atomic unsigned long turns[THREADS];
static __thread unsigned long own;

static void *work(void *argument)
{
    _Atomic unsigned long *turn = argument;
    char name[16];
    snprintf(name, sizeof name, "odd-%d", (int)(turn - turns) % THREADS);
    prctl(PR_SET_NAME, name);
    for (;;) {
        unsigned long now = atomic_load(turn);
        if (now != own)
            abort();
        own++;
        atomic_store(turn, now + 1);
        usleep(10000);
    }
    return NULL;
}

static _Atomic unsigned long *shared, *posix_shared;
static int *system_shared;
static pid_t child;
static int ask[2], tell[2];

static void serve(void)
{
    char byte;
    while (read(ask[0], &byte, 1) == 1) {
        struct flock record = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 12, .l_len = 1};
        if (fcntl(recorded, F_GETLK, &record) < 0 || record.l_type != F_WRLCK || record.l_pid != 1)
            break;
        atomic_fetch_add(shared, 1);
        atomic_fetch_add(posix_shared, 1);
        if (write(tell[1], &byte, 1) != 1)
            break;
    }
    _exit(0);
}

static void files(void)
{
    unlinked = open("/data/unlinked", O_RDWR | O_CREAT | O_TRUNC, 0640);
    need(unlinked >= 0 && write(unlinked, "still here", 10) == 10 && !unlink("/data/unlinked"), "unlinked");
    need(ftruncate(unlinked, 3 * PAGE) == 0, "unlinked");
    mapped_unlinked = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, unlinked, 0);
    need(mapped_unlinked != MAP_FAILED, "mapped unlinked");
    strcpy(mapped_unlinked + PAGE, "mapped");
    renamed = open("/data/linked", O_RDWR | O_CREAT | O_TRUNC, 0640);
    need(renamed >= 0 && write(renamed, "two", 3) == 3, "linked");
    unlink("/data/other");
    need(!link("/data/linked", "/data/other") && !unlink("/data/linked"), "linked");
    locked = open("/data/lock", O_RDWR | O_CREAT, 0640);
    struct flock record = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 5};
    recorded = open("/data/record", O_RDWR | O_CREAT, 0640);
    need(locked >= 0 && !flock(locked, LOCK_EX | LOCK_NB), "flock");
    need(recorded >= 0 && !fcntl(recorded, F_SETLK, &record), "record lock");
    appended = open("/data/appended", O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0640);
    need(appended >= 0, "appended");
    memory_file = memfd_create("odd", MFD_ALLOW_SEALING);
    need(memory_file >= 0 && write(memory_file, "memory", 6) == 6
        && !fcntl(memory_file, F_ADD_SEALS, F_SEAL_SHRINK), "memfd");
    folder = open("/data", O_RDONLY | O_DIRECTORY);
    need(folder >= 0 && !chdir("/data"), "folder");
    int source = open("/data/private", O_RDWR | O_CREAT | O_TRUNC, 0640);
    need(source >= 0 && !ftruncate(source, 4 * PAGE) && pwrite(source, "file", 4, 0) == 4, "private");
    private_file = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, source, 0);
    need(private_file != MAP_FAILED, "private");
    strcpy(private_file + PAGE, "changed");
    close(source);
    fixed = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    need(fixed != MAP_FAILED && !mlock(fixed, 8 * PAGE), "mlock");
    strcpy(fixed + 5 * PAGE, "locked");
    hidden = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    need(hidden != MAP_FAILED, "hidden");
    strcpy(hidden + 3 * PAGE, "hidden");
    need(!mprotect(hidden, 8 * PAGE, PROT_NONE), "hidden");
    sparse = open("/tmp/sparse", O_RDWR | O_CREAT | O_TRUNC, 0640);
    need(sparse >= 0 && pwrite(sparse, "far", 3, 64 << 20) == 3, "sparse");
    shared_file = open("/dev/shm/odd", O_RDWR | O_CREAT | O_TRUNC, 0600);
    need(shared_file >= 0 && !ftruncate(shared_file, PAGE), "/dev/shm");
    posix_shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, shared_file, 0);
    shared = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    need(posix_shared != MAP_FAILED && shared != MAP_FAILED, "shared");
    int segment = shmget(IPC_PRIVATE, 3 * PAGE, IPC_CREAT | 0600);
    system_shared = shmat(segment, NULL, 0);
    need(segment >= 0 && system_shared != (void *)-1, "shmget");
    system_shared[700] = 4711;
    semaphores = semget(IPC_PRIVATE, 2, IPC_CREAT | 0600);
    need(semaphores >= 0 && !semctl(semaphores, 1, SETVAL, 5), "semget");
    message_queue = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
    struct { long type; char text[8]; } message = {3, "queued"};
    need(message_queue >= 0 && !msgsnd(message_queue, &message, 8, 0), "msgget");
}

static void sockets(void)
{
    need(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
    need(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, datagram), "seqpacket");
    need(send(datagram[0], "waits", 5, 0) == 5, "seqpacket");
    need(!pipe2(waiting, O_NONBLOCK) && write(waiting[1], "in the pipe", 11) == 11, "pipe");
    unlink("/data/fifo");
    need(!mkfifo("/data/fifo", 0600), "fifo");
    fifo = open("/data/fifo", O_RDWR | O_NONBLOCK);
    need(fifo >= 0 && write(fifo, "fifo", 4) == 4, "fifo");
    udp = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(5555),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    need(udp >= 0 && !bind(udp, (struct sockaddr *)&here, sizeof here), "udp");
    listener = socket(AF_INET, SOCK_STREAM, 0);
    need(listener >= 0 && !bind(listener, (struct sockaddr *)&here, sizeof here) && !listen(listener, 5),
        "tcp");
    packets = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_LOOP));
    need(packets >= 0, "packet");
    need(socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP) < 0, "mptcp");
    terminal[0] = posix_openpt(O_RDWR | O_NOCTTY);
    need(terminal[0] >= 0 && !grantpt(terminal[0]) && !unlockpt(terminal[0]), "pty");
    terminal[1] = open(ptsname(terminal[0]), O_RDWR | O_NOCTTY);
    need(terminal[1] >= 0, "pty");
    named = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un path = {.sun_family = AF_UNIX, .sun_path = "/data/socket"};
    unlink(path.sun_path);
    need(named >= 0 && !bind(named, (struct sockaddr *)&path, sizeof path) && !listen(named, 5), "named");
}

static void events(void)
{
    struct itimerspec each = {{0, 100000000}, {0, 100000000}};
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    need(timer >= 0 && !timerfd_settime(timer, 0, &each, NULL), "timerfd");
    event = eventfd(7, EFD_NONBLOCK);
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event what = {.events = EPOLLIN, .data.u32 = 77};
    need(event >= 0 && poller >= 0 && !epoll_ctl(poller, EPOLL_CTL_ADD, event, &what), "epoll");
    what.data.u32 = 78;
    need(!epoll_ctl(poller, EPOLL_CTL_ADD, pair[1], &what), "epoll");
    watcher = inotify_init1(IN_NONBLOCK);
    need(watcher >= 0 && inotify_add_watch(watcher, "/data/watched", IN_CREATE | IN_DELETE) >= 0
        && inotify_add_watch(watcher, "/tmp", IN_CREATE) >= 0, "inotify");
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGRTMIN + 3);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signals = signalfd(-1, &set, SFD_NONBLOCK);
    need(signals >= 0, "signalfd");
    signal(SIGALRM, on_alarm);
    need(!setitimer(ITIMER_REAL, &half_a_second, NULL), "setitimer");
    signal(SIGUSR1, on_timer);
    struct sigevent notice = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec rare = {{1, 0}, {1, 0}};
    need(!timer_create(CLOCK_MONOTONIC, &notice, &posix_timer)
        && !timer_settime(posix_timer, 0, &rare, NULL), "timer_create");
}

/* ---- whether it is all there ---- */

static void check_files(void)
{
    char text[32] = "";
    struct stat what;
    want(pread(unlinked, text, 10, 0) == 10 && !memcmp(text, "still here", 10), "unlinked");
    want(!fstat(unlinked, &what) && what.st_nlink == 0 && (what.st_mode & 0777) == 0640, "unlinked-links");
    want(!strcmp(mapped_unlinked + PAGE, "mapped"), "mapped-unlinked");
    want(pread(renamed, text, 3, 0) == 3 && !memcmp(text, "two", 3), "linked");
    struct stat other;
    want(!fstat(renamed, &what) && !stat("/data/other", &other) && what.st_ino == other.st_ino
        && what.st_nlink == 1, "linked-same");
    int again = open("/data/lock", O_RDWR);
    want(again >= 0 && flock(again, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK, "flock");
    close(again);
    int length = snprintf(text, sizeof text, "%08lu\n", number);
    want(write(appended, text, (size_t)length) == length && !fstat(appended, &what)
        && what.st_size == (off_t)(number * 9), "appended");
    want(pread(memory_file, text, 6, 0) == 6 && !memcmp(text, "memory", 6)
        && fcntl(memory_file, F_GET_SEALS) == F_SEAL_SHRINK, "memfd");
    want(faccessat(folder, "lock", R_OK, 0) == 0 && access("lock", R_OK) == 0, "folder");
    want(!memcmp(private_file, "file", 4) && !strcmp(private_file + PAGE, "changed"), "private");
    want(!strcmp(fixed + 5 * PAGE, "locked"), "mlock");
    want(!mprotect(hidden, 8 * PAGE, PROT_READ) && !strcmp(hidden + 3 * PAGE, "hidden")
        && !mprotect(hidden, 8 * PAGE, PROT_NONE), "hidden");
    want(pread(sparse, text, 3, 64 << 20) == 3 && !memcmp(text, "far", 3) && !fstat(sparse, &what)
        && what.st_blocks < 2048, "sparse");
    want(system_shared[700] == 4711, "shmget");
    want(semctl(semaphores, 1, GETVAL) == 5, "semaphore");
    struct { long type; char text[8]; } message = {0};
    want(msgrcv(message_queue, &message, 8, 3, IPC_NOWAIT) == 8 && !strcmp(message.text, "queued")
        && !msgsnd(message_queue, &message, 8, 0), "message");
}

static void check_sockets(void)
{
    char text[32] = "";
    want(write(pair[0], "x", 1) == 1 && read(pair[1], text, 1) == 1, "socketpair");
    want(recv(datagram[1], text, sizeof text, 0) == 5 && send(datagram[0], "waits", 5, 0) == 5,
        "seqpacket");
    want(read(waiting[0], text, sizeof text) == 11 && !memcmp(text, "in the pipe", 11)
        && write(waiting[1], "in the pipe", 11) == 11, "pipe");
    want(read(fifo, text, sizeof text) == 4 && write(fifo, "fifo", 4) == 4, "fifo");
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(5555),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    want(sendto(udp, "u", 1, 0, (struct sockaddr *)&here, sizeof here) == 1
        && recv(udp, text, sizeof text, 0) == 1, "udp");
    int client = socket(AF_INET, SOCK_STREAM, 0), served = -1;
    want(!connect(client, (struct sockaddr *)&here, sizeof here)
        && (served = accept(listener, NULL, NULL)) >= 0, "tcp");
    close(client);
    close(served);
    int domain = 0;
    socklen_t size = sizeof domain;
    want(!getsockopt(packets, SOL_SOCKET, SO_DOMAIN, &domain, &size) && domain == AF_PACKET, "packet");
    want(write(terminal[0], "typed\n", 6) == 6 && read(terminal[1], text, sizeof text) == 6
        && !memcmp(text, "typed\n", 6) && read(terminal[0], text, sizeof text) > 0, "pty");
    struct sockaddr_un path = {.sun_family = AF_UNIX, .sun_path = "/data/socket"};
    client = socket(AF_UNIX, SOCK_STREAM, 0);
    want(!connect(client, (struct sockaddr *)&path, sizeof path)
        && (served = accept(named, NULL, NULL)) >= 0, "named");
    close(client);
    close(served);
}

static void check_events(void)
{
    uint64_t value = 0;
    static unsigned quiet[3];
    static unsigned long before[2];
    quiet[0] = read(timer, &value, sizeof value) == sizeof value ? 0 : quiet[0] + 1;
    quiet[1] = alarms != before[0] ? 0 : quiet[1] + 1;
    quiet[2] = notices != before[1] ? 0 : quiet[2] + 1;
    before[0] = alarms;
    before[1] = notices;
    errno = 0;
    want(quiet[0] < 3, "timerfd");
    want(quiet[1] < 10, "setitimer");
    want(quiet[2] < 20, "timer_create");
    want(read(event, &value, sizeof value) == 8 && value == 7 && write(event, &value, 8) == 8, "eventfd");
    struct epoll_event what;
    want(epoll_wait(poller, &what, 1, 0) == 1 && what.data.u32 == 77, "epoll");
    char happened[1024];
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "/tmp/new" : "/data/watched/new";
        bool heard = false;
        /* CRIU keeps what is watched, but not what has happened and was not asked for yet. */
        for (int try = 0; try < 2 && !heard; try++) {
            unlink(name);
            close(open(name, O_RDWR | O_CREAT, 0600));
            heard = read(watcher, happened, sizeof happened) > 0;
        }
        want(heard, i ? "inotify-tmp" : "inotify");
        unlink(name);
        while (read(watcher, happened, sizeof happened) > 0)
            continue;
        errno = 0;
    }
    struct signalfd_siginfo signal;
    union sigval with = {.sival_int = 42};
    want(!sigqueue(getpid(), SIGRTMIN + 3, with) && read(signals, &signal, sizeof signal) == sizeof signal
        && signal.ssi_int == 42, "signalfd");
}

static void check_self(void)
{
    static unsigned long before[THREADS];
    for (int i = 0; i < THREADS; i++) {
        unsigned long now = atomic_load(&turns[i]);
        want(number < 2 || now > before[i], "thread");
        before[i] = now;
    }
    unsigned long sum = atomic_load(shared);
    char byte = 'c';
    want(write(ask[1], &byte, 1) == 1 && read(tell[0], &byte, 1) == 1 && atomic_load(shared) == sum + 1
        && atomic_load(posix_shared) == sum + 1, "child");
    want(getpid() == 1 && kill(child, 0) == 0, "pid");
    const char *value = getenv("ODD");
    want(value && !strcmp(value, "an environment"), "environment");
    struct rlimit files;
    want(!getrlimit(RLIMIT_NOFILE, &files) && files.rlim_cur == 1000 && files.rlim_max == 1000, "rlimit");
    mode_t mask = umask(027);
    want(mask == 027, "umask");
    want(getpriority(PRIO_PROCESS, 0) == 5, "nice");
    char host[32] = "";
    want(!gethostname(host, sizeof host) && !strcmp(host, "odd-host"), "hostname");
    want(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, "no-new-privileges");
    want(prctl(PR_GET_SECCOMP) == 2 && syscall(SYS_personality, 0xffffffff) == -1 && errno == EPERM,
        "seccomp");
    struct stat masked;
    want(getuid() == 1000 && getgid() == 1000, "user");
    want(!stat("/proc/kcore", &masked) && S_ISCHR(masked.st_mode) && masked.st_rdev == makedev(1, 3), "masked");
    int limit = open("/sys/fs/cgroup/pids.max", O_RDONLY);
    char text[16] = "";
    want(limit >= 0 && read(limit, text, sizeof text) > 0, "cgroup-mount");
    close(limit);
    want(open("/data/fuse", O_RDWR) < 0 && errno == EPERM, "device-filter");
    limit = open("/proc/self/cgroup", O_RDONLY);
    want(limit >= 0 && read(limit, text, sizeof text) > 0 && !strncmp(text, "0::/\n", 5), "cgroup-namespace");
    close(limit);
    want(open("/proc/sys/kernel/hostname", O_WRONLY) < 0 && open("/sys/none", O_CREAT | O_WRONLY, 0600) < 0,
        "read-only");
}

static void everything(void)
{
    pthread_t thread;
    umask(027);
    mkdir("/data/watched", 0700);
    need(setpriority(PRIO_PROCESS, 0, 5) == 0, "nice");
    files();
    sockets();
    need(!pipe(ask) && !pipe(tell), "pipe");
    child = fork();
    need(child >= 0, "fork");
    if (child == 0)
        serve();
    events();
    for (int i = 0; i < THREADS; i++)
        need(!pthread_create(&thread, NULL, work, &turns[i]), "thread");
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (number = 1;; number++) {
        struct utsname system;
        struct timespec rest = {0, TICK_US * 1000};
        wrong[0] = 0;
        check_files();
        check_sockets();
        check_events();
        check_self();
        uname(&system);
        if (wrong[0])
            printf("odd %lu bad:%s\n", number, wrong);
        else
            printf("odd %lu good %s\n", number, system.release);
        while (nanosleep(&rest, &rest) < 0 && errno == EINTR)
            continue;
    }
}

/* ---- what cannot be moved ---- */

static void hold(const char *what)
{
    int fd = -1;
    if (!strcmp(what, "io_uring")) {
        uint32_t parameters[30] = {0};
        fd = (int)syscall(SYS_io_uring_setup, 8, parameters);
    } else if (!strcmp(what, "mqueue")) {
        fd = mq_open("/odd", O_RDWR | O_CREAT, 0600, NULL);
    } else if (!strcmp(what, "traced")) {
        pid_t traced = fork();
        if (traced == 0)
            for (;;)
                pause();
        fd = (int)ptrace(PTRACE_SEIZE, traced, NULL, NULL);
    } else {
        fd = open(what, O_RDWR | O_NOCTTY);
    }
    need(fd >= 0, what);
    for (unsigned long round = 1;; round++) {
        printf("holds %s %lu\n", what, round);
        fflush(stdout);
        usleep(TICK_US);
    }
}

int main(int count, char **arguments)
{
    if (count == 1)
        everything();
    else
        hold(arguments[1]);
}
