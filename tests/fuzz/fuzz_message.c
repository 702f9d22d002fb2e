/* Any bytes as a message, as an entry of the log, and as a channel's name: the reader touches nothing outside of them,
 * and what it takes for good is in range. Half of the inputs get a right beginning, so that the later fields are
 * reached. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "coherence/room.h"

static void check(const near__message *m, const char *bytes, size_t size)
{
	switch (m->kind) {
	case NEAR__MESSAGE_MALFORMED:
	case NEAR__MESSAGE_UNKNOWN:
		return;
	case NEAR__MESSAGE_CHANGE:
		assert(m->key_size >= 1 && m->key_size <= NEAR_KEY_MAX);
		assert(m->change != NEAR__CHANGE_TAG || m->key_size == 8);
		break;
	case NEAR__MESSAGE_FILLED:
		assert(m->seq == 0 && m->key_size >= 1 && m->key_size <= NEAR_KEY_MAX);
		break;
	case NEAR__MESSAGE_VOID:
		assert(m->seq == 0 && m->key_size == 0);
		break;
	}
	assert(m->seq <= NEAR__SEQ_MASK);
	assert(m->key >= bytes && m->key + m->key_size == bytes + size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char start[] = "1 8c6f0a51e2d94b37 12 00f1c2a5d4e3b697 i ";
	if (size == 0)
		return 0;
	size_t kept = data[0] % 2 != 0 ? (data[0] / 2) % sizeof(start) : 0;
	size_t all = kept + size - 1;
	char *bytes = malloc(all != 0 ? all : 1);
	if (bytes == NULL)
		return 0;
	memcpy(bytes, start, kept);
	memcpy(bytes + kept, data + 1, size - 1);
	near__message m = near__message_read(bytes, all);
	check(&m, bytes, all);
	m = near__message_read_entry(bytes, all);
	if (m.kind == NEAR__MESSAGE_CHANGE)
		assert(m.key_size >= 1 && m.key_size <= NEAR_KEY_MAX);
	unsigned shard = 0;
	if (near__message_read_channel("p", 16, bytes, all, &shard))
		assert(shard < 16);
	free(bytes);
	return 0;
}
