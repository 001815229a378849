/*
 * For hook.c, in the old OS, when CRIU has written all down: sleeps go on.
 *
 * CRIU has a system call that was interrupted, and that only the kernel could go on with, return EINTR, which it never
 * does without a signal: programs that believe the kernel, such as busybox's sleep, would end early with each move. In
 * the images, nanosleep and clock_nanosleep are made to begin again where they are called, with the time that the
 * kernel has left in their last argument when it interrupted them. Where the program gave no place for that, they sleep
 * anew: a sleep may be longer than it was to be, but not shorter (nanosleep(2)). Sleeps until a point of time begin
 * again by themselves.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "hook.h"
#include "images.h"
#include "relocate.h"

/* Fields of CRIU's core.proto and core-x86.proto. */
enum {
    THREAD_INFO = 2,
    TASK = 3,
    THREAD = 5,
    REGISTERS = 2,
    TASK_PENDING = 10,
    THREAD_PENDING = 9,
    R10 = 8,
    AX = 11,
    DX = 13,
    SI = 14,
    DI = 15,
    ORIGINAL_AX = 16,
    IP = 17,
    MODE = 28,
    MOST_REGISTERS = 32,
    NATIVE = 1,
    SYSCALL_BYTES = 2, /* the instruction */
};

/* A number of an image, and where it stands. */
struct number {
    uint64_t value;
    const uint8_t *at;
    size_t bytes;
};

/* With as many bytes as it had; false when it needs more. */
static bool set(int fd, const uint8_t *image, struct number place, uint64_t value)
{
    uint8_t text[10];
    if (place.bytes > sizeof text || (place.bytes < sizeof text && value >> (7 * place.bytes) != 0))
        return false;
    for (size_t i = 0; i < place.bytes; i++, value >>= 7)
        text[i] = (uint8_t)((value & 127) | (i + 1 < place.bytes ? 128 : 0));
    if (pwrite(fd, text, place.bytes, place.at - image) != (ssize_t)place.bytes)
        end(FAILED, "an image: %s", strerror(errno));
    return true;
}

static bool find_part(struct message m, unsigned number, struct message *part)
{
    uint64_t value;
    unsigned field;
    while ((field = get_field(&m, &value, part)) != 0)
        if (field == number && part->at)
            return true;
    return false;
}

/* A signal that waits for it ends a sleep, as it should. */
static bool has_signals(struct message core)
{
    struct message part, queue;
    return (find_part(core, TASK, &part) && find_part(part, TASK_PENDING, &queue) && queue.at != queue.end)
        || (find_part(core, THREAD, &part) && find_part(part, THREAD_PENDING, &queue) && queue.at != queue.end);
}

/* The highest number of a clock, CLOCK_TAI; and the lowest address at which position-independent programs have data. */
enum { LAST_CLOCK = 11 };
#define LOWEST_ADDRESS (1ull << 32)

static bool is_address(struct number number) { return number.value >= LOWEST_ADDRESS; }

/*
 * Of a sleep that was interrupted before, and went on, the kernel tells only that it goes on. No other call that goes on
 * so has arguments like clock_nanosleep.
 */
static uint64_t call_of(const struct number *all)
{
    bool like_sleep = all[DI].value <= LAST_CLOCK && all[SI].value == 0 && is_address(all[DX])
        && (all[R10].value == 0 || is_address(all[R10]));
    uint64_t call = all[ORIGINAL_AX].value;
    return call == SYS_restart_syscall && like_sleep ? SYS_clock_nanosleep : call;
}

static void go_on(const uint8_t *image, struct message registers)
{
    struct number all[MOST_REGISTERS] = {{0}};
    struct message none;
    uint64_t value;
    unsigned field;
    const uint8_t *begin = registers.at;
    while ((field = get_field(&registers, &value, &none)) != 0) {
        const uint8_t *at = begin + (field < 16 ? 1 : 2);
        if (field < MOST_REGISTERS && !none.at)
            all[field] = (struct number){.value = value, .at = at, .bytes = (size_t)(registers.at - at)};
        begin = registers.at;
    }
    uint64_t call = call_of(all);
    bool sleeps = call == SYS_nanosleep || call == SYS_clock_nanosleep;
    if (!sleeps || all[AX].value != (uint64_t)-EINTR || (all[MODE].at && all[MODE].value != NATIVE))
        return;
    int fd = open(registers.path, O_WRONLY | O_CLOEXEC);
    struct number time = all[call == SYS_nanosleep ? DI : DX], left = all[call == SYS_nanosleep ? SI : R10];
    if (left.value != 0)
        set(fd, image, time, left.value);
    if (!set(fd, image, all[IP], all[IP].value - SYSCALL_BYTES) || !set(fd, image, all[AX], call))
        end(MALFORMED, "%s has registers that are none", registers.path);
    close(fd);
}

static void look_into(const char *path)
{
    struct message image = open_image(path, CORE_MAGIC), core, info, registers;
    const uint8_t *bytes = image.at - 8;
    if (next_message(&image, &core) && !has_signals(core) && find_part(core, THREAD_INFO, &info)
        && find_part(info, REGISTERS, &registers))
        go_on(bytes, registers);
    free((void *)bytes);
}

void continue_sleeps(const char *images)
{
    char path[PATH_MAX];
    DIR *folder = opendir(images);
    struct dirent *entry;
    if (!folder)
        end(FAILED, "%s: %s", images, strerror(errno));
    while ((entry = readdir(folder))) {
        if (strncmp(entry->d_name, "core-", 5) == 0) {
            snprintf(path, sizeof path, "%s/%s", images, entry->d_name);
            look_into(path);
        }
    }
    closedir(folder);
}
