/* nearbench as its users run it: each command for a moment on real parts, what it prints, and how it ends. Figures of speed
 * are not judged here: a test machine has none to promise. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include <zstd.h>
#include "trace.h"

#define PROGRAM NEARCACHE_BINARY_DIR "/nearbench"
#define OUTPUT_MAX 65536

static char output[OUTPUT_MAX];

/* Runs nearbench with its standard error in front of its output or thrown away; its exit status. */
static int run(bool with_errors, const char *format, ...)
{
	char arguments[1024], command[2048];
	va_list list;
	va_start(list, format);
	(void)vsnprintf(arguments, sizeof(arguments), format, list);
	va_end(list);
	(void)snprintf(command, sizeof(command), "'%s' %s 2>%s", PROGRAM, arguments, with_errors ? "&1" : "/dev/null");
	FILE *pipe = popen(command, "r");
	assert_non_null(pipe);
	output[fread(output, 1, sizeof(output) - 1, pipe)] = '\0';
	int status = pclose(pipe);
	if (!WIFEXITED(status))
		fail_msg("nearbench %s ended with signal %d", arguments, WTERMSIG(status));
	return WEXITSTATUS(status);
}

/* A figure of the JSON that was printed last. */
static double figure(const char *name)
{
	char quoted[80];
	(void)snprintf(quoted, sizeof(quoted), "\n  \"%s\": ", name);
	const char *at = strstr(output, quoted);
	if (at == NULL)
		fail_msg("no figure %s in: %s", name, output);
	return strtod(at + strlen(quoted), NULL);
}

static void has(const char *text)
{
	if (strstr(output, text) == NULL)
		fail_msg("\"%s\" is not in: %s", text, output);
}

static void kept(const char *promise)
{
	char text[120];
	(void)snprintf(text, sizeof(text), "{\"name\": \"%s\", \"kept\": true", promise);
	has(text);
}

/* ------------------------------------------------------------- words */

static void help__of_each_command__teaches_and_ends_with_0(void **state)
{
	(void)state;
	const char *const commands[] = {"l1", "replay", "coherence", "l2", "stampede", "bound"};
	assert_int_equal(run(true, "--help"), 0);
	has("Exit status");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		assert_int_equal(run(true, "%s --help", commands[i]), 0);
		has("Options");
		has("--json");
		has("Examples");
		assert_null(strchr(output, '\033'));
	}
}

static void arguments__that_are_wrong__end_with_2_and_a_sentence(void **state)
{
	(void)state;
	assert_int_equal(run(true, ""), 2);
	has("usage:");
	assert_int_equal(run(true, "l3"), 2);
	has("no command 'l3'");
	assert_int_equal(run(true, "l1 --item 5"), 2);
	has("did you mean --items?");
	assert_int_equal(run(true, "l1 --keys zipf:0"), 2);
	has("zipf:S");
	assert_int_equal(run(true, "l1 --mix get:5,get:6"), 2);
	has("get:95,put:5");
	assert_int_equal(run(true, "l1 --engine bare --threads 2 --mix get:1,put:1"), 2);
	has("cannot be written by several threads");
	assert_int_equal(run(true, "l1 --expect 'ns_per_op<260'"), 2);
	has("--expect");
	assert_int_equal(run(true, "l1 --memory 20M --capacity-fraction 0.5"), 2);
	assert_int_equal(run(true, "replay --memory 16M"), 2);
	has("--trace FILE is needed");
	assert_int_equal(run(true, "replay --trace /nowhere --memory 16M"), 2);
	has("cannot be opened");
	assert_int_equal(run(true, "replay --trace '%s' --memory 16M", NEARCACHE_SOURCE_DIR "/CMakeLists.txt"), 2);
	has("record 0: not a sound zstd stream");
	assert_int_equal(run(true, "bound --memory 1M"), 2);
	has("from 16M");
	assert_int_equal(run(true, "stampede --processes 32 --threads 33"), 2);
	assert_int_equal(run(true, "coherence --redis unix:///nowhere/s"), 1);
	has("Redis:");
}

/* ------------------------------------------------------------- l1, bound */

static void l1__of_each_engine__prints_its_figures(void **state)
{
	(void)state;
	const char *const runs[] = {"", "--batch 16", "--threads 2 --mix get:90,put:5,del:1,load:4 --keys zipf:0.99",
	                            "--engine bare", "--engine bare --batch 16", "--engine mutex --threads 2"};
	for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
		assert_int_equal(run(false, "l1 --items 20k --seconds 0.05 --warm-up 0 --sequence 20k --json %s", runs[i]), 0);
		assert_true(figure("ns_per_op") > 0);
		assert_true(figure("ops_per_s") > 0);
		assert_true(figure("hit_ratio") > 0.8 && figure("hit_ratio") <= 1); /* some are deleted */
		assert_true(figure("p50_ns") > 0 && figure("p99_ns") >= figure("p50_ns") && figure("p999_ns") >= figure("p99_ns"));
		assert_true(figure("overhead_bytes_per_item") > 0);
		kept("right_values");
	}
}

static void l1__with_room_for_a_part__hits_a_part_and_repeats(void **state)
{
	(void)state;
	assert_int_equal(run(false, "l1 --items 400k --capacity-fraction 0.3 --seconds 0.2 --repeat 3 --json"), 0);
	assert_in_range((long)(figure("hit_ratio") * 1000), 200, 400);
	assert_true(figure("ns_per_op_min") <= figure("ns_per_op") && figure("ns_per_op") <= figure("ns_per_op_max"));
	assert_true(figure("mapped_bytes") <= figure("memory_bytes"));
}

static void l1__with_an_expectation__ends_by_it(void **state)
{
	(void)state;
	assert_int_equal(run(false, "l1 --items 1k --seconds 0.02 --warm-up 0 --sequence 1k --expect 'items<=1000,ns_per_op>=0.1'"), 0);
	has("kept");
	assert_int_equal(run(false, "l1 --items 1k --seconds 0.02 --warm-up 0 --sequence 1k --expect 'ns_per_op<=0.1'"), 1);
	has("BROKEN ns_per_op");
	assert_null(strchr(output, '\033'));
	assert_int_equal(run(false, "l1 --items 1k --seconds 0.02 --warm-up 0 --sequence 1k --expect 'speed<=1'"), 2);
}

static void bound__while_filled_and_resized__is_kept(void **state)
{
	(void)state;
	assert_int_equal(run(false, "bound --memory 32M --fills 2 --sizes shifting --resize --json"), 0);
	kept("bound");
	kept("right_values");
	kept("resized");
	assert_true(figure("samples_above") == 0);
	assert_true(figure("fills") >= 2);
}

/* ------------------------------------------------------------- replay */

typedef struct trace_writer {
	unsigned char bytes[BENCH_RECORD_SIZE * 8192];
	size_t size;
} trace_writer;

static void write_request(trace_writer *w, uint32_t time_s, uint64_t key, uint32_t value_size, uint32_t ttl_s, uint8_t op)
{
	const struct {
		uint64_t value;
		int size;
	} fields[] = {{time_s, 4}, {key, 8}, {24, 4}, {value_size, 4}, {ttl_s, 4}, {op, 1}};
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		for (int b = 0; b < fields[i].size; b++)
			w->bytes[w->size++] = (unsigned char)(fields[i].value >> (8 * b));
}

static void write_trace(const trace_writer *w, const char *path)
{
	size_t room = ZSTD_compressBound(w->size);
	char *packed = malloc(room);
	assert_non_null(packed);
	size_t size = ZSTD_compress(packed, room, w->bytes, w->size, 3);
	assert_false(ZSTD_isError(size));
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(packed, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
	free(packed);
}

static void replay__with_room_for_all__means_what_the_requests_say(void **state)
{
	(void)state;
	static trace_writer w;
	char path[] = "/tmp/nearbench-test-XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	(void)close(fd);
	write_request(&w, 100, 1, 100, 0, BENCH_TRACE_GET);    /* miss */
	write_request(&w, 100, 1, 100, 0, BENCH_TRACE_GET);    /* hit */
	write_request(&w, 101, 2, 50, 5, BENCH_TRACE_GET);     /* miss, lives until 106 */
	write_request(&w, 105, 2, 50, 5, BENCH_TRACE_GET);     /* hit */
	write_request(&w, 106, 2, 50, 5, BENCH_TRACE_GET);     /* miss: its life is over; until 111 */
	write_request(&w, 107, 3, 10, 0, BENCH_TRACE_SET);
	write_request(&w, 107, 3, 10, 0, BENCH_TRACE_GET);     /* hit */
	write_request(&w, 108, 3, 10, 0, BENCH_TRACE_DELETE);
	write_request(&w, 108, 3, 10, 0, BENCH_TRACE_GET);     /* miss */
	write_request(&w, 109, 2, 50, 9, BENCH_TRACE_SET);     /* until 118 */
	write_request(&w, 112, 2, 50, 5, BENCH_TRACE_GET);     /* hit */
	write_request(&w, 600000, 1, 100, 0, BENCH_TRACE_GET); /* hit, a week later */
	write_trace(&w, path);
	const char *const ways[] = {"--policy near --memory 16M", "--policy lru --memory 16M",
	                            "--policy near --payload-limit 1K", "--policy near --memory-fraction 3"};
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		assert_int_equal(run(false, "replay --trace %s --json %s", path, ways[i]), 0);
		assert_true(figure("requests") == 12 && figure("gets") == 9 && figure("sets") == 2 && figure("deletes") == 1);
		assert_true(fabs(figure("object_miss_ratio") - 4.0 / 9) < 1e-6);
		assert_true(fabs(figure("byte_miss_ratio") - (124 + 74 + 74 + 34) / (124 * 3 + 74 * 4 + 34 * 2.0)) < 1e-6);
		assert_true(figure("working_set_bytes") == 124 + 74 + 34);
		kept("bound");
	}
	assert_int_equal(run(true, "replay --trace %s --memory-fraction 0.5", path), 0);
	has("the least bound of a cache is 16 MiB and that is used");
	(void)unlink(path);
}

static void replay__under_a_payload_limit__keeps_it_and_agrees_with_the_reference_file(void **state)
{
	(void)state;
	static trace_writer w;
	char folder[] = "/tmp/nearbench-test-XXXXXX", path[64], table[64];
	assert_non_null(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/loop.bin.zst", folder);
	(void)snprintf(table, sizeof(table), "%s/reference.csv", folder);
	for (uint32_t i = 0; i < 8000; i++) /* a loop one and a half times as large as the limit: nothing for LRU */
		write_request(&w, i / 100, i % 300, 76, 0, BENCH_TRACE_GET);
	write_trace(&w, path);
	FILE *file = fopen(table, "w");
	assert_non_null(file);
	(void)fputs("trace,algo,cache_frac,cache_bytes,objmiss,bytemiss\nloop,ksim:lru,0.667,20000,1,1\n", file);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(run(false, "replay --trace %s --payload-limit 20000 --policy lru --json", path), 0);
	assert_true(figure("object_miss_ratio") == 1);
	has("\"algo\": \"ksim:lru\", \"object_miss_ratio\": 1");
	assert_true(figure("reduction_vs_lru_percent") == 0);
	assert_int_equal(run(false, "replay --trace %s --payload-limit 20000 --json", path), 0);
	assert_true(figure("resident_payload_bytes") <= 20000 && figure("resident_payload_bytes") > 15000);
	assert_true(figure("payload_limit_bytes") == 20000);
	(void)unlink(path);
	(void)unlink(table);
	(void)rmdir(folder);
}

/* ------------------------------------------------------------- with Redis */

static void l2__every_way__finds_every_value(void **state)
{
	(void)state;
	assert_int_equal(run(false, "l2 --items 200 --threads 3 --batch 4 --seconds 0.05 --repeat 2 --json"), 0);
	assert_true(figure("near_get_per_s") > 0 && figure("bare_pipelined_per_s") > 0);
	assert_true(figure("near_get_many_per_s") > 0 && figure("bare_batched_per_s") > 0);
	kept("every_value_found");
}

static void coherence__of_some_processes__loses_nothing(void **state)
{
	(void)state;
	assert_int_equal(run(false, "coherence --processes 3 --keys 300 --block 50 --json"), 0);
	assert_true(figure("lost") == 0);
	assert_true(figure("near_p50_us") != 0 && figure("publish_p50_us") != 0);
	kept("none_lost");
	kept("none_survives");
	kept("checkers_held");
	kept("checkers_applied_all");
}

/* Whether nobody waited at an expiry depends on the machine's leisure; that a cold key is loaded once does not. */
static void stampede__cold__loads_once(void **state)
{
	(void)state;
	int status = run(false, "stampede --processes 3 --threads 3 --cold-keys 3 --load-ms 30 --ttl-ms 400 --expiries 3 --json");
	assert_in_range(status, 0, 1);
	assert_true(figure("cold_loads") == 3 && figure("cold_loads_per_key_max") == 1);
	kept("cold_one_load");
	kept("every_call_answered");
	has("\"expiry\": \"plain\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(help__of_each_command__teaches_and_ends_with_0),
		cmocka_unit_test(arguments__that_are_wrong__end_with_2_and_a_sentence),
		cmocka_unit_test(l1__of_each_engine__prints_its_figures),
		cmocka_unit_test(l1__with_room_for_a_part__hits_a_part_and_repeats),
		cmocka_unit_test(l1__with_an_expectation__ends_by_it),
		cmocka_unit_test(bound__while_filled_and_resized__is_kept),
		cmocka_unit_test(replay__with_room_for_all__means_what_the_requests_say),
		cmocka_unit_test(replay__under_a_payload_limit__keeps_it_and_agrees_with_the_reference_file),
		cmocka_unit_test(l2__every_way__finds_every_value),
		cmocka_unit_test(coherence__of_some_processes__loses_nothing),
		cmocka_unit_test(stampede__cold__loads_once),
	};
	return cmocka_run_group_tests_name("nearbench", tests, NULL, NULL);
}
