/* Reports and reference rows: what is printed is well formed, and what is broken decides the exit status. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "reference.h"
#include "report.h"

/* Prints with standard output turned into a file; returns the status and what was printed. */
static int printed(bench_report *report, bool json, char *out, size_t size)
{
	FILE *file = tmpfile();
	assert_non_null(file);
	(void)fflush(stdout);
	int before = dup(STDOUT_FILENO);
	assert_true(before >= 0 && dup2(fileno(file), STDOUT_FILENO) >= 0);
	int status = bench_report_print(report, json);
	assert_true(dup2(before, STDOUT_FILENO) >= 0);
	(void)close(before);
	rewind(file);
	out[fread(out, 1, size - 1, file)] = '\0';
	(void)fclose(file);
	return status;
}

static void print__json__holds_figures_rows_and_promises(void **state)
{
	(void)state;
	char out[4096];
	bench_report *r = bench_report_create("l1");
	double values[] = {3, 1, 2};
	bench_report_text(r, "keys", "a\"b\\c\n");
	bench_report_count(r, "items", UINT64_MAX, "");
	bench_report_median(r, "ns_per_op", values, 3, "ns");
	for (int i = 0; i < 2; i++) {
		bench_report_row(r, "reference");
		bench_report_text(r, "algo", i == 0 ? "lru" : "s3");
		bench_report_real(r, "miss", 0.5 + i, "");
	}
	bench_report_row(r, NULL);
	bench_report_real(r, "nothing", 0.0 / 0.0, "");
	bench_report_promise(r, "right", true, "%d wrong", 0);
	assert_int_equal(printed(r, true, out, sizeof(out)), 0);
	assert_string_equal(out,
	                    "{\n  \"command\": \"l1\",\n  \"keys\": \"a\\\"b\\\\c\\u000a\",\n"
	                    "  \"items\": 18446744073709551615,\n  \"ns_per_op\": 2,\n  \"ns_per_op_min\": 1,\n"
	                    "  \"ns_per_op_max\": 3,\n  \"nothing\": null,\n  \"reference\": [\n"
	                    "    {\"algo\": \"lru\", \"miss\": 0.5},\n    {\"algo\": \"s3\", \"miss\": 1.5}\n  ],\n"
	                    "  \"promises\": [\n    {\"name\": \"right\", \"kept\": true, \"seen\": \"0 wrong\"}\n  ]\n}\n");
	bench_report_free(r);
}

static int status_with(const char *expect)
{
	char out[4096];
	bench_report *r = bench_report_create("l1");
	assert_true(bench_report_expect(r, expect));
	bench_report_real(r, "ns_per_op", 260, "ns");
	bench_report_count(r, "lost", 0, "");
	int status = printed(r, false, out, sizeof(out));
	bench_report_free(r);
	return status;
}

static void print__expectations__decide_the_status(void **state)
{
	(void)state;
	assert_int_equal(status_with("ns_per_op<=260"), BENCH_EXIT_OK);
	assert_int_equal(status_with("ns_per_op<=259.9"), BENCH_EXIT_BROKEN);
	assert_int_equal(status_with("ns_per_op>=260,lost==0"), BENCH_EXIT_OK);
	assert_int_equal(status_with("ns_per_op>=260,lost>=1"), BENCH_EXIT_BROKEN);
	assert_int_equal(status_with("no_such_figure<=1"), BENCH_EXIT_USAGE);
}

static void print__a_broken_promise__is_status_1(void **state)
{
	(void)state;
	char out[4096];
	bench_report *r = bench_report_create("bound");
	bench_report_promise(r, "bound", false, "17 of 16");
	assert_int_equal(printed(r, false, out, sizeof(out)), BENCH_EXIT_BROKEN);
	assert_non_null(strstr(out, "BROKEN bound: 17 of 16"));
	bench_report_free(r);
}

static void expect__malformed__is_refused(void **state)
{
	(void)state;
	bench_report *r = bench_report_create("l1");
	const char *const bad[] = {"", "a", "a<1", "a<=", "<=1", "a<=x", "a<=1,", "a=<1", "a<=1 b<=2"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (bench_report_expect(r, bad[i]))
			fail_msg("'%s' was accepted", bad[i]);
	bench_report_free(r);
}

static void reference__rows_near_the_size__are_found_and_sorted(void **state)
{
	(void)state;
	char text[] = "trace,algo,cache_frac,cache_bytes,objmiss,bytemiss\n"
	              "tw_c52,ksim:lru,0.01,307899,0.18,0.19\n"
	              "tw_c52,ksim:s3,0.01,307899,0.15,0.16\n"
	              "tw_c52,ksim:lru,0.1,3078992,0.1,0.1\n"
	              "arc_p3,ksim:lru,0.01,307899,0.7,0.7\n";
	FILE *file = fmemopen(text, strlen(text), "r");
	bench_reference_row *rows;
	size_t count, bad;
	assert_true(bench_reference_read(file, "tw_c52", 307000, &rows, &count, &bad));
	assert_int_equal(count, 2);
	assert_string_equal(rows[0].algo, "ksim:s3");
	assert_true(rows[1].object_miss == 0.18);
	free(rows);
	(void)fclose(file);
}

static void reference__a_malformed_line__is_named(void **state)
{
	(void)state;
	const char *const bad[] = {"a,b,0.1,5,0.1", "a,b,0.1,5,0.1,", "a,b,0.1,5,0.1,0.1,9", "a,,0.1,5,0.1,0.1",
	                           "a,b,x,5,0.1,0.1", "x"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		bench_reference_row row;
		assert_false(bench_reference_parse(bad[i], &row));
	}
	char text[] = "a,b,0.1,5,0.1,0.1\nbroken\n";
	FILE *file = fmemopen(text, strlen(text), "r");
	bench_reference_row *rows;
	size_t count, line;
	assert_false(bench_reference_read(file, "a", 5, &rows, &count, &line));
	assert_int_equal(line, 2);
	assert_null(rows);
	(void)fclose(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(print__json__holds_figures_rows_and_promises),
		cmocka_unit_test(print__expectations__decide_the_status),
		cmocka_unit_test(print__a_broken_promise__is_status_1),
		cmocka_unit_test(expect__malformed__is_refused),
		cmocka_unit_test(reference__rows_near_the_size__are_found_and_sorted),
		cmocka_unit_test(reference__a_malformed_line__is_named),
	};
	return cmocka_run_group_tests_name("bench/report", tests, NULL, NULL);
}
