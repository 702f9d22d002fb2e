/* Traces: what is written is read back however it is cut, and every broken invariant is named with its record. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <zstd.h>
#include "base/hash.h"
#include "trace.h"

typedef struct writer {
	unsigned char bytes[BENCH_RECORD_SIZE * 4096];
	size_t size;
} writer;

static void write_number(writer *w, uint64_t value, int bytes)
{
	for (int i = 0; i < bytes; i++)
		w->bytes[w->size++] = (unsigned char)(value >> (8 * i));
}

static void write_record(writer *w, uint32_t time, uint64_t key, uint32_t key_size, uint32_t value_size, uint32_t ttl,
                         uint8_t op)
{
	write_number(w, time, 4);
	write_number(w, key, 8);
	write_number(w, key_size, 4);
	write_number(w, value_size, 4);
	write_number(w, ttl, 4);
	write_number(w, op, 1);
}

static void write_sample(writer *w)
{
	w->size = 0;
	write_record(w, 0, 0, 8, 100, 0, 0);
	write_record(w, 0, 1, 3, 50, 60, 1);
	write_record(w, 5, 0, 8, 100, 0, 2);
	write_record(w, 7, 2, 8, 1, 30, 0);
}

static void check_sample(const bench_trace *t)
{
	assert_int_equal(t->request_count, 4);
	assert_int_equal(t->key_count, 3);
	assert_int_equal(t->working_set_bytes, 108 + 53 + 9);
	assert_int_equal(t->gets, 2);
	assert_int_equal(t->sets, 1);
	assert_int_equal(t->deletes, 1);
	assert_int_equal(t->with_ttl, 2);
	assert_int_equal(t->requests[2].time_s, 5);
	assert_int_equal(t->requests[3].key, 2);
	assert_int_equal(t->requests[3].ttl_s, 30);
	assert_int_equal(t->keys[1].key_size, 3);
	assert_int_equal(t->keys[2].rank, 1);
	assert_int_equal(t->value_size_max, 100);
}

static void feed__in_pieces_of_any_size__decodes_the_same(void **state)
{
	(void)state;
	writer w;
	bench_trace_error error;
	write_sample(&w);
	for (size_t piece = 1; piece <= w.size; piece++) {
		bench_trace t;
		bench_trace_init(&t);
		for (size_t at = 0; at < w.size; at += piece)
			assert_true(bench_trace_feed(&t, w.bytes + at, at + piece < w.size ? piece : w.size - at, &error));
		assert_true(bench_trace_finish(&t, &error));
		check_sample(&t);
		bench_trace_free(&t);
	}
}

static FILE *compressed(const writer *w, size_t cut)
{
	static char packed[sizeof(w->bytes) + 1024];
	size_t size = ZSTD_compress(packed, sizeof(packed), w->bytes, w->size, 3);
	assert_false(ZSTD_isError(size));
	return fmemopen(packed, size - cut, "r");
}

static void read__a_compressed_file__decodes(void **state)
{
	(void)state;
	writer w;
	bench_trace t;
	bench_trace_error error;
	write_sample(&w);
	FILE *file = compressed(&w, 0);
	bench_trace_init(&t);
	assert_true(bench_trace_read(&t, file, NULL, &error));
	check_sample(&t);
	bench_trace_free(&t);
	(void)fclose(file);
}

static void refused(const writer *w, size_t cut, const char *says)
{
	bench_trace t;
	bench_trace_error error = {""};
	FILE *file = compressed(w, cut);
	bench_trace_init(&t);
	assert_false(bench_trace_read(&t, file, NULL, &error));
	if (strstr(error.text, says) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", error.text, says);
	bench_trace_free(&t);
	(void)fclose(file);
}

static void read__a_broken_file__is_refused_with_the_record(void **state)
{
	(void)state;
	writer w;
	write_sample(&w);
	refused(&w, 1, "cut off");
	w.size--;
	refused(&w, 0, "record 3: the file ends after 24 of 25 bytes");
	w.size = 0;
	refused(&w, 0, "empty");
	write_sample(&w);
	write_record(&w, 6, 0, 8, 100, 0, 0);
	refused(&w, 0, "record 4: time goes back to 6");
	write_sample(&w);
	write_record(&w, 7, 0, 8, 101, 0, 0);
	refused(&w, 0, "have changed");
	write_sample(&w);
	write_record(&w, 7, 0, 8, 100, 0, 3);
	refused(&w, 0, "op 3");
	write_sample(&w);
	write_record(&w, 7, 3, 0, 100, 0, 0);
	refused(&w, 0, "key_size 0");
	write_sample(&w);
	write_record(&w, 7, 3, 1025, 100, 0, 0);
	refused(&w, 0, "key_size 1025");
	write_sample(&w);
	write_record(&w, 7, 3, 8, UINT32_MAX, 0, 0);
	refused(&w, 0, "value_size");
}

static void read__not_zstd__is_refused(void **state)
{
	(void)state;
	bench_trace t;
	bench_trace_error error = {""};
	char text[] = "time,key,size\n";
	FILE *file = fmemopen(text, sizeof(text), "r");
	bench_trace_init(&t);
	assert_false(bench_trace_read(&t, file, NULL, &error));
	assert_non_null(strstr(error.text, "zstd"));
	bench_trace_free(&t);
	(void)fclose(file);
}

static void feed__any_key_ids__count_in_order_of_first_appearance(void **state)
{
	(void)state;
	static writer w;
	bench_trace t;
	bench_trace_error error;
	w.size = 0;
	bench_trace_init(&t);
	for (int round = 0; round < 8; round++) {
		uint64_t random = 99; /* the same ids each round, more keys than the table of places begins with */
		for (uint64_t i = 0; i < 4096 * 3; i++) {
			w.size = 0;
			write_record(&w, 0, i == 5 ? UINT64_MAX : near__random_next(&random), 24, 1, 0, 0);
			assert_true(bench_trace_feed(&t, w.bytes, w.size, &error));
			assert_int_equal(t.requests[t.request_count - 1].key, i);
		}
	}
	assert_int_equal(t.key_count, 4096 * 3);
	bench_trace_free(&t);
}

static void feed__more_short_keys_than_there_can_be__is_refused(void **state)
{
	(void)state;
	static writer w;
	bench_trace t;
	bench_trace_error error;
	w.size = 0;
	for (uint64_t key = 0; key < 257; key++)
		write_record(&w, 0, key, 1, 10, 0, 0);
	bench_trace_init(&t);
	assert_false(bench_trace_feed(&t, w.bytes, w.size, &error));
	assert_non_null(strstr(error.text, "record 256: more keys of 1 bytes"));
	bench_trace_free(&t);
}

static int by_bytes(const void *a, const void *b)
{
	return memcmp(a, b, 24);
}

static void key_write__keys_of_one_size__differ(void **state)
{
	(void)state;
	static writer w;
	static char keys[4000][24];
	const uint32_t sizes[] = {2, 3, 5, 7, 8, 9, 24};
	bench_trace_error error;
	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		bench_trace t;
		w.size = 0;
		for (uint64_t key = 0; key < 4000; key++)
			write_record(&w, 0, key, sizes[s], 10, 0, 0);
		bench_trace_init(&t);
		assert_true(bench_trace_feed(&t, w.bytes, w.size, &error));
		memset(keys, 0, sizeof(keys));
		for (uint32_t key = 0; key < 4000; key++)
			bench_trace_key_write(&t, key, keys[key]);
		qsort(keys, 4000, 24, by_bytes);
		for (uint32_t key = 1; key < 4000; key++)
			assert_memory_not_equal(keys[key - 1], keys[key], 24);
		bench_trace_free(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(feed__in_pieces_of_any_size__decodes_the_same),
		cmocka_unit_test(read__a_compressed_file__decodes),
		cmocka_unit_test(read__a_broken_file__is_refused_with_the_record),
		cmocka_unit_test(read__not_zstd__is_refused),
		cmocka_unit_test(feed__any_key_ids__count_in_order_of_first_appearance),
		cmocka_unit_test(feed__more_short_keys_than_there_can_be__is_refused),
		cmocka_unit_test(key_write__keys_of_one_size__differ),
	};
	return cmocka_run_group_tests_name("bench/trace", tests, NULL, NULL);
}
