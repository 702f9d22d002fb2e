/* Options: from three sources to one checked copy.
 *
 *   options.def --> table --> built-in default --> the program's struct --> the environment --> ranges --> relations
 *
 * Whatever is wrong ends the opening with a sentence that names who set it, what was given and what would be right;
 * nothing is clamped. A program may have been compiled with an older header: its struct is shorter, and what it does not
 * have keeps its default. With a newer header it is longer: what we do not know must be zero, as near_options_init left it.
 *
 * A field of the program's counts as set by the program when it differs from the default. A string that is NULL counts as
 * not set. An environment variable that is set and empty is a value like any other: it empties a string that may be
 * empty (no Redis), and is no number.
 */
#include "base/options.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/base.h"
#include "base/words.h"

typedef enum kind { STRING, COUNT, SIZE, MILLIS, REAL, FLAG, EVICT } kind;

typedef struct option {
	kind kind;
	const char *kind_name, *field, *env, *unit, *sentence;
	size_t offset, end;
	const char *def_text;
	uint64_t def_number;
	double def_real;
	uint64_t least, most; /* of a string: its length */
} option;

#define DEFAULT_STRING(d) .def_text = d
#define DEFAULT_COUNT(d) .def_number = d
#define DEFAULT_SIZE(d) .def_number = d
#define DEFAULT_MILLIS(d) .def_number = d
#define DEFAULT_REAL(d) .def_real = d
#define DEFAULT_FLAG(d) .def_number = d
#define DEFAULT_EVICT(d) .def_number = d

static const option table[] = {
#define NEAR_OPTION(k, f, e, def, lo, hi, u, s) \
	{ .kind = k, .kind_name = #k, .field = #f, .env = e, .unit = u, .sentence = s, .offset = offsetof(near_options, f), \
	  .end = offsetof(near_options, f) + sizeof(((near_options *)0)->f), DEFAULT_##k(def), .least = lo, .most = hi },
#include <nearcache/options.def>
#undef NEAR_OPTION
};
static_assert(sizeof(table) / sizeof(*table) == NEAR__OPT_COUNT, "one line per option");
static_assert(NEAR__OPT_COUNT > 0, "there are options");

/* ------------------------------------------------------------------- fields */

static const char **text_at(near_options *o, const option *p)
{
	return (const char **)((char *)o + p->offset);
}
static uint64_t *number_at(near_options *o, const option *p)
{
	return (uint64_t *)((char *)o + p->offset);
}
static double *real_at(near_options *o, const option *p)
{
	return (double *)((char *)o + p->offset);
}

static void set_default(near_options *o, const option *p)
{
	if (p->kind == STRING)
		*text_at(o, p) = p->def_text;
	else if (p->kind == REAL)
		*real_at(o, p) = p->def_real;
	else
		*number_at(o, p) = p->def_number;
}

static bool is_default(near_options *o, const option *p)
{
	if (p->kind == STRING)
		return strcmp(*text_at(o, p), p->def_text) == 0;
	if (p->kind == REAL)
		return *real_at(o, p) == p->def_real;
	return *number_at(o, p) == p->def_number;
}

void near_options_init_sized(near_options *options, size_t struct_size)
{
	memset(options, 0, struct_size);
	for (unsigned i = 0; i < NEAR__OPT_COUNT; i++)
		if (table[i].end <= struct_size)
			set_default(options, &table[i]);
	if (struct_size >= sizeof(options->struct_size))
		options->struct_size = struct_size;
}

/* --------------------------------------------------------------- what was wrong */

/* Shows at most 100 bytes of a value, without control characters and passwords. */
static void show_value(const option *p, const char *value, char buf[104])
{
	char whole[8192];
	if (p == &table[NEAR__OPT_redis_url])
		near__word_url_shown(value, whole, sizeof(whole));
	else
		(void)snprintf(whole, sizeof(whole), "%s", value);
	(void)snprintf(buf, 104, "%.100s%s", whole, strlen(whole) > 100 ? "..." : "");
	for (char *c = buf; *c != '\0'; c++)
		if ((unsigned char)*c < 32 || (unsigned char)*c == 127)
			*c = '?';
}

static void number_text(const option *p, uint64_t n, char *buf, size_t buf_size)
{
	if (p->kind == EVICT)
		(void)snprintf(buf, buf_size, "%s", near__evict_word(n));
	else if (p->kind == FLAG && n <= 1)
		(void)snprintf(buf, buf_size, "%s", n == 0 ? "no" : "yes");
	else
		(void)snprintf(buf, buf_size, "%" PRIu64, n);
}

/* With a point, whatever the locale says. */
static void real_text(double n, char *buf, size_t buf_size)
{
	(void)snprintf(buf, buf_size, "%.15g", n);
	char *comma = strpbrk(buf, ",");
	if (comma != NULL)
		*comma = '.';
}

/* 16777216 as "16M", when it comes out even. */
static void size_text(uint64_t n, char *buf, size_t buf_size)
{
	static const char units[] = "BKMGT";
	unsigned power = 0;
	while (power < 4 && n != 0 && n % 1024 == 0) {
		n /= 1024;
		power++;
	}
	if (power == 0)
		(void)snprintf(buf, buf_size, "%" PRIu64, n);
	else
		(void)snprintf(buf, buf_size, "%" PRIu64 "%c", n, units[power]);
}

/* What would be right, as the end of a sentence. */
static void wanted_text(const option *p, char *buf, size_t buf_size)
{
	char least[32], most[32];
	switch (p->kind) {
	case STRING:
		(void)snprintf(buf, buf_size, "a text of %" PRIu64 " to %" PRIu64 " bytes", p->least, p->most);
		return;
	case FLAG:
		(void)snprintf(buf, buf_size, "0 or 1, no or yes, off or on, false or true");
		return;
	case EVICT:
		(void)snprintf(buf, buf_size, "objects, balanced or bytes");
		return;
	case SIZE:
		size_text(p->least, least, sizeof(least));
		size_text(p->most, most, sizeof(most));
		(void)snprintf(buf, buf_size, "%s to %s, in bytes or with K, M, G, T (powers of 1024)", least, most);
		return;
	case MILLIS:
		(void)snprintf(buf, buf_size, "%" PRIu64 " to %" PRIu64 ", in milliseconds or with ms, s, m, h, d", p->least,
		               p->most);
		return;
	case COUNT:
	case REAL:
		(void)snprintf(buf, buf_size, "%s number from %" PRIu64 " to %" PRIu64 "%s%s",
		               p->kind == REAL ? "a" : "a whole", p->least, p->most, *p->unit != '\0' ? " " : "", p->unit);
		return;
	}
}

static near_status wrong(const option *p, near__option_source source, const char *value, const char *what,
                         near_error *error)
{
	char shown[104], wanted[160];
	show_value(p, value, shown);
	wanted_text(p, wanted, sizeof(wanted));
	if (error == NULL)
		return NEAR_E_CONFIG;
	if (source == NEAR__BY_ENVIRONMENT)
		(void)snprintf(error->text, sizeof(error->text), "environment variable %s is \"%s\": %s; right is %s", p->env, shown,
		               what, wanted);
	else
		(void)snprintf(error->text, sizeof(error->text), "option %s, set by the program, is \"%s\": %s; right is %s",
		               p->field, shown, what, wanted);
	return NEAR_E_CONFIG;
}

static near_status wrong_struct(near_error *error, const char *what, size_t given)
{
	if (error != NULL)
		(void)snprintf(error->text, sizeof(error->text),
		               "near_options.struct_size is %zu: %s; right is what near_options_init sets", given, what);
	return NEAR_E_CONFIG;
}

/* ----------------------------------------------------------------- three sources */

static near_status take_text(near__settings *s, const option *p, const char *text)
{
	char *copy = strdup(text);
	if (copy == NULL)
		return NEAR_E_NOMEM;
	free((char *)*text_at(&s->o, p));
	*text_at(&s->o, p) = copy;
	return NEAR_OK;
}

static near_status take_defaults(near__settings *s)
{
	memset(s, 0, sizeof(*s));
	s->o.struct_size = sizeof(s->o);
	near_status status = NEAR_OK;
	for (unsigned i = 0; i < NEAR__OPT_COUNT; i++) {
		s->source[i] = NEAR__BY_DEFAULT;
		if (table[i].kind != STRING)
			set_default(&s->o, &table[i]);
		else if (status == NEAR_OK)
			status = take_text(s, &table[i], table[i].def_text);
	}
	return status;
}

/* Copies what is there of a struct that may be shorter or longer than ours; strings still the program's. */
static near_status read_struct(const near_options *program, near_options *copy, near_error *error)
{
	near_options_init_sized(copy, sizeof(*copy));
	size_t given = program->struct_size;
	if (given < offsetof(near_options, ignore_environment) + sizeof(program->ignore_environment))
		return wrong_struct(error, "too small to be one", given);
	for (size_t i = sizeof(*copy); i < given; i++)
		if (((const char *)program)[i] != 0)
			return wrong_struct(error, "an option is set that this version of the library does not know", given);
	copy->on_event = program->on_event;
	copy->on_log = program->on_log;
	copy->hook_ctx = program->hook_ctx;
	copy->ignore_environment = program->ignore_environment;
	for (unsigned i = 0; i < NEAR__OPT_COUNT; i++) {
		const option *p = &table[i];
		if (p->end > given)
			continue;
		memcpy((char *)copy + p->offset, (const char *)program + p->offset, p->end - p->offset);
		if (p->kind == STRING && *text_at(copy, p) == NULL)
			set_default(copy, p);
	}
	return NEAR_OK;
}

static near_status take_program(near__settings *s, const near_options *program, near_error *error)
{
	near_options copy;
	near_status status = read_struct(program, &copy, error);
	if (status != NEAR_OK)
		return status;
	s->o.on_event = copy.on_event;
	s->o.on_log = copy.on_log;
	s->o.hook_ctx = copy.hook_ctx;
	s->o.ignore_environment = copy.ignore_environment;
	for (unsigned i = 0; status == NEAR_OK && i < NEAR__OPT_COUNT; i++) {
		const option *p = &table[i];
		if (is_default(&copy, p))
			continue;
		s->source[i] = NEAR__BY_PROGRAM;
		if (p->kind == STRING)
			status = take_text(s, p, *text_at(&copy, p));
		else
			memcpy((char *)&s->o + p->offset, (char *)&copy + p->offset, p->end - p->offset);
	}
	return status;
}

static bool parse(const option *p, const char *text, near_options *o)
{
	switch (p->kind) {
	case COUNT:
		return near__word_count(text, number_at(o, p));
	case SIZE:
		return near__word_size(text, number_at(o, p));
	case MILLIS:
		return near__word_millis(text, number_at(o, p));
	case REAL:
		return near__word_real(text, real_at(o, p));
	case FLAG:
		return near__word_flag(text, number_at(o, p));
	case EVICT:
		return near__word_evict(text, number_at(o, p));
	case STRING:
		break;
	}
	return false;
}

static const char *not_a(kind k)
{
	static const char *const words[] = { [STRING] = "not a text",      [COUNT] = "not a whole number",
		                             [SIZE] = "not a size",        [MILLIS] = "not a time",
		                             [REAL] = "not a plain number", [FLAG] = "neither yes nor no",
		                             [EVICT] = "not one of the words" };
	return words[k];
}

static near_status take_environment(near__settings *s, near_error *error)
{
	for (unsigned i = 0; i < NEAR__OPT_COUNT; i++) {
		const option *p = &table[i];
		/* Nothing from the environment in a program that runs with more rights than its caller. */
		const char *text = secure_getenv(p->env);
		if (text == NULL)
			continue;
		s->source[i] = NEAR__BY_ENVIRONMENT;
		if (p->kind == STRING) {
			near_status status = take_text(s, p, text);
			if (status != NEAR_OK)
				return status;
		} else if (!parse(p, text, &s->o)) {
			return wrong(p, NEAR__BY_ENVIRONMENT, text, not_a(p->kind), error);
		}
	}
	return NEAR_OK;
}

/* --------------------------------------------------------------- ranges, relations */

static bool is_name(const char *text)
{
	return text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")] == '\0';
}

static near_status check_text(const near__settings *s, unsigned i, near_error *error)
{
	const option *p = &table[i];
	const char *text = *text_at((near_options *)&s->o, p);
	size_t size = strlen(text);
	if (size < p->least)
		return wrong(p, s->source[i], text, size == 0 ? "empty" : "too short", error);
	if (size > p->most)
		return wrong(p, s->source[i], text, "too long", error);
	if (strcmp(p->unit, "name") == 0 && !is_name(text))
		return wrong(p, s->source[i], text, "only letters, digits, '_', '.' and '-' may be in it", error);
	return NEAR_OK;
}

static near_status check_number(const near__settings *s, unsigned i, near_error *error)
{
	const option *p = &table[i];
	near_options *o = (near_options *)&s->o;
	char text[64];
	bool below, above;
	if (p->kind == REAL) {
		double n = *real_at(o, p);
		below = !(n >= (double)p->least); /* so that what is not a number is out of range, too */
		above = n > (double)p->most;
		real_text(n, text, sizeof(text));
	} else {
		uint64_t n = *number_at(o, p);
		below = n < p->least;
		above = n > p->most;
		(void)snprintf(text, sizeof(text), "%" PRIu64, n);
	}
	const char *given = s->source[i] == NEAR__BY_ENVIRONMENT ? secure_getenv(p->env) : NULL;
	if (below || above)
		return wrong(p, s->source[i], given != NULL ? given : text, below ? "too small" : "too large", error);
	return NEAR_OK;
}

static const char *who(const near__settings *s, unsigned i)
{
	static const char *const words[] = { [NEAR__BY_DEFAULT] = "the default",
		                             [NEAR__BY_PROGRAM] = "set by the program",
		                             [NEAR__BY_ENVIRONMENT] = "from the environment" };
	return words[s->source[i]];
}

/* Option a may not be above option b, where somebody has chosen it; a default that nobody chose comes down to b. */
static near_status check_at_most(near__settings *s, unsigned a, unsigned b, near_error *error)
{
	near_options *o = &s->o;
	uint64_t value_a = *number_at(o, &table[a]), value_b = *number_at(o, &table[b]);
	if (value_a <= value_b)
		return NEAR_OK;
	if (s->source[a] == NEAR__BY_DEFAULT) {
		*number_at(o, &table[a]) = value_b;
		return NEAR_OK;
	}
	if (error != NULL)
		(void)snprintf(error->text, sizeof(error->text),
		               "%s (%s) is %" PRIu64 " %s, %s: above %s (%s), which is %" PRIu64 " %s, %s; right is at most that much",
		               table[a].field, table[a].env, value_a, table[a].unit, who(s, a), table[b].field, table[b].env,
		               value_b, table[b].unit, who(s, b));
	return NEAR_E_CONFIG;
}

static near_status check(near__settings *s, near_error *error)
{
	near_status status = NEAR_OK;
	for (unsigned i = 0; status == NEAR_OK && i < NEAR__OPT_COUNT; i++)
		status = table[i].kind == STRING ? check_text(s, i, error) : check_number(s, i, error);
	if (status == NEAR_OK)
		status = check_at_most(s, NEAR__OPT_ttl_ms, NEAR__OPT_ttl_max_ms, error);
	if (status == NEAR_OK)
		status = check_at_most(s, NEAR__OPT_negative_ttl_ms, NEAR__OPT_ttl_max_ms, error);
	return status;
}

near_status near__settings_make(const near_options *program, near__settings *settings, near_error *error)
{
	near__settings s;
	near_status status = take_defaults(&s);
	if (status == NEAR_OK && program != NULL)
		status = take_program(&s, program, error);
	if (status == NEAR_OK && s.o.ignore_environment > 1)
		status = wrong_struct(error, "ignore_environment is neither 0 nor 1", s.o.struct_size);
	if (status == NEAR_OK && s.o.ignore_environment == 0)
		status = take_environment(&s, error);
	if (status == NEAR_OK)
		status = check(&s, error);
	if (status != NEAR_OK) {
		near__settings_free(&s);
		return status;
	}
	*settings = s;
	return NEAR_OK;
}

void near__settings_free(near__settings *settings)
{
	for (unsigned i = 0; i < NEAR__OPT_COUNT; i++) {
		if (table[i].kind != STRING)
			continue;
		free((char *)*text_at(&settings->o, &table[i]));
		*text_at(&settings->o, &table[i]) = NULL;
	}
}

/* ------------------------------------------------------------------ for people */

void near__settings_view(const near__settings *settings, unsigned index, near__option_view *view)
{
	NEAR_ASSERT(index < NEAR__OPT_COUNT);
	const option *p = &table[index];
	near_options *o = (near_options *)&settings->o;
	*view = (near__option_view){ .field = p->field, .env = p->env, .unit = p->unit, .sentence = p->sentence,
		                     .kind = p->kind_name, .source = settings->source[index] };
	if (p->kind == STRING) {
		near__word_url_shown(*text_at(o, p), view->value, sizeof(view->value));
		(void)snprintf(view->fallback, sizeof(view->fallback), "%s", p->def_text);
		(void)snprintf(view->range, sizeof(view->range), "%" PRIu64 "..%" PRIu64 " bytes", p->least, p->most);
	} else if (p->kind == REAL) {
		real_text(*real_at(o, p), view->value, sizeof(view->value));
		real_text(p->def_real, view->fallback, sizeof(view->fallback));
	} else {
		number_text(p, *number_at(o, p), view->value, sizeof(view->value));
		number_text(p, p->def_number, view->fallback, sizeof(view->fallback));
	}
	if (p->kind == FLAG)
		(void)snprintf(view->range, sizeof(view->range), "no, yes");
	else if (p->kind == EVICT)
		(void)snprintf(view->range, sizeof(view->range), "objects, balanced, bytes");
	else if (p->kind != STRING)
		(void)snprintf(view->range, sizeof(view->range), "%" PRIu64 "..%" PRIu64, p->least, p->most);
}
