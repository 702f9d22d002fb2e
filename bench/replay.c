/* nearbench replay: what a trace's requests find, at a bound.
 *
 *   get      hit or miss; a miss inserts the key with the request's TTL
 *   set      inserts, not counted        delete   removes, not counted
 *   time     the trace's own, for lives and for housekeeping
 *
 * The bound is on mapped bytes, as users set it (--memory, --memory-fraction), or on the sum of key and value bytes
 * (--payload-limit, --payload-fraction), as the reference table counts: that compares policies at sizes where a table's own
 * memory would drown the difference.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/clock.h"
#include "command.h"
#include "policy.h"
#include "progress.h"
#include "reference.h"

#define LEAST_BYTES (UINT64_C(16) << 20)
#define HOUSEKEEP_EVERY 256
#define SAMPLES 2000

typedef struct replay_options {
	const char *trace, *reference;
	uint64_t memory, payload_limit;
	double memory_fraction, payload_fraction;
	unsigned evict, policy;
	bench_common common;
} replay_options;

typedef struct outcome {
	uint64_t misses, bytes, missed_bytes;
	double payload_sum, payload_samples;
	double seconds;
} outcome;

static bool load_trace(const bench_command *command, const char *path, bench_trace *trace)
{
	bench_trace_error error;
	struct stat info;
	FILE *file = fopen(path, "rb");
	if (file == NULL) {
		(void)bench_usage(command, "--trace: '%s' cannot be opened: %s", path, strerror(errno));
		return false;
	}
	bench_progress_begin("reading the trace", fstat(fileno(file), &info) == 0 ? (uint64_t)info.st_size : 0);
	bench_trace_init(trace);
	bool good = bench_trace_read(trace, file, bench_progress_at, &error);
	(void)fclose(file);
	bench_progress_end();
	if (!good) {
		(void)bench_usage(command, "--trace: '%s': %s", path, error.text);
		bench_trace_free(trace);
	}
	return good;
}

static void run_get(const bench_policy *policy, void *state, const bench_trace *trace, const bench_request *r, outcome *o)
{
	uint64_t bytes = (uint64_t)trace->keys[r->key].key_size + trace->keys[r->key].value_size;
	o->bytes += bytes;
	if (policy->get(state, r->key, r->time_s))
		return;
	o->misses++;
	o->missed_bytes += bytes;
	policy->put(state, r->key, r->ttl_s, r->time_s);
}

static void replay(const bench_policy *policy, void *state, const bench_trace *trace, outcome *o)
{
	uint64_t half = trace->request_count / 2, every = trace->request_count / 2 / SAMPLES + 1;
	uint32_t time_s = trace->requests[0].time_s;
	int64_t begun_ns = near__now_ns();
	bench_policy_gauges gauges;
	bench_progress_begin("replaying", trace->request_count);
	for (uint64_t i = 0; i < trace->request_count; i++) {
		const bench_request *r = &trace->requests[i];
		if (r->time_s != time_s || i % HOUSEKEEP_EVERY == 0) {
			policy->housekeep(state, time_s, r->time_s);
			time_s = r->time_s;
		}
		if (r->op == BENCH_TRACE_GET)
			run_get(policy, state, trace, r, o);
		else if (r->op == BENCH_TRACE_SET)
			policy->put(state, r->key, r->ttl_s, r->time_s);
		else
			policy->del(state, r->key, r->time_s);
		if (i >= half && i % every == 0) {
			policy->gauges(state, &gauges);
			o->payload_sum += (double)gauges.payload_bytes;
			o->payload_samples++;
		}
		if (i % 16384 == 0)
			bench_progress_at(i);
	}
	bench_progress_end();
	o->seconds = (double)(near__now_ns() - begun_ns) / 1e9;
}

/* The name of a trace: its file without folder and endings. */
static void trace_name(const char *path, char *out, size_t size)
{
	const char *slash = strrchr(path, '/');
	(void)snprintf(out, size, "%s", slash != NULL ? slash + 1 : path);
	out[strcspn(out, ".")] = '\0';
}

static FILE *open_reference(const bench_command *command, const replay_options *o, int *status)
{
	char path[4096];
	FILE *file;
	if (o->reference != NULL) {
		file = fopen(o->reference, "r");
		if (file == NULL)
			*status = bench_usage(command, "--reference: '%s' cannot be opened: %s", o->reference, strerror(errno));
		return file;
	}
	const char *slash = strrchr(o->trace, '/');
	int folder = slash != NULL ? (int)(slash - o->trace + 1) : 0;
	if (snprintf(path, sizeof(path), "%.*sreference.csv", folder, o->trace) >= (int)sizeof(path))
		return NULL;
	return fopen(path, "r"); /* none beside the trace: none shown */
}

/* Policies on true requests, whole ones: no sets of k ways, no metadata charged, no other expiry. Where requests are gets
 * alone, the offline bound as well. */
static bool worth_showing(const bench_reference_row *row, const bench_trace *trace)
{
	bool plain = trace->sets == 0 && trace->deletes == 0 && trace->with_ttl == 0;
	if (strncmp(row->algo, "ksim:", 5) == 0)
		return strpbrk(row->algo, "@+") == NULL;
	return plain && strcmp(row->algo, "Belady") == 0;
}

static void report_reference(const bench_command *command, bench_report *r, FILE *file, const replay_options *o,
                             const bench_trace *trace, uint64_t bytes, double object_miss)
{
	bench_reference_row *rows;
	size_t count, bad_line;
	char name[64];
	double lru = 0;
	trace_name(o->trace, name, sizeof(name));
	if (!bench_reference_read(file, name, bytes, &rows, &count, &bad_line)) {
		(void)fprintf(stderr, "nearbench %s: line %zu of the reference is malformed; none is shown\n", command->name,
		              bad_line);
		return;
	}
	for (size_t i = 0; i < count; i++)
		if (strcmp(rows[i].algo, "ksim:lru") == 0)
			lru = rows[i].object_miss;
	if (lru > 0) {
		bench_report_real(r, "lru_object_miss_ratio", lru, "reference");
		bench_report_real(r, "reduction_vs_lru_percent", (lru - object_miss) / lru * 100, "%");
	}
	for (size_t i = 0; i < count; i++) {
		if (!worth_showing(&rows[i], trace))
			continue;
		bench_report_row(r, "reference");
		bench_report_text(r, "algo", rows[i].algo);
		bench_report_real(r, "object_miss_ratio", rows[i].object_miss, "");
		bench_report_real(r, "byte_miss_ratio", rows[i].byte_miss, "");
		bench_report_real(r, "ours_minus_it", object_miss - rows[i].object_miss, "");
	}
	bench_report_row(r, NULL);
	free(rows);
}

static void report_setting(bench_report *r, const replay_options *o, const bench_policy *policy, const bench_trace *trace)
{
	static const char *const evicts[] = {"objects", "balanced", "bytes"};
	bench_report_text(r, "trace", o->trace);
	bench_report_text(r, "policy", policy->name);
	bench_report_text(r, "evict", evicts[o->evict]);
	bench_report_count(r, "requests", trace->request_count, "");
	bench_report_count(r, "gets", trace->gets, "");
	bench_report_count(r, "sets", trace->sets, "");
	bench_report_count(r, "deletes", trace->deletes, "");
	bench_report_count(r, "keys", trace->key_count, "");
	bench_report_count(r, "working_set_bytes", trace->working_set_bytes, "key and value bytes of all keys");
}

static void report_figures(bench_report *r, const bench_policy *policy, void *state, const bench_trace *trace,
                           const bench_policy_config *config, const outcome *o)
{
	bench_policy_gauges g;
	near_stats s;
	policy->gauges(state, &g);
	policy->stats(state, &s);
	double gets = trace->gets > 0 ? (double)trace->gets : 1;
	bench_report_real(r, "object_miss_ratio", (double)o->misses / gets, "");
	bench_report_real(r, "byte_miss_ratio", o->bytes > 0 ? (double)o->missed_bytes / (double)o->bytes : 0, "");
	bench_report_count(r, "resident_payload_bytes",
	                   o->payload_samples > 0 ? (uint64_t)(o->payload_sum / o->payload_samples) : 0,
	                   "mean of key and value bytes held in the second half");
	bench_report_count(r, "mapped_bytes_max", g.mapped_bytes_max, "bytes");
	bench_report_count(r, "limit_bytes", g.limit_bytes, "bytes");
	bench_report_count(r, "payload_limit_bytes", config->payload_limit, "0: none");
	bench_report_count(r, "items", g.items, "at the end");
	bench_report_count(r, "evictions", s.evictions, "");
	bench_report_count(r, "set_conflicts", s.set_conflicts, "");
	bench_report_count(r, "ghost_hits", s.ghost_hits, "");
	bench_report_count(r, "expirations", s.expirations, "");
	bench_report_count(r, "puts_declined", s.puts_declined, "");
	bench_report_real(r, "ns_per_request", o->seconds * 1e9 / (double)trace->request_count, "ns");
	bench_report_promise(r, "bound", g.mapped_bytes_max <= g.limit_bytes, "%" PRIu64 " of %" PRIu64 " bytes mapped at most",
	                     g.mapped_bytes_max, g.limit_bytes);
}

/* Turns the options into bounds. Returns 0 or the exit status. */
static int choose_bounds(const bench_command *command, const replay_options *o, const bench_trace *trace,
                         bench_policy_config *config)
{
	double set = (double)trace->working_set_bytes;
	config->payload_limit = o->payload_limit != 0 ? o->payload_limit : (uint64_t)(o->payload_fraction * set);
	config->memory_bytes = o->memory != 0 ? o->memory : (uint64_t)(o->memory_fraction * set);
	if (o->payload_fraction > 0 && config->payload_limit == 0)
		return bench_usage(command, "--payload-fraction %g of the working set is not one byte", o->payload_fraction);
	if (config->payload_limit != 0) {
		/* Room for small entries with header and slots, so that the payload alone decides. */
		config->memory_bytes = config->payload_limit * 2 + (uint64_t)trace->key_count * 128 + (UINT64_C(64) << 20);
	} else if (config->memory_bytes < LEAST_BYTES) {
		(void)fprintf(stderr,
		              "nearbench replay: --memory-fraction %g of the working set is %" PRIu64 " bytes; the least bound "
		              "of a cache is 16 MiB and that is used. --payload-fraction %g compares policies at such sizes.\n",
		              o->memory_fraction, config->memory_bytes, o->memory_fraction);
		config->memory_bytes = LEAST_BYTES;
	}
	return 0;
}

static int replay_and_report(const bench_command *command, const replay_options *o, const bench_trace *trace,
                             const bench_policy_config *config, bench_report *report, FILE *reference)
{
	const bench_policy *policy = o->policy == 0 ? &bench_policy_near : &bench_policy_lru;
	void *state = policy->open(config);
	outcome out = {0};
	if (state == NULL) {
		(void)fprintf(stderr, "nearbench %s: no memory for a cache of %" PRIu64 " bytes\n", command->name,
		              config->memory_bytes);
		return BENCH_EXIT_BROKEN;
	}
	replay(policy, state, trace, &out);
	report_setting(report, o, policy, trace);
	report_figures(report, policy, state, trace, config, &out);
	if (reference != NULL)
		report_reference(command, report, reference, o, trace,
		                 config->payload_limit != 0 ? config->payload_limit : config->memory_bytes,
		                 (double)out.misses / (double)(trace->gets > 0 ? trace->gets : 1));
	policy->close(state);
	return bench_report_print(report, o->common.json);
}

static int replay_run(const bench_command *command, int argc, char *const *argv)
{
	replay_options o = {.evict = NEAR_EVICT_BALANCED};
	bench_arg table[] = {
		{"trace", BENCH_ARG_TEXT, &o.trace, 0, 0, NULL, "FILE", "the trace, .bin.zst", false},
		{"memory", BENCH_ARG_SIZE, &o.memory, (double)LEAST_BYTES, 68719476736, NULL, "BYTES", "bound on mapped bytes",
		 false},
		{"memory-fraction", BENCH_ARG_REAL, &o.memory_fraction, 1e-9, 100, NULL, "F",
		 "the same as a share of the working set", false},
		{"payload-limit", BENCH_ARG_SIZE, &o.payload_limit, 1, 68719476736, NULL, "BYTES",
		 "bound on the sum of key and value bytes", false},
		{"payload-fraction", BENCH_ARG_REAL, &o.payload_fraction, 1e-9, 100, NULL, "F",
		 "the same as a share of the working set", false},
		{"evict", BENCH_ARG_CHOICE, &o.evict, 0, 0, "objects|balanced|bytes", "", "what eviction spares", false},
		{"policy", BENCH_ARG_CHOICE, &o.policy, 0, 0, "near|lru", "", "the library, or exact LRU on payload bytes", false},
		{"reference", BENCH_ARG_TEXT, &o.reference, 0, 0, NULL, "FILE",
		 "rows to compare with; without it reference.csv beside the trace, if any", false},
		BENCH_COMMON_ARGS(o.common),
	};
	bench_trace trace;
	int status = 0;
	if (!bench_command_begin(command, table, argc, argv, &status))
		return status;
	if (o.trace == NULL)
		return bench_usage(command, "--trace FILE is needed");
	if ((o.memory != 0) + (o.payload_limit != 0) + (o.memory_fraction > 0) + (o.payload_fraction > 0) != 1)
		return bench_usage(command, "one of --memory, --memory-fraction, --payload-limit, --payload-fraction is needed");
	FILE *reference = open_reference(command, &o, &status);
	if (status != 0)
		return status;
	bench_report *report = bench_command_report(command, &o.common);
	if (report == NULL || !load_trace(command, o.trace, &trace)) {
		status = BENCH_EXIT_USAGE;
	} else {
		bench_policy_config config = {.trace = &trace, .evict = (near_evict)o.evict};
		status = choose_bounds(command, &o, &trace, &config);
		if (status == 0)
			status = replay_and_report(command, &o, &trace, &config, report, reference);
		bench_trace_free(&trace);
	}
	bench_report_free(report);
	if (reference != NULL)
		(void)fclose(reference);
	return status;
}

const bench_command bench_command_replay = {
	.name = "replay",
	.summary = "miss ratios of a request trace at a bound, beside reference policies",
	.about =
		"Replays a trace of gets, sets and deletes against the library's L1 at the trace's own time: a get is a hit or a\n"
		"miss, and a miss inserts the key with the request's TTL; a set inserts and a delete removes, neither is counted.\n\n"
		"  object_miss_ratio       misses by gets\n"
		"  byte_miss_ratio         the same, weighted with key and value bytes\n"
		"  resident_payload_bytes  mean of key and value bytes held in the second half of the trace\n"
		"  mapped_bytes_max        the most that table and entries took of limit_bytes; never above is a promise\n"
		"  reference               rows for the same trace and size, other policies with no metadata charged\n\n"
		"The bound is on mapped bytes as users set it (at least 16 MiB), or, to compare policies at small sizes, on the sum\n"
		"of key and value bytes. Records have 25 bytes, little endian, in a zstd stream: u32 time_s, u64 key_id, u32 key_size,\n"
		"u32 value_size, u32 ttl_s, u8 op (0 get, 1 set, 2 delete).\n",
	.examples =
		"  nearbench replay --trace tw_c52.bin.zst --payload-fraction 0.01\n"
		"  nearbench replay --trace meta_kvreg.bin.zst --memory 16M --evict objects --json\n"
		"  nearbench replay --trace tw_c52.bin.zst --payload-fraction 0.01 --policy lru    (the row ksim:lru)\n",
	.run = replay_run,
};
