/* A subcommand of nearbench: what it is called, what it teaches, what it runs. */
#ifndef NEAR_BENCH_COMMAND_H
#define NEAR_BENCH_COMMAND_H

#include "args.h"
#include "report.h"

typedef struct bench_command {
	const char *name;
	const char *summary; /* one line of the overview */
	const char *about;   /* --help: what is measured, and how */
	const char *examples;
	/* argv[0] is the first word after the name. Returns the exit status. */
	int (*run)(const struct bench_command *command, int argc, char *const *argv);
} bench_command;

extern const bench_command bench_command_l1, bench_command_replay, bench_command_coherence, bench_command_l2,
	bench_command_stampede, bench_command_bound;

/* The options every command has. */
typedef struct bench_common {
	bool json;
	const char *expect;
} bench_common;
#define BENCH_COMMON_ARGS(common) \
	{"expect", BENCH_ARG_TEXT, &(common).expect, 0, 0, NULL, "FIGURE<=N,...", \
	 "exit 1 unless these figures are as said (<=, >=, ==)", false}, \
	{"json", BENCH_ARG_FLAG, &(common).json, 0, 0, NULL, NULL, "one JSON object on standard output", false}, \
	{ .name = NULL }

/* --help or the parse of all options. True: go on. False: *status is the exit status. */
bool bench_command_begin(const bench_command *command, bench_arg *table, int argc, char *const *argv, int *status);
/* A report that already knows the --expect. NULL: it is malformed, the user has been told, exit with 2. */
bench_report *bench_command_report(const bench_command *command, const bench_common *common);
/* Tells what is wrong with the arguments; returns BENCH_EXIT_USAGE. */
int bench_usage(const bench_command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
