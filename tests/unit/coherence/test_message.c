/* Reading of messages: one spelling each, everything else malformed, later versions told apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "coherence/room.h"

#define INC "8c6f0a51e2d94b37"
#define WRITER "00f1c2a5d4e3b697"

/* A copy of exact size, so that a read past the end shows under ASan. */
static near__message read_copy(const char *bytes, size_t size, char **copy)
{
	*copy = malloc(size + 1);
	assert_non_null(*copy);
	memcpy(*copy, bytes, size);
	char *exact = realloc(*copy, size != 0 ? size : 1);
	assert_non_null(exact);
	*copy = exact;
	return near__message_read(exact, size);
}

static near__message_kind kind_of(const char *bytes, size_t size)
{
	char *copy;
	near__message_kind kind = read_copy(bytes, size, &copy).kind;
	free(copy);
	return kind;
}
#define KIND(literal) kind_of(literal, sizeof(literal) - 1)

static void message__of_an_invalidation__gives_all_fields(void **state)
{
	(void)state;
	static const char text[] = "1 " INC " 1234 " WRITER " i user:profile:123";
	near__message m = near__message_read(text, sizeof(text) - 1);
	assert_int_equal(m.kind, NEAR__MESSAGE_CHANGE);
	assert_int_equal(m.change, NEAR__CHANGE_INVALIDATE);
	assert_true(m.incarnation == UINT64_C(0x8c6f0a51e2d94b37));
	assert_int_equal(m.seq, 1234);
	assert_true(m.writer == UINT64_C(0x00f1c2a5d4e3b697));
	assert_int_equal(m.key_size, 16);
	assert_memory_equal(m.key, "user:profile:123", 16);
}

static void message__with_any_bytes_in_its_key__keeps_them(void **state)
{
	(void)state;
	static const char text[] = "1 " INC " 1 " WRITER " r \0 \n\xff ";
	near__message m = near__message_read(text, sizeof(text) - 1);
	assert_int_equal(m.kind, NEAR__MESSAGE_CHANGE);
	assert_int_equal(m.key_size, 5);
	assert_memory_equal(m.key, "\0 \n\xff ", 5);
}

static void message__of_each_kind__is_told_apart(void **state)
{
	(void)state;
	assert_int_equal(KIND("1 " INC " 1 " WRITER " p k"), NEAR__MESSAGE_CHANGE);
	assert_int_equal(KIND("1 " INC " 1 " WRITER " t 12345678"), NEAR__MESSAGE_CHANGE);
	assert_int_equal(KIND("1 " INC " 0 " WRITER " f k"), NEAR__MESSAGE_FILLED);
	assert_int_equal(KIND("1 " INC " 0 " WRITER " v "), NEAR__MESSAGE_VOID);
	assert_int_equal(KIND("1 " INC " 17592186044415 " WRITER " i k"), NEAR__MESSAGE_CHANGE);
}

static void message__of_a_later_version_or_kind__is_unknown(void **state)
{
	(void)state;
	assert_int_equal(KIND("2 anything at all"), NEAR__MESSAGE_UNKNOWN);
	assert_int_equal(KIND("4294967295 "), NEAR__MESSAGE_UNKNOWN);
	assert_int_equal(KIND("1 " INC " 7 " WRITER " z k"), NEAR__MESSAGE_UNKNOWN);
	assert_int_equal(KIND("1 " INC " 0 " WRITER " e "), NEAR__MESSAGE_UNKNOWN);
}

static void message__of_any_other_spelling__is_malformed(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"", " ", "1", "1 ", "0 x", "01 " INC " 1 " WRITER " i k", "+1 x", "4294967296 x", "99999999999999999999 x",
		"1 " INC, "1 " INC " ", "1 " INC " 1", "1 " INC " 1 ", "1 " INC " 1 " WRITER, "1 " INC " 1 " WRITER " i",
		"1 " INC " 1 " WRITER " i ", "1 " INC " 1 " WRITER "  k", "1 " INC " 1 " WRITER " ii k",
		"1 0000000000000000 1 " WRITER " i k", "1 8C6F0A51E2D94B37 1 " WRITER " i k", "1 8c6f0a51e2d94b3 1 " WRITER " i k",
		"1 " INC "0 1 " WRITER " i k", "1 " INC " 01 " WRITER " i k", "1 " INC " -1 " WRITER " i k",
		"1 " INC " 1x " WRITER " i k", "1 " INC " 0 " WRITER " i k", "1 " INC " 17592186044416 " WRITER " i k",
		"1 " INC " 1 " WRITER " f k", "1 " INC " 1 " WRITER " v ", "1 " INC " 0 " WRITER " v k",
		"1 " INC " 1 " WRITER " t 1234567", "1 " INC " 1 " WRITER " t 123456789", "1 " INC " 0 " WRITER " t 12345678",
		"1  " INC " 1 " WRITER " i k", " 1 " INC " 1 " WRITER " i k", "1 " INC " 1 g0f1c2a5d4e3b697 i k",
		"1 " INC " 1 " WRITER " \x01 k",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (kind_of(bad[i], strlen(bad[i])) != NEAR__MESSAGE_MALFORMED)
			fail_msg("taken for good: \"%s\"", bad[i]);
}

static void message__with_a_key_past_the_largest__is_malformed(void **state)
{
	(void)state;
	char text[2 * NEAR_KEY_MAX];
	static const char head[] = "1 " INC " 1 " WRITER " i ";
	memset(text, 'k', sizeof(text));
	memcpy(text, head, sizeof(head) - 1);
	assert_int_equal(kind_of(text, sizeof(head) - 1 + NEAR_KEY_MAX), NEAR__MESSAGE_CHANGE);
	assert_int_equal(kind_of(text, sizeof(head) - 1 + NEAR_KEY_MAX + 1), NEAR__MESSAGE_MALFORMED);
}

static void entry__of_the_log__gives_kind_and_key(void **state)
{
	(void)state;
	near__message m = near__message_read_entry("iuser:1", 7);
	assert_int_equal(m.kind, NEAR__MESSAGE_CHANGE);
	assert_int_equal(m.change, 'i');
	assert_int_equal(m.key_size, 6);
	assert_int_equal(near__message_read_entry("", 0).kind, NEAR__MESSAGE_MALFORMED);
	assert_int_equal(near__message_read_entry("i", 1).kind, NEAR__MESSAGE_MALFORMED);
	assert_int_equal(near__message_read_entry("t1234567", 8).kind, NEAR__MESSAGE_MALFORMED);
	assert_int_equal(near__message_read_entry("fk", 2).kind, NEAR__MESSAGE_MALFORMED);
	assert_int_equal(near__message_read_entry("zk", 2).kind, NEAR__MESSAGE_UNKNOWN);
}

static void channel__of_a_shard__gives_its_number(void **state)
{
	(void)state;
	unsigned shard = 99;
	assert_true(near__message_read_channel("p:v1", 16, "p:v1~c:15", 9, &shard));
	assert_int_equal(shard, 15);
	assert_true(near__message_read_channel("p:v1", 16, "p:v1~c:0", 8, &shard));
	assert_int_equal(shard, 0);
	static const char *const bad[] = { "", "p:v1", "p:v1~c:", "p:v1~c:16", "p:v1~c:01", "p:v1~c:x", "p:v1~m:1", "q:v1~c:1",
		                           "p:v10~c:1", "p:v1~c:1 ", "p:v1~c:99999999999999999999" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(near__message_read_channel("p:v1", 16, bad[i], strlen(bad[i]), &shard));
}

static void hex__written__reads_back(void **state)
{
	(void)state;
	static const uint64_t values[] = { 0, 1, UINT64_C(0x0123456789abcdef), UINT64_MAX };
	char text[NEAR__HEX];
	uint64_t back;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		near__hex_write(values[i], text);
		assert_true(near__hex_read(text, sizeof(text), &back));
		assert_true(back == values[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(message__of_an_invalidation__gives_all_fields),
		cmocka_unit_test(message__with_any_bytes_in_its_key__keeps_them),
		cmocka_unit_test(message__of_each_kind__is_told_apart),
		cmocka_unit_test(message__of_a_later_version_or_kind__is_unknown),
		cmocka_unit_test(message__of_any_other_spelling__is_malformed),
		cmocka_unit_test(message__with_a_key_past_the_largest__is_malformed),
		cmocka_unit_test(entry__of_the_log__gives_kind_and_key),
		cmocka_unit_test(channel__of_a_shard__gives_its_number),
		cmocka_unit_test(hex__written__reads_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
