/* nearbench: the harness of nearcache.
 *
 *   main -> command (l1, replay, coherence, l2, stampede, bound) -> its options (args) -> its run -> report
 *
 * Each command drives the library as a program would, through its public functions, beside something simpler doing the
 * same work in the same run; two need a room of the library itself (replay: L1 with the trace's clock; coherence: the
 * moment at which a process has applied a message) and say so. Figures go to standard output, progress and complaints to
 * standard error.
 *
 * Exit status  0 done and every promise kept   1 a promise or an --expect broken, or the run failed   2 wrong arguments
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <nearcache/nearcache.h>
#include "command.h"
#include "progress.h"

static const bench_command *const commands[] = {
	&bench_command_l1, &bench_command_replay,   &bench_command_coherence,
	&bench_command_l2, &bench_command_stampede, &bench_command_bound,
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

int bench_usage(const bench_command *command, const char *format, ...)
{
	va_list list;
	bench_progress_end();
	(void)fprintf(stderr, "nearbench %s: ", command->name);
	va_start(list, format);
	(void)vfprintf(stderr, format, list);
	va_end(list);
	(void)fprintf(stderr, "\n  nearbench %s --help tells more\n", command->name);
	return BENCH_EXIT_USAGE;
}

bool bench_command_begin(const bench_command *command, bench_arg *table, int argc, char *const *argv, int *status)
{
	bench_args_error error;
	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--help") != 0 && strcmp(argv[i], "-h") != 0)
			continue;
		(void)printf("nearbench %s: %s\n\n%s\nOptions\n", command->name, command->summary, command->about);
		bench_args_help(table);
		(void)printf("\nExamples\n%s", command->examples);
		*status = BENCH_EXIT_OK;
		return false;
	}
	if (bench_args_parse(table, argc, argv, &error))
		return true;
	*status = bench_usage(command, "%s", error.text);
	return false;
}

bench_report *bench_command_report(const bench_command *command, const bench_common *common)
{
	bench_report *report = bench_report_create(command->name);
	if (common->expect == NULL || bench_report_expect(report, common->expect))
		return report;
	(void)bench_usage(command, "--expect: '%s' is not like 'p99_ns<=2000,hit_ratio>=0.9'", common->expect);
	bench_report_free(report);
	return NULL;
}

static void print_overview(FILE *out)
{
	(void)fprintf(out, "nearbench %s: measures nearcache\n\nusage: nearbench COMMAND [--OPTION VALUE]...\n\n", near_version());
	for (size_t i = 0; i < COMMANDS; i++)
		(void)fprintf(out, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
	(void)fputs("\nEach command has --help, --json (one JSON object on standard output) and --expect 'FIGURE<=N,...'.\n"
	            "Exit status: 0 every promise kept, 1 one broken or the run failed, 2 wrong arguments.\n"
	            "NO_COLOR turns colour off; without a terminal there is none.\n",
	            out);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		print_overview(stderr);
		return BENCH_EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
		print_overview(stdout);
		return BENCH_EXIT_OK;
	}
	if (strcmp(argv[1], "--version") == 0) {
		(void)printf("nearbench %s\n", near_version());
		return BENCH_EXIT_OK;
	}
	for (size_t i = 0; i < COMMANDS; i++)
		if (strcmp(argv[1], commands[i]->name) == 0)
			return commands[i]->run(commands[i], argc - 2, argv + 2);
	(void)fprintf(stderr, "nearbench: there is no command '%s'\n", argv[1]);
	print_overview(stderr);
	return BENCH_EXIT_USAGE;
}
