/* Bytes that grow, and what the command's files share to build lines.
 *
 * A text is any bytes, NUL-terminated for convenience. Where the system has no memory the command ends with a word:
 * it holds nothing that would be lost.
 */
#ifndef NEAR_CLI_TEXT_H
#define NEAR_CLI_TEXT_H

#include <stddef.h>
#include <stdint.h>

typedef struct text {
	char *bytes;
	size_t size, room;
} text;

void text_add(text *t, const void *bytes, size_t size);
void text_put(text *t, const char *string);
void text_format(text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_clear(text *t); /* empty, memory kept unless it is much */
void text_free(text *t);

/* malloc that does not fail. */
void *must_alloc(size_t size);

#endif
