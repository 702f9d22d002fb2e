/* Figures as text: JSON for scripts, the text format of Prometheus for scrapers. Names and help come from stats.def.
 *
 * JSON: one object on one line, a member per figure, and per latency an object in nanoseconds:
 *     {"l1_hits":12,...,"latency_ns":{"l2":{"count":3,"mean":800,"p50":750,"p99":991,"p999":991},...}}
 * Prometheus: counters end in _total; latencies are summaries in seconds.
 *
 * Both are written the way snprintf writes: the length that would be needed comes back, what does not fit is left out. No
 * number passes through the locale.
 *
 * Source: https://prometheus.io/docs/instrumenting/exposition_formats/ (0.0.4)
 */
#include "stats/stats.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static const char *const latency_names[NEAR_LATENCY_COUNT] = {
	[NEAR_LATENCY_L2] = "l2",
	[NEAR_LATENCY_LOAD] = "load",
	[NEAR_LATENCY_INVALIDATE] = "invalidate",
	[NEAR_LATENCY_STALE_AGE] = "stale_age",
};
static const char *const latency_help[NEAR_LATENCY_COUNT] = {
	[NEAR_LATENCY_L2] = "a round trip to Redis",
	[NEAR_LATENCY_LOAD] = "a run of a loader",
	[NEAR_LATENCY_INVALIDATE] = "an invalidation until acknowledged",
	[NEAR_LATENCY_STALE_AGE] = "how long past its life a stale value was served",
};

typedef struct out {
	char *buf;
	size_t size, length;
} out;

__attribute__((format(printf, 2, 3))) static void add(out *o, const char *format, ...)
{
	size_t left = o->length < o->size ? o->size - o->length : 0;
	va_list arguments;
	va_start(arguments, format);
	int n = vsnprintf(left > 0 ? o->buf + o->length : NULL, left, format, arguments);
	va_end(arguments);
	NEAR_ASSERT(n >= 0); /* only figures and texts of ours: none can fail to print */
	o->length += (size_t)n;
}

static size_t finish(const out *o)
{
	if (o->size > 0)
		o->buf[o->length < o->size ? o->length : o->size - 1] = '\0';
	return o->length;
}

size_t near__stats_to_json(const near_stats *stats, const near__stats *more, char *buf, size_t buf_size)
{
	out o = { buf, buf_size, 0 };
	const char *separator = "{";
#define NEAR_STAT(kind, field, help) \
	add(&o, "%s\"" #field "\":%" PRIu64, separator, stats->field); \
	separator = ",";
#include <nearcache/stats.def>
#undef NEAR_STAT
	for (unsigned i = 0; more != NULL && i < NEAR_LATENCY_COUNT; i++) {
		const near__histogram *h = more->latency[i];
		uint64_t count = near__histogram_count(h);
		add(&o, "%s\"%s\":{\"count\":%" PRIu64 ",\"mean\":%" PRIu64, i == 0 ? ",\"latency_ns\":{" : ",", latency_names[i],
		    count, count == 0 ? 0 : near__histogram_sum(h) / count);
		add(&o, ",\"p50\":%" PRIu64 ",\"p99\":%" PRIu64 ",\"p999\":%" PRIu64 "}", near__histogram_quantile(h, 0.5),
		    near__histogram_quantile(h, 0.99), near__histogram_quantile(h, 0.999));
	}
	add(&o, more != NULL ? "}}" : "}");
	return finish(&o);
}

static void add_figure(out *o, const char *type, const char *name, const char *suffix, const char *help, uint64_t value)
{
	add(o, "# HELP nearcache_%s%s %s\n# TYPE nearcache_%s%s %s\nnearcache_%s%s %" PRIu64 "\n", name, suffix, help, name,
	    suffix, type, name, suffix, value);
}

/* Nanoseconds as seconds, in digits. */
static void add_seconds(out *o, uint64_t ns)
{
	add(o, "%" PRIu64 ".%09" PRIu64 "\n", ns / 1000000000, ns % 1000000000);
}

static void add_latency(out *o, unsigned which, const near__histogram *h)
{
	static const struct {
		const char *text;
		double value;
	} quantiles[] = { { "0.5", 0.5 }, { "0.99", 0.99 }, { "0.999", 0.999 } };
	const char *name = latency_names[which];
	add(o, "# HELP nearcache_%s_seconds %s\n# TYPE nearcache_%s_seconds summary\n", name, latency_help[which], name);
	for (unsigned i = 0; i < sizeof(quantiles) / sizeof(*quantiles); i++) {
		add(o, "nearcache_%s_seconds{quantile=\"%s\"} ", name, quantiles[i].text);
		add_seconds(o, near__histogram_quantile(h, quantiles[i].value));
	}
	add(o, "nearcache_%s_seconds_sum ", name);
	add_seconds(o, near__histogram_sum(h));
	add(o, "nearcache_%s_seconds_count %" PRIu64 "\n", name, near__histogram_count(h));
}

size_t near__stats_to_prometheus(const near_stats *stats, const near__stats *more, char *buf, size_t buf_size)
{
	out o = { buf, buf_size, 0 };
#define ADD_COUNTER(field, help) add_figure(&o, "counter", #field, "_total", help, stats->field);
#define ADD_GAUGE(field, help) add_figure(&o, "gauge", #field, "", help, stats->field);
#define NEAR_STAT(kind, field, help) ADD_##kind(field, help)
#include <nearcache/stats.def>
#undef NEAR_STAT
	for (unsigned i = 0; more != NULL && i < NEAR_LATENCY_COUNT; i++)
		add_latency(&o, i, more->latency[i]);
	return finish(&o);
}
