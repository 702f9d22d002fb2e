/* The table of reference miss ratios that lies beside traces: trace,algo,cache_frac,cache_bytes,objmiss,bytemiss. Read
 * line by line; a line that is not such a row is an error that names it. */
#ifndef NEAR_BENCH_REFERENCE_H
#define NEAR_BENCH_REFERENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct bench_reference_row {
	char trace[48], algo[48];
	double fraction;
	uint64_t cache_bytes;
	double object_miss, byte_miss;
} bench_reference_row;

/* One line without its end. False: malformed. */
bool bench_reference_parse(const char *line, bench_reference_row *row);

/* All rows of `trace` whose cache_bytes lies within 2 % of `bytes`; *rows is the caller's to free. `bad_line` is 0 or the
 * first malformed line (false then). */
bool bench_reference_read(FILE *file, const char *trace, uint64_t bytes, bench_reference_row **rows, size_t *count,
                          size_t *bad_line);

#endif
