/* The slots of the machine for memory: of windows, which its kernel knows nothing of. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/io.h>

#include "agent.h"
#include "answer.h"
#include "requests.h"
#include "text.h"
#include "verbs.h"

/* QEMU's docs/specs/acpi_mem_hotplug: a selector, then the slot's flags: 1 enabled, 8 eject. */
void eject_memory(const char *id)
{
    enum { SELECTOR = 0xa00, FLAGS = 0xa14, ENABLED = 1, KNOWN = 7, EJECT = 8 };
    int64_t slot;
    if (!number(field[2], 0, 255, &slot)) {
        refuse(id, "'%.20s' is no slot", field[2]);
        return;
    }
    if (!is_init) {
        refuse(id, "not in a machine");
        return;
    }
    if (ioperm(SELECTOR, 0x18, 1) < 0) {
        refuse(id, "ioperm: %s", strerror(errno));
        return;
    }
    outl((unsigned)slot, SELECTOR);
    unsigned flags = inb(FLAGS);
    /* Where no such device answers, all bits are set. */
    if ((flags & ~(unsigned)KNOWN) != 0 || !(flags & ENABLED)) {
        refuse(id, "slot %d holds no memory (flags %#x)", (int)slot, flags);
        return;
    }
    outb(EJECT, FLAGS);
    ok(id);
}
