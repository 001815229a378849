/* Requests that wait for a device which may not be there yet. */
#define _GNU_SOURCE
#include <dirent.h>
#include <limits.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "agent.h"
#include "answer.h"
#include "clocks.h"
#include "links.h"
#include "requests.h"
#include "text.h"
#include "verbs.h"
#include "waits.h"
#include "wire.h"

enum {
    WAITS = 128,
    MAX_WAIT_MS = 3600 * 1000,
};

enum wait_kind { WAIT_NONE, WAIT_PORT, WAIT_DISK, WAIT_LINK };

static struct wait {
    enum wait_kind kind;
    unsigned connection;
    int64_t deadline;
    char id[ID + 1], name[NAME], tap[TAP + 1];
} waiting[WAITS];

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

bool find_port(const char *wanted, char *name)
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

bool anyone_waits(void)
{
    for (const struct wait *w = waiting; w < waiting + WAITS; w++)
        if (w->kind != WAIT_NONE)
            return true;
    return false;
}

void look_again(void)
{
    for (struct wait *w = waiting; w < waiting + WAITS; w++) {
        if (w->kind == WAIT_NONE)
            continue;
        if (w->connection != connection) {
            w->kind = WAIT_NONE;
        } else if (found_now(w)) {
            w->kind = WAIT_NONE;
        } else if (milliseconds(CLOCK_MONOTONIC) >= w->deadline) {
            refuse(w->id, "%s did not appear", w->name);
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
        refuse(id, "malformed name or time");
        return;
    }
    if (kind == WAIT_LINK && !is_tap_name(tap)) {
        refuse(id, "'%.40s' is no tap's name: 1 to %d letters, digits, '-', '_'", tap, TAP);
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
    refuse(id, "%d requests wait already", WAITS);
}

void wait_port(const char *id) { wait_for(id, WAIT_PORT); }

void wait_disk(const char *id) { wait_for(id, WAIT_DISK); }

void wait_link(const char *id) { wait_for(id, WAIT_LINK); }
