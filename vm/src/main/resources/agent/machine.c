/* The machine: what it is, how its KVM does, and its end. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent.h"
#include "answer.h"
#include "clocks.h"
#include "machine.h"
#include "requests.h"
#include "text.h"
#include "verbs.h"

#define VERSION "1" /* of the protocol */

void put_hello(void)
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

void tell_hello(const char *id)
{
    begin(id, "ok");
    put_hello();
    finish(id);
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

void tell_kvm(const char *id)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/kernel/debug/kvm", sys_folder);
    begin(id, "ok");
    if (put_files(path) == 0)
        refuse(id, "%s has no statistics", path);
    else
        finish(id);
}

void tell_parameters(const char *id)
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
        refuse(id, "KVM is not loaded");
    else
        finish(id);
}

void set_halt_poll(const char *id)
{
    char path[PATH_MAX];
    int64_t value;
    snprintf(path, sizeof path, "%s/module/kvm/parameters/halt_poll_ns", sys_folder);
    if (!number(field[2], 0, UINT32_MAX, &value))
        refuse(id, "'%.20s' is no number of nanoseconds", field[2]);
    else if (spill(path, field[2]) < 0)
        refuse(id, "%s: %s", path, strerror(errno));
    else
        ok(id);
}

void power_off(const char *id)
{
    ok(id);
    if (!is_init)
        exit(0);
    sync();
    reboot(RB_POWER_OFF);
}
