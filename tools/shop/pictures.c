/* See pictures.h. All pictures over time share the x axis, the stages' bands and the marks of what happened to Redis. */
#include "pictures.h"

#include "chart.h"

#include <math.h>
#include <string.h>

#define WIDE 1000.0
#define PERCENTILES 25

static const char *const band_name[STAGES] = {
	[BARE] = "no cache", [BARE_FULL] = "full", [COLD] = "cold", [FULL] = "full", [STEADY] = "steady", [EXPIRY] = "hot key",
	[EXPIRY_LATE] = "not early", [AWAY] = "killed", [BACK] = "back",
};

static struct point point[RUN_ROUNDS_MAX];
_Static_assert(RUN_ROUNDS_MAX >= RUN_SAMPLES_MAX, "one array serves both");

static struct chart over_time(const struct run *run, FILE *out, const char *label, const char *y_name)
{
	return (struct chart){ .out = out, .label = label, .x_from = 0, .x_to = run_seconds(run, run->sample[run->samples - 1].at),
		.y_name = y_name, .x_name = "seconds since the beginning", .width = WIDE, .height = 270 };
}

/* A stage's lead-in belongs to its band. */
static void bands(const struct run *run, const struct chart *chart)
{
	uint64_t from = run->begin;

	for (int i = 0; i < STAGES && run->figures[i].over; i++) {
		chart_band(chart, run_seconds(run, from), run_seconds(run, run->figures[i].end), i % 2 == 1, band_name[i],
		           stages[i].title);
		from = run->figures[i].end;
	}
}

static void marks(const struct run *run, struct chart *chart)
{
	for (size_t i = 0; i < run->events; i++)
		if (run->event[i].marked && run->event[i].at >= run->killed_at && run->killed_at != 0)
			chart_mark(chart, run_seconds(run, run->event[i].at),
			           strcmp(run->event[i].mark, "Redis killed") == 0 ? "bad" : "event", run->event[i].mark);
}

/* ------------------------------------------------------------------ by tier */

#define TIERS 6

static double tier(const struct sample *sample, int upto)
{
	double part[TIERS] = { sample->l1, sample->l2, sample->loader, sample->flagged, sample->front, sample->bare }, sum = 0;

	for (int i = 0; i <= upto; i++)
		sum += part[i];
	return sum;
}

void picture_requests(const struct run *run, FILE *out)
{
	static const char *const style[TIERS] = { "l1", "l2", "db", "stale", "front", "bare" };
	struct chart chart = over_time(run, out, "Reads per second by tier", "reads per second");
	double highest = 0;

	for (size_t i = 0; i < run->samples; i++)
		highest = fmax(highest, tier(&run->sample[i], TIERS - 1));
	chart_scale(&chart, 0, highest);
	chart_begin(&chart);
	bands(run, &chart);
	for (int t = 0; t < TIERS; t++) {
		for (size_t i = 0; i < run->samples; i++)
			point[i] = (struct point){ run_seconds(run, run->sample[i].at), tier(&run->sample[i], t),
				t > 0 ? tier(&run->sample[i], t - 1) : 0 };
		chart_area(&chart, point, run->samples, style[t]);
	}
	marks(run, &chart);
	chart_end(&chart);
}

void picture_loads(const struct run *run, FILE *out)
{
	struct chart chart = over_time(run, out, "Article pages read from the database per second",
	                               "pages from the database per second");
	double highest = 0;

	for (size_t i = 0; i < run->samples; i++)
		highest = fmax(highest, run->sample[i].loads + run->sample[i].bare);
	chart_scale(&chart, 0, highest);
	chart_begin(&chart);
	bands(run, &chart);
	for (size_t i = 0; i < run->samples; i++)
		point[i] = (struct point){ run_seconds(run, run->sample[i].at), run->sample[i].loads, 0 };
	chart_area(&chart, point, run->samples, "db");
	for (size_t i = 0; i < run->samples; i++)
		point[i] = (struct point){ run_seconds(run, run->sample[i].at), run->sample[i].loads + run->sample[i].bare,
			run->sample[i].loads };
	chart_area(&chart, point, run->samples, "bare");
	marks(run, &chart);
	chart_end(&chart);
}

/* ------------------------------------------------------------------ times */

static double time_of(const struct sample *sample, int which)
{
	uint64_t ns = which == 0 ? sample->p50 : which == 1 ? sample->p99 : sample->max;

	return ns > 0 ? (double)ns : -1;
}

void picture_latency(const struct run *run, FILE *out)
{
	static const char *const style[] = { "p50", "p99", "max" };
	struct chart chart = over_time(run, out, "Latency of a read over time", "a read takes (log scale)");
	double lowest = 1e6, highest = 1e3;

	chart.y_log = true;
	chart.y_unit = CHART_TIME;
	for (size_t i = 0; i < run->samples; i++) {
		lowest = run->sample[i].p50 > 0 ? fmin(lowest, (double)run->sample[i].p50) : lowest;
		highest = fmax(highest, (double)run->sample[i].max);
	}
	chart_scale(&chart, lowest, highest);
	chart_begin(&chart);
	bands(run, &chart);
	for (int which = 2; which >= 0; which--) {
		for (size_t i = 0; i < run->samples; i++)
			point[i] = (struct point){ run_seconds(run, run->sample[i].at), time_of(&run->sample[i], which), 0 };
		chart_line(&chart, point, run->samples, style[which]);
	}
	marks(run, &chart);
	chart_end(&chart);
}

static void percentile_line(const struct chart *chart, const struct spread *spread, const char *style)
{
	size_t count = 0;

	/* as far as ten values lie beyond */
	for (int i = 0; i < PERCENTILES; i++) {
		double beyond = pow(10, -(double)i / (PERCENTILES - 1) * 5);

		if (spread->count * beyond < 10)
			break;
		point[count++] = (struct point){ -log10(beyond), (double)spread_quantile(spread, 1 - beyond), 0 };
	}
	if (count > 1)
		chart_line(chart, point, count, style);
}

void picture_percentiles(const struct run *run, FILE *out)
{
	static const char *const label[] = { "all", "10 %", "1 %", "0.1 %", "0.01 %", "0.001 %" };
	struct chart chart = { .out = out, .label = "Latency of a read by percentile", .x_from = 0, .x_to = 5,
		.y_log = true, .y_unit = CHART_TIME, .y_name = "takes at least (log scale)", .x_name = "slowest share of the reads",
		.width = WIDE, .height = 270, .x_none = true };

	chart_scale(&chart, 100, fmax(1e6, fmax((double)spread_quantile(&run->figures[BARE].sum.bare, 0.99999),
	                                        (double)spread_quantile(&run->figures[AWAY].sum.read, 0.99999))));
	chart_begin(&chart);
	for (int i = 0; i <= 5; i++)
		chart_x_label(&chart, i, label[i]);
	percentile_line(&chart, &run->figures[BARE].sum.bare, "bare");
	percentile_line(&chart, &run->figures[AWAY].sum.read, "db");
	percentile_line(&chart, &run->figures[STEADY].sum.read, "l1");
	chart_end(&chart);
}

void picture_propagation(const struct run *run, FILE *out)
{
	struct chart chart = over_time(run, out, "Invalidation: from the answer until gone from all other processes",
	                               "gone everywhere after (log scale)");
	double highest = 1e6;

	chart.y_log = true;
	chart.y_unit = CHART_TIME;
	for (size_t i = 0; i < run->rounds; i++) {
		point[i] = (struct point){ run_seconds(run, run->round[i].at), (double)run->round[i].all, 0 };
		highest = fmax(highest, point[i].y);
	}
	chart_scale(&chart, 1e3, fmax(highest, 1.2e6 * (double)run->config.lease_ms));
	chart_begin(&chart);
	bands(run, &chart);
	chart_dots(&chart, point, run->rounds, "l2");
	chart_level(&chart, 1e6 * (double)run->config.lease_ms, "bad", "freshness lease");
	marks(run, &chart);
	chart_end(&chart);
}

void picture_staleness(const struct run *run, FILE *out)
{
	struct chart chart = over_time(run, out, "Age of what fresh reads missed", "oldest in 1/4 s (log scale)");
	double highest = 1.2e6 * (double)run->config.lease_ms;

	chart.y_log = true;
	chart.y_unit = CHART_TIME;
	for (size_t i = 0; i < run->samples; i++)
		highest = fmax(highest, (double)run->sample[i].overtaken_age_max);
	chart_scale(&chart, 1e3, highest);
	chart_begin(&chart);
	bands(run, &chart);
	for (size_t i = 0; i < run->samples; i++)
		point[i] = (struct point){ run_seconds(run, run->sample[i].at),
			run->sample[i].overtaken_age_max > 0 ? (double)run->sample[i].overtaken_age_max : -1, 0 };
	chart_dots(&chart, point, run->samples, "stale");
	for (size_t i = 0; i < run->samples; i++)
		point[i] = (struct point){ run_seconds(run, run->sample[i].at),
			run->sample[i].age_max > 0 ? (double)run->sample[i].age_max : -1, 0 };
	chart_dots(&chart, point, run->samples, "l2");
	chart_level(&chart, 1e6 * (double)run->config.lease_ms, "bad",
	            "freshness lease: no acknowledged invalidation may be missed longer");
	marks(run, &chart);
	chart_end(&chart);
}

/* ------------------------------------------------------------------ the hot key */

static void expiry_loads(const struct run *run, const struct chart *chart, const struct stage_figures *figures)
{
	uint64_t loads = atomic_load(&run->board->front.serial);

	for (uint64_t i = 1; i <= loads && i < FRONT_LOADS_MAX; i++) {
		struct front_load *load = &run->board->front.load[i];

		if (load->begin >= figures->begin && load->begin < figures->end && load->end != 0)
			chart_span(chart, run_seconds(run, load->begin), run_seconds(run, load->end), load->background ? "l1" : "db");
	}
}

void picture_expiry(const struct run *run, int stage, FILE *out)
{
	const struct stage_figures *figures = &run->figures[stage];
	struct chart chart = { .out = out, .label = stages[stage].title, .x_from = run_seconds(run, figures->begin),
		.x_to = run_seconds(run, figures->end), .y_log = true, .y_unit = CHART_TIME, .y_name = "longest in 20 ms",
		.x_name = "seconds since the beginning", .width = WIDE, .height = 210 };
	size_t first = (figures->begin - run->begin) / FRONT_BIN_NS, last = (figures->end - run->begin) / FRONT_BIN_NS, count = 0;

	for (size_t bin = first; bin < last && bin < FRONT_BINS && count < RUN_ROUNDS_MAX; bin++, count++) {
		uint32_t us = atomic_load(&run->board->front.worst_us[bin]);

		point[count] = (struct point){ (double)bin * FRONT_BIN_NS / SHOP_SECOND, us > 0 ? us * 1e3 : 1e3, 0 };
	}
	if (!figures->over)
		return;
	chart_scale(&chart, 1e3, 1e9);
	chart_begin(&chart);
	chart_line(&chart, point, count, stage == EXPIRY ? "l1" : "db");
	expiry_loads(run, &chart, figures);
	chart_end(&chart);
}
