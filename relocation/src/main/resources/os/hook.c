/*
 * CRIU's --action-script, in the old OS, for "container freeze" and for the rehearsal.
 *
 *     relocate
 *         For an action named in HF_HOOK, a list with commas, writes the
 *         action's name as a line to the port HF_PORT, if there is one, and reads one from it: "ok" lets
 *         CRIU go on, anything else makes it fail. Other actions pass.
 *         With HF_CGROUP, in network-lock, where CRIU has stopped all processes, it shows CRIU, which must
 *         have mounts of its own, none of the memory that "relocate pages HF_CGROUP HF_PAGES" writes down:
 *         otherwise CRIU takes hold of each page, and the more memory, the longer all stands still. What it
 *         shows CRIU is in the folder HF_SHOWN, a part of it since pre-dump. In post-dump it freezes
 *         HF_CGROUP, so that the end of CRIU does not let it run, and puts CRIU's images into the archive
 *         HF_PACKED; when it has said "post-dump" it makes the list, and says "listed" before it reads.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "hook.h"
#include "list.h"
#include "memory.h"
#include "parts.h"
#include "relocate.h"

const char *shown(void) { return getenv("HF_SHOWN"); }

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
    for_group(group, uncover);
    write_list(group, path);
    for_group(group, check_smaps);
    seal_list(path);
}

/* CRIU has written all down, and would let the processes go on at its end. */
static void close_images(const char *group, const char *images)
{
    const char *archive = getenv("HF_PACKED"), *all = getenv("HF_FREEZE");
    if (all)
        freeze(all);
    if (shown())
        await_archives();
    rearm_timers(group, images);
    continue_sleeps(images);
    if (archive)
        pack(images, archive);
}

static void say(int port, const char *word)
{
    if (port >= 0 && dprintf(port, "%s\n", word) < 0)
        end(FAILED, "HF_PORT: %s", strerror(errno));
}

int hook(void)
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
    if (group && (!pages || !shown()))
        end(USAGE, "HF_CGROUP goes with HF_PAGES and HF_SHOWN");
    if (group && !strcmp(action, "pre-dump"))
        for_group(group, save_smaps);
    if (ends)
        close_images(group, getenv("CRTOOLS_IMAGE_DIR"));
    say(port, action);
    /* The host does its part meanwhile. */
    if (group && !strcmp(action, "network-lock"))
        for_group(group, show_process);
    if (group && ends) {
        list_group(group, pages);
        say(port, "listed");
    }
    if (name && read(port, answer, sizeof answer - 1) < 0)
        end(FAILED, "HF_PORT: %s", strerror(errno));
    return !name || strncmp(answer, "ok\n", 3) == 0 ? DONE : FAILED;
}
