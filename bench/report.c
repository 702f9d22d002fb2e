/* See report.h. Everything is kept as text pieces in arrays that only grow; a report has some dozens of figures. */
#include "report.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "args.h"

typedef enum figure_kind { FIGURE_REAL, FIGURE_COUNT, FIGURE_TEXT } figure_kind;

typedef struct figure {
	const char *table; /* NULL: the top */
	unsigned row;
	char name[64];
	figure_kind kind;
	double real;
	uint64_t count;
	char *text;
	const char *unit;
} figure;

typedef struct promise {
	char name[64];
	bool kept;
	char text[256];
} promise;

typedef struct expectation {
	char field[64];
	char op; /* '<', '>', '=' */
	double value;
} expectation;

#define PROMISES_MAX 64
#define EXPECTATIONS_MAX 32

struct bench_report {
	const char *command;
	figure *figures;
	size_t figure_count, figure_room;
	const char *table;
	unsigned row;
	promise promises[PROMISES_MAX];
	size_t promise_count;
	expectation expectations[EXPECTATIONS_MAX];
	size_t expectation_count;
};

static void out_of_memory(void)
{
	(void)fputs("nearbench: out of memory\n", stderr);
	abort();
}

bench_report *bench_report_create(const char *command)
{
	bench_report *report = calloc(1, sizeof(*report));
	if (report == NULL)
		out_of_memory();
	report->command = command;
	return report;
}

void bench_report_free(bench_report *report)
{
	if (report == NULL)
		return;
	for (size_t i = 0; i < report->figure_count; i++)
		free(report->figures[i].text);
	free(report->figures);
	free(report);
}

static figure *figure_add(bench_report *report, const char *name, const char *suffix, figure_kind kind,
                          const char *unit)
{
	if (report->figure_count == report->figure_room) {
		report->figure_room = report->figure_room * 2 + 32;
		report->figures = realloc(report->figures, report->figure_room * sizeof(figure));
		if (report->figures == NULL)
			out_of_memory();
	}
	figure *f = &report->figures[report->figure_count++];
	*f = (figure){.table = report->table, .row = report->row, .kind = kind, .unit = unit};
	(void)snprintf(f->name, sizeof(f->name), "%s%s", name, suffix);
	return f;
}

void bench_report_real(bench_report *report, const char *name, double value, const char *unit)
{
	figure_add(report, name, "", FIGURE_REAL, unit)->real = value;
}

void bench_report_count(bench_report *report, const char *name, uint64_t value, const char *unit)
{
	figure_add(report, name, "", FIGURE_COUNT, unit)->count = value;
}

void bench_report_text(bench_report *report, const char *name, const char *value)
{
	char *copy = strdup(value);
	if (copy == NULL)
		out_of_memory();
	figure_add(report, name, "", FIGURE_TEXT, "")->text = copy;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

void bench_report_median(bench_report *report, const char *name, double *values, size_t count, const char *unit)
{
	if (count == 0)
		return;
	qsort(values, count, sizeof(*values), by_value);
	double median = count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
	figure_add(report, name, "", FIGURE_REAL, unit)->real = median;
	if (count > 1) {
		figure_add(report, name, "_min", FIGURE_REAL, unit)->real = values[0];
		figure_add(report, name, "_max", FIGURE_REAL, unit)->real = values[count - 1];
	}
}

void bench_report_row(bench_report *report, const char *table)
{
	report->table = table;
	report->row++;
}

void bench_report_promise(bench_report *report, const char *name, bool kept, const char *text, ...)
{
	if (report->promise_count == PROMISES_MAX)
		out_of_memory();
	promise *p = &report->promises[report->promise_count++];
	(void)snprintf(p->name, sizeof(p->name), "%s", name);
	p->kept = kept;
	va_list list;
	va_start(list, text);
	(void)vsnprintf(p->text, sizeof(p->text), text, list);
	va_end(list);
}

static bool expect_one(bench_report *report, const char *text, size_t size)
{
	char copy[160];
	if (size == 0 || size >= sizeof(copy) || report->expectation_count == EXPECTATIONS_MAX)
		return false;
	memcpy(copy, text, size);
	copy[size] = '\0';
	size_t name = strcspn(copy, "<>=");
	expectation e = {.op = copy[name]};
	if (name == 0 || name >= sizeof(e.field) || copy[name] == '\0' || copy[name + 1] != '=')
		return false;
	if (!bench_parse_real(copy + name + 2, &e.value))
		return false;
	memcpy(e.field, copy, name);
	report->expectations[report->expectation_count++] = e;
	return true;
}

bool bench_report_expect(bench_report *report, const char *text)
{
	for (;;) {
		size_t size = strcspn(text, ",");
		if (!expect_one(report, text, size))
			return false;
		if (text[size] == '\0')
			return true;
		text += size + 1;
	}
}

static const figure *figure_find(const bench_report *report, const char *name)
{
	for (size_t i = 0; i < report->figure_count; i++) {
		const figure *f = &report->figures[i];
		if (f->table == NULL && f->kind != FIGURE_TEXT && strcmp(f->name, name) == 0)
			return f;
	}
	return NULL;
}

/* Turns expectations into promises. Returns false when one names a figure that is not there. */
static bool judge(bench_report *report)
{
	bool known = true;
	for (size_t i = 0; i < report->expectation_count; i++) {
		const expectation *e = &report->expectations[i];
		const figure *f = figure_find(report, e->field);
		if (f == NULL) {
			(void)fprintf(stderr, "nearbench: --expect: this command has no figure '%s'\n", e->field);
			known = false;
			continue;
		}
		double v = f->kind == FIGURE_COUNT ? (double)f->count : f->real;
		bool kept = e->op == '<' ? v <= e->value : e->op == '>' ? v >= e->value : v == e->value;
		bench_report_promise(report, e->field, kept, "%.10g, expected %c= %.10g", v, e->op, e->value);
	}
	return known;
}

static void print_json_string(const char *text)
{
	putchar('"');
	for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
		if (*p == '"' || *p == '\\')
			(void)printf("\\%c", *p);
		else if (*p < 0x20)
			(void)printf("\\u%04x", *p);
		else
			putchar(*p);
	}
	putchar('"');
}

static void print_json_figure(const figure *f)
{
	print_json_string(f->name);
	(void)fputs(": ", stdout);
	if (f->kind == FIGURE_TEXT)
		print_json_string(f->text);
	else if (f->kind == FIGURE_COUNT)
		(void)printf("%" PRIu64, f->count);
	else if (isfinite(f->real))
		(void)printf("%.9g", f->real);
	else
		(void)fputs("null", stdout);
}

/* Prints the rows of the table that starts at figure `from`, all of them wherever they stand. */
static void print_json_table(const bench_report *report, size_t from)
{
	const char *table = report->figures[from].table;
	unsigned row = 0;
	(void)fputs(",\n  ", stdout);
	print_json_string(table);
	(void)fputs(": [", stdout);
	for (size_t i = from; i < report->figure_count; i++) {
		const figure *f = &report->figures[i];
		if (f->table == NULL || strcmp(f->table, table) != 0)
			continue;
		(void)fputs(row == 0 ? "\n    {" : f->row != row ? "},\n    {" : ", ", stdout);
		row = f->row;
		print_json_figure(f);
	}
	(void)fputs("}\n  ]", stdout);
}

static bool table_seen_before(const bench_report *report, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (report->figures[i].table != NULL && strcmp(report->figures[i].table, report->figures[at].table) == 0)
			return true;
	return false;
}

static void print_json(const bench_report *report)
{
	(void)fputs("{\n  \"command\": ", stdout);
	print_json_string(report->command);
	for (size_t i = 0; i < report->figure_count; i++) {
		if (report->figures[i].table == NULL) {
			(void)fputs(",\n  ", stdout);
			print_json_figure(&report->figures[i]);
		}
	}
	for (size_t i = 0; i < report->figure_count; i++)
		if (report->figures[i].table != NULL && !table_seen_before(report, i))
			print_json_table(report, i);
	(void)fputs(",\n  \"promises\": [", stdout);
	for (size_t i = 0; i < report->promise_count; i++) {
		const promise *p = &report->promises[i];
		(void)fputs(i == 0 ? "\n    {\"name\": " : ",\n    {\"name\": ", stdout);
		print_json_string(p->name);
		(void)printf(", \"kept\": %s, \"seen\": ", p->kept ? "true" : "false");
		print_json_string(p->text);
		putchar('}');
	}
	(void)fputs(report->promise_count > 0 ? "\n  ]\n}\n" : "]\n}\n", stdout);
}

static void show_figure(const figure *f, char *out, size_t size)
{
	if (f->kind == FIGURE_TEXT)
		(void)snprintf(out, size, "%s", f->text);
	else if (f->kind == FIGURE_COUNT)
		(void)snprintf(out, size, "%" PRIu64, f->count);
	else if (!isfinite(f->real))
		(void)snprintf(out, size, "none");
	else if (fabs(f->real) >= 10000)
		(void)snprintf(out, size, "%.0f", f->real);
	else
		(void)snprintf(out, size, "%.*f", fabs(f->real) >= 100 ? 1 : fabs(f->real) >= 10 ? 2 : 4, f->real);
}

static void print_text_table(const bench_report *report, size_t from)
{
	const char *table = report->figures[from].table;
	unsigned first = report->figures[from].row, row = first;
	char value[128];
	(void)printf("\n  %s\n   ", table);
	for (size_t i = from; i < report->figure_count && report->figures[i].row == first; i++)
		(void)printf(" %-22s", report->figures[i].name);
	for (size_t i = from; i < report->figure_count; i++) {
		const figure *f = &report->figures[i];
		if (f->table == NULL || strcmp(f->table, table) != 0)
			continue;
		if (f->row != row || i == from)
			(void)fputs("\n   ", stdout);
		row = f->row;
		show_figure(f, value, sizeof(value));
		(void)printf(" %-22s", value);
	}
	putchar('\n');
}

static void print_text(const bench_report *report)
{
	bool color = isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL;
	(void)printf("nearbench %s\n", report->command);
	for (size_t i = 0; i < report->figure_count; i++) {
		const figure *f = &report->figures[i];
		char value[1024];
		if (f->table != NULL)
			continue;
		show_figure(f, value, sizeof(value));
		if (f->kind == FIGURE_TEXT)
			(void)printf("  %-34s %s\n", f->name, value);
		else
			(void)printf("  %-34s %14s %s\n", f->name, value, f->unit);
	}
	for (size_t i = 0; i < report->figure_count; i++)
		if (report->figures[i].table != NULL && !table_seen_before(report, i))
			print_text_table(report, i);
	for (size_t i = 0; i < report->promise_count; i++) {
		const promise *p = &report->promises[i];
		(void)printf("%s  %s%s%s %s: %s\n", i == 0 ? "\n" : "",
		             !color    ? ""
		             : p->kept ? "\033[32m"
		                       : "\033[31m",
		             p->kept ? "kept  " : "BROKEN", color ? "\033[0m" : "", p->name, p->text);
	}
}

int bench_report_print(bench_report *report, bool json)
{
	bool known = judge(report);
	if (json)
		print_json(report);
	else
		print_text(report);
	(void)fflush(stdout);
	if (!known)
		return BENCH_EXIT_USAGE;
	for (size_t i = 0; i < report->promise_count; i++)
		if (!report->promises[i].kept)
			return BENCH_EXIT_BROKEN;
	return BENCH_EXIT_OK;
}
