/* The envelope around a value in Redis. l2.h draws it.
 *
 * Fields are stored and fetched byte by byte in little endian, so that layout follows neither the compiler's nor the
 * machine's; compilers turn each helper into one move.
 *
 * The checksum leaves out one byte, the mark, because Redis changes it in place (SETRANGE) when a value is invalidated
 * and may be kept as stale. A flipped mark can therefore make a fresh value stale, which costs a load, or a stale one
 * fresh, which only a writer with access to the key could do, and such a writer could forge the sum as well: XXH3
 * guards against damage and mix-ups, not against an enemy inside Redis.
 *
 *   sum = XXH3(rest, seed = XXH3(head with mark 0, seed = shared hash of the key))
 *
 * Reading trusts nothing: sizes are compared in a form that cannot overflow before anything behind the head is touched.
 * Flags and layouts that this version does not know are refused, since their payload may mean something else.
 *
 * Pure functions; any thread. Cost: one pass of XXH3 over the bytes. */
#include "l2/l2.h"

#include <string.h>

#include "base/base.h"
#include "base/hash.h"

#define LAYOUT 1
#define FLAGS_KNOWN ((uint32_t)NEAR__ENVELOPE_NEGATIVE)

enum { /* offsets that only this file needs */
	VERSION_OF_LAYOUT_AT = 4,
	FLAGS_AT = 5,
	TAG_COUNT_AT = 7,
	ASOF_AT = 32,
	DELTA_AT = 48,
	PAYLOAD_SIZE_AT = 52
};
static const unsigned char magic[4] = { 'N', 'R', 'C', '1' };

_Static_assert(NEAR__ENVELOPE_SUM_AT + 8 == NEAR__ENVELOPE_HEAD, "the sum closes the head");
_Static_assert(NEAR__ENVELOPE_VERSION_AT + 8 == DELTA_AT && DELTA_AT + 4 == PAYLOAD_SIZE_AT, "no gap in the head");
_Static_assert(NEAR_TAGS_MAX <= 255, "the number of tags is one byte");

static void put_u32(unsigned char *at, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		at[i] = (unsigned char)(v >> (8 * i));
}

static void put_u64(unsigned char *at, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		at[i] = (unsigned char)(v >> (8 * i));
}

static uint32_t get_u32(const unsigned char *at)
{
	uint32_t v = 0;
	for (int i = 0; i < 4; i++)
		v |= (uint32_t)at[i] << (8 * i);
	return v;
}

static uint64_t get_u64(const unsigned char *at)
{
	uint64_t v = 0;
	for (int i = 0; i < 8; i++)
		v |= (uint64_t)at[i] << (8 * i);
	return v;
}

static uint64_t sum_of(const unsigned char *bytes, size_t size, const void *key, size_t key_size)
{
	unsigned char head[NEAR__ENVELOPE_SUM_AT];
	memcpy(head, bytes, sizeof(head));
	head[NEAR__ENVELOPE_MARK_AT] = 0;
	uint64_t seed = near__hash_sum(head, sizeof(head), near__hash_shared(key, key_size));
	return near__hash_sum(bytes + NEAR__ENVELOPE_HEAD, size - NEAR__ENVELOPE_HEAD, seed);
}

size_t near__envelope_size(const near__envelope *envelope)
{
	return NEAR__ENVELOPE_HEAD + (size_t)8 * envelope->tag_count + envelope->payload_size;
}

void near__envelope_write(const near__envelope *envelope, const void *key, size_t key_size, void *out)
{
	NEAR_ASSERT(envelope->tag_count <= NEAR_TAGS_MAX && envelope->payload_size <= UINT32_MAX);
	NEAR_ASSERT((envelope->flags & ~FLAGS_KNOWN) == 0);
	unsigned char *b = out;
	memcpy(b, magic, sizeof(magic));
	b[VERSION_OF_LAYOUT_AT] = LAYOUT;
	b[FLAGS_AT] = (unsigned char)envelope->flags;
	b[NEAR__ENVELOPE_MARK_AT] = envelope->marked_stale;
	b[TAG_COUNT_AT] = (unsigned char)envelope->tag_count;
	put_u64(b + NEAR__ENVELOPE_INC_AT, envelope->incarnation);
	put_u64(b + NEAR__ENVELOPE_CREATED_AT, envelope->created_ms);
	put_u64(b + NEAR__ENVELOPE_FRESH_AT, envelope->fresh_until_ms);
	put_u64(b + ASOF_AT, envelope->asof);
	put_u64(b + NEAR__ENVELOPE_VERSION_AT, envelope->version);
	put_u32(b + DELTA_AT, envelope->delta_us);
	put_u32(b + PAYLOAD_SIZE_AT, (uint32_t)envelope->payload_size);
	for (uint32_t i = 0; i < envelope->tag_count; i++)
		put_u64(b + NEAR__ENVELOPE_HEAD + (size_t)8 * i, envelope->tags[i]);
	if (envelope->payload_size != 0)
		memcpy(b + NEAR__ENVELOPE_HEAD + (size_t)8 * envelope->tag_count, envelope->payload, envelope->payload_size);
	put_u64(b + NEAR__ENVELOPE_SUM_AT, sum_of(b, near__envelope_size(envelope), key, key_size));
}

/* Is it whole and ours, as far as the head and the size can tell? */
static bool head_fits(const unsigned char *b, size_t size)
{
	if (size < NEAR__ENVELOPE_HEAD || memcmp(b, magic, sizeof(magic)) != 0)
		return false;
	if (b[VERSION_OF_LAYOUT_AT] != LAYOUT || (b[FLAGS_AT] & ~FLAGS_KNOWN) != 0 || b[TAG_COUNT_AT] > NEAR_TAGS_MAX)
		return false;
	size_t rest = size - NEAR__ENVELOPE_HEAD, tags = (size_t)8 * b[TAG_COUNT_AT];
	return rest >= tags && rest - tags == get_u32(b + PAYLOAD_SIZE_AT);
}

bool near__envelope_read(const void *bytes, size_t size, const void *key, size_t key_size, near__envelope *envelope)
{
	const unsigned char *b = bytes;
	if (b == NULL || !head_fits(b, size) || get_u64(b + NEAR__ENVELOPE_SUM_AT) != sum_of(b, size, key, key_size))
		return false;
	uint32_t tag_count = b[TAG_COUNT_AT];
	*envelope = (near__envelope){
		.incarnation = get_u64(b + NEAR__ENVELOPE_INC_AT),
		.created_ms = get_u64(b + NEAR__ENVELOPE_CREATED_AT),
		.fresh_until_ms = get_u64(b + NEAR__ENVELOPE_FRESH_AT),
		.asof = get_u64(b + ASOF_AT),
		.version = get_u64(b + NEAR__ENVELOPE_VERSION_AT),
		.delta_us = get_u32(b + DELTA_AT),
		.flags = b[FLAGS_AT],
		.marked_stale = b[NEAR__ENVELOPE_MARK_AT] != 0,
		.tag_count = tag_count,
		.tags = (const void *)(b + NEAR__ENVELOPE_HEAD),
		.payload = b + NEAR__ENVELOPE_HEAD + (size_t)8 * tag_count,
		.payload_size = get_u32(b + PAYLOAD_SIZE_AT),
	};
	return true;
}

uint64_t near__envelope_tag(const near__envelope *envelope, uint32_t i)
{
	NEAR_ASSERT(i < envelope->tag_count);
	return get_u64((const unsigned char *)(const void *)envelope->tags + (size_t)8 * i);
}

uint64_t near__envelope_sum(const void *bytes, size_t size)
{
	return size < NEAR__ENVELOPE_HEAD ? 0 : get_u64((const unsigned char *)bytes + NEAR__ENVELOPE_SUM_AT);
}
