/* What process 1 does before it serves anybody. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "boot.h"
#include "links.h"
#include "text.h"

/* Into the kernel's log, which has the only console. */
static void complain(const char *format, ...)
{
    char text[512] = "<3>hyperfresh: ";
    size_t length = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + length, sizeof text - length - 1, format, arguments);
    va_end(arguments);
    strcat(text, "\n");
    int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (write(fd, text, strlen(text)) < 0) {
            /* Nobody else to tell. */
        }
        close(fd);
    }
}

static void mount_at(const char *type, const char *folder)
{
    mkdir(folder, 0755);
    if (mount(type, folder, type, MS_NOSUID, NULL) < 0)
        complain("mount %s: %s", folder, strerror(errno));
}

/* Bit 2 of leaf 0x80000001's ecx is SVM; the other module is for VMX. */
static bool is_wanted(const char *module)
{
    unsigned a = 0x80000001, b, c = 0, d;
    __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    bool svm = c & 4;
    return strcmp(module, svm ? "kvm_intel.ko" : "kvm_amd.ko") != 0;
}

static void load_modules(void)
{
    char path[PATH_MAX], line[128];
    FILE *order = fopen("/lib/modules/order", "re");
    while (order && fgets(line, sizeof line, order)) {
        line[strcspn(line, "\n")] = 0;
        snprintf(path, sizeof path, "/lib/modules/%s", line);
        int fd = is_wanted(line) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        if (fd < 0)
            continue;
        if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST)
            complain("module %s: %s", line, strerror(errno));
        close(fd);
        unlink(path); /* loaded, so its memory is better used otherwise */
    }
    if (order)
        fclose(order);
}

static void set_kernel(void)
{
    spill("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
    spill("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
    /* A device state fits whole, so a hypervisor never waits for the pump. */
    spill("/proc/sys/net/core/wmem_max", "4194304");
    spill("/proc/sys/net/core/wmem_default", "4194304");
    if (set_up("lo") < 0)
        complain("lo: %s", strerror(errno));
}

void prepare_machine(void)
{
    mount_at("devtmpfs", "/dev");
    mount_at("proc", "/proc");
    mount_at("sysfs", "/sys");
    mount_at("tmpfs", "/run");
    mount_at("tmpfs", "/tmp");
    mount_at("debugfs", "/sys/kernel/debug");
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    if (null > 2)
        close(null);
    load_modules();
    set_kernel();
    if (chdir("/tmp") < 0)
        complain("chdir /tmp: %s", strerror(errno));
}

void be_first(void)
{
    struct sched_param how = {.sched_priority = 1};
    if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &how) < 0)
        complain("scheduling: %s", strerror(errno));
}
