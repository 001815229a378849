/*
 * Tests "relocate drain" without CRIU and without machines: plays CRIU, with images made here, a file in
 * place of the old RAM, and processes that fork, move, give up and remap their memory while it comes.
 *
 *     drain_test RELOCATE FOLDER PAGES
 *
 * FOLDER must be empty, on a file system that can O_DIRECT. Prints "good" or what is wrong.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, WORDS = PAGE / 8 };

struct run {
    uint64_t address, frame;
    uint32_t count, pid;
};

static void check(bool good, const char *what)
{
    if (good)
        return;
    printf("wrong: %s: %s\n", what, strerror(errno));
    exit(1);
}

static size_t varint(uint8_t *to, uint64_t value)
{
    size_t length = 0;
    do {
        to[length++] = (uint8_t)(value & 127) | (value > 127 ? 128 : 0);
        value >>= 7;
    } while (value);
    return length;
}

static size_t field(uint8_t *to, unsigned number, uint64_t value)
{
    size_t length = varint(to, number << 3);
    return length + varint(to + length, value);
}

static void put(FILE *file, const uint8_t *message, size_t length)
{
    uint32_t size = (uint32_t)length;
    fwrite(&size, 4, 1, file);
    fwrite(message, 1, length, file);
}

static FILE *image(const char *name, uint32_t kind)
{
    uint32_t head[2] = {0x54564319, kind};
    FILE *file = fopen(name, "w");
    check(file, name);
    fwrite(head, 8, 1, file);
    return file;
}

static uint64_t word(uint64_t page, size_t i) { return page * 0x9E3779B97F4A7C15ull + i; }

/* The pages from first on, at this place, are as they were in the old RAM; or zeroes. */
static bool same(const uint64_t *memory, uint64_t first, uint64_t count, bool zero)
{
    for (uint64_t p = 0; p < count; p++)
        for (size_t i = 0; i < WORDS; i++)
            if (memory[p * WORDS + i] != (zero ? 0 : word(first + p, i)))
                return false;
    return true;
}

int main(int argc, char **argv)
{
    check(argc == 4 && chdir(argv[2]) == 0, "usage: drain_test RELOCATE FOLDER PAGES");
    uint64_t pages = strtoull(argv[3], NULL, 10), address = 0x7000000000;
    /* Frames in a pseudo-random order, some together. */
    uint64_t *frame = malloc(pages * 8);
    for (uint64_t i = 0; i < pages; i++)
        frame[i] = i;
    for (uint64_t i = pages / 16; i-- > 1;) {
        uint64_t j = (uint64_t)rand() % i;
        for (int k = 0; k < 16; k++) {
            uint64_t t = frame[i * 16 + k];
            frame[i * 16 + k] = frame[j * 16 + k];
            frame[j * 16 + k] = t;
        }
    }
    for (uint64_t i = pages / 2; i + 1 < pages; i += 2) {
        uint64_t t = frame[i];
        frame[i] = frame[i + 1];
        frame[i + 1] = t;
    }
    FILE *ram = fopen("ram", "w"), *list = fopen("pages", "w");
    uint64_t *owner = malloc(pages * 8);
    for (uint64_t i = 0; i < pages; i++)
        owner[frame[i]] = i;
    for (uint64_t f = 0; f < pages; f++)
        for (size_t i = 0; i < WORDS; i++) {
            uint64_t w = word(owner[f], i);
            fwrite(&w, 8, 1, ram);
        }
    fclose(ram);
    struct {
        char magic[8];
        uint32_t version, page;
        uint64_t runs;
    } header = {"HFPAGES", 1, PAGE, pages};
    fwrite(&header, sizeof header, 1, list);
    for (uint64_t i = 0; i < pages; i++) {
        struct run run = {address + i * PAGE, frame[i], 1, 7};
        fwrite(&run, sizeof run, 1, list);
    }
    fclose(list);
    uint8_t m[256], area[64];
    FILE *file = image("mm-7.img", 0x57492820);
    size_t size = field(area, 1, address), length;
    size += field(area + size, 2, address + (pages + 16) * PAGE);
    size += field(area + size, 6, MAP_PRIVATE | MAP_ANONYMOUS);
    length = varint(m, 14 << 3 | 2);
    length += varint(m + length, size);
    memcpy(m + length, area, size);
    put(file, m, length + size);
    fclose(file);
    file = image("pagemap-7.img", 0x56084025);
    put(file, m, field(m, 1, 1));
    /* Of half of them CRIU knows nothing. */
    length = field(m, 1, address);
    length += field(m + length, 2, pages / 2);
    length += field(m + length, 4, 2);
    put(file, m, length);
    fclose(file);

    char bytes[32];
    snprintf(bytes, sizeof bytes, "%llu", (unsigned long long)pages * PAGE);
    int listed[2];
    check(pipe(listed) == 0, "pipe");
    pid_t drain = fork();
    if (drain == 0) {
        dup2(listed[0], 0);
        execl(argv[1], "relocate", "drain", ".", "pages", "./ram", bytes, "0", "freed", "none", NULL);
        _exit(127);
    }
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un to = {AF_UNIX, "lazy-pages.socket"};
    for (int i = 0; connect(s, (struct sockaddr *)&to, sizeof to) < 0; i++) {
        check(i < 500, "connect");
        usleep(10000);
    }
    check(write(listed[1], "\n", 1) == 1, "say that the list is there");
    char *memory = mmap((void *)address, (pages + 16) * PAGE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    madvise(memory, (pages + 16) * PAGE, MADV_NOHUGEPAGE);
    int u = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_EVENT_FORK
        | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_EVENT_REMOVE};
    check(u >= 0 && ioctl(u, UFFDIO_API, &api) == 0, "userfaultfd");
    struct uffdio_register all = {.range = {address, (pages + 16) * PAGE},
                                  .mode = UFFDIO_REGISTER_MODE_MISSING};
    check(ioctl(u, UFFDIO_REGISTER, &all) == 0, "register");
    int32_t pid = 7, zombie = -9, finished = 0x52535446;
    union {
        char bytes[CMSG_SPACE(4)];
        struct cmsghdr head;
    } control = {.head = {CMSG_LEN(4), SOL_SOCKET, SCM_RIGHTS}};
    memcpy(CMSG_DATA(&control.head), &u, 4);
    struct iovec byte = {"", 1};
    struct msghdr message = {.msg_iov = &byte, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = sizeof control};
    check(send(s, &zombie, 4, 0) == 4 && send(s, &pid, 4, 0) == 4 && sendmsg(s, &message, 0) == 1,
          "send");
    close(u);
    const uint64_t *at = (const uint64_t *)memory;
    /* A fault before the restore has finished, and one beyond what was there. */
    check(same(at + WORDS * 5, 5, 1, false), "an early page");
    check(same(at + WORDS * (pages + 3), 0, 1, true), "a new page");
    check(send(s, &finished, 4, 0) == 4, "finish");
    /* The last sixteenth is given up, the one before moves, the first page of each 64 is overwritten. */
    uint64_t part = pages / 16;
    check(madvise(memory + 15 * part * PAGE, part * PAGE, MADV_DONTNEED) == 0, "madvise");
    pid_t child = fork();
    if (child == 0) {
        bool good = same(at, 0, 14 * part, false) && same(at + 14 * part * WORDS, 14 * part, part, false)
            && same(at + 15 * part * WORDS, 0, part, true);
        _exit(!good);
    }
    char *moved = mremap(memory + 14 * part * PAGE, part * PAGE, part * PAGE,
                         MREMAP_MAYMOVE | MREMAP_FIXED, (char *)0x6000000000);
    check(moved != MAP_FAILED, "mremap");
    check(munmap(memory + 13 * part * PAGE, part * PAGE) == 0, "munmap");
    pid_t second = fork();
    if (second == 0)
        _exit(!same((uint64_t *)moved, 14 * part, part, false) || !same(at, 0, 13 * part, false));
    memory[0] ^= 1;
    memory[0] ^= 1;
    bool good = same(at + 15 * part * WORDS, 0, part, true);
    check(good, "memory given up");
    check(same((uint64_t *)moved, 14 * part, part, false), "memory that moved");
    check(same(at, 0, 13 * part, false), "memory");
    int status;
    check(waitpid(child, &status, 0) == child && status == 0, "the child");
    check(waitpid(second, &status, 0) == second && status == 0, "the second child");
    check(waitpid(drain, &status, 0) == drain && status == 0, "relocate");
    /* Everything is freed, each page once. */
    uint64_t first, count, sum = 0;
    file = fopen("freed", "r");
    uint8_t *once = calloc(pages, 1);
    while (fscanf(file, "freed %lu %lu\n", &first, &count) == 2)
        for (sum += count; count-- > 0; first++)
            check(first < pages && once[first]++ == 0, "freed twice");
    check(sum == pages, "not all was freed");
    printf("good\n");
}
