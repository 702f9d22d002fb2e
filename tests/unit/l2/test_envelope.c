/* The envelope: what was written is read back; everything else is refused without a fault. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "l2/l2.h"

static const char key[] = "user:profile:123";
#define KEY key, sizeof(key) - 1
static const uint64_t tags[3] = { 1, UINT64_C(0x8877665544332211), UINT64_MAX };
static const char payload[] = "the value, with a \0 in it";

static near__envelope sample(void)
{
	return (near__envelope){
		.incarnation = UINT64_C(0x0123456789abcdef),
		.created_ms = UINT64_C(1700000000123),
		.fresh_until_ms = UINT64_C(1700000300123),
		.asof = 77,
		.version = UINT64_MAX,
		.delta_us = 50000,
		.flags = NEAR__ENVELOPE_NEGATIVE,
		.tag_count = 3,
		.tags = tags,
		.payload = payload,
		.payload_size = sizeof(payload),
	};
}

/* Exactly as large as needed, so that a read past the end shows under ASan. */
static unsigned char *written(const near__envelope *e, size_t *size)
{
	*size = near__envelope_size(e);
	unsigned char *bytes = malloc(*size);
	assert_non_null(bytes);
	near__envelope_write(e, KEY, bytes);
	return bytes;
}

static void envelope__written__reads_back_equal(void **state)
{
	(void)state;
	near__envelope in = sample(), out;
	size_t size;
	unsigned char *bytes = written(&in, &size);
	assert_true(near__envelope_read(bytes, size, KEY, &out));
	assert_int_equal(out.incarnation, in.incarnation);
	assert_int_equal(out.created_ms, in.created_ms);
	assert_int_equal(out.fresh_until_ms, in.fresh_until_ms);
	assert_int_equal(out.asof, in.asof);
	assert_true(out.version == in.version);
	assert_int_equal(out.delta_us, in.delta_us);
	assert_int_equal(out.flags, in.flags);
	assert_false(out.marked_stale);
	assert_int_equal(out.tag_count, 3);
	for (uint32_t i = 0; i < 3; i++)
		assert_true(near__envelope_tag(&out, i) == tags[i]);
	assert_int_equal(out.payload_size, sizeof(payload));
	assert_memory_equal(out.payload, payload, sizeof(payload));
	free(bytes);
}

/* Redis judges by these bytes: they are an interface, fixed for good. */
static void envelope__written__has_its_fields_at_their_offsets(void **state)
{
	(void)state;
	near__envelope in = sample();
	size_t size;
	unsigned char *b = written(&in, &size);
	static const unsigned char head[8] = { 'N', 'R', 'C', '1', 1, 1, 0, 3 };
	static const unsigned char inc[8] = { 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01 };
	assert_memory_equal(b, head, 8);
	assert_memory_equal(b + NEAR__ENVELOPE_INC_AT, inc, 8);
	assert_int_equal(b[32], 77);
	assert_int_equal(b[52], sizeof(payload));
	assert_int_equal(b[NEAR__ENVELOPE_HEAD + 8], 0x11);
	assert_int_equal(size, NEAR__ENVELOPE_HEAD + 24 + sizeof(payload));
	free(b);
}

static void envelope__empty_value__reads_back(void **state)
{
	(void)state;
	near__envelope in = { .incarnation = 1 }, out;
	size_t size;
	unsigned char *bytes = written(&in, &size);
	assert_int_equal(size, NEAR__ENVELOPE_HEAD);
	assert_true(near__envelope_read(bytes, size, KEY, &out));
	assert_int_equal(out.payload_size, 0);
	free(bytes);
}

static void envelope__marked_in_place__still_reads_and_is_stale(void **state)
{
	(void)state;
	near__envelope in = sample(), out;
	size_t size;
	unsigned char *bytes = written(&in, &size);
	uint64_t sum = near__envelope_sum(bytes, size);
	bytes[NEAR__ENVELOPE_MARK_AT] = 1;
	assert_true(near__envelope_read(bytes, size, KEY, &out));
	assert_true(out.marked_stale);
	assert_true(near__envelope_sum(bytes, size) == sum);
	free(bytes);
}

static void envelope__any_other_byte_changed__is_refused(void **state)
{
	(void)state;
	near__envelope in = sample(), out;
	size_t size;
	unsigned char *bytes = written(&in, &size);
	for (size_t i = 0; i < size; i++) {
		if (i == NEAR__ENVELOPE_MARK_AT)
			continue;
		for (int bit = 0; bit < 8; bit++) {
			bytes[i] ^= (unsigned char)(1 << bit);
			assert_false(near__envelope_read(bytes, size, KEY, &out));
			bytes[i] ^= (unsigned char)(1 << bit);
		}
	}
	assert_true(near__envelope_read(bytes, size, KEY, &out));
	free(bytes);
}

static void envelope__cut_or_longer__is_refused(void **state)
{
	(void)state;
	near__envelope in = sample(), out;
	size_t size;
	unsigned char *bytes = written(&in, &size);
	for (size_t cut = 0; cut < size; cut++) {
		unsigned char *part = malloc(cut + 1);
		assert_non_null(part);
		memcpy(part, bytes, cut);
		assert_false(near__envelope_read(part, cut, KEY, &out));
		free(part);
	}
	unsigned char *more = calloc(1, size + 8);
	assert_non_null(more);
	memcpy(more, bytes, size);
	assert_false(near__envelope_read(more, size + 8, KEY, &out));
	assert_false(near__envelope_read(NULL, 0, KEY, &out));
	free(more);
	free(bytes);
}

static void envelope__of_another_key__is_refused(void **state)
{
	(void)state;
	near__envelope in = sample(), out;
	size_t size;
	unsigned char *bytes = written(&in, &size);
	assert_false(near__envelope_read(bytes, size, "user:profile:124", 16, &out));
	free(bytes);
}

/* A layout or a flag of a later version, with a sum that is right: unknown all the same. */
static void envelope__of_a_later_version__is_refused(void **state)
{
	(void)state;
	static const struct {
		size_t at;
		unsigned char value;
	} later[] = { { 3, '2' }, { 4, 2 }, { 5, 2 }, { 5, 0x80 }, { 7, NEAR_TAGS_MAX + 1 } };
	for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++) {
		unsigned char b[NEAR__ENVELOPE_HEAD + 8 * (NEAR_TAGS_MAX + 1)];
		memset(b, 0, sizeof(b));
		near__envelope in = { .incarnation = 1 }, out;
		near__envelope_write(&in, KEY, b);
		b[later[i].at] = later[i].value;
		size_t size = b[7] > 0 ? sizeof(b) : NEAR__ENVELOPE_HEAD;
		uint64_t sum = near__hash_sum(b, NEAR__ENVELOPE_SUM_AT, near__hash_shared(KEY));
		sum = near__hash_sum(b + NEAR__ENVELOPE_HEAD, size - NEAR__ENVELOPE_HEAD, sum);
		for (int byte = 0; byte < 8; byte++)
			b[NEAR__ENVELOPE_SUM_AT + byte] = (unsigned char)(sum >> (8 * byte));
		assert_false(near__envelope_read(b, size, KEY, &out));
	}
}

static void envelope__random_bytes__are_refused(void **state)
{
	(void)state;
	uint64_t seed = (uint64_t)near__now_ns(), random = seed;
	print_message("seed %llu\n", (unsigned long long)seed);
	for (int round = 0; round < 20000; round++) {
		size_t size = near__random_next(&random) % 300;
		unsigned char *bytes = malloc(size + 1);
		assert_non_null(bytes);
		for (size_t i = 0; i < size; i++)
			bytes[i] = (unsigned char)near__random_next(&random);
		if (size >= 8 && round % 2 == 0) /* past the first checks */
			memcpy(bytes, "NRC1\1\0\0\2", 8);
		near__envelope out;
		assert_false(near__envelope_read(bytes, size, KEY, &out));
		free(bytes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(envelope__written__reads_back_equal),
		cmocka_unit_test(envelope__written__has_its_fields_at_their_offsets),
		cmocka_unit_test(envelope__empty_value__reads_back),
		cmocka_unit_test(envelope__marked_in_place__still_reads_and_is_stale),
		cmocka_unit_test(envelope__any_other_byte_changed__is_refused),
		cmocka_unit_test(envelope__cut_or_longer__is_refused),
		cmocka_unit_test(envelope__of_another_key__is_refused),
		cmocka_unit_test(envelope__of_a_later_version__is_refused),
		cmocka_unit_test(envelope__random_bytes__are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
