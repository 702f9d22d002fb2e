/* Any bytes as a stream from Redis, in pieces of any size: replies come out whole, within their bounds, or the stream is
 * broken and stays so. Also read as an INFO reply. The first byte gives the size of the pieces. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "base/base.h"
#include "redis/conn.h"

#define BYTES_MAX ((size_t)64 << 10)

/* Touches all of a reply. Returns its depth. */
static unsigned walk(const near__reply *reply)
{
	unsigned deepest = 0;
	size_t size;
	const char *bytes = near__reply_bytes(reply, &size);
	NEAR_ASSERT(bytes == NULL || (size < BYTES_MAX && bytes[size] == '\0'));
	volatile char sum = 0;
	for (size_t i = 0; i < size; i++)
		sum = (char)(sum + bytes[i]);
	for (size_t i = 0; i < near__reply_count(reply); i++) {
		unsigned depth = walk(near__reply_at(reply, i));
		deepest = depth > deepest ? depth : deepest;
	}
	return deepest + (near__reply_is(reply) == NEAR__REPLY_ARRAY);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char run_id[41], why[120] = "";
	if (size == 0)
		return 0;
	if (near__hello_read_info((const char *)data, size, run_id, why, sizeof(why)))
		NEAR_ASSERT(strlen(run_id) == 40);
	else
		NEAR_ASSERT(why[0] != '\0');

	near__parser *parser = near__parser_create(BYTES_MAX);
	size_t piece = 1 + (size_t)data[0];
	bool good = parser != NULL;
	for (size_t at = 1; good && at < size; at += piece) {
		size_t n = size - at < piece ? size - at : piece;
		near__reply *reply = NULL;
		good = near__parser_feed(parser, (const char *)data + at, n);
		while (good && (good = near__parser_next(parser, &reply)) && reply != NULL) {
			NEAR_ASSERT(walk(reply) <= NEAR__REPLY_DEPTH_MAX);
			near__reply_free(reply);
		}
		NEAR_ASSERT(!good || near__parser_pending(parser) <= BYTES_MAX + 300);
	}
	if (parser != NULL && !good) {
		near__reply *reply;
		NEAR_ASSERT(near__parser_error(parser)[0] != '\0');
		NEAR_ASSERT(!(near__parser_feed(parser, "+OK\r\n", 5) && near__parser_next(parser, &reply)));
	}
	near__parser_free(parser);
	return 0;
}
