/*
 * Moves the memory of a container from one operating system to another that sees the first one's RAM.
 * CRIU moves everything else.
 *
 *     relocate pages CGROUP FILE
 *         In the old system: writes down in FILE in which page frames the private memory of the
 *         container's processes lies. The processes, all in the cgroup folder CGROUP or below, must
 *         stand still, and what stopped them must see to it that no frame is used for anything else.
 *
 *     relocate compare CGROUP FILE
 *         In the old system, later: whether the memory still lies where FILE says.
 *
 *     relocate drain IMAGES PAGES ADDRESS BYTES SPLIT FREED CGROUP
 *         In the new system: serves "criu restore --lazy-pages" in place of "criu lazy-pages", with
 *         the contents of the old system's RAM. IMAGES are CRIU's, PAGES is what was written above. The
 *         RAM is at the physical address ADDRESS, BYTES long; or in the device or file ADDRESS if that
 *         has a slash. SPLIT bytes of it were below the old machine's hole under 4 GiB, and what follows
 *         was at 4 GiB; 0 if there was no hole. The socket is made in the current folder, which must be
 *         the restore's --work-dir; IMAGES and PAGES are only read when CRIU has connected to it and a byte
 *         has come from the input, so this can be started long before, and says "ready". As it goes, FREED
 *         (- for the output) is told which part of the RAM is not needed any more, as lines
 *         "freed FRAME COUNT": so many pages of 4096 bytes from that one on, counted from the beginning of
 *         the RAM. The end is a line
 *         "drained PAGES pages BYTES bytes MICROSECONDS us FAULTS faults LONGEST us RATE MiB/s",
 *         LONGEST being the longest time that a fault took from when it was read to its answer. Whoever loses
 *         his memory must not go on with zeroes: when this program fails, it first kills all in the
 *         cgroup folder CGROUP.
 *
 *     relocate gather CGROUP BUSY
 *         In the new system, when all is there: brings the container's memory together to huge pages, which
 *         are quickly written down the next time. One at a time, a quarter of a processor at most, and
 *         not while anything is in the folder BUSY. May be killed at any time; must not run when the container
 *         is to stand still.
 *
 *     relocate unpack ARCHIVE FOLDER
 *         In the new system: puts the images that are in the archive into the folder, and then writes the one
 *         that CRIU reads first to the output.
 *
 *     relocate within CGROUP COMMAND...
 *         Runs COMMAND in the cgroup folder CGROUP, which is the root of all that it can see of cgroups.
 *
 *     relocate
 *         As CRIU's --action-script. For an action named in HF_HOOK, a list with commas, writes the
 *         action's name as a line to the port HF_PORT, if there is one, and reads one from it: "ok" lets
 *         CRIU go on, anything else makes it fail. Other actions pass.
 *         With HF_CGROUP, in network-lock, where CRIU has stopped all processes, it shows CRIU, which must
 *         have mounts of its own, none of the memory that "relocate pages HF_CGROUP HF_PAGES" writes down:
 *         otherwise CRIU takes hold of each page, and the more memory, the longer all stands still. What it
 *         shows CRIU is in the folder HF_SHOWN, a part of it since pre-dump. In post-dump it freezes
 *         HF_CGROUP, so that the end of CRIU does not let it run, and puts CRIU's images into the archive
 *         HF_PACKED; when it has said "post-dump" it makes the list, and says "listed" before it reads.
 *
 *     tar ARGUMENTS...
 *         As CRIU's tar, for what a tmpfs holds.
 *
 * FILE has a struct header, then so many struct run, those of one process together and in the order of
 * their addresses; little-endian.
 *
 * Exit codes: see enum outcome. Nothing read from an image, FILE or CRIU makes anything grow beyond the
 * limits below.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum outcome {
    DONE,
    FAILED,         /* a call of the system */
    USAGE,
    MALFORMED,      /* an image or FILE */
    NO_WINDOW,      /* the RAM cannot be mapped */
    WINDOW_BROKEN,  /* it was mapped, but reading it failed */
    PAGE_MISSING,   /* an image wants a page that FILE does not have */
    RESTORE_FAILED, /* CRIU went away before it had finished */
    MOVED,          /* memory does not lie where it lay */
};

enum {
    PAGE = 4096,
    BATCH = 256,    /* pages that are copied at once when nobody waits */
    CLUSTER = 16,   /* and when somebody does */
    TOGETHER = 8,   /* pages that are not worth gathering */
    PIECE = 64 * 1024, /* pages whose frames are asked for at once */
    PROCESSES = 4096,
    DEPTH = 8,      /* of groups in groups */
    EXTENTS = 1 << 20, /* of one process */
    AREAS = 1 << 18,
    RETRIES = 1024,
    TELL = 8192,    /* pages, after which freed ones are told */
    IMAGE = 256 * 1024 * 1024,
    EVENTS = 64,
    LARGE = 64 * 1024, /* KiB */
};

#define RUNS (1ull << 26)
#define SOCKET "lazy-pages.socket"
#define FINISHED 0x52535446

/* CRIU's images: two words, then messages, each after its length. */
#define IMAGE_MAGIC 0x54564319u
#define PAGEMAP_MAGIC 0x56084025u
#define MM_MAGIC 0x57492820u
#define FILES_MAGIC 0x56303138u
#define CORE_MAGIC 0x55053847u
#define TIMER 12u /* which field of a file it is */
#define LAZY 2u

/* Of an area in an image: as CRIU's vma_entry_can_be_lazy, of what it can give a userfaultfd to. */
#define NEEDED_FLAGS (MAP_PRIVATE | MAP_ANONYMOUS)
#define EXCLUDED_FLAGS (MAP_LOCKED | MAP_HUGETLB)
#define EXCLUDED_STATUS (1u << 2 | 1u << 3 | 1u << 12) /* the vsyscall page, the vDSO and its data */

static const char magic[8] = "HFPAGES";

struct header {
    char magic[8];
    uint32_t version, page;
    uint64_t runs;
};

struct run {
    uint64_t address, frame;
    uint32_t count, pid; /* the pid as the process itself sees it */
};

static void end(enum outcome outcome, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));

/* Of the container, as soon as it depends on this program. */
static const char *hostages;

static void kill_hostages(void)
{
    char path[PATH_MAX];
    if (!hostages)
        return;
    snprintf(path, sizeof path, "%s/cgroup.kill", hostages);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "1", 1) < 0) {
        /* Nothing more can be done. */
    }
}

static void end(enum outcome outcome, const char *format, ...)
{
    kill_hostages();
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "relocate: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    exit(outcome);
}

static int64_t microseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static bool number(const char *text, uint64_t *value)
{
    char *rest;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *value = strtoull(text, &rest, 0);
    return errno == 0 && *rest == 0;
}

static void *slurp(const char *path, uint64_t most, size_t *length)
{
    struct stat what;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &what) < 0)
        end(FAILED, "%s: %s", path, strerror(errno));
    if (!S_ISREG(what.st_mode) || (uint64_t)what.st_size > most)
        end(MALFORMED, "%s is no file of at most %" PRIu64 " bytes", path, most);
    size_t size = (size_t)what.st_size, done = 0;
    char *bytes = malloc(size + 1);
    if (!bytes)
        end(FAILED, "no memory for %s", path);
    while (done < size) {
        ssize_t got = read(fd, bytes + done, size - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            end(FAILED, "%s: %s", path, got < 0 ? strerror(errno) : "ended early");
        done += (size_t)got;
    }
    close(fd);
    *length = size;
    return bytes;
}

/* ---- pages: in the old system ---- */

static struct {
    FILE *file;
    bool compare; /* with what is in the file, instead of writing it */
    struct run run;
    uint64_t runs, pages, swapped;
    unsigned processes;
} list;

/* What /proc/PID/pagemap says of a page. */
#define PRESENT (1ull << 63)
#define SWAPPED (1ull << 62)
#define OF_FILE (1ull << 61)
#define EXCLUSIVE (1ull << 56) /* nobody else has it */
#define FRAME ((1ull << 55) - 1)

static uint64_t zero_frame;

static void put_run(void)
{
    struct run before;
    if (list.run.count > 0 && list.compare) {
        if (fread(&before, sizeof before, 1, list.file) != 1 || memcmp(&before, &list.run, sizeof before) != 0)
            end(MOVED, "memory of process %" PRIu32 " at %#" PRIx64 " does not lie where it lay", list.run.pid,
                list.run.address);
    } else if (list.run.count > 0 && fwrite(&list.run, sizeof list.run, 1, list.file) != 1) {
        end(FAILED, "the list of pages: %s", strerror(errno));
    }
    list.runs += list.run.count > 0;
    list.run.count = 0;
}

static void put_pages(uint32_t pid, uint64_t address, uint64_t frame, uint32_t count)
{
    struct run *run = &list.run;
    if (run->count == 0 || run->pid != pid || run->address + run->count * (uint64_t)PAGE != address
        || run->frame + run->count != frame || run->count > UINT32_MAX - count) {
        put_run();
        *run = (struct run){.address = address, .frame = frame, .pid = pid};
    }
    run->count += count;
    list.pages += count;
}

/* Everybody's page of zeroes is nobody's memory, and CRIU leaves it out. */
static void find_zero_frame(void)
{
    const volatile char *page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    uint64_t entry;
    if (page == MAP_FAILED || fd < 0 || *page != 0
        || pread(fd, &entry, 8, (off_t)((uintptr_t)page / PAGE * 8)) != 8 || !(entry & FRAME))
        end(FAILED, "/proc/self/pagemap does not tell frames: %s", strerror(errno));
    zero_frame = entry & FRAME;
    close(fd);
    munmap((void *)page, PAGE);
}

static bool is_private(uint64_t entry)
{
    return (entry & PRESENT) && !(entry & OF_FILE) && (entry & FRAME) != zero_frame;
}

static void list_area(int pagemap, uint32_t pid, uint64_t from, uint64_t to)
{
    static uint64_t entry[PIECE];
    while (from < to) {
        uint64_t pages = (to - from) / PAGE < PIECE ? (to - from) / PAGE : PIECE;
        ssize_t got = pread(pagemap, entry, pages * 8, (off_t)(from / PAGE * 8));
        if (got < 8)
            end(FAILED, "the frames of process %" PRIu32 ": %s", pid, strerror(errno));
        pages = (uint64_t)got / 8;
        for (uint64_t i = 0, first; i < pages; from += (i - first) * PAGE) {
            first = i++;
            if (!is_private(entry[first])) {
                list.swapped += (entry[first] & (PRESENT | SWAPPED)) == SWAPPED;
                continue;
            }
            /* The next frame, with nothing else about it that differs: the most usual case, so it is quick. */
            while (i < pages && entry[i] == entry[i - 1] + 1 && (entry[i] & FRAME) != zero_frame)
                i++;
            put_pages(pid, from, entry[first] & FRAME, (uint32_t)(i - first));
        }
    }
}

/* What /proc/PID/status says of a process. */
struct status {
    uint32_t own;  /* the pid as the process itself sees it, the last of the line */
    bool locks;    /* some of its memory is locked */
    bool is_large; /* so that the kernel takes long to say what memory it has */
    uint64_t pending; /* signals for all of its threads, bit 0 for the first */
};

/* own is 0 if there is no such process. */
static struct status find_status(int pid)
{
    char path[64], line[512];
    unsigned long own = 0, locked = 0, resident = 0, pending = 0;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file)) {
        if (!strncmp(line, "NSpid:", 6) && strrchr(line, '\t'))
            own = strtoul(strrchr(line, '\t') + 1, NULL, 10);
        if (!strncmp(line, "VmLck:", 6))
            locked = strtoul(line + 6, NULL, 10);
        if (!strncmp(line, "VmRSS:", 6))
            resident = strtoul(line + 6, NULL, 10);
        if (!strncmp(line, "ShdPnd:", 7))
            pending = strtoul(line + 7, NULL, 16);
    }
    if (file)
        fclose(file);
    return (struct status){own > INT_MAX ? 0 : (uint32_t)own, locked > 0, resident >= LARGE, pending};
}

static struct status read_status(int pid)
{
    struct status status = find_status(pid);
    if (status.own == 0)
        end(FAILED, "process %d tells no pid", pid);
    return status;
}

/* Where a process has memory; private: that is written down, because it is in no file. */
struct place {
    uint64_t from, to;
    bool private;
};

static bool next_place(FILE *maps, struct place *place)
{
    char line[PATH_MAX + 256], mode[5];
    uint64_t file;
    if (!fgets(line, sizeof line, maps))
        return false;
    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*s %*s %" SCNu64, &place->from, &place->to, mode, &file) != 4)
        end(FAILED, "the memory of a process has a line that is none: %s", line);
    bool special = strstr(line, "[vdso]") || strstr(line, "[vvar") || strstr(line, "[vsyscall]");
    place->private = mode[3] == 'p' && file == 0 && !special;
    return true;
}

static int open_pagemap(int pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/pagemap", pid);
    struct statfs where;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstatfs(fd, &where) < 0)
        end(FAILED, "%s: %s", path, strerror(errno));
    if (where.f_type != PROC_SUPER_MAGIC)
        end(FAILED, "%s is not the kernel's", path);
    return fd;
}

static FILE *open_maps(int pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *maps = fopen(path, "re");
    if (!maps)
        end(FAILED, "%s: %s", path, strerror(errno));
    return maps;
}

static void list_process(int pid)
{
    struct place place;
    uint32_t own = read_status(pid).own;
    int pagemap = open_pagemap(pid);
    FILE *maps = open_maps(pid);
    while (next_place(maps, &place))
        if (place.private)
            list_area(pagemap, own, place.from, place.to);
    put_run();
    fclose(maps);
    close(pagemap);
    list.processes++;
}

static void for_group(const char *group, int depth, void (*what)(int pid))
{
    char path[PATH_MAX];
    int pid;
    snprintf(path, sizeof path, "%s/cgroup.procs", group);
    FILE *file = fopen(path, "re");
    if (!file)
        end(FAILED, "%s: %s", path, strerror(errno));
    while (fscanf(file, "%d", &pid) == 1)
        what(pid);
    fclose(file);
    DIR *folder = opendir(group);
    struct dirent *entry;
    while (folder && (entry = readdir(folder))) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
            continue;
        if (depth == DEPTH
            || snprintf(path, sizeof path, "%s/%s", group, entry->d_name) >= (int)sizeof path)
            end(FAILED, "%s has too many groups in it", group);
        for_group(path, depth + 1, what);
    }
    if (folder)
        closedir(folder);
}

/* All but the magic, without which nobody reads it. */
static void write_list(const char *group, const char *path)
{
    static char buffer[256 * 1024];
    struct header header = {.version = 1, .page = PAGE};
    int64_t begun = microseconds();
    find_zero_frame();
    list.file = fopen(path, "we");
    if (!list.file)
        end(FAILED, "%s: %s", path, strerror(errno));
    setvbuf(list.file, buffer, _IOFBF, sizeof buffer);
    fwrite(&header, sizeof header, 1, list.file);
    for_group(group, 0, list_process);
    header.runs = list.runs;
    if (list.swapped > 0)
        end(FAILED, "%" PRIu64 " pages are swapped out", list.swapped);
    if (fseek(list.file, 0, SEEK_SET) < 0 || fwrite(&header, sizeof header, 1, list.file) != 1
        || fclose(list.file) != 0)
        end(FAILED, "%s: %s", path, strerror(errno));
    printf("listed %u processes %" PRIu64 " pages %" PRIu64 " runs %" PRId64 " us\n", list.processes,
           list.pages, list.runs, microseconds() - begun);
}

/* From then on it may be used. */
static void seal_list(const char *path)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, magic, sizeof magic) != sizeof magic)
        end(FAILED, "%s: %s", path, strerror(errno));
    close(fd);
}

static int pages(const char *group, const char *path)
{
    write_list(group, path);
    seal_list(path);
    return DONE;
}

static int compare(const char *group, const char *path)
{
    struct header header;
    find_zero_frame();
    list.compare = true;
    list.file = fopen(path, "re");
    if (!list.file || fread(&header, sizeof header, 1, list.file) != 1)
        end(FAILED, "%s: %s", path, list.file ? "it is too short" : strerror(errno));
    for_group(group, 0, list_process);
    if (list.runs != header.runs)
        end(MOVED, "there is less memory than there was");
    return DONE;
}

/* ---- what CRIU is shown: in the old system ---- */

/* The end of the address space, of which every page has an entry of 8 bytes. */
#define SHOWN_BYTES (UINT64_MAX / PAGE * 8)

static const char *shown;

static void show(int pagemap, int copy, uint64_t from, uint64_t to)
{
    static uint64_t entry[PIECE];
    while (from < to) {
        uint64_t pages = (to - from) / PAGE < PIECE ? (to - from) / PAGE : PIECE, first = 0;
        ssize_t got = pread(pagemap, entry, pages * 8, (off_t)(from / PAGE * 8));
        /* The kernel's own page at the end of the address space has none. */
        if (got <= 0)
            return;
        uint64_t last = pages = (uint64_t)got / 8;
        while (first < last && entry[first] == 0)
            first++;
        while (last > first && entry[last - 1] == 0)
            last--;
        size_t bytes = (last - first) * 8;
        if (pwrite(copy, entry + first, bytes, (off_t)((from / PAGE + first) * 8)) != (ssize_t)bytes)
            end(FAILED, "what CRIU is shown: %s", strerror(errno));
        from += pages * PAGE;
    }
}

/* CRIU wants the page at the end of each stack with what is not fetched. */
static void show_stacks(int pid, int pagemap, int copy)
{
    char path[PATH_MAX], line[256];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *folder = opendir(path);
    struct dirent *entry;
    while (folder && (entry = readdir(folder))) {
        snprintf(path, sizeof path, "/proc/%d/task/%s/syscall", pid, entry->d_name);
        FILE *file = entry->d_name[0] != '.' ? fopen(path, "re") : NULL;
        if (file && fgets(line, sizeof line, file)) {
            /* "NUMBER ARGUMENT... STACK INSTRUCTION", or "-1 STACK INSTRUCTION". */
            char *last = strrchr(line, ' ');
            if (last)
                *last = 0;
            last = strrchr(line, ' ');
            uint64_t stack = last ? strtoull(last + 1, NULL, 16) & ~(uint64_t)(PAGE - 1) : 0;
            if (stack != 0)
                show(pagemap, copy, stack, stack + PAGE);
        }
        if (file)
            fclose(file);
    }
    if (folder)
        closedir(folder);
}

/* CRIU lets no locked memory be fetched. */
static void show_locked(int pid, int pagemap, int copy)
{
    char path[64], line[PATH_MAX + 256], mode[5];
    uint64_t from = 0, to = 0, a, b;
    snprintf(path, sizeof path, "/proc/%d/smaps", pid);
    FILE *file = fopen(path, "re");
    if (!file)
        end(FAILED, "%s: %s", path, strerror(errno));
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s", &a, &b, mode) == 3) {
            from = a;
            to = b;
        } else if (!strncmp(line, "VmFlags:", 8) && strstr(line, " lo")) {
            show(pagemap, copy, from, to);
        }
    }
    fclose(file);
}

static void put_over(const char *path, int pid, const char *what)
{
    char place[64];
    snprintf(place, sizeof place, "/proc/%d/%s", pid, what);
    if (mount(path, place, NULL, MS_BIND, NULL) < 0)
        end(FAILED, "%s: %s", place, strerror(errno));
}

static const char *smaps_of(int pid)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%d.smaps", shown, pid);
    return path;
}

/* What CRIU reads of it: where memory is, and its flags. NULL if there is no such process. */
static char *read_smaps(int pid, size_t *length)
{
    char path[64], *line = NULL, *text = NULL;
    size_t capacity = 0;
    uint64_t from, to;
    snprintf(path, sizeof path, "/proc/%d/smaps", pid);
    FILE *smaps = fopen(path, "re"), *out;
    if (!smaps)
        return NULL;
    out = open_memstream(&text, length);
    if (!out)
        end(FAILED, "no memory for %s", path);
    while (getline(&line, &capacity, smaps) > 0)
        if (!strncmp(line, "VmFlags: ", 9) || sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &from, &to) == 2)
            fputs(line, out);
    free(line);
    fclose(smaps);
    if (fclose(out) != 0 || *length > IMAGE)
        end(FAILED, "%s: there is too much of it", path);
    return text;
}

/*
 * For a large process the kernel takes long to write smaps, a tenth of a microsecond a page and more. So it is
 * read while all still runs, and a process may end meanwhile.
 */
static void save_smaps(int pid)
{
    size_t length;
    if (!find_status(pid).is_large)
        return;
    char *text = read_smaps(pid, &length);
    if (!text)
        return;
    FILE *file = fopen(smaps_of(pid), "we");
    if (!file || fwrite(text, 1, length, file) != length || fclose(file) != 0)
        end(FAILED, "%s: %s", smaps_of(pid), strerror(errno));
    free(text);
}

/* Whether the process has its memory where it had it when smaps was read. */
static bool is_saved(int pid)
{
    FILE *file = fopen(smaps_of(pid), "re"), *maps;
    char *line = NULL, *before = NULL;
    size_t capacity = 0, capacity_before = 0;
    bool same = true;
    if (!file)
        return false;
    maps = open_maps(pid);
    while (same && getline(&line, &capacity, maps) > 0)
        same = getline(&before, &capacity_before, file) > 0 && !strcmp(line, before)
            && getline(&before, &capacity_before, file) > 0;
    same = same && getline(&before, &capacity_before, file) < 0;
    free(line);
    free(before);
    fclose(maps);
    fclose(file);
    return same;
}

/* What CRIU was shown was so: flags too, which maps does not tell. */
static void check_smaps(int pid)
{
    size_t length, length_shown;
    if (access(smaps_of(pid), F_OK) < 0)
        return;
    char *text = read_smaps(pid, &length), *saved = slurp(smaps_of(pid), IMAGE, &length_shown);
    if (!text || length != length_shown || memcmp(text, saved, length) != 0)
        end(FAILED, "process %d changed the flags of its memory just before it stood", pid);
    free(text);
    free(saved);
}

static void show_process(int pid)
{
    char path[PATH_MAX];
    struct place place;
    snprintf(path, sizeof path, "%s/%d", shown, pid);
    int pagemap = open_pagemap(pid);
    int copy = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *maps = open_maps(pid);
    if (copy < 0 || ftruncate(copy, (off_t)SHOWN_BYTES) < 0)
        end(FAILED, "%s: %s", path, strerror(errno));
    while (next_place(maps, &place))
        if (!place.private)
            show(pagemap, copy, place.from, place.to);
    show_stacks(pid, pagemap, copy);
    if (read_status(pid).locks)
        show_locked(pid, pagemap, copy);
    put_over(path, pid, "pagemap");
    if (is_saved(pid))
        put_over(smaps_of(pid), pid, "smaps");
    else
        unlink(smaps_of(pid));
    fclose(maps);
    close(copy);
    close(pagemap);
}

/* Held by who does something beside CRIU. */
static int take_lock(const char *name, int how)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", shown, name);
    int lock = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0 || flock(lock, how) < 0)
        end(FAILED, "%s: %s", path, strerror(errno));
    return lock;
}

static void uncover(int pid)
{
    static const char *const what[] = {"pagemap", "smaps"};
    char place[64];
    for (unsigned i = 0; i < sizeof what / sizeof *what; i++) {
        snprintf(place, sizeof place, "/proc/%d/%s", pid, what[i]);
        umount2(place, MNT_DETACH);
    }
}

/*
 * Not before CRIU is done with the processes: what runs in them for it makes the kernel write to their memory
 * (rseq), which gets a frame of its own if it was shared since a fork. This and the look at what CRIU was shown
 * take the longer, the more memory there is: the container is restored meanwhile.
 */
static void list_group(const char *group, const char *path)
{
    /* From then on this program sees what is covered for CRIU. */
    if (unshare(CLONE_NEWNS) < 0)
        end(FAILED, "unshare: %s", strerror(errno));
    for_group(group, 0, uncover);
    write_list(group, path);
    for_group(group, 0, check_smaps);
    seal_list(path);
}

static void mark(const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", shown, name);
    close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

static void await_archives(void)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/failed", shown);
    close(take_lock("archives", LOCK_EX));
    if (access(path, F_OK) == 0)
        end(FAILED, "the files of a tmpfs cannot be written down");
}

/* ---- drain: what is read ---- */

static const struct run *runs;
static size_t run_count;

static void read_list(const char *path)
{
    size_t length;
    char *bytes = slurp(path, sizeof(struct header) + RUNS * sizeof(struct run), &length);
    struct header header;
    if (length < sizeof header)
        end(MALFORMED, "%s is too short", path);
    memcpy(&header, bytes, sizeof header);
    if (memcmp(header.magic, magic, sizeof magic) != 0 || header.version != 1 || header.page != PAGE)
        end(MALFORMED, "%s is no list of pages of version 1", path);
    if (header.runs > RUNS || length != sizeof header + header.runs * sizeof(struct run))
        end(MALFORMED, "%s is not as long as it says", path);
    runs = (const struct run *)(bytes + sizeof header);
    run_count = header.runs;
    for (size_t i = 0; i < run_count; i++) {
        const struct run *run = &runs[i], *before = i > 0 ? run - 1 : NULL;
        bool follows = !before || before->pid != run->pid
            || before->address + before->count * (uint64_t)PAGE <= run->address;
        if (run->count == 0 || run->address % PAGE != 0 || run->address > INT64_MAX || run->pid == 0 || run->pid > INT_MAX
            || run->frame > INT64_MAX / PAGE - UINT32_MAX || !follows)
            end(MALFORMED, "run %zu of %s", i, path);
    }
}

/* A message of CRIU's, or a part of one: protocol buffers. */
struct message {
    const uint8_t *at, *end;
    const char *path;
};

static uint64_t get_varint(struct message *m)
{
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (m->at == m->end)
            break;
        uint8_t byte = *m->at++;
        value |= (uint64_t)(byte & 127) << shift;
        if (!(byte & 128))
            return value;
    }
    end(MALFORMED, "%s has a number that does not end", m->path);
}

/* The next field's number, or 0 at the end. Its value is the number, or else the part. */
static unsigned get_field(struct message *m, uint64_t *value, struct message *part)
{
    *part = (struct message){.path = m->path};
    *value = 0;
    if (m->at == m->end)
        return 0;
    uint64_t key = get_varint(m), length;
    switch (key & 7) {
    case 0:
        *value = get_varint(m);
        break;
    case 1:
    case 5:
        length = (key & 7) == 1 ? 8 : 4;
        goto skip;
    case 2:
        length = get_varint(m);
        part->at = m->at;
    skip:
        if (length > (uint64_t)(m->end - m->at))
            end(MALFORMED, "%s has a field that is too long", m->path);
        m->at += length;
        if (part->at)
            part->end = m->at;
        break;
    default:
        end(MALFORMED, "%s has a field of an unknown kind", m->path);
    }
    if (key >> 3 == 0 || key >> 3 > INT_MAX)
        end(MALFORMED, "%s has a field without a number", m->path);
    return (unsigned)(key >> 3);
}

static uint32_t get_word(struct message *m)
{
    uint32_t word;
    if (m->end - m->at < 4)
        end(MALFORMED, "%s ends early", m->path);
    memcpy(&word, m->at, 4);
    m->at += 4;
    return word;
}

static struct message open_image(const char *path, uint32_t kind)
{
    size_t length;
    struct message m = {.path = path, .at = slurp(path, IMAGE, &length)};
    m.end = m.at + length;
    if (get_word(&m) != IMAGE_MAGIC || get_word(&m) != kind)
        end(MALFORMED, "%s is no such image of CRIU 2 or later", path);
    return m;
}

static bool next_message(struct message *image, struct message *m)
{
    if (image->at == image->end)
        return false;
    uint32_t length = get_word(image);
    if (length > (size_t)(image->end - image->at))
        end(MALFORMED, "%s ends early", image->path);
    *m = (struct message){.at = image->at, .end = image->at + length, .path = image->path};
    image->at += length;
    return true;
}

/* ---- drain: the old RAM ---- */

static struct {
    const uint8_t *memory; /* NULL: read from fd */
    int fd;
    uint64_t pages, split;
    uint8_t *users;   /* of each page: who still needs it, 255 for too many to count */
    uint64_t *freed;  /* a bit a page: not told yet */
    uint64_t first_freed, last_freed;
    int tell;
} window;

static uint8_t *staging;

static void on_bus_error(int signal)
{
    (void)signal;
    kill_hostages();
    static const char text[] = "relocate: the old RAM cannot be read\n";
    if (write(2, text, sizeof text - 1) < 0) {
        /* The exit code says it. */
    }
    _exit(WINDOW_BROKEN);
}

static void open_window(const char *where, const char *bytes, const char *split)
{
    uint64_t address = 0, size, below;
    bool physical = !strchr(where, '/');
    if ((physical && !number(where, &address)) || !number(bytes, &size) || !number(split, &below)
        || size == 0 || size % PAGE != 0 || address % PAGE != 0 || below % PAGE != 0 || below > size
        || size > (1ull << 46) || address > INT64_MAX - size)
        end(USAGE, "ADDRESS, BYTES and SPLIT must be whole pages");
    window.pages = size / PAGE;
    window.split = below / PAGE;
    window.fd = open(physical ? "/dev/mem" : where,
                     O_RDONLY | O_CLOEXEC | (physical ? 0 : O_DIRECT));
    if (window.fd < 0)
        end(NO_WINDOW, "%s: %s", physical ? "/dev/mem" : where, strerror(errno));
    if (physical) {
        window.memory = mmap(NULL, size, PROT_READ, MAP_SHARED, window.fd, (off_t)address);
        if (window.memory == MAP_FAILED)
            end(NO_WINDOW, "%s bytes of /dev/mem at %s: %s", bytes, where, strerror(errno));
        struct sigaction action = {.sa_handler = on_bus_error};
        sigaction(SIGBUS, &action, NULL);
        sigaction(SIGSEGV, &action, NULL);
    }
    staging = mmap(NULL, BATCH * PAGE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    window.users = calloc(window.pages, 1);
    window.freed = calloc(window.pages / 64 + 1, 8);
    if (staging == MAP_FAILED || !window.users || !window.freed)
        end(FAILED, "no memory");
    window.first_freed = UINT64_MAX;
}

/* Where a frame of the old machine is in its RAM, in pages; count pages must be there. */
static uint64_t locate(uint64_t frame, uint64_t count)
{
    const uint64_t four_gib = (4ull << 30) / PAGE;
    uint64_t at = frame, limit = window.pages;
    if (window.split > 0 && frame >= four_gib)
        at = frame - four_gib + window.split;
    else if (window.split > 0)
        limit = window.split;
    if (at >= limit || count > limit - at)
        end(MALFORMED, "frame %#" PRIx64 " and %" PRIu64 " after it are not in the old RAM", frame,
            count - 1);
    return at;
}

static void fetch(uint8_t *to, uint64_t at, uint64_t count)
{
    if (window.memory) {
        memcpy(to, window.memory + at * PAGE, count * PAGE);
        return;
    }
    ssize_t got = pread(window.fd, to, count * PAGE, (off_t)(at * PAGE));
    if (got != (ssize_t)(count * PAGE))
        end(WINDOW_BROKEN, "the old RAM cannot be read: %s", got < 0 ? strerror(errno) : "too short");
}

static void use(uint64_t at, uint64_t count)
{
    static const uint8_t nobody[8], one[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    while (count > 0) {
        uint8_t *user = window.users + at;
        /* Pages of several processes are rare. */
        if (count >= sizeof one && memcmp(user, nobody, sizeof nobody) == 0) {
            memcpy(user, one, sizeof one);
            at += sizeof one;
            count -= sizeof one;
            continue;
        }
        *user += *user < UINT8_MAX;
        at++;
        count--;
    }
}

static void release(uint64_t at, uint64_t count)
{
    for (; count > 0; at++, count--) {
        if (window.users[at] == UINT8_MAX || window.users[at] == 0 || --window.users[at] > 0)
            continue;
        window.freed[at / 64] |= 1ull << at % 64;
        window.first_freed = at < window.first_freed ? at : window.first_freed;
        window.last_freed = at > window.last_freed ? at : window.last_freed;
    }
}

static char told[32 * 1024];
static size_t told_length;

static void flush_told(void)
{
    for (size_t done = 0; done < told_length;) {
        ssize_t put = write(window.tell, told + done, told_length - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            end(FAILED, "what is freed: %s", strerror(errno));
        done += (size_t)put;
    }
    told_length = 0;
}

static void tell_freed(void)
{
    uint64_t count = 0, at;
    if (window.first_freed == UINT64_MAX)
        return;
    for (at = window.first_freed; at <= window.last_freed + 1; at++) {
        if (count == 0 && at % 64 == 0 && window.freed[at / 64] == 0) {
            at += 63;
            continue;
        }
        if (at <= window.last_freed && window.freed[at / 64] & 1ull << at % 64) {
            window.freed[at / 64] &= ~(1ull << at % 64);
            count++;
        } else if (count > 0) {
            if (told_length > sizeof told - 64)
                flush_told();
            told_length += (size_t)sprintf(told + told_length, "freed %" PRIu64 " %" PRIu64 "\n",
                                           at - count, count);
            count = 0;
        }
    }
    flush_told();
    window.first_freed = UINT64_MAX;
    window.last_freed = 0;
}

/* ---- drain: processes ---- */

/* Pages that are still to come. */
struct extent {
    uint64_t at;   /* where they belong */
    uint64_t from; /* where they were at the dump */
    uint64_t count;
};

static struct process {
    int pid, fd; /* pid 0: free; fd -1: not given by CRIU yet */
    struct extent *extent;
    size_t first, last, capacity;
    const struct run *run; /* its part of the list */
    size_t runs, found;    /* which was the right one last */
    uint64_t batch;        /* pages to copy at once, few after one that was there already */
} process[PROCESSES];

static int processes;

static struct {
    struct process *process;
    uint64_t at;
} retry[RETRIES];

static size_t retries;

static uint64_t drained, faults;
static int64_t longest;

static bool is_in_run(uint64_t address, const struct run *run)
{
    return address >= run->address && (address - run->address) / PAGE < run->count;
}

/* The last run that begins at or before an address, or the first. */
static size_t find_run(const struct process *p, uint64_t address)
{
    size_t low = 0, high = p->runs;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (p->run[middle].address <= address)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* How many pages from an address on lie together, at most so many, and where in the old RAM. */
static uint64_t find_frames(struct process *p, uint64_t address, uint64_t most, uint64_t *at)
{
    if (p->found + 1 < p->runs && is_in_run(address, p->run + p->found + 1))
        p->found++;
    else if (p->found >= p->runs || !is_in_run(address, p->run + p->found))
        p->found = find_run(p, address);
    const struct run *run = p->run + p->found;
    if (p->found >= p->runs || !is_in_run(address, run))
        end(PAGE_MISSING, "page %#" PRIx64 " of process %d is in no frame", address, p->pid);
    uint64_t skip = (address - run->address) / PAGE, count = run->count - skip;
    count = count < most ? count : most;
    *at = locate(run->frame + skip, count);
    return count;
}

static void for_frames(struct process *p, uint64_t address, uint64_t count,
                       void (*what)(uint64_t at, uint64_t count))
{
    while (count > 0) {
        uint64_t at, found = find_frames(p, address, count, &at);
        what(at, found);
        address += found * PAGE;
        count -= found;
    }
}

/* Makes room for one more extent at an index. */
static struct extent *insert(struct process *p, size_t index)
{
    if (p->last == p->capacity) {
        size_t capacity = p->capacity ? p->capacity * 2 : 64;
        struct extent *grown =
            capacity <= EXTENTS ? realloc(p->extent, capacity * sizeof *grown) : NULL;
        if (!grown)
            end(FAILED, "process %d has its memory in too many parts", p->pid);
        p->extent = grown;
        p->capacity = capacity;
    }
    struct extent *e = p->extent + index;
    memmove(e + 1, e, (p->last - index) * sizeof *e);
    p->last++;
    return e;
}

/* The first extent that ends after an address. */
static size_t search(const struct process *p, uint64_t address)
{
    size_t low = p->first, high = p->last;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct extent *e = &p->extent[middle];
        if (e->at + e->count * PAGE > address)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* No extent goes across an address any more. */
static void split(struct process *p, uint64_t address)
{
    size_t index = search(p, address);
    if (index == p->last || p->extent[index].at >= address)
        return;
    struct extent *rest = insert(p, index + 1), *e = rest - 1;
    uint64_t pages = (address - e->at) / PAGE;
    *rest = (struct extent){address, e->from + pages * PAGE, e->count - pages};
    e->count = pages;
}

static void remove_extents(struct process *p, size_t from, size_t to)
{
    memmove(p->extent + from, p->extent + to, (p->last - to) * sizeof *p->extent);
    p->last -= to - from;
}

/* The process gave up a range of its memory. */
static void drop(struct process *p, uint64_t from, uint64_t to)
{
    split(p, from);
    split(p, to);
    size_t first = search(p, from), last = search(p, to);
    for (size_t i = first; i < last; i++)
        for_frames(p, p->extent[i].from, p->extent[i].count, release);
    remove_extents(p, first, last);
}

static void move(struct process *p, uint64_t from, uint64_t to, uint64_t bytes)
{
    split(p, from);
    split(p, from + bytes);
    size_t first = search(p, from), last = search(p, from + bytes), count = last - first;
    if (count == 0)
        return;
    struct extent *moved = malloc(count * sizeof *moved);
    if (!moved)
        end(FAILED, "no memory");
    memcpy(moved, p->extent + first, count * sizeof *moved);
    remove_extents(p, first, last);
    for (size_t i = 0; i < count; i++) {
        moved[i].at += to - from;
        *insert(p, search(p, moved[i].at)) = moved[i];
    }
    free(moved);
}

static struct process *new_process(int pid)
{
    struct process *p = process;
    while (p < process + processes && p->pid != 0)
        p++;
    if (p == process + PROCESSES)
        end(FAILED, "there are more than %d processes", PROCESSES);
    if (p == process + processes)
        processes++;
    *p = (struct process){.pid = pid, .fd = -1, .batch = BATCH};
    return p;
}

/* The areas of a process's memory, and whether CRIU lets their pages be fetched. */
static struct area {
    uint64_t from, to;
    bool fetched;
} area[AREAS];

static size_t areas;

static void read_areas(const char *path)
{
    struct message image = open_image(path, MM_MAGIC), mm, one, none;
    const uint8_t *bytes = image.at - 8;
    uint64_t value;
    unsigned field;
    areas = 0;
    if (!next_message(&image, &mm))
        end(MALFORMED, "%s is empty", path);
    while ((field = get_field(&mm, &value, &one)) != 0) {
        if (field != 14)
            continue;
        struct area a = {0};
        uint64_t flags = 0, status = 0;
        while ((field = get_field(&one, &value, &none)) != 0) {
            a.from = field == 1 ? value : a.from;
            a.to = field == 2 ? value : a.to;
            flags = field == 6 ? value : flags;
            status = field == 7 ? value : status;
        }
        a.fetched = (flags & NEEDED_FLAGS) == NEEDED_FLAGS && !(flags & EXCLUDED_FLAGS)
            && !(status & EXCLUDED_STATUS);
        if (areas == AREAS || a.from >= a.to || (a.from | a.to) % PAGE != 0
            || (areas > 0 && area[areas - 1].to > a.from))
            end(MALFORMED, "%s has too many areas, or they are not in order", path);
        area[areas++] = a;
    }
    free((void *)bytes);
}

/* The pages that CRIU knows of, in the order of their addresses; those that are not lazy it has copied. */
static struct known {
    uint64_t from, to;
    bool lazy;
} *known;

static size_t knowns, known_capacity;

static void know(const char *path, struct known one)
{
    if (one.from % PAGE != 0 || one.from >= one.to || one.to > INT64_MAX
        || (knowns > 0 && known[knowns - 1].to > one.from))
        end(MALFORMED, "%s is not in order", path);
    if (knowns == known_capacity) {
        known_capacity = known_capacity ? known_capacity * 2 : 64;
        known = known_capacity <= EXTENTS ? realloc(known, known_capacity * sizeof *known) : NULL;
        if (!known)
            end(FAILED, "%s has too many parts", path);
    }
    known[knowns++] = one;
}

static void read_known(const char *path)
{
    struct message image = open_image(path, PAGEMAP_MAGIC), entry, none;
    const uint8_t *bytes = image.at - 8;
    knowns = 0;
    if (!next_message(&image, &entry))
        end(MALFORMED, "%s is empty", path);
    while (next_message(&image, &entry)) {
        uint64_t value, from = 0, many = 0, flags = 0;
        unsigned field;
        while ((field = get_field(&entry, &value, &none)) != 0) {
            from = field == 1 ? value : from;
            /* From CRIU 4.2 on the number is in a wider field too. */
            many = field == 2 || field == 5 ? value : many;
            flags = field == 4 ? value : flags;
        }
        if (many > RUNS)
            end(MALFORMED, "%s has too many pages", path);
        know(path, (struct known){from, from + many * PAGE, flags & LAZY});
    }
    free((void *)bytes);
}

/* CRIU must have copied what it gives to nobody else. */
static void require_copied(int pid, uint64_t from, uint64_t to)
{
    for (size_t i = 0; i < knowns && from < to; i++)
        if (known[i].from <= from && from < known[i].to && !known[i].lazy)
            from = known[i].to;
    if (from < to)
        end(PAGE_MISSING, "page %#" PRIx64 " of process %d is neither copied nor fetched", from, pid);
}

/* Cut where one area ends and another begins, because what is copied at once must be of one. */
static void add_run(struct process *p, size_t *next_area, uint64_t from, uint64_t to)
{
    while (from < to) {
        while (*next_area < areas && area[*next_area].to <= from)
            ++*next_area;
        if (*next_area == areas || area[*next_area].from > from)
            end(MALFORMED, "process %d has a page at %#" PRIx64 ", where it has no memory", p->pid, from);
        const struct area *a = &area[*next_area];
        uint64_t part = (a->to < to ? a->to : to) - from;
        const struct extent *before = p->last > 0 ? &p->extent[p->last - 1] : NULL;
        if (!a->fetched)
            require_copied(p->pid, from, from + part);
        else if (before && before->at >= a->from && before->at + before->count * PAGE == from)
            p->extent[p->last - 1].count += part / PAGE;
        else
            *insert(p, p->last) = (struct extent){from, from, part / PAGE};
        from += part;
    }
}

static void nothing(uint64_t at, uint64_t count)
{
    (void)at;
    (void)count;
}

/* What is to be copied for a process. That every page is there is known before anybody needs one. */
static struct process *load(const char *images, int pid, const struct run *run, size_t count)
{
    for (struct process *p = process; p < process + processes; p++)
        if (p->pid == pid)
            end(MALFORMED, "process %d is there twice", pid);
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/mm-%d.img", images, pid);
    read_areas(path);
    snprintf(path, sizeof path, "%s/pagemap-%d.img", images, pid);
    read_known(path);
    struct process *p = new_process(pid);
    p->run = run;
    p->runs = count;
    size_t next_area = 0;
    for (size_t i = 0; i < count; i++)
        add_run(p, &next_area, run[i].address, run[i].address + run[i].count * (uint64_t)PAGE);
    for (size_t i = 0; i < knowns; i++)
        if (known[i].lazy)
            for_frames(p, known[i].from, (known[i].to - known[i].from) / PAGE, nothing);
    for (size_t i = 0; i < p->last; i++)
        for_frames(p, p->extent[i].from, p->extent[i].count, use);
    return p;
}

static void load_all(const char *images)
{
    for (size_t i = 0, next; i < run_count; i = next) {
        for (next = i + 1; next < run_count && runs[next].pid == runs[i].pid; next++)
            continue;
        load(images, (int)runs[i].pid, runs + i, next - i);
    }
}

/* Gone, or all is there: closing makes what still waits go on, and its memory ordinary. */
static void finish(struct process *p)
{
    for (size_t i = p->first; i < p->last; i++)
        for_frames(p, p->extent[i].from, p->extent[i].count, release);
    free(p->extent);
    close(p->fd);
    *p = (struct process){.fd = -1};
}

/* ---- drain: copying ---- */

enum copied {
    COPIED,
    EXISTS,
    LATER,   /* the process changes its memory, and tells so in an event */
    NOWHERE, /* no such memory, or not all of one area */
    GONE,
};

/*
 * At most count pages, as many as are copied best at once: those that lie together in the old RAM go
 * directly from there, others are gathered first. What came over is in *done, whatever is returned.
 */
static enum copied copy(struct process *p, uint64_t to, uint64_t from, uint64_t count, uint64_t *done)
{
    uint64_t at, got = 0, found;
    const uint8_t *source = staging;
    while (got < count) {
        found = find_frames(p, from + got * PAGE, count - got, &at);
        if (window.memory && found >= TOGETHER) {
            if (got == 0) {
                source = window.memory + at * PAGE;
                got = found;
            }
            break;
        }
        fetch(staging + got * PAGE, at, found);
        got += found;
    }
    struct uffdio_copy request = {.dst = to, .src = (uintptr_t)source, .len = got * PAGE};
    int error = ioctl(p->fd, UFFDIO_COPY, &request) < 0 ? errno : 0;
    *done = request.copy > 0 ? (uint64_t)request.copy / PAGE : 0;
    switch (error) {
    case 0:
        return COPIED;
    case EEXIST:
        return EXISTS;
    case EAGAIN:
        /* Part of it was copied: the rest gives the reason when it is tried. */
        return *done > 0 ? COPIED : request.copy == -EEXIST ? EXISTS
            : request.copy == -ENOENT ? NOWHERE : LATER;
    case ENOENT:
        return NOWHERE;
    case ESRCH:
    case ENOSPC:
        return GONE;
    default:
        end(error == EFAULT ? WINDOW_BROKEN : FAILED, "copying to %#" PRIx64 " of process %d: %s", to,
            p->pid, strerror(error));
    }
}

static void wake(struct process *p, uint64_t at)
{
    struct uffdio_range range = {at, PAGE};
    ioctl(p->fd, UFFDIO_WAKE, &range);
}

static enum copied zero(struct process *p, uint64_t at)
{
    struct uffdio_zeropage request = {.range = {at, PAGE}};
    if (ioctl(p->fd, UFFDIO_ZEROPAGE, &request) == 0)
        return COPIED;
    return errno == EEXIST ? EXISTS : errno == EAGAIN ? LATER
        : errno == ESRCH || errno == ENOSPC ? GONE : NOWHERE;
}

/*
 * Somebody waits for a page. Memory that was not lazy, or is new, is zeroes. When there are too many
 * extents to split another one, the drain will find the page done.
 */
static void answer(struct process *p, uint64_t at)
{
    size_t index = search(p, at);
    const struct extent *e = index < p->last && p->extent[index].at <= at ? &p->extent[index] : NULL;
    uint64_t done;
    enum copied result;
    if (e) {
        uint64_t skip = (at - e->at) / PAGE, count = e->count - skip;
        uint64_t from = e->from + skip * PAGE;
        result = copy(p, at, from, count < CLUSTER ? count : CLUSTER, &done);
        if (result == NOWHERE)
            result = copy(p, at, from, 1, &done);
        if (done > 0 && p->last < EXTENTS / 2) {
            drop(p, at, at + done * PAGE);
            drained += done;
        }
    } else {
        result = zero(p, at);
    }
    if (result == GONE) {
        finish(p);
    } else if (result == LATER && retries < RETRIES) {
        retry[retries].process = p;
        retry[retries++].at = at;
    } else if (result != COPIED) {
        wake(p, at);
    }
}

/* The next pages of a process; false: nothing can be done before its events are read. */
static bool drain_some(struct process *p)
{
    struct extent *e = &p->extent[p->first];
    uint64_t count = e->count < p->batch ? e->count : p->batch, done;
    enum copied result = copy(p, e->at, e->from, count, &done);
    while (result == NOWHERE && done == 0 && count > 1) {
        count /= 2;
        result = copy(p, e->at, e->from, count, &done);
    }
    if (result == GONE) {
        finish(p);
        return true;
    }
    p->batch = result == EXISTS ? 1 : p->batch < BATCH ? p->batch * 2 : BATCH;
    if (done == 0 && (result == EXISTS || result == NOWHERE))
        done = 1;
    if (result == LATER && done == 0)
        return false;
    for_frames(p, e->from, done, release);
    drained += done;
    *e = (struct extent){e->at + done * PAGE, e->from + done * PAGE, e->count - done};
    p->first += e->count == 0;
    return true;
}

/* ---- drain: CRIU and the kernel ---- */

static int poller;

static void watch(int fd, uint64_t who)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = who};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0)
        end(FAILED, "epoll: %s", strerror(errno));
}

static int await_restore(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = SOCKET};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unlink(SOCKET);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) < 0
        || listen(listener, 1) < 0)
        end(FAILED, "%s: %s", SOCKET, strerror(errno));
    printf("ready\n");
    fflush(stdout);
    int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (connection < 0)
        end(FAILED, "%s: %s", SOCKET, strerror(errno));
    close(listener);
    unlink(SOCKET);
    return connection;
}

/* It may be written while CRIU restores what can be restored without it. */
static void await_list(void)
{
    char byte;
    if (read(0, &byte, 1) != 1)
        end(RESTORE_FAILED, "nobody said that the list of pages is there");
}

static int receive_descriptor(int connection)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr aligned;
    } control;
    char byte;
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = sizeof control};
    if (recvmsg(connection, &message, MSG_CMSG_CLOEXEC) != 1)
        end(RESTORE_FAILED, "CRIU sent no userfaultfd");
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS
        || header->cmsg_len != CMSG_LEN(sizeof(int)) || message.msg_flags & MSG_CTRUNC)
        end(RESTORE_FAILED, "CRIU sent something that is no userfaultfd");
    int fd;
    memcpy(&fd, CMSG_DATA(header), sizeof fd);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return fd;
}

/* A pid and its userfaultfd, the negative pid of one that has ended, or the end: true. */
static bool hear_restore(int connection, const char *images, const char *cgroup)
{
    int32_t word;
    if (recv(connection, &word, sizeof word, MSG_WAITALL) != sizeof word)
        end(RESTORE_FAILED, "CRIU went away before it had finished");
    if (word == FINISHED)
        return true;
    if (word <= 0)
        return false;
    struct process *p = process;
    while (p < process + processes && (p->pid != word || p->fd >= 0))
        p++;
    if (p == process + processes)
        p = load(images, word, NULL, 0);
    p->fd = receive_descriptor(connection);
    hostages = cgroup;
    watch(p->fd, (uint64_t)(p - process));
    return false;
}

static void fork_process(struct process *parent, int fd)
{
    struct process *p = new_process(parent->pid);
    p->fd = fd;
    p->run = parent->run;
    p->runs = parent->runs;
    for (size_t i = parent->first; i < parent->last; i++) {
        *insert(p, p->last) = parent->extent[i];
        for_frames(p, parent->extent[i].from, parent->extent[i].count, use);
    }
    watch(fd, (uint64_t)(p - process));
}

static void hear_process(struct process *p)
{
    struct uffd_msg message[16];
    ssize_t got = read(p->fd, message, sizeof message);
    if (got < 0 && errno != EAGAIN && errno != EINTR)
        end(FAILED, "the userfaultfd of process %d: %s", p->pid, strerror(errno));
    int64_t begun = microseconds();
    for (ssize_t i = 0; i < got / (ssize_t)sizeof *message && p->fd >= 0; i++) {
        const struct uffd_msg *m = &message[i];
        switch (m->event) {
        case UFFD_EVENT_PAGEFAULT:
            answer(p, m->arg.pagefault.address & ~(uint64_t)(PAGE - 1));
            faults++;
            break;
        case UFFD_EVENT_FORK:
            fork_process(p, (int)m->arg.fork.ufd);
            break;
        case UFFD_EVENT_REMAP:
            move(p, m->arg.remap.from, m->arg.remap.to, m->arg.remap.len);
            break;
        case UFFD_EVENT_REMOVE:
        case UFFD_EVENT_UNMAP:
            drop(p, m->arg.remove.start, m->arg.remove.end);
            break;
        default:
            end(FAILED, "process %d has event %d, which is unknown", p->pid, m->event);
        }
    }
    int64_t took = microseconds() - begun;
    longest = got > 0 && took > longest ? took : longest;
}

static void try_again(void)
{
    size_t count = retries;
    retries = 0;
    for (size_t i = 0; i < count; i++)
        if (retry[i].process->fd >= 0)
            answer(retry[i].process, retry[i].at);
}

/* One that waits for pages, or for being told that there are no more. */
static struct process *next_process(void)
{
    for (struct process *p = process; p < process + processes; p++)
        if (p->pid != 0 && p->fd >= 0)
            return p;
    return NULL;
}

static int drain(char **argument)
{
    open_window(argument[2], argument[3], argument[4]);
    window.tell = strcmp(argument[5], "-")
        ? open(argument[5], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600) : 1;
    if (window.tell < 0)
        end(FAILED, "%s: %s", argument[5], strerror(errno));
    poller = epoll_create1(EPOLL_CLOEXEC);
    int connection = await_restore();
    await_list();
    read_list(argument[1]);
    load_all(argument[0]);
    watch(connection, UINT64_MAX);
    bool finished = false, stuck = false;
    int64_t begun = 0;
    uint64_t told = 0;
    struct process *p = process;
    while (!finished || p) {
        struct epoll_event event[EVENTS];
        int count = epoll_wait(poller, event, EVENTS, finished && !stuck ? 0 : stuck ? 1 : -1);
        if (count < 0 && errno != EINTR)
            end(FAILED, "epoll: %s", strerror(errno));
        for (int i = 0; i < count; i++) {
            if (event[i].data.u64 < (uint64_t)processes) {
                if (process[event[i].data.u64].fd >= 0)
                    hear_process(&process[event[i].data.u64]);
            } else if (hear_restore(connection, argument[0], argument[6])) {
                finished = true;
                begun = microseconds();
                close(connection);
            }
        }
        try_again();
        stuck = false;
        p = next_process();
        if (!finished || count > 0 || !p)
            continue;
        if (p->first == p->last)
            finish(p);
        else
            stuck = !drain_some(p);
        if (drained - told >= TELL) {
            tell_freed();
            told = drained;
        }
    }
    int64_t took = microseconds() - begun;
    tell_freed();
    printf("drained %" PRIu64 " pages %" PRIu64 " bytes %" PRId64 " us %" PRIu64 " faults %" PRId64
           " us %" PRIu64 " MiB/s\n", drained, drained * PAGE, took, faults, longest,
           took > 0 ? drained * PAGE * 1000000 / (uint64_t)took >> 20 : 0);
    return DONE;
}

/* ---- gather: in the new system ---- */

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* of linux/mman.h since Linux 6.1 */
#endif

enum { HUGE_PAGES = 512, HUGE = HUGE_PAGES * PAGE, IDLE = 3, BUSY_US = 200000 };

static const char *busy;

static void await_quiet(void)
{
    for (;;) {
        DIR *folder = opendir(busy);
        struct dirent *entry;
        bool empty = true;
        while (folder && (entry = readdir(folder)))
            empty = empty && entry->d_name[0] == '.';
        if (folder)
            closedir(folder);
        if (empty)
            return;
        usleep(BUSY_US);
    }
}

/* All are there, of this process alone, and not together yet. */
static bool is_scattered(const uint64_t *entry)
{
    bool together = (entry[0] & FRAME) % HUGE_PAGES == 0;
    for (unsigned i = 0; i < HUGE_PAGES; i++) {
        if ((entry[i] & (PRESENT | OF_FILE | EXCLUSIVE)) != (PRESENT | EXCLUSIVE))
            return false;
        together = together && (entry[i] & FRAME) == (entry[0] & FRAME) + i;
    }
    return !together;
}

/* Nothing is lost when it does not work. false: the process is gone. */
static bool gather_place(int process, int pagemap, struct place place)
{
    uint64_t entry[HUGE_PAGES];
    for (uint64_t at = (place.from + HUGE - 1) / HUGE * HUGE; at + HUGE <= place.to; at += HUGE) {
        if (pread(pagemap, entry, sizeof entry, (off_t)(at / PAGE * 8)) != sizeof entry)
            return false;
        if (!is_scattered(entry))
            continue;
        await_quiet();
        struct iovec huge = {(void *)(uintptr_t)at, HUGE};
        int64_t begun = microseconds();
        if (syscall(SYS_process_madvise, process, &huge, 1, MADV_COLLAPSE, 0) < 0 && errno == ESRCH)
            return false;
        usleep((useconds_t)(IDLE * (microseconds() - begun)));
    }
    return true;
}

static void gather_process(int pid)
{
    char path[64];
    struct place place;
    int process = (int)syscall(SYS_pidfd_open, pid, 0);
    snprintf(path, sizeof path, "/proc/%d/pagemap", pid);
    int pagemap = open(path, O_RDONLY | O_CLOEXEC);
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *maps = fopen(path, "re");
    bool here = process >= 0 && pagemap >= 0 && maps;
    while (here && next_place(maps, &place))
        here = !place.private || gather_place(process, pagemap, place);
    if (maps)
        fclose(maps);
    close(pagemap);
    close(process);
}

static int gather(const char *group, const char *folder)
{
    busy = folder;
    setpriority(PRIO_PROCESS, 0, 19);
    for_group(group, 0, gather_process);
    return DONE;
}

/* ---- within ---- */

static int within(const char *group, char **command)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/cgroup.procs", group);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "0", 1) != 1 || unshare(CLONE_NEWCGROUP) < 0)
        end(FAILED, "%s: %s", path, strerror(errno));
    execvp(command[0], command);
    end(FAILED, "%s: %s", command[0], strerror(errno));
}

/* ---- as CRIU's script ---- */

static bool is_in(const char *name, const char *list)
{
    size_t length = strlen(name);
    for (const char *at = list; at && (at = strstr(at, name)); at++)
        if ((at == list || at[-1] == ',') && (at[length] == 0 || at[length] == ','))
            return true;
    return false;
}

static void freeze(const char *group)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/cgroup.freeze", group);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "1", 1) != 1)
        end(FAILED, "%s: %s", path, strerror(errno));
    close(fd);
}

/* Gives a timer of an image, whose message this is, the shortest time, in the last of these fields. */
static void rearm(int fd, const uint8_t *bytes, struct message timer, unsigned interval, unsigned last, bool lost)
{
    struct message none;
    const uint8_t *place = NULL;
    uint64_t value, each = 0, left = 0;
    unsigned field;
    while ((field = get_field(&timer, &value, &none)) != 0) {
        each |= field == interval || field == interval + 1 ? value : 0;
        left |= field == last - 1 || field == last ? value : 0;
        place = field == last ? timer.at - 1 : place;
    }
    if (left == 0 && place && (each != 0 || lost) && pwrite(fd, "\1", 1, place - bytes) != 1)
        end(FAILED, "an image: %s", strerror(errno));
}

/*
 * A timerfd that ticks and has ticked without having been read has no time left, by the kernel's account,
 * and CRIU would restore it as one that stands still (its issue 3162). With the shortest time left it goes on:
 * the ticks that were not read are restored after it is set.
 */
static void rearm_timers(const char *images)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/files.img", images);
    struct message image = open_image(path, FILES_MAGIC), file, timer;
    const uint8_t *bytes = image.at - 8;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    while (next_message(&image, &file)) {
        uint64_t value;
        unsigned field;
        while ((field = get_field(&file, &value, &timer)) != 0) {
            if (field == TIMER && timer.at)
                rearm(fd, bytes, timer, 9, 8, false);
        }
    }
    close(fd);
    free((void *)bytes);
}

static int run(char *const *command)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        execv(command[0], command);
        _exit(127);
    }
    while (child > 0 && waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return child > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static uint64_t bit_of(uint64_t signal) { return signal > 0 && signal <= 64 ? 1ull << (signal - 1) : 0; }

/* The first field of that number. */
static bool find(struct message m, unsigned number, uint64_t *value, struct message *part)
{
    unsigned field;
    while ((field = get_field(&m, value, part)) != 0)
        if (field == number)
            return true;
    return false;
}

/* The signals that CRIU has written down as pending. */
static uint64_t written_signals(struct message queue)
{
    uint64_t value, mask = 0;
    unsigned field;
    struct message entry, info;
    while ((field = get_field(&queue, &value, &entry)) != 0)
        if (field == 1 && entry.at && find(entry, 1, &value, &info) && info.end - info.at >= 4)
            mask |= bit_of(get_word(&info));
    return mask;
}

static const char *alarms_of;

/*
 * Time goes on for what stands still: CRIU writes down pending signals first, and timers a tenth of a second
 * later. A timer that has run out between is pending, but in neither. And ITIMER_REAL with an interval is not
 * set again before its signal is taken, so that it too has no time left.
 */
static void rearm_alarms(int pid)
{
    char path[PATH_MAX];
    struct status status = read_status(pid);
    struct message core, task, timers, timer, queue, none;
    uint64_t value, lost = status.pending;
    unsigned field;
    snprintf(path, sizeof path, "%s/core-%" PRIu32 ".img", alarms_of, status.own);
    struct message image = open_image(path, CORE_MAGIC);
    const uint8_t *bytes = image.at - 8;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (!next_message(&image, &core) || !find(core, 3, &value, &task))
        end(MALFORMED, "%s is of no process", path);
    if (find(task, 10, &value, &queue) && queue.at)
        lost &= ~written_signals(queue);
    if (find(task, 7, &value, &timers) && timers.at) {
        while ((field = get_field(&timers, &value, &timer)) != 0) {
            if (field == 1 && timer.at)
                rearm(fd, bytes, timer, 1, 4, lost & bit_of(SIGALRM));
            else if (field == 4 && timer.at && find(timer, 3, &value, &none))
                rearm(fd, bytes, timer, 7, 10, lost & bit_of(value));
        }
    }
    close(fd);
    free((void *)bytes);
}

/* ---- images in an archive ---- */

/*
 * cpio's "newc": a header of hexadecimal numbers, the name with its zero, the content; name and content filled up
 * to four bytes. By hand, and in few large pieces, because it is done while the container stands still: a small
 * read or write in the shared folder takes as long as a large one, and to start tar as long as all the rest.
 */
#define NEWC "070701"
#define NEWC_END "TRAILER!!!"
#define INVENTORY "inventory.img"

enum { NEWC_HEADER = 110, ARCHIVE_BUFFER = 1 << 20 };

static char archive_buffer[ARCHIVE_BUFFER];

static FILE *open_archive(const char *path, const char *mode)
{
    FILE *file = fopen(path, mode);
    if (!file)
        end(FAILED, "%s: %s", path, strerror(errno));
    setvbuf(file, archive_buffer, _IOFBF, sizeof archive_buffer);
    return file;
}

static void put_entry(FILE *archive, const char *name, uint32_t mode, uint32_t size)
{
    fprintf(archive, NEWC "%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 0, mode, 0, 0, 1, 0, size, 0, 0, 0, 0,
            (unsigned)strlen(name) + 1, 0);
    fwrite(name, 1, strlen(name) + 1, archive);
    fwrite("\0\0\0", 1, -(NEWC_HEADER + strlen(name) + 1) & 3, archive);
}

static void pack_file(FILE *archive, int folder, const char *name)
{
    static char piece[64 * 1024];
    struct stat what;
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &what) < 0 || !S_ISREG(what.st_mode) || what.st_size > UINT32_MAX)
        end(FAILED, "%s is no image", name);
    put_entry(archive, name, S_IFREG | 0600, (uint32_t)what.st_size);
    uint64_t left = (uint64_t)what.st_size;
    while (left > 0) {
        ssize_t got = read(fd, piece, left < sizeof piece ? left : sizeof piece);
        if (got <= 0)
            end(FAILED, "%s: %s", name, got < 0 ? strerror(errno) : "ended early");
        fwrite(piece, 1, (size_t)got, archive);
        left -= (uint64_t)got;
    }
    fwrite("\0\0\0", 1, -(uint64_t)what.st_size & 3, archive);
    close(fd);
}

static void pack(const char *images, const char *path)
{
    FILE *archive = open_archive(path, "we");
    DIR *folder = opendir(images);
    struct dirent *entry;
    if (!folder)
        end(FAILED, "%s: %s", images, strerror(errno));
    while ((entry = readdir(folder)))
        if (entry->d_name[0] != '.')
            pack_file(archive, dirfd(folder), entry->d_name);
    closedir(folder);
    put_entry(archive, NEWC_END, 0, 0);
    if (ferror(archive) || fclose(archive) != 0)
        end(FAILED, "the images cannot be put together: %s", strerror(errno));
}

static void take(FILE *archive, void *to, size_t bytes, const char *path)
{
    if (fread(to, 1, bytes, archive) != bytes)
        end(MALFORMED, "%s ends early", path);
}

static uint32_t hexadecimal(const char *digits, const char *path)
{
    uint32_t value = 0;
    for (int i = 0; i < 8; i++) {
        char c = digits[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
            end(MALFORMED, "%s has a header that is none", path);
        value = value << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return value;
}

/* The name of the next image, and how long it is; false at the end. */
static bool next_image(FILE *archive, char name[NAME_MAX + 1], uint32_t *size, const char *path)
{
    char header[NEWC_HEADER], filling[3];
    take(archive, header, sizeof header, path);
    if (memcmp(header, NEWC, strlen(NEWC)) != 0)
        end(MALFORMED, "%s is no archive", path);
    *size = hexadecimal(header + 54, path);
    uint32_t length = hexadecimal(header + 94, path);
    if (length < 2 || length > NAME_MAX + 1)
        end(MALFORMED, "%s has an image without a name", path);
    take(archive, name, length, path);
    take(archive, filling, -(NEWC_HEADER + length) & 3, path);
    if (name[length - 1] != 0 || strlen(name) != length - 1 || name[0] == '.' || strchr(name, '/'))
        end(MALFORMED, "%s has an image with a name that is none", path);
    return strcmp(name, NEWC_END) != 0;
}

static void unpack_file(FILE *archive, int folder, const char *name, uint32_t size, const char *path)
{
    static char piece[64 * 1024];
    char filling[3];
    /* What waits for this one has a pipe in its place. */
    unlinkat(folder, name, 0);
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        end(FAILED, "%s: %s", name, strerror(errno));
    for (uint32_t left = size; left > 0;) {
        uint32_t part = left < sizeof piece ? left : sizeof piece;
        take(archive, piece, part, path);
        if (write(fd, piece, part) != (ssize_t)part)
            end(FAILED, "%s: %s", name, strerror(errno));
        left -= part;
    }
    take(archive, filling, -size & 3, path);
    close(fd);
}

static int unpack(const char *path, const char *images)
{
    char name[NAME_MAX + 1];
    uint32_t size;
    FILE *archive = open_archive(path, "re");
    int folder = open(images, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        end(FAILED, "%s: %s", images, strerror(errno));
    while (next_image(archive, name, &size, path))
        unpack_file(archive, folder, name, size, path);
    fclose(archive);
    close(folder);
    size_t length;
    char inventory[PATH_MAX];
    snprintf(inventory, sizeof inventory, "%s/" INVENTORY, images);
    char *bytes = slurp(inventory, sizeof archive_buffer, &length);
    if (write(1, bytes, length) != (ssize_t)length)
        end(FAILED, "the output: %s", strerror(errno));
    return DONE;
}

/* CRIU has written all down, and would let the processes go on at its end. */
static void close_images(const char *group, const char *images)
{
    const char *archive = getenv("HF_PACKED");
    if (group)
        freeze(group);
    if (shown)
        await_archives();
    rearm_timers(images);
    alarms_of = images;
    if (group)
        for_group(group, 0, rearm_alarms);
    if (archive)
        pack(images, archive);
}

static void say(int port, const char *word)
{
    if (port >= 0 && dprintf(port, "%s\n", word) < 0)
        end(FAILED, "HF_PORT: %s", strerror(errno));
}

static int hook(void)
{
    const char *action = getenv("CRTOOLS_SCRIPT_ACTION"), *name = getenv("HF_PORT");
    const char *group = getenv("HF_CGROUP"), *pages = getenv("HF_PAGES");
    char answer[8] = "";
    if (!action || !is_in(action, getenv("HF_HOOK")))
        return DONE;
    bool ends = !strcmp(action, "post-dump");
    int port = name ? open(name, O_RDWR | O_CLOEXEC | O_NOCTTY) : -1;
    if (name && port < 0)
        end(FAILED, "HF_PORT: %s", strerror(errno));
    if (group && (!pages || !shown))
        end(USAGE, "HF_CGROUP goes with HF_PAGES and HF_SHOWN");
    if (group && !strcmp(action, "pre-dump"))
        for_group(group, 0, save_smaps);
    if (ends)
        close_images(group, getenv("CRTOOLS_IMAGE_DIR"));
    say(port, action);
    /* The host does its part meanwhile. */
    if (group && !strcmp(action, "network-lock"))
        for_group(group, 0, show_process);
    if (group && ends) {
        list_group(group, pages);
        say(port, "listed");
    }
    if (name && read(port, answer, sizeof answer - 1) < 0)
        end(FAILED, "HF_PORT: %s", strerror(errno));
    return !name || strncmp(answer, "ok\n", 3) == 0 ? DONE : FAILED;
}

/* ---- as CRIU's tar ---- */

/* The files of a tmpfs, which stand still, go into their image beside CRIU; post-dump waits for it. */
static int create(char **arguments)
{
    int lock = take_lock("archives", LOCK_SH);
    pid_t child = fork();
    if (child < 0)
        end(FAILED, "fork: %s", strerror(errno));
    if (child == 0 && run(arguments) != 0)
        mark("failed");
    close(lock);
    return DONE;
}

/* busybox begins sooner, but does not know files with holes. */
static int extract(char **arguments)
{
    char *folder = NULL;
    off_t begin = lseek(0, 0, SEEK_CUR);
    for (char **at = arguments; at[0] && at[1]; at++)
        if (!strcmp(at[0], "--directory"))
            folder = at[1];
    if (folder && run((char *[]){"/bin/busybox", "tar", "-x", "-f", "-", "-C", folder, NULL}) == 0)
        return DONE;
    if (begin < 0 || lseek(0, begin, SEEK_SET) < 0)
        end(FAILED, "an image: %s", strerror(errno));
    return run(arguments);
}

/* A few small files are not worth compressing: starting gzip takes longer than all the rest. */
static int archive(char **arguments)
{
    char **to = arguments;
    bool creates = false;
    for (char **from = arguments; *from; from++) {
        creates |= !strcmp(*from, "--create");
        if (strcmp(*from, "--gzip"))
            *to++ = *from;
    }
    *to = NULL;
    arguments[0] = "/usr/bin/tar";
    return creates && shown ? create(arguments) : extract(arguments);
}

int main(int count, char **arguments)
{
    const char *name = strrchr(arguments[0], '/');
    shown = getenv("HF_SHOWN");
    if (!strcmp(name ? name + 1 : arguments[0], "tar"))
        return archive(arguments);
    if (count == 4 && !strcmp(arguments[1], "pages"))
        return pages(arguments[2], arguments[3]);
    if (count == 4 && !strcmp(arguments[1], "compare"))
        return compare(arguments[2], arguments[3]);
    if (count == 9 && !strcmp(arguments[1], "drain"))
        return drain(arguments + 2);
    if (count == 4 && !strcmp(arguments[1], "gather"))
        return gather(arguments[2], arguments[3]);
    if (count == 4 && !strcmp(arguments[1], "unpack"))
        return unpack(arguments[2], arguments[3]);
    if (count > 3 && !strcmp(arguments[1], "within"))
        return within(arguments[2], arguments + 3);
    if (count == 1 && getenv("CRTOOLS_SCRIPT_ACTION"))
        return hook();
    fprintf(stderr, "usage: relocate pages CGROUP FILE\n"
                    "       relocate compare CGROUP FILE\n"
                    "       relocate drain IMAGES PAGES ADDRESS BYTES SPLIT FREED CGROUP\n"
                    "       relocate gather CGROUP BUSY\n"
                    "       relocate unpack ARCHIVE FOLDER\n"
                    "       relocate within CGROUP COMMAND...\n"
                    "       relocate, as --action-script of criu\n");
    return USAGE;
}
