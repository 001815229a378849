/* Requests: which verb a line is, and its fields. */
#define _GNU_SOURCE
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "answer.h"
#include "requests.h"
#include "verbs.h"

/* A line that a host sends when it connects: see serve. */
enum { CANCEL = 0x18 };

char *field[FIELDS];
int fields;

static const struct {
    const char *verb;
    int fields; /* after the verb; -1: any */
    void (*serve)(const char *id);
} verbs[] = {
    {"hello", 0, tell_hello}, {"port", 2, wait_port}, {"disk", 2, wait_disk}, {"link", 3, wait_link},
    {"unlink", 1, remove_link}, {"start", -1, start_program}, {"signal", 2, send_signal},
    {"state", 1, tell_state}, {"io", 1, tell_io}, {"faults", 1, tell_faults},
    {"outlet", 2, open_outlet}, {"outlet-close", 1, end_outlet}, {"eject", 1, eject_memory},
    {"kvm", 0, tell_kvm}, {"clock", 0, tell_clock}, {"halt-poll", 1, set_halt_poll},
    {"parameters", 0, tell_parameters}, {"poweroff", 0, power_off},
};

static int digit(char c)
{
    return isdigit((unsigned char)c) ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10
        : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place. A NUL would end the text in the middle, so it counts as malformed. */
static bool unescape(char *text)
{
    if (strcmp(text, "%") == 0) {
        *text = 0;
        return true;
    }
    char *to = text;
    for (const char *from = text; *from; from++) {
        if (*from != '%') {
            *to++ = *from;
            continue;
        }
        int high = digit(from[1]), low = high < 0 ? -1 : digit(from[2]);
        if (low < 0 || (high | low) == 0)
            return false;
        *to++ = (char)(high << 4 | low);
        from += 2;
    }
    *to = 0;
    return true;
}

/* Splits at blanks into field[]; an empty one between two blanks is malformed. */
static bool split(char *line)
{
    fields = 0;
    while (true) {
        char *end = strchrnul(line, ' ');
        bool last = *end == 0;
        if (end == line || fields == FIELDS)
            return false;
        *end = 0;
        field[fields++] = line;
        if (!unescape(line))
            return false;
        if (last)
            return true;
        line = end + 1;
    }
}

void take_id(const char *line, char *id)
{
    size_t length = 0;
    while (length <= ID && isalnum((unsigned char)line[length]))
        length++;
    bool good = length > 0 && length <= ID && (line[length] == ' ' || line[length] == 0);
    snprintf(id, ID + 1, "%.*s", good ? (int)length : 1, good ? line : "?");
}

static bool has_control(const char *line, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            return true;
    return false;
}

void serve(char *line, size_t length)
{
    char id[ID + 1];
    /* A host that connects sends CANCEL, to end what an earlier one may have begun. */
    if (length == 0 || (length == 1 && *line == CANCEL))
        return;
    take_id(line, id);
    if (*id == '?' || has_control(line, length) || !split(line) || fields < 2) {
        refuse(id, "malformed request");
        return;
    }
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(verbs[i].verb, field[1]) != 0)
            continue;
        if (verbs[i].fields >= 0 && verbs[i].fields != fields - 2)
            refuse(id, "%s takes %d fields", verbs[i].verb, verbs[i].fields);
        else
            verbs[i].serve(id);
        return;
    }
    refuse(id, "there is no verb '%.40s'", field[1]);
}
