/* What a run found: figures in the order they were noted, tables, promises and expectations; printed once at the end as
 * aligned text or as one JSON object on standard output.
 *
 *   figure       name, value, unit              "ns_per_op": 187.3
 *   row          a line of a named table        "reference": [{...}, ...]
 *   promise      something that must hold       "promises": [{"name": ..., "kept": true, ...}]
 *   expectation  --expect 'ns_per_op<=260'      the same, set by the caller
 *
 * Exit status: 0 all kept, 1 a promise or an expectation broken. One thread only.
 */
#ifndef NEAR_BENCH_REPORT_H
#define NEAR_BENCH_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_EXIT_OK 0
#define BENCH_EXIT_BROKEN 1
#define BENCH_EXIT_USAGE 2

typedef struct bench_report bench_report;

bench_report *bench_report_create(const char *command);
void bench_report_free(bench_report *report);

/* Names are static strings. Units too; "" for none. */
void bench_report_real(bench_report *report, const char *name, double value, const char *unit);
void bench_report_count(bench_report *report, const char *name, uint64_t value, const char *unit);
void bench_report_text(bench_report *report, const char *name, const char *value);
/* The median as `name`; with more than one value also the least and most as name_min and name_max. Sorts `values`. */
void bench_report_median(bench_report *report, const char *name, double *values, size_t count, const char *unit);
/* Figures after this go into a new row of the table; NULL: back to the top. */
void bench_report_row(bench_report *report, const char *table);

/* A promise of the library's, or what the run rests on. `text` says in a sentence what was seen. */
void bench_report_promise(bench_report *report, const char *name, bool kept, const char *text, ...)
	__attribute__((format(printf, 4, 5)));

/* "FIELD<=NUMBER", "FIELD>=NUMBER", "FIELD==NUMBER", several with commas. False: not that. */
bool bench_report_expect(bench_report *report, const char *text);

/* Prints all and returns the exit status. */
int bench_report_print(bench_report *report, bool json);

#endif
