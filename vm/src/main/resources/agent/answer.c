/* How lines to the host are put together. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "answer.h"
#include "wire.h"

static char answer[LINE];
static size_t answer_length;
static bool answer_overflow;

static void put_byte(char byte)
{
    if (answer_length < LINE - 1)
        answer[answer_length++] = byte;
    else
        answer_overflow = true;
}

void put_bytes(const char *bytes, size_t length)
{
    put_byte(' ');
    if (length == 0)
        put_byte('%');
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        if (byte <= 0x20 || byte == 0x7f || byte == '%') {
            put_byte('%');
            put_byte("0123456789ABCDEF"[byte >> 4]);
            put_byte("0123456789ABCDEF"[byte & 15]);
        } else {
            put_byte((char)byte);
        }
    }
}

void put(const char *text) { put_bytes(text, strlen(text)); }

void put_number(int64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)number);
    put(text);
}

void put_pair(const char *name, const char *value)
{
    char text[512];
    snprintf(text, sizeof text, "%.250s=%.250s", name, value);
    put(text);
}

void begin(const char *id, const char *verb)
{
    answer_length = 0;
    answer_overflow = false;
    for (const char *c = id; *c; c++)
        put_byte(*c);
    put_byte(' ');
    for (const char *c = verb; *c; c++)
        put_byte(*c);
}

void finish(const char *id)
{
    if (answer_overflow) {
        refuse(id, "the answer is longer than a line");
        return;
    }
    answer[answer_length++] = '\n';
    send_line(answer, answer_length);
}

void refuse(const char *id, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    begin(id, "error");
    put(text);
    finish(id);
}

void ok(const char *id)
{
    begin(id, "ok");
    finish(id);
}
