/* Any bytes as an envelope. Half of the inputs are repaired to a right head and sum first, so that what lies behind the
 * checksum is reached as well. What is accepted must read back to the same bytes. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "l2/l2.h"

#define KEY "key", (size_t)3

static void repair(unsigned char *b, size_t size)
{
	memcpy(b, "NRC1\1", 5);
	b[5] &= 1;
	b[7] %= NEAR_TAGS_MAX + 2;
	size_t rest = size - NEAR__ENVELOPE_HEAD, tags = (size_t)8 * b[7];
	uint32_t payload = (uint32_t)(rest >= tags ? rest - tags : rest);
	for (int i = 0; i < 4; i++)
		b[52 + i] = (unsigned char)(payload >> (8 * i));
	unsigned char mark = b[NEAR__ENVELOPE_MARK_AT];
	b[NEAR__ENVELOPE_MARK_AT] = 0;
	uint64_t sum = near__hash_sum(b, NEAR__ENVELOPE_SUM_AT, near__hash_shared(KEY));
	b[NEAR__ENVELOPE_MARK_AT] = mark;
	sum = near__hash_sum(b + NEAR__ENVELOPE_HEAD, rest, sum);
	for (int i = 0; i < 8; i++)
		b[NEAR__ENVELOPE_SUM_AT + i] = (unsigned char)(sum >> (8 * i));
}

static void check(const unsigned char *b, size_t size, const near__envelope *e)
{
	uint64_t tags[NEAR_TAGS_MAX];
	assert(e->tag_count <= NEAR_TAGS_MAX && near__envelope_size(e) == size);
	for (uint32_t i = 0; i < e->tag_count; i++)
		tags[i] = near__envelope_tag(e, i);
	near__envelope again = *e;
	again.tags = tags;
	unsigned char *copy = malloc(size);
	assert(copy != NULL);
	near__envelope_write(&again, KEY, copy);
	copy[NEAR__ENVELOPE_MARK_AT] = b[NEAR__ENVELOPE_MARK_AT]; /* any mark but 0 reads as stale */
	assert(memcmp(copy, b, size) == 0);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	bool repaired = (data[0] & 1) != 0 && size > NEAR__ENVELOPE_HEAD;
	size--;
	unsigned char *bytes = malloc(size + 1);
	if (bytes == NULL)
		return 0;
	memcpy(bytes, data + 1, size);
	if (repaired)
		repair(bytes, size);
	near__envelope e;
	if (near__envelope_read(bytes, size, KEY, &e))
		check(bytes, size, &e);
	free(bytes);
	return 0;
}
