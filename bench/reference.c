/* See reference.h. */
#include "reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "args.h"

#define NEAR_ENOUGH 0.02

/* The next field of a line into `out`; NULL when it does not fit or the line is over. */
static const char *take_field(const char *line, char *out, size_t room)
{
	if (line == NULL)
		return NULL;
	size_t size = strcspn(line, ",");
	if (size == 0 || size >= room)
		return NULL;
	memcpy(out, line, size);
	out[size] = '\0';
	return line + size + (line[size] == ',');
}

bool bench_reference_parse(const char *line, bench_reference_row *row)
{
	char text[4][32];
	bench_reference_row r;
	line = take_field(line, r.trace, sizeof(r.trace));
	line = take_field(line, r.algo, sizeof(r.algo));
	for (unsigned i = 0; i < 4; i++)
		line = take_field(line, text[i], sizeof(text[i]));
	if (line == NULL || *line != '\0' || line[-1] == ',')
		return false;
	if (!bench_parse_real(text[0], &r.fraction) || !bench_parse_count(text[1], &r.cache_bytes) ||
	    !bench_parse_real(text[2], &r.object_miss) || !bench_parse_real(text[3], &r.byte_miss))
		return false;
	*row = r;
	return true;
}

static int by_object_miss(const void *a, const void *b)
{
	double x = ((const bench_reference_row *)a)->object_miss, y = ((const bench_reference_row *)b)->object_miss;
	return (x > y) - (x < y);
}

static bool keep_row(bench_reference_row **rows, size_t *count, const bench_reference_row *row)
{
	bench_reference_row *grown = realloc(*rows, (*count + 1) * sizeof(*grown));
	if (grown == NULL)
		return false;
	grown[(*count)++] = *row;
	*rows = grown;
	return true;
}

bool bench_reference_read(FILE *file, const char *trace, uint64_t bytes, bench_reference_row **rows, size_t *count,
                          size_t *bad_line)
{
	char line[256];
	*rows = NULL;
	*count = 0;
	*bad_line = 0;
	for (size_t number = 1; fgets(line, sizeof(line), file) != NULL; number++) {
		bench_reference_row row;
		line[strcspn(line, "\r\n")] = '\0';
		if (number == 1 && strncmp(line, "trace,algo,", 11) == 0)
			continue;
		if (!bench_reference_parse(line, &row)) {
			*bad_line = number;
			free(*rows);
			*rows = NULL;
			*count = 0;
			return false;
		}
		double off = fabs((double)row.cache_bytes - (double)bytes);
		if (strcmp(row.trace, trace) == 0 && off <= NEAR_ENOUGH * (double)bytes && !keep_row(rows, count, &row))
			break;
	}
	if (*count > 1)
		qsort(*rows, *count, sizeof(**rows), by_object_miss);
	return true;
}
