/* The steps' text as a library of Redis Functions, and its names.
 *
 *   near1_<digest>             library: protocol version, XXH3 of the text
 *   near1_<digest>_invalidate  function
 *
 * Redis keeps function names unique over all libraries, so the digest is in both: processes with different texts (an
 * upgrade, one after the other) load theirs beside each other. A library stays in Redis (and in its RDB, AOF and
 * replicas) until somebody deletes it: some 10 KB each, one per text ever used.
 *
 * Source: https://redis.io/docs/latest/commands/function-load/ */
#include "coherence/room.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

static const char *const function_names[NEAR__F_COUNT] = {
	[NEAR__F_INVALIDATE] = "invalidate", [NEAR__F_PUT] = "put",       [NEAR__F_TOKEN] = "token",
	[NEAR__F_FILL] = "fill",             [NEAR__F_RELEASE] = "release", [NEAR__F_TOUCH] = "touch",
	[NEAR__F_TAG] = "tag",               [NEAR__F_POSITION] = "position", [NEAR__F_REPLAY] = "replay",
	[NEAR__F_VOID] = "void",
};

/* All pieces of the text behind each other, at `out` when it is not NULL. */
static size_t join(char *out)
{
	size_t size = 0;
	for (size_t i = 0; near__steps_lua[i] != NULL; i++) {
		size_t n = strlen(near__steps_lua[i]);
		if (out != NULL)
			memcpy(out + size, near__steps_lua[i], n);
		size += n;
	}
	return size;
}

near_status near__library_make(near__library *library)
{
	char name[32], head[96];
	size_t body_size = join(NULL);
	char *body = malloc(body_size);
	if (body == NULL)
		return NEAR_E_NOMEM;
	(void)join(body);
	(void)snprintf(name, sizeof(name), "near%d_%016" PRIx64, NEAR__PROTOCOL, near__hash_shared(body, body_size));
	int head_size = snprintf(head, sizeof(head), "#!lua name=%s\nlocal NAME = '%s'\n", name, name);
	NEAR_ASSERT(head_size > 0 && (size_t)head_size < sizeof(head));
	library->text_size = (size_t)head_size + body_size;
	library->text = malloc(library->text_size + 1);
	if (library->text == NULL) {
		free(body);
		return NEAR_E_NOMEM;
	}
	memcpy(library->text, head, (size_t)head_size);
	memcpy(library->text + head_size, body, body_size);
	library->text[library->text_size] = '\0';
	free(body);
	for (int i = 0; i < NEAR__F_COUNT; i++)
		(void)snprintf(library->function[i], sizeof(library->function[i]), "%s_%s", name, function_names[i]);
	return NEAR_OK;
}

void near__library_free(near__library *library)
{
	free(library->text);
	library->text = NULL;
}

static bool error_has(const near__reply *reply, const char *words)
{
	size_t size;
	const char *text = near__reply_is(reply) == NEAR__REPLY_ERROR ? near__reply_bytes(reply, &size) : NULL;
	return text != NULL && memmem(text, size, words, strlen(words)) != NULL;
}

bool near__library_is_missing(const near__reply *reply)
{
	return error_has(reply, "Function not found");
}

bool near__library_is_there_already(const near__reply *reply)
{
	return error_has(reply, "already exists");
}
