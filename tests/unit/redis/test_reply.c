/* Replies out of bytes: whole, in pieces, broken, and larger than allowed. What a hostile server sends over a socket is
 * tested in integration/test_redis_hostile.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "redis/reply.h"

#define TEXT(s) (s), sizeof(s) - 1

static near__reply *read_one(near__parser *parser, const char *bytes, size_t size)
{
	near__reply *reply = NULL;
	assert_true(near__parser_feed(parser, bytes, size));
	assert_true(near__parser_next(parser, &reply));
	return reply;
}

static void parser__each_kind__is_read(void **state)
{
	(void)state;
	size_t size;
	near__parser *parser = near__parser_create(1000);
	near__reply *reply = read_one(parser, TEXT("*6\r\n$3\r\na\0b\r\n+OK\r\n-ERR no\r\n:-12\r\n$-1\r\n*-1\r\n"));
	assert_int_equal(near__reply_is(reply), NEAR__REPLY_ARRAY);
	assert_int_equal(near__reply_count(reply), 6);
	assert_memory_equal(near__reply_bytes(near__reply_at(reply, 0), &size), "a\0b", 4); /* with its NUL */
	assert_int_equal(size, 3);
	assert_int_equal(near__reply_is(near__reply_at(reply, 1)), NEAR__REPLY_STATUS);
	assert_string_equal(near__reply_bytes(near__reply_at(reply, 1), NULL), "OK");
	assert_int_equal(near__reply_is(near__reply_at(reply, 2)), NEAR__REPLY_ERROR);
	assert_true(near__reply_error_is(near__reply_at(reply, 2), "ERR"));
	assert_false(near__reply_error_is(near__reply_at(reply, 2), "ER"));
	assert_false(near__reply_error_is(near__reply_at(reply, 1), "OK"));
	assert_int_equal(near__reply_integer(near__reply_at(reply, 3)), -12);
	assert_int_equal(near__reply_is(near__reply_at(reply, 4)), NEAR__REPLY_NIL);
	assert_int_equal(near__reply_is(near__reply_at(reply, 5)), NEAR__REPLY_NIL);
	assert_null(near__reply_at(reply, 6));
	near__reply_free(reply);
	near__parser_free(parser);
}

static void reply__null__is_nil(void **state)
{
	(void)state;
	size_t size = 7;
	assert_int_equal(near__reply_is(NULL), NEAR__REPLY_NIL);
	assert_null(near__reply_bytes(NULL, &size));
	assert_int_equal(size, 0);
	assert_int_equal(near__reply_integer(NULL), 0);
	assert_int_equal(near__reply_count(NULL), 0);
	assert_null(near__reply_at(NULL, 0));
	assert_false(near__reply_is_push(NULL));
	near__reply_free(NULL);
}

static void parser__any_cut__gives_the_same_reply(void **state)
{
	(void)state;
	static const char bytes[] = "*3\r\n$5\r\nhe\r\nl\r\n*1\r\n:42\r\n-BUSY x\r\n+next\r\n";
	size_t all = sizeof(bytes) - 1, size;
	for (size_t cut = 0; cut <= all; cut++) {
		near__parser *parser = near__parser_create(1000);
		near__reply *reply = read_one(parser, bytes, cut), *next = NULL;
		if (reply == NULL)
			reply = read_one(parser, bytes + cut, all - cut);
		else
			assert_true(near__parser_feed(parser, bytes + cut, all - cut));
		assert_memory_equal(near__reply_bytes(near__reply_at(reply, 0), &size), "he\r\nl", 5);
		assert_int_equal(near__reply_integer(near__reply_at(near__reply_at(reply, 1), 0)), 42);
		assert_true(near__parser_next(parser, &next));
		assert_string_equal(near__reply_bytes(next, NULL), "next");
		near__reply_free(reply);
		near__reply_free(next);
		near__parser_free(parser);
	}
}

static void parser__after_a_broken_byte__believes_nothing(void **state)
{
	(void)state;
	near__reply *reply;
	near__parser *parser = near__parser_create(1000);
	assert_true(near__parser_feed(parser, "?\r\n", 3));
	assert_false(near__parser_next(parser, &reply));
	assert_true(strlen(near__parser_error(parser)) > 0);
	assert_false(near__parser_feed(parser, "+OK\r\n", 5) && near__parser_next(parser, &reply));
	near__parser_free(parser);
}

/* True: refused. */
static bool refuses(near__parser *parser, const char *text)
{
	near__reply *reply = NULL;
	bool good = near__parser_feed(parser, text, strlen(text)) && near__parser_next(parser, &reply);
	near__reply_free(reply);
	near__parser_free(parser);
	return !good;
}

static void parser__budget__counts_nodes_and_announced_lengths(void **state)
{
	(void)state;
	assert_false(refuses(near__parser_create(100), "$83\r\n"));
	assert_true(refuses(near__parser_create(100), "$101\r\n")); /* before its bytes are there */
	/* A head is 16 bytes, a pointer to a child 8. */
	assert_false(refuses(near__parser_create(16 + 9 * 8), "*9\r\n"));
	assert_true(refuses(near__parser_create(16 + 9 * 8 - 1), "*9\r\n"));
	assert_false(refuses(near__parser_create(16 + 3 * 8 + 3 * 16), "*3\r\n$-1\r\n$-1\r\n$-1\r\n"));
	assert_true(refuses(near__parser_create(16 + 3 * 8 + 3 * 16 - 1), "*3\r\n$-1\r\n$-1\r\n$-1\r\n"));
	assert_true(refuses(near__parser_create(1000), "*1048577\r\n"));
}

static void parser__budget__begins_anew_with_each_reply(void **state)
{
	(void)state;
	near__parser *parser = near__parser_create(100);
	for (int i = 0; i < 50; i++) {
		near__reply *reply = read_one(parser, TEXT("$60\r\n012345678901234567890123456789" "012345678901234567890123456789\r\n"));
		assert_non_null(reply);
		near__reply_free(reply);
	}
	near__parser_free(parser);
}

static void parser__depth__is_bounded(void **state)
{
	(void)state;
	assert_false(refuses(near__parser_create(10000), "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n"));
	assert_true(refuses(near__parser_create(10000), "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n"));
}

static void parser__unfinished_reply__is_freed_with_the_parser(void **state)
{
	(void)state;
	near__parser *parser = near__parser_create(10000);
	assert_null(read_one(parser, TEXT("*3\r\n$1\r\na\r\n*2\r\n:1\r\n")));
	near__parser_free(parser); /* the leak checker of the sanitizer build looks */
	near__parser_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parser__each_kind__is_read),
		cmocka_unit_test(reply__null__is_nil),
		cmocka_unit_test(parser__any_cut__gives_the_same_reply),
		cmocka_unit_test(parser__after_a_broken_byte__believes_nothing),
		cmocka_unit_test(parser__budget__counts_nodes_and_announced_lengths),
		cmocka_unit_test(parser__budget__begins_anew_with_each_reply),
		cmocka_unit_test(parser__depth__is_bounded),
		cmocka_unit_test(parser__unfinished_reply__is_freed_with_the_parser),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
