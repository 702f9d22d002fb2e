/* Bytes that grow by doubling: see text.h. */
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli.h"

/* Above this a cleared text gives its memory back, so that one huge value does not stay. */
#define KEEP_MAX (1u << 20)

void *must_alloc(size_t size)
{
	void *p = malloc(size > 0 ? size : 1);
	if (p == NULL) {
		fputs("nearcache: the system gives no memory\n", stderr);
		exit(EXIT_TROUBLE);
	}
	return p;
}

static void reserve(text *t, size_t more)
{
	size_t need = t->size + more + 1;
	if (need <= t->room)
		return;
	size_t room = t->room < 128 ? 128 : t->room;
	while (room < need)
		room *= 2;
	char *bytes = must_alloc(room);
	if (t->size > 0)
		memcpy(bytes, t->bytes, t->size);
	free(t->bytes);
	t->bytes = bytes;
	t->room = room;
}

void text_add(text *t, const void *bytes, size_t size)
{
	reserve(t, size);
	if (size > 0)
		memcpy(t->bytes + t->size, bytes, size);
	t->size += size;
	t->bytes[t->size] = '\0';
}

void text_put(text *t, const char *string)
{
	text_add(t, string, strlen(string));
}

void text_format(text *t, const char *format, ...)
{
	va_list arguments, again;
	va_start(arguments, format);
	va_copy(again, arguments);
	int n = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	if (n > 0) {
		reserve(t, (size_t)n);
		vsnprintf(t->bytes + t->size, (size_t)n + 1, format, again);
		t->size += (size_t)n;
	}
	va_end(again);
}

void text_clear(text *t)
{
	t->size = 0;
	if (t->room > KEEP_MAX)
		text_free(t);
	else if (t->bytes != NULL)
		t->bytes[0] = '\0';
}

void text_free(text *t)
{
	free(t->bytes);
	*t = (text){ 0 };
}
