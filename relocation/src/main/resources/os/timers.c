/*
 * For hook.c, in the old OS, when CRIU has written all down: timers that run out between two looks of CRIU's would
 * stand still in the new OS, so their images are changed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "hook.h"
#include "images.h"
#include "memory.h"
#include "relocate.h"

#define TIMER 12u /* which field of a file it is */

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
static void rearm_timerfds(const char *images)
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

void rearm_timers(const char *group, const char *images)
{
    rearm_timerfds(images);
    alarms_of = images;
    if (group)
        for_group(group, rearm_alarms);
}
