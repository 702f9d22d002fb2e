/* Command-line arguments of nearbench: one table per command gives each option its name, kind, range, place and sentence;
 * the parser, the checks and --help are made from it.
 *
 *   --name VALUE   --name=VALUE   --flag
 *
 * Strict: an unknown or repeated option, a missing or malformed value, a number outside its range and a stray word are
 * errors that name the option, the text and what would be right. Nothing is clamped and nothing is guessed.
 *
 *   COUNT   uint64_t     12, 5_000_000, 20k, 5M (powers of 1000)
 *   SIZE    uint64_t     100, 64K, 64M, 2G, 64MiB (powers of 1024)
 *   REAL    double       0.99
 *   TEXT    const char *
 *   CHOICE  unsigned     one word of `choices`, its place in the list
 *   FLAG    bool         no value
 */
#ifndef NEAR_BENCH_ARGS_H
#define NEAR_BENCH_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum bench_arg_kind {
	BENCH_ARG_COUNT,
	BENCH_ARG_SIZE,
	BENCH_ARG_REAL,
	BENCH_ARG_TEXT,
	BENCH_ARG_CHOICE,
	BENCH_ARG_FLAG
} bench_arg_kind;

typedef struct bench_arg {
	const char *name; /* without the dashes; NULL ends a table */
	bench_arg_kind kind;
	void *to;            /* holds the default before the parse */
	double least, most;  /* of COUNT, SIZE, REAL */
	const char *choices; /* of CHOICE: "near|bare" */
	const char *word;    /* what --help calls the value */
	const char *help;
	bool given; /* set by the parser */
} bench_arg;

typedef struct bench_args_error {
	char text[512];
} bench_args_error;

/* argv[0] is the first word after the command's name. False: error->text says what is wrong and what would be right. */
bool bench_args_parse(bench_arg *table, int argc, char *const *argv, bench_args_error *error);
/* Was the option given on the command line? */
bool bench_args_given(const bench_arg *table, const char *name);
/* The lines of --help for a table, with the defaults as they stand. */
void bench_args_help(const bench_arg *table);

/* The pieces, for texts inside values. Nothing is written on false. */
bool bench_parse_count(const char *text, uint64_t *value);
bool bench_parse_size(const char *text, uint64_t *value);
bool bench_parse_real(const char *text, double *value);

#endif
