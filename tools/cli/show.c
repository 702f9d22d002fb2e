/* Tables for people: the options, the figures. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli.h"
#include "json.h"

enum { NAME, VARIABLE, VALUE_NOW, SOURCE, FALLBACK, RANGE, UNIT, MEANING, FIELDS };
static const char *const field_names[FIELDS] = { "name", "variable", "value", "source", "default", "range", "unit",
	                                         "meaning" };

typedef struct row {
	text field[FIELDS];
} row;

static void row_read(const char **at, row *r)
{
	text name = { 0 }, value = { 0 };
	while (json_next_string(at, &name, &value)) {
		for (int i = 0; i < FIELDS; i++) {
			if (strcmp(name.bytes, field_names[i]) != 0)
				continue;
			text_clear(&r->field[i]);
			text_put(&r->field[i], value.bytes);
		}
	}
	text_free(&name);
	text_free(&value);
}

static const char *cell(const row *r, int field)
{
	return r->field[field].bytes != NULL && r->field[field].size > 0 ? r->field[field].bytes : "";
}

/* Units that belong behind a number; those of strings say what kind of string. */
static bool has_amount(const row *r)
{
	const char *value = cell(r, VALUE_NOW);
	return *cell(r, UNIT) != '\0' && *value >= '0' && *value <= '9';
}

static void add_row(text *out, const row *r)
{
	bool changed = strcmp(cell(r, SOURCE), "default") != 0;
	const char *value = *cell(r, VALUE_NOW) ? cell(r, VALUE_NOW) : "(empty)";
	const char *fallback = *cell(r, FALLBACK) ? cell(r, FALLBACK) : "(empty)";
	text shown = { 0 };
	text_put(&shown, value);
	if (has_amount(r))
		text_format(&shown, " %s", cell(r, UNIT));
	text_format(out, "%-28s %-20s %s\n", cell(r, VARIABLE), shown.bytes, cell(r, SOURCE));
	text_free(&shown);
	text_format(out, "    %s\n    ", cell(r, MEANING));
	if (changed)
		text_format(out, "default %s; ", fallback);
	text_format(out, "%s%s%s; option %s\n", *cell(r, RANGE) ? "range " : "", cell(r, RANGE),
	            *cell(r, RANGE) ? "" : "any", cell(r, NAME));
}

/* The ACL rule is the last member, a string: read as the member of an object that begins with it. */
static void add_acl(const char *json, text *out)
{
	const char *acl = strstr(json, "\"acl\":");
	text name = { 0 }, value = { 0 };
	if (acl != NULL && json_next_string(&acl, &name, &value))
		text_format(out, "\nWhat a user of its own needs in Redis:\n    ACL SETUSER near on '>PASSWORD' %s\n", value.bytes);
	text_free(&name);
	text_free(&value);
}

void show_config(near_cache *cache, text *out)
{
	text json = { 0 };
	row r = { 0 };
	text_of(cache, near_config_json, &json);
	const char *at = json_find(json.bytes, "options");
	text_format(out, "%-28s %-20s %s\n\n", "VARIABLE", "VALUE", "SOURCE");
	while (at != NULL && (at = strpbrk(at, "{]")) != NULL && *at == '{') {
		row_read(&at, &r);
		add_row(out, &r);
		for (int i = 0; i < FIELDS; i++)
			text_clear(&r.field[i]);
	}
	add_acl(json.bytes, out);
	for (int i = 0; i < FIELDS; i++)
		text_free(&r.field[i]);
	text_free(&json);
}

void show_stats(near_cache *cache, text *out)
{
	static const struct {
		near_latency which;
		const char *name;
	} latencies[] = { { NEAR_LATENCY_L2, "round trip to Redis" },
		          { NEAR_LATENCY_LOAD, "run of a loader" },
		          { NEAR_LATENCY_INVALIDATE, "invalidation until acknowledged" },
		          { NEAR_LATENCY_STALE_AGE, "age past life of stale values" } };
	near_stats stats;
	near_stats_get(cache, &stats);
#define NEAR_STAT(kind, field, help) \
	text_format(out, "%-22s %14llu  %s\n", #field, (unsigned long long)stats.field, help);
#include <nearcache/stats.def>
#undef NEAR_STAT
	for (size_t i = 0; i < sizeof(latencies) / sizeof(latencies[0]); i++)
		text_format(out, "%-32s p50 %.1f us, p99 %.1f us, p99.9 %.1f us\n", latencies[i].name,
		            (double)near_latency_ns(cache, latencies[i].which, 0.5) / 1e3,
		            (double)near_latency_ns(cache, latencies[i].which, 0.99) / 1e3,
		            (double)near_latency_ns(cache, latencies[i].which, 0.999) / 1e3);
}
