/* See args.h. The number readers accept the whole text or nothing: they walk digits themselves, because strtoull takes
 * signs, blanks and overflow without a word. Costs: none that matter; runs once. */
#include "args.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Digits with single underscores between them. Returns the first byte after them, NULL without digits or on overflow. */
static const char *read_digits(const char *text, uint64_t *value)
{
	uint64_t v = 0;
	const char *p = text;
	if (!isdigit((unsigned char)*p))
		return NULL;
	for (; isdigit((unsigned char)*p) || (*p == '_' && isdigit((unsigned char)p[1])); p++) {
		if (*p == '_')
			continue;
		uint64_t digit = (uint64_t)(*p - '0');
		if (v > (UINT64_MAX - digit) / 10)
			return NULL;
		v = v * 10 + digit;
	}
	*value = v;
	return p;
}

static bool scale(uint64_t *value, unsigned power, uint64_t base)
{
	while (power-- > 0) {
		if (*value > UINT64_MAX / base)
			return false;
		*value *= base;
	}
	return true;
}

/* The power that a suffix letter stands for; 0 for none. */
static unsigned suffix_power(char letter)
{
	const char *at = letter == '\0' ? NULL : strchr("kmgt", tolower((unsigned char)letter));
	return at == NULL ? 0 : (unsigned)(at - "kmgt") + 1;
}

bool bench_parse_count(const char *text, uint64_t *value)
{
	uint64_t v;
	const char *p = read_digits(text, &v);
	if (p == NULL)
		return false;
	unsigned power = suffix_power(*p);
	if (power > 0)
		p++;
	if (*p != '\0' || !scale(&v, power, 1000))
		return false;
	*value = v;
	return true;
}

bool bench_parse_size(const char *text, uint64_t *value)
{
	uint64_t v;
	const char *p = read_digits(text, &v);
	if (p == NULL)
		return false;
	unsigned power = suffix_power(*p);
	if (power > 0) {
		p++;
		if (strcasecmp(p, "iB") == 0)
			p += 2;
	}
	if (*p != '\0' || !scale(&v, power, 1024))
		return false;
	*value = v;
	return true;
}

bool bench_parse_real(const char *text, double *value)
{
	char *end;
	if (!isdigit((unsigned char)text[0]) && text[0] != '-' && text[0] != '.')
		return false;
	if (strpbrk(text, "xXnN") != NULL) /* no hexadecimal, nan or inf */
		return false;
	double v = strtod(text, &end);
	if (end == text || *end != '\0' || !isfinite(v))
		return false;
	*value = v;
	return true;
}

static bool parse_choice(const char *choices, const char *text, unsigned *value)
{
	size_t size = strlen(text);
	unsigned place = 0;
	for (const char *p = choices; size > 0; place++) {
		size_t word = strcspn(p, "|");
		if (word == size && memcmp(p, text, size) == 0) {
			*value = place;
			return true;
		}
		if (p[word] == '\0')
			break;
		p += word + 1;
	}
	return false;
}

static bool in_range(const bench_arg *arg, double value)
{
	return value >= arg->least && value <= arg->most;
}

static void show_number(const bench_arg *arg, double value, char *out, size_t size)
{
	static const char *const units[] = {"", "K", "M", "G", "T"};
	unsigned unit = 0;
	while (arg->kind == BENCH_ARG_SIZE && unit < 4 && value >= 1024 && fmod(value, 1024) == 0) {
		value /= 1024;
		unit++;
	}
	(void)snprintf(out, size, "%.15g%s", value, units[unit]);
}

static bool fail_value(const bench_arg *arg, const char *text, bench_args_error *error)
{
	char least[32], most[32];
	show_number(arg, arg->least, least, sizeof(least));
	show_number(arg, arg->most, most, sizeof(most));
	if (arg->kind == BENCH_ARG_CHOICE)
		(void)snprintf(error->text, sizeof(error->text), "--%s: '%s' is not one of %s", arg->name, text, arg->choices);
	else
		(void)snprintf(error->text, sizeof(error->text), "--%s: '%s' is not %s from %s to %s", arg->name, text,
		               arg->kind == BENCH_ARG_COUNT  ? "a whole number (k, M, G for thousands)"
		               : arg->kind == BENCH_ARG_SIZE ? "a size in bytes (K, M, G for powers of 1024)"
		                                             : "a number",
		               least, most);
	return false;
}

static bool take_value(bench_arg *arg, const char *text, bench_args_error *error)
{
	uint64_t count;
	double real;
	switch (arg->kind) {
	case BENCH_ARG_COUNT:
	case BENCH_ARG_SIZE:
		if (!(arg->kind == BENCH_ARG_COUNT ? bench_parse_count : bench_parse_size)(text, &count) ||
		    !in_range(arg, (double)count))
			return fail_value(arg, text, error);
		*(uint64_t *)arg->to = count;
		return true;
	case BENCH_ARG_REAL:
		if (!bench_parse_real(text, &real) || !in_range(arg, real))
			return fail_value(arg, text, error);
		*(double *)arg->to = real;
		return true;
	case BENCH_ARG_CHOICE:
		return parse_choice(arg->choices, text, arg->to) || fail_value(arg, text, error);
	case BENCH_ARG_TEXT:
		if (*text == '\0') {
			(void)snprintf(error->text, sizeof(error->text), "--%s: the value is empty", arg->name);
			return false;
		}
		*(const char **)arg->to = text;
		return true;
	case BENCH_ARG_FLAG:
		break;
	}
	return false;
}

static bench_arg *find(bench_arg *table, const char *name, size_t size)
{
	for (bench_arg *a = table; a->name != NULL; a++)
		if (strlen(a->name) == size && memcmp(a->name, name, size) == 0)
			return a;
	return NULL;
}

/* How many of the smaller word's letters stand in the same place from the front or the back: enough to guess a typo. */
static size_t likeness(const char *a, const char *b, size_t b_size)
{
	size_t a_size = strlen(a), front = 0, back = 0;
	while (front < a_size && front < b_size && a[front] == b[front])
		front++;
	while (back + front < a_size && back + front < b_size && a[a_size - 1 - back] == b[b_size - 1 - back])
		back++;
	return front + back;
}

static bool fail_unknown(const bench_arg *table, const char *word, size_t size, bench_args_error *error)
{
	const bench_arg *best = NULL;
	size_t most = 2;
	for (const bench_arg *a = table; a->name != NULL; a++) {
		size_t like = likeness(a->name, word, size);
		if (like > most && like + 2 >= strlen(a->name)) {
			most = like;
			best = a;
		}
	}
	(void)snprintf(error->text, sizeof(error->text), "there is no option --%.*s%s%s%s", (int)size, word,
	               best != NULL ? "; did you mean --" : "", best != NULL ? best->name : "", best != NULL ? "?" : "");
	return false;
}

static bool parse_one(bench_arg *table, int argc, char *const *argv, int *at, bench_args_error *error)
{
	const char *word = argv[*at];
	if (strncmp(word, "--", 2) != 0 || word[2] == '\0') {
		(void)snprintf(error->text, sizeof(error->text), "'%s' is not an option; options start with --", word);
		return false;
	}
	size_t size = strcspn(word + 2, "=");
	const char *value = word[2 + size] == '=' ? word + 2 + size + 1 : NULL;
	bench_arg *arg = find(table, word + 2, size);
	if (arg == NULL)
		return fail_unknown(table, word + 2, size, error);
	if (arg->given) {
		(void)snprintf(error->text, sizeof(error->text), "--%s is given twice", arg->name);
		return false;
	}
	arg->given = true;
	if (arg->kind == BENCH_ARG_FLAG) {
		if (value != NULL) {
			(void)snprintf(error->text, sizeof(error->text), "--%s takes no value", arg->name);
			return false;
		}
		*(bool *)arg->to = true;
		return true;
	}
	if (value == NULL) {
		if (*at + 1 >= argc) {
			(void)snprintf(error->text, sizeof(error->text), "--%s needs a value: %s", arg->name, arg->word);
			return false;
		}
		value = argv[++*at];
	}
	return take_value(arg, value, error);
}

bool bench_args_parse(bench_arg *table, int argc, char *const *argv, bench_args_error *error)
{
	for (int at = 0; at < argc; at++)
		if (!parse_one(table, argc, argv, &at, error))
			return false;
	return true;
}

bool bench_args_given(const bench_arg *table, const char *name)
{
	for (const bench_arg *a = table; a->name != NULL; a++)
		if (strcmp(a->name, name) == 0)
			return a->given;
	return false;
}

static void show_default(const bench_arg *arg, char *out, size_t size)
{
	out[0] = '\0';
	switch (arg->kind) {
	case BENCH_ARG_COUNT:
	case BENCH_ARG_SIZE:
		show_number(arg, (double)*(const uint64_t *)arg->to, out, size);
		break;
	case BENCH_ARG_REAL:
		show_number(arg, *(const double *)arg->to, out, size);
		break;
	case BENCH_ARG_TEXT:
		if (*(const char *const *)arg->to != NULL)
			(void)snprintf(out, size, "%s", *(const char *const *)arg->to);
		break;
	case BENCH_ARG_CHOICE: {
		const char *p = arg->choices;
		for (unsigned i = *(const unsigned *)arg->to; i > 0; i--)
			p += strcspn(p, "|") + 1;
		(void)snprintf(out, size, "%.*s", (int)strcspn(p, "|"), p);
		break;
	}
	case BENCH_ARG_FLAG:
		break;
	}
}

void bench_args_help(const bench_arg *table)
{
	for (const bench_arg *a = table; a->name != NULL; a++) {
		char left[96], fallback[96];
		(void)snprintf(left, sizeof(left), "--%s%s%s", a->name, a->kind == BENCH_ARG_FLAG ? "" : " ",
		               a->kind == BENCH_ARG_CHOICE ? a->choices
		               : a->kind == BENCH_ARG_FLAG ? ""
		                                           : a->word);
		show_default(a, fallback, sizeof(fallback));
		(void)printf("  %-32s %s%s%s%s\n", left, a->help, fallback[0] != '\0' ? " [" : "", fallback,
		             fallback[0] != '\0' ? "]" : "");
	}
}
