/* The figures of a run as one JSON object: settings, stages, the hot key, Redis's return, promises, the library's counters,
 * and the samples that the pictures are drawn from. Times are in nanoseconds unless the name says otherwise. */
#include "run.h"

#define ULL(x) ((unsigned long long)(x))

static void text_put(FILE *out, const char *text)
{
	putc('"', out);
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			putc('\\', out);
		if ((unsigned char)*text < 0x20)
			fprintf(out, "\\u%04x", *text);
		else
			putc(*text, out);
	}
	putc('"', out);
}

static void spread_put(FILE *out, const char *name, const struct spread *spread)
{
	fprintf(out, ",\n   \"%s_ns\": {\"count\": %llu, \"mean\": %.0f, \"p50\": %llu, \"p99\": %llu, \"p999\": %llu, "
	        "\"max\": %llu}", name,
	        ULL(spread->count), spread_mean(spread), ULL(spread_quantile(spread, 0.5)), ULL(spread_quantile(spread, 0.99)),
	        ULL(spread_quantile(spread, 0.999)), ULL(spread->max));
}

static void sum_put(FILE *out, const struct sum *sum)
{
#define SHOP_COUNT(name, help) fprintf(out, ",\n   \"%s\": %llu", #name, ULL(sum->name));
#define SHOP_TIME(name, help) spread_put(out, #name, &sum->name);
#include "tally.def"
#undef SHOP_COUNT
#undef SHOP_TIME
}

static void settings_put(const struct run *run, FILE *out)
{
	const struct shop_config *config = &run->config;

	fprintf(out, "{\n \"nearcache\": \"%s\",\n \"settings\": {\"workers\": %u, \"threads\": %u, \"rows\": %u, "
	        "\"writes_percent\": %g, \"zipf\": %g, \"seconds\": %g, \"seed\": %llu, \"rate\": %llu, "
	        "\"memory_bytes\": %llu, \"lease_ms\": %llu, \"home_ttl_ms\": %llu, \"forget\": %s},\n \"database\": "
	        "{\"bytes\": %llu, \"filled_seconds\": %.3f}", near_version(),
	        config->workers, config->threads, config->rows, config->writes_percent, config->zipf, config->seconds,
	        ULL(config->seed), ULL(config->rate), ULL(config->memory_bytes), ULL(config->lease_ms), ULL(config->home_ttl_ms),
	        config->forget ? "true" : "false", ULL(run->database_bytes), run->database_seconds);
}

static void stages_put(const struct run *run, FILE *out)
{
	fprintf(out, ",\n \"stages\": [");
	for (int i = 0; i < STAGES; i++) {
		const struct stage_figures *figures = &run->figures[i];
		const struct sum *sum = &figures->sum;
		double seconds = (double)(figures->end - figures->begin) / (double)SHOP_SECOND;
		double requests = (double)(sum->reads + sum->bare_reads + sum->front_reads + sum->writes);

		fprintf(out, "%s\n  {\"name\": \"%s\", \"begin_s\": %.3f, \"seconds\": %.3f, \"requests_per_second\": %.0f",
		        i > 0 ? "," : "", stages[i].name, run_seconds(run, figures->begin), seconds, seconds > 0 ? requests / seconds : 0);
		sum_put(out, sum);
		spread_put(out, "propagation_each", &figures->one);
		spread_put(out, "propagation_all", &figures->all);
		fprintf(out, ",\n   \"rounds_void\": %u}", figures->rounds_void);
	}
	fprintf(out, "],\n \"total\": {\"workers\": %u", run->config.workers);
	sum_put(out, &run->total);
	fprintf(out, "}");
}

static void expiry_put(FILE *out, const char *name, const struct expiry *expiry)
{
	fprintf(out, ",\n \"%s\": {\"lives\": %u, \"loads\": %u, \"loads_per_life\": %.3f, \"background\": %u, "
	        "\"load_ms\": %.3f}", name,
	        expiry->lives, expiry->loads, expiry->loads_per_life, expiry->background, expiry->load_ms);
}

static void front_loads_put(const struct run *run, FILE *out)
{
	uint64_t loads = atomic_load(&run->board->front.serial);
	const char *comma = "";

	fprintf(out, ",\n \"hot_key_loads\": [");
	for (uint64_t i = 1; i <= loads && i < FRONT_LOADS_MAX; i++) {
		struct front_load *load = &run->board->front.load[i];

		if (load->end == 0)
			continue;
		fprintf(out, "%s\n  {\"begin_s\": %.4f, \"end_s\": %.4f, \"worker\": %u, \"background\": %s, "
		        "\"superfluous\": %s}",
		        comma,
		        run_seconds(run, load->begin), run_seconds(run, load->end), load->worker, load->background ? "true" : "false",
		        load->superfluous ? "true" : "false");
		comma = ",";
	}
	fprintf(out, "]");
}

static void redis_put(const struct run *run, FILE *out)
{
	fprintf(out, ",\n \"redis\": {\"killed_s\": %.3f, \"started_s\": %.3f, \"answered_s\": %.3f, \"works_s\": %.3f, "
	        "\"used_memory_before_kill\": %.0f, \"commands_after_return\": %.0f}", run_seconds(run, run->killed_at),
	        run_seconds(run, run->started_at), run_seconds(run, run->answered_at), run_seconds(run, run->works_at),
	        run->redis_memory, run->redis_commands);
}

static void promises_put(const struct run *run, FILE *out)
{
	bool kept = true;

	fprintf(out, ",\n \"promises\": [");
	for (size_t i = 0; i < run->promises; i++) {
		kept = kept && run->promise[i].kept;
		fprintf(out, "%s\n  {\"kept\": %s, \"promise\": ", i > 0 ? "," : "", run->promise[i].kept ? "true" : "false");
		text_put(out, run->promise[i].text);
		fprintf(out, ", \"figure\": ");
		text_put(out, run->promise[i].figure);
		fprintf(out, "}");
	}
	fprintf(out, "],\n \"kept\": %s", kept ? "true" : "false");
}

static void series_put(const struct run *run, FILE *out)
{
	fprintf(out, ",\n \"stats\": {\"struct_size\": %zu", sizeof(run->stats));
#define NEAR_STAT(kind, field, help) fprintf(out, ", \"%s\": %llu", #field, ULL(run->stats.field));
#include <nearcache/stats.def>
#undef NEAR_STAT
	fprintf(out, "},\n \"events\": [");
	for (size_t i = 0; i < run->events; i++) {
		fprintf(out, "%s\n  {\"at_s\": %.3f, \"text\": ", i > 0 ? "," : "", run_seconds(run, run->event[i].at));
		text_put(out, run->event[i].text);
		fprintf(out, "}");
	}
	fprintf(out, "],\n \"samples\": [");
	for (size_t i = 0; i < run->samples; i++) {
		const struct sample *at = &run->sample[i];

		fprintf(out, "%s\n  {\"at_s\": %.3f, \"stage\": \"%s\", \"requests\": %.0f, \"l1\": %.0f, \"l2\": %.0f, "
		        "\"loader\": %.0f, \"flagged\": %.0f, \"bare\": %.0f, \"loads\": %.0f, \"writes\": %.0f, \"p50_ns\": "
		        "%llu, \"p99_ns\": %llu, \"max_ns\": %llu, \"age_max_ns\": %llu, \"overtaken_age_max_ns\": %llu, "
		        "\"pending\": %llu, \"redis\": %s}",
		        i > 0 ? "," : "", run_seconds(run, at->at), stages[at->stage].name, at->requests, at->l1, at->l2, at->loader,
		        at->flagged, at->bare, at->loads, at->writes, ULL(at->p50), ULL(at->p99), ULL(at->max), ULL(at->age_max),
		        ULL(at->overtaken_age_max), ULL(at->pending), at->redis_up ? "true" : "false");
	}
	fprintf(out, "]\n}\n");
}

bool run_document(const struct run *run, const char *path)
{
	FILE *out = fopen(path, "w");

	if (out == NULL)
		return false;
	settings_put(run, out);
	stages_put(run, out);
	expiry_put(out, "hot_key_early", &run->early);
	expiry_put(out, "hot_key_late", &run->late);
	front_loads_put(run, out);
	redis_put(run, out);
	promises_put(run, out);
	series_put(run, out);
	return fclose(out) == 0;
}
