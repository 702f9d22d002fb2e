/* Figures and configuration: counters summed, gauges asked of the rooms that know them; text for people and machines. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "core/core.h"
#include "core/journal.h"

void near__figures(near_cache *cache, near_stats *stats)
{
	*stats = (near_stats){ .struct_size = sizeof *stats };
#define NEAR__SUM_COUNTER(field) stats->field = near__stats_sum(cache->stats, NEAR__STAT_##field);
#define NEAR__SUM_GAUGE(field)
#define NEAR_STAT(kind, field, help) NEAR__SUM_##kind(field)
#include <nearcache/stats.def>
#undef NEAR_STAT
	near__l1_gauges(cache->l1, stats);
	if (cache->coherence == NULL)
		return;
	int64_t left_ns = near__coherence_lease_until(cache->coherence) - near__now_ns();
	stats->journal_keys = near__journal_count(cache->journal);
	stats->connected = near__redis_is_up(cache->redis);
	stats->lease_left_ms = left_ns > 0 ? (uint64_t)(left_ns / NEAR__MS_NS) : 0;
}

/* Text that grows: counts what it would need, writes what fits, always ends in NUL. */
typedef struct text {
	char *buf;
	size_t size, used;
} text;

static __attribute__((format(printf, 2, 3))) void add(text *t, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	size_t room = t->used < t->size ? t->size - t->used : 0;
	int n = vsnprintf(room > 0 ? t->buf + t->used : NULL, room, format, args);
	va_end(args);
	t->used += n > 0 ? (size_t)n : 0;
}

static void add_quoted(text *t, const char *s)
{
	add(t, "\"");
	for (; *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;
		if (c == '"' || c == '\\')
			add(t, "\\%c", c);
		else if (c < 0x20)
			add(t, "\\u%04x", c);
		else
			add(t, "%c", c);
	}
	add(t, "\"");
}

static void add_member(text *t, const char *name, const char *value)
{
	add(t, ",\"%s\":", name);
	add_quoted(t, value);
}

size_t near__config_json(near_cache *cache, char *buf, size_t buf_size)
{
	static const char *const source[] = { "default", "program", "environment" };
	text t = { buf, buf_size, 0 };
	char acl[2048];
	if (buf_size > 0)
		buf[0] = '\0';
	add(&t, "{\"options\":[");
	for (unsigned i = 0; i < NEAR__OPT_COUNT; i++) {
		near__option_view v;
		near__settings_view(&cache->settings, i, &v);
		add(&t, "%s{\"index\":%u", i > 0 ? "," : "", i);
		add_member(&t, "name", v.field);
		add_member(&t, "variable", v.env);
		add_member(&t, "kind", v.kind);
		add_member(&t, "value", v.value);
		add_member(&t, "source", source[v.source]);
		add_member(&t, "default", v.fallback);
		add_member(&t, "range", v.range);
		add_member(&t, "unit", v.unit);
		add_member(&t, "meaning", v.sentence);
		add(&t, "}");
	}
	(void)near__coherence_acl(cache->prefix, acl, sizeof acl);
	add(&t, "]");
	add_member(&t, "acl", acl);
	add(&t, "}");
	return t.used;
}
