/* nearbench l2: what Redis answers through the library, beside the same commands by hand.
 *
 *   near_get        T threads, one key each at a time, L1 left out: the library's I/O thread writes what waits together
 *   bare            one thread, one connection, T commands in flight: append T, write, read T
 *   near_get_many   T threads, batches of K
 *   bare            one connection, K times T commands in flight
 *   bare threads    T threads with a connection each, one command in flight: what a program without pipelining gets
 *
 * All ask the same Redis for the same keys, envelopes and all; the ways take turns in short rounds, so that a disturbance of
 * the machine hits each alike, and the medians of the rounds are reported.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/hash.h"
#include "command.h"
#include "home.h"
#include "keys.h"
#include "l2/l2.h"
#include "measure.h"
#include "progress.h"
#include "stats/stats.h"

#define THREADS_MAX 256
#define BATCH_MAX 1024
#define ROUNDS_MAX 101

typedef enum way { WAY_GET, WAY_BARE, WAY_MANY, WAY_BARE_MANY, WAY_BARE_THREADS, WAYS } way;

typedef struct l2_options {
	uint64_t items, value_size, threads, batch, repeat, seed;
	double seconds;
	const char *redis;
	bench_common common;
} l2_options;

typedef struct l2_run {
	const l2_options *options;
	bench_home home;
	near_cache *cache;
	char prefix[NEAR__PREFIX_MAX];
	redisContext **connections; /* one per thread */
	_Atomic(bool) stop;
	_Atomic(uint64_t) gets, missing;
	near__histogram *latency[WAYS];
	double per_s[WAYS][ROUNDS_MAX];
} l2_run;

typedef struct asker {
	l2_run *run;
	pthread_t thread;
	way way;
	unsigned index;
	uint64_t random;
	unsigned char *buffers;
	near_lookup *lookups;
	char (*keys)[BENCH_KEY_SIZE];
} asker;

static uint64_t draw(asker *a)
{
	return near__random_next(&a->random) % a->run->options->items;
}

static uint64_t ask_get(asker *a)
{
	near_call settings = NEAR_CALL_INIT;
	settings.flags = NEAR_NO_L1;
	bench_key_write(draw(a), a->keys[0]);
	near_status status = near_get_with(a->run->cache, a->keys[0], BENCH_KEY_SIZE, &settings, a->buffers,
	                                   a->run->options->value_size, NULL);
	if (status != NEAR_OK)
		atomic_fetch_add(&a->run->missing, 1);
	return 1;
}

static uint64_t ask_many(asker *a)
{
	near_call settings = NEAR_CALL_INIT;
	uint64_t batch = a->run->options->batch, missing = 0;
	settings.flags = NEAR_NO_L1;
	for (uint64_t i = 0; i < batch; i++)
		bench_key_write(draw(a), a->keys[i]);
	if (near_get_many(a->run->cache, a->lookups, batch, &settings) != NEAR_OK)
		missing = batch;
	for (uint64_t i = 0; i < batch && missing < batch; i++)
		missing += a->lookups[i].status != NEAR_OK;
	if (missing > 0)
		atomic_fetch_add(&a->run->missing, missing);
	return batch;
}

/* `depth` GETs in one write, then their answers; each value is copied out as near_get does. */
static uint64_t ask_bare(asker *a, redisContext *redis, uint64_t depth)
{
	l2_run *run = a->run;
	char name[NEAR__NAME_MAX], key[BENCH_KEY_SIZE];
	for (uint64_t i = 0; i < depth; i++) {
		bench_key_write(draw(a), key);
		size_t size = near__l2_data_name(run->prefix, key, sizeof(key), name);
		const char *argv[] = {"GET", name};
		const size_t sizes[] = {3, size};
		(void)redisAppendCommandArgv(redis, 2, argv, sizes);
	}
	for (uint64_t i = 0; i < depth; i++) {
		redisReply *reply = NULL;
		if (redisGetReply(redis, (void **)&reply) != REDIS_OK || reply->type != REDIS_REPLY_STRING ||
		    reply->len < run->options->value_size)
			atomic_fetch_add(&run->missing, 1);
		else
			memcpy(a->buffers, reply->str + reply->len - run->options->value_size, run->options->value_size);
		if (reply == NULL)
			return depth; /* the connection is gone; every later answer is missing, too */
		freeReplyObject(reply);
	}
	return depth;
}

static uint64_t ask(asker *a)
{
	const l2_options *o = a->run->options;
	switch (a->way) {
	case WAY_GET:
		return ask_get(a);
	case WAY_MANY:
		return ask_many(a);
	case WAY_BARE:
		return ask_bare(a, a->run->connections[0], o->threads);
	case WAY_BARE_MANY:
		return ask_bare(a, a->run->connections[0], o->threads * o->batch);
	default:
		return ask_bare(a, a->run->connections[a->index], 1);
	}
}

static void *asker_main(void *argument)
{
	asker *a = argument;
	uint64_t gets = 0;
	while (!atomic_load_explicit(&a->run->stop, memory_order_relaxed)) {
		int64_t from_ns = near__now_ns();
		gets += ask(a);
		near__histogram_add(a->run->latency[a->way], (uint64_t)(near__now_ns() - from_ns));
	}
	atomic_fetch_add(&a->run->gets, gets);
	return NULL;
}

/* One way for a while; its gets per second. */
static double run_way(l2_run *run, asker *askers, way which)
{
	unsigned threads = which == WAY_BARE || which == WAY_BARE_MANY ? 1 : (unsigned)run->options->threads;
	atomic_store(&run->stop, false);
	atomic_store(&run->gets, 0);
	int64_t from_ns = near__now_ns();
	for (unsigned i = 0; i < threads; i++) {
		askers[i].way = which;
		if (pthread_create(&askers[i].thread, NULL, asker_main, &askers[i]) != 0) {
			(void)fprintf(stderr, "nearbench l2: a thread cannot be made\n");
			exit(BENCH_EXIT_BROKEN);
		}
	}
	bench_sleep_us((uint64_t)(run->options->seconds * 1e6));
	atomic_store(&run->stop, true);
	for (unsigned i = 0; i < threads; i++)
		(void)pthread_join(askers[i].thread, NULL);
	return (double)run->gets * 1e9 / (double)(near__now_ns() - from_ns);
}

static asker *askers_make(l2_run *run)
{
	const l2_options *o = run->options;
	asker *askers = bench_alloc(o->threads, sizeof(*askers));
	for (unsigned i = 0; i < o->threads; i++) {
		asker *a = &askers[i];
		*a = (asker){.run = run, .index = i, .random = o->seed * 1000 + i};
		a->buffers = bench_alloc(o->batch, o->value_size);
		a->lookups = bench_alloc(o->batch, sizeof(near_lookup));
		a->keys = bench_alloc(o->batch, sizeof(*a->keys));
		for (uint64_t k = 0; k < o->batch; k++)
			a->lookups[k] = (near_lookup){.key = a->keys[k], .key_size = BENCH_KEY_SIZE,
			                              .buf = a->buffers + k * o->value_size, .buf_size = o->value_size};
	}
	return askers;
}

static void askers_free(asker *askers, uint64_t threads)
{
	for (uint64_t i = 0; i < threads; i++) {
		free(askers[i].buffers);
		free(askers[i].lookups);
		free(askers[i].keys);
	}
	free(askers);
}

static bool fill(l2_run *run, near_error *error)
{
	const l2_options *o = run->options;
	unsigned char *value = bench_alloc(1, o->value_size);
	char key[BENCH_KEY_SIZE];
	near_call settings = NEAR_CALL_INIT;
	near_status status = NEAR_OK;
	settings.flags = NEAR_NO_L1;
	settings.ttl_ms = 3600000;
	memset(value, 'v', o->value_size);
	bench_progress_begin("filling", o->items);
	for (uint64_t i = 0; i < o->items && status == NEAR_OK; i++) {
		bench_key_write(i, key);
		status = near_put(run->cache, key, sizeof(key), value, o->value_size, &settings);
		bench_progress_at(i);
	}
	bench_progress_end();
	free(value);
	if (status != NEAR_OK)
		(void)snprintf(error->text, sizeof(error->text), "a put answered %s", near_status_name(status));
	return status == NEAR_OK;
}

static bool prepare(l2_run *run, near_error *error)
{
	near_options options;
	if (!bench_home_open(&run->home, run->options->redis, error))
		return false;
	bench_home_options(&run->home, &options);
	options.pipeline_max = 1048576;
	if (near_open(&options, &run->cache, error) != NEAR_OK)
		return false;
	if (near_wait_ready(run->cache, 20000) != NEAR_OK) {
		(void)snprintf(error->text, sizeof(error->text), "the cache does not get ready");
		return false;
	}
	near__l2_prefix(run->home.name_space, options.schema_version, run->prefix);
	run->connections = bench_alloc(run->options->threads, sizeof(*run->connections));
	for (uint64_t i = 0; i < run->options->threads; i++) {
		run->connections[i] = bench_home_connect(&run->home, error);
		if (run->connections[i] == NULL)
			return false;
	}
	for (unsigned w = 0; w < WAYS; w++)
		run->latency[w] = near__histogram_create();
	return fill(run, error);
}

static void clean_up(l2_run *run)
{
	for (uint64_t i = 0; run->connections != NULL && i < run->options->threads; i++)
		if (run->connections[i] != NULL)
			redisFree(run->connections[i]);
	free(run->connections);
	near_close(run->cache);
	bench_home_close(&run->home);
	for (unsigned w = 0; w < WAYS; w++)
		near__histogram_free(run->latency[w]);
}

static double median_of(const double *values, size_t count)
{
	double sorted[ROUNDS_MAX];
	memcpy(sorted, values, count * sizeof(*values));
	for (size_t i = 1; i < count; i++)
		for (size_t k = i; k > 0 && sorted[k] < sorted[k - 1]; k--) {
			double higher = sorted[k - 1];
			sorted[k - 1] = sorted[k];
			sorted[k] = higher;
		}
	return count % 2 == 1 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

static void report_all(bench_report *r, l2_run *run)
{
	static const char *const names[WAYS][4] = {
		{"near_get_per_s", "near_get_p50_us", "near_get_p99_us", "1/s, T threads"},
		{"bare_pipelined_per_s", "bare_pipelined_p50_us", "bare_pipelined_p99_us", "1/s, T in flight"},
		{"near_get_many_per_s", "near_get_many_p50_us", "near_get_many_p99_us", "1/s, T threads, K each"},
		{"bare_batched_per_s", "bare_batched_p50_us", "bare_batched_p99_us", "1/s, T times K in flight"},
		{"bare_threads_per_s", "bare_threads_p50_us", "bare_threads_p99_us", "1/s, T connections, one in flight each"},
	};
	const l2_options *o = run->options;
	double middle[WAYS];
	bench_report_count(r, "items", o->items, "");
	bench_report_count(r, "value_size", o->value_size, "bytes");
	bench_report_count(r, "threads", o->threads, "T");
	bench_report_count(r, "batch", o->batch, "K");
	bench_report_count(r, "repeat", o->repeat, "rounds of each way, in turns");
	for (unsigned w = 0; w < WAYS; w++) {
		middle[w] = median_of(run->per_s[w], o->repeat);
		bench_report_median(r, names[w][0], run->per_s[w], o->repeat, names[w][3]);
		bench_report_real(r, names[w][1], (double)near__histogram_quantile(run->latency[w], 0.5) / 1e3, "us, of a call");
		bench_report_real(r, names[w][2], (double)near__histogram_quantile(run->latency[w], 0.99) / 1e3, "us, of a call");
	}
	bench_report_real(r, "near_get_share_of_bare", middle[WAY_GET] / middle[WAY_BARE], "of bare_pipelined");
	bench_report_real(r, "near_get_many_share_of_bare", middle[WAY_MANY] / middle[WAY_BARE_MANY], "of bare_batched");
	bench_report_real(r, "near_get_share_of_threads", middle[WAY_GET] / middle[WAY_BARE_THREADS], "of bare_threads");
	bench_report_promise(r, "every_value_found", run->missing == 0, "%" PRIu64 " answers were missing", run->missing);
}

static int run_all(const bench_command *command, l2_run *run, bench_report *report)
{
	near_error error = {""};
	int status = BENCH_EXIT_BROKEN;
	if (prepare(run, &error)) {
		asker *askers = askers_make(run);
		bench_progress_begin("asking", run->options->repeat * WAYS);
		for (unsigned round = 0; round < run->options->repeat; round++) {
			for (unsigned w = 0; w < WAYS; w++) {
				run->per_s[w][round] = run_way(run, askers, (way)w);
				bench_progress_at(round * WAYS + w + 1);
			}
		}
		bench_progress_end();
		report_all(report, run);
		askers_free(askers, run->options->threads);
		status = bench_report_print(report, run->options->common.json);
	} else {
		bench_progress_end();
		(void)fprintf(stderr, "nearbench %s: %s\n", command->name, error.text);
	}
	clean_up(run);
	return status;
}

static int l2_main(const bench_command *command, int argc, char *const *argv)
{
	l2_options o = {.items = 10000, .value_size = 100, .threads = 8, .batch = 16, .repeat = 5, .seed = 1, .seconds = 0.5};
	bench_arg table[] = {
		{"items", BENCH_ARG_COUNT, &o.items, 1, 10000000, NULL, "N", "different keys in Redis", false},
		{"value-size", BENCH_ARG_SIZE, &o.value_size, 1, 16777216, NULL, "BYTES", "of every value", false},
		{"threads", BENCH_ARG_COUNT, &o.threads, 1, THREADS_MAX, NULL, "T", "that get at once", false},
		{"batch", BENCH_ARG_COUNT, &o.batch, 1, BATCH_MAX, NULL, "K", "keys of each near_get_many", false},
		{"seconds", BENCH_ARG_REAL, &o.seconds, 0.01, 600, NULL, "S", "of each way in each round", false},
		{"repeat", BENCH_ARG_COUNT, &o.repeat, 1, ROUNDS_MAX, NULL, "N", "rounds; medians are reported", false},
		{"redis", BENCH_ARG_TEXT, &o.redis, 0, 0, NULL, "URL", "instead of a private server", false},
		{"seed", BENCH_ARG_COUNT, &o.seed, 0, 1e15, NULL, "N", "of all that is drawn", false},
		BENCH_COMMON_ARGS(o.common),
	};
	int status;
	if (!bench_command_begin(command, table, argc, argv, &status))
		return status;
	bench_report *report = bench_command_report(command, &o.common);
	if (report == NULL)
		return BENCH_EXIT_USAGE;
	l2_run run = {.options = &o};
	status = run_all(command, &run, report);
	bench_report_free(report);
	return status;
}

const bench_command bench_command_l2 = {
	.name = "l2",
	.summary = "gets that Redis answers, beside bare hiredis",
	.about =
		"Threads get keys through the library with L1 left out, one at a time and in batches, from a private Redis unless\n"
		"--redis is given; beside that, in turns, the same GETs by bare hiredis on the same socket: pipelined by one thread\n"
		"with as many in flight, and by as many threads with a connection each and one in flight.\n\n"
		"  near_get_share_of_bare       near_get_per_s by bare_pipelined_per_s\n"
		"  near_get_many_share_of_bare  near_get_many_per_s by bare_batched_per_s\n",
	.examples = "  nearbench l2\n"
		"  nearbench l2 --threads 32 --batch 64 --value-size 1K --json\n",
	.run = l2_main,
};
