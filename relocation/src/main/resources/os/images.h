/*
 * How CRIU's images are read: two words, then messages, each after its length; a message is one of protocol buffers.
 */
#ifndef IMAGES_H
#define IMAGES_H

#include <stdbool.h>
#include <stdint.h>

/* The longest image that is read. */
enum { IMAGE = 256 * 1024 * 1024 };

#define PAGEMAP_MAGIC 0x56084025u
#define MM_MAGIC 0x57492820u
#define FILES_MAGIC 0x56303138u
#define CORE_MAGIC 0x55053847u

/* A message of CRIU's, or a part of one. */
struct message {
    const uint8_t *at, *end;
    const char *path;
};

/* An image of that magic; its bytes, from 8 before the message on, are to be freed. */
struct message open_image(const char *path, uint32_t kind);

/* The next message of an image; false at the end. */
bool next_message(struct message *image, struct message *m);

/* The next field's number, or 0 at the end. Its value is the number, or else the part. */
unsigned get_field(struct message *m, uint64_t *value, struct message *part);

/* Four bytes as they stand. */
uint32_t get_word(struct message *m);

#endif
