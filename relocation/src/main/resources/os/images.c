/* How CRIU's images are read, by drain.c in the new OS and by timers.c in the old one. See images.h. */
#define _GNU_SOURCE
#include <limits.h>
#include <stddef.h>
#include <string.h>
#include "images.h"
#include "relocate.h"

#define IMAGE_MAGIC 0x54564319u

static uint64_t get_varint(struct message *m)
{
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (m->at == m->end)
            break;
        uint8_t byte = *m->at++;
        value |= (uint64_t)(byte & 127) << shift;
        if (!(byte & 128))
            return value;
    }
    end(MALFORMED, "%s has a number that does not end", m->path);
}

unsigned get_field(struct message *m, uint64_t *value, struct message *part)
{
    *part = (struct message){.path = m->path};
    *value = 0;
    if (m->at == m->end)
        return 0;
    uint64_t key = get_varint(m), length;
    switch (key & 7) {
    case 0:
        *value = get_varint(m);
        break;
    case 1:
    case 5:
        length = (key & 7) == 1 ? 8 : 4;
        goto skip;
    case 2:
        length = get_varint(m);
        part->at = m->at;
    skip:
        if (length > (uint64_t)(m->end - m->at))
            end(MALFORMED, "%s has a field that is too long", m->path);
        m->at += length;
        if (part->at)
            part->end = m->at;
        break;
    default:
        end(MALFORMED, "%s has a field of an unknown kind", m->path);
    }
    if (key >> 3 == 0 || key >> 3 > INT_MAX)
        end(MALFORMED, "%s has a field without a number", m->path);
    return (unsigned)(key >> 3);
}

uint32_t get_word(struct message *m)
{
    uint32_t word;
    if (m->end - m->at < 4)
        end(MALFORMED, "%s ends early", m->path);
    memcpy(&word, m->at, 4);
    m->at += 4;
    return word;
}

struct message open_image(const char *path, uint32_t kind)
{
    size_t length;
    struct message m = {.path = path, .at = slurp(path, IMAGE, &length)};
    m.end = m.at + length;
    if (get_word(&m) != IMAGE_MAGIC || get_word(&m) != kind)
        end(MALFORMED, "%s is no such image of CRIU 2 or later", path);
    return m;
}

bool next_message(struct message *image, struct message *m)
{
    if (image->at == image->end)
        return false;
    uint32_t length = get_word(image);
    if (length > (size_t)(image->end - image->at))
        end(MALFORMED, "%s ends early", image->path);
    *m = (struct message){.at = image->at, .end = image->at + length, .path = image->path};
    image->at += length;
    return true;
}
