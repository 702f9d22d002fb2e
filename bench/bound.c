/* nearbench bound: is the memory bound kept at every moment?
 *
 *   writers    put values of 10 B to 100 KB (log-uniform) under keys worth several times the bound, get and check others,
 *              and hold a few pins, until `fills` times the bound has been put
 *   sampler    a thread of its own reads the cache's mapped bytes without pause but for a nap of some microseconds, and now
 *              and then what the system says is resident
 *
 * Two witnesses: the cache's own account (sampled, and the most it ever was) must never pass the bound; the growth of the
 * process's resident memory, which knows nothing of that account, is reported beside it. With --resize the bound is
 * halved and doubled on the way; a lower bound holds from when near_set_memory has returned.
 */
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <nearcache/nearcache.h>
#include "base/clock.h"
#include "base/hash.h"
#include "command.h"
#include "keys.h"
#include "measure.h"
#include "progress.h"

#define THREADS_MAX 64
#define PINS 16
#define NAP_US 20
#define RSS_EVERY 256
#define WORKING_SETS 4 /* keys are worth this many times the bound */

typedef enum sizes_shape { SIZES_MIXED, SIZES_SHIFTING } sizes_shape;

typedef struct bound_options {
	uint64_t memory, threads, least, most, seed;
	double fills;
	unsigned sizes;
	bool resize;
	bench_common common;
} bound_options;

typedef struct bound_run {
	const bound_options *options;
	near_cache *cache;
	uint64_t keys, put_bytes_goal;
	_Atomic(uint64_t) put_bytes, puts, refused, gets, hits, wrong;
	_Atomic(uint64_t) allowed; /* what the bound is right now */
	_Atomic(bool) done;
	/* the sampler's */
	uint64_t samples, above, worst_above, mapped_seen_max, rss_before, rss_max;
} bound_run;

typedef struct writer {
	bound_run *run;
	pthread_t thread;
	uint64_t random;
	unsigned char *value, *got;
	near_pin pins[PINS];
	uint64_t pin_items[PINS];
	unsigned pin_at;
} writer;

/* A value begins and ends with what follows from its item and size. */
static uint64_t mark_of(uint64_t item, size_t size)
{
	uint64_t state = item * 31 + size;
	return near__random_next(&state);
}

static void value_mark(unsigned char *value, size_t size, uint64_t item)
{
	uint64_t mark = mark_of(item, size);
	memcpy(value, &mark, size < sizeof(mark) ? size : sizeof(mark));
	if (size >= 2 * sizeof(mark))
		memcpy(value + size - sizeof(mark), &mark, sizeof(mark));
}

static bool value_is_right(const unsigned char *value, size_t size, uint64_t item)
{
	uint64_t mark = mark_of(item, size);
	if (memcmp(value, &mark, size < sizeof(mark) ? size : sizeof(mark)) != 0)
		return false;
	return size < 2 * sizeof(mark) || memcmp(value + size - sizeof(mark), &mark, sizeof(mark)) == 0;
}

/* Log-uniform within the range; when shifting, each tenth of the run stays in the lower, upper or whole of it. */
static size_t draw_size(writer *w)
{
	const bound_options *o = w->run->options;
	double from = log((double)o->least), to = log((double)o->most), middle = (from + to) / 2;
	if (o->sizes == SIZES_SHIFTING) {
		uint64_t tenth = atomic_load(&w->run->put_bytes) * 10 / w->run->put_bytes_goal;
		if (tenth % 4 == 1)
			to = middle;
		else if (tenth % 4 == 3)
			from = middle;
	}
	double unit = (double)(near__random_next(&w->random) >> 11) * 0x1p-53;
	size_t size = (size_t)(exp(from + unit * (to - from)) + 0.5);
	return size < o->least ? o->least : size > o->most ? o->most : size;
}

static void put_one(writer *w, uint64_t item)
{
	bound_run *run = w->run;
	char key[BENCH_KEY_SIZE];
	size_t size = draw_size(w);
	bench_key_write(item, key);
	value_mark(w->value, size, item);
	if (near_put(run->cache, key, sizeof(key), w->value, size, NULL) != NEAR_OK)
		atomic_fetch_add(&run->refused, 1);
	atomic_fetch_add(&run->puts, 1);
	atomic_fetch_add(&run->put_bytes, sizeof(key) + size);
}

static void get_one(writer *w, uint64_t item)
{
	bound_run *run = w->run;
	char key[BENCH_KEY_SIZE];
	near_item found;
	bench_key_write(item, key);
	atomic_fetch_add(&run->gets, 1);
	if (near_get(run->cache, key, sizeof(key), w->got, run->options->most, &found) != NEAR_OK)
		return;
	atomic_fetch_add(&run->hits, 1);
	if (!value_is_right(w->got, found.value_size, item))
		atomic_fetch_add(&run->wrong, 1);
}

static void unpin(writer *w, unsigned at)
{
	near_pin *pin = &w->pins[at];
	if (pin->held != NULL && !value_is_right(pin->value, pin->value_size, w->pin_items[at]))
		atomic_fetch_add(&w->run->wrong, 1);
	if (pin->held != NULL)
		near_unpin(pin);
	pin->held = NULL;
}

/* The oldest pin goes, this one comes: pinned values are replaced and evicted meanwhile and must not change. */
static void pin_one(writer *w, uint64_t item)
{
	char key[BENCH_KEY_SIZE];
	unsigned at = w->pin_at++ % PINS;
	bench_key_write(item, key);
	unpin(w, at);
	if (near_get_pinned(w->run->cache, key, sizeof(key), NULL, &w->pins[at]) == NEAR_OK)
		w->pin_items[at] = item;
	else
		w->pins[at].held = NULL;
}

static void *writer_main(void *argument)
{
	writer *w = argument;
	bound_run *run = w->run;
	while (atomic_load(&run->put_bytes) < run->put_bytes_goal) {
		uint64_t item = near__random_next(&w->random) % run->keys;
		unsigned what = (unsigned)(near__random_next(&w->random) % 16);
		if (what < 10)
			put_one(w, item);
		else if (what < 15)
			get_one(w, item);
		else
			pin_one(w, item);
	}
	for (unsigned i = 0; i < PINS; i++)
		unpin(w, i);
	return NULL;
}

static void sample(bound_run *run)
{
	near_stats stats;
	/* A bound that is being lowered counts from the return of the call, so the one before may stand for this sample. */
	uint64_t allowed = atomic_load(&run->allowed);
	near_stats_get(run->cache, &stats);
	if (atomic_load(&run->allowed) > allowed)
		allowed = atomic_load(&run->allowed);
	run->samples++;
	if (stats.mapped_bytes > run->mapped_seen_max)
		run->mapped_seen_max = stats.mapped_bytes;
	if (stats.mapped_bytes > allowed) {
		run->above++;
		if (stats.mapped_bytes - allowed > run->worst_above)
			run->worst_above = stats.mapped_bytes - allowed;
	}
	if (run->samples % RSS_EVERY == 0) {
		uint64_t rss = bench_rss_bytes();
		run->rss_max = rss > run->rss_max ? rss : run->rss_max;
	}
}

static void *sampler_main(void *argument)
{
	bound_run *run = argument;
	while (!atomic_load(&run->done)) {
		sample(run);
		bench_sleep_us(NAP_US);
	}
	sample(run);
	return NULL;
}

static near_status set_memory(bound_run *run, uint64_t bytes)
{
	bool raise = bytes > atomic_load(&run->allowed);
	if (raise)
		atomic_store(&run->allowed, bytes);
	near_status status = near_set_memory(run->cache, bytes);
	if (!raise && status == NEAR_OK)
		atomic_store(&run->allowed, bytes);
	return status;
}

/* While the writers write: the bar, and the changes of the bound at the quarters of the run. */
static near_status attend(bound_run *run)
{
	const uint64_t steps[] = {run->options->memory / 2, run->options->memory * 2, run->options->memory};
	near_status status = NEAR_OK;
	unsigned step = 0;
	for (;;) {
		uint64_t put_bytes = atomic_load(&run->put_bytes);
		if (put_bytes >= run->put_bytes_goal)
			return status;
		if (run->options->resize && step < 3 && put_bytes * 4 >= run->put_bytes_goal * (step + 1)) {
			near_status changed = set_memory(run, steps[step++]);
			status = changed != NEAR_OK ? changed : status;
		}
		bench_progress_at(put_bytes);
		bench_sleep_us(2000);
	}
}

static void start(pthread_t *thread, void *(*main)(void *), void *argument)
{
	if (pthread_create(thread, NULL, main, argument) == 0)
		return;
	(void)fprintf(stderr, "nearbench bound: a thread cannot be made\n");
	exit(BENCH_EXIT_BROKEN);
}

static near_status run_threads(bound_run *run)
{
	const bound_options *o = run->options;
	writer *writers = bench_alloc(o->threads, sizeof(writer));
	pthread_t sampler;
	for (uint64_t i = 0; i < o->threads; i++) {
		writers[i] = (writer){.run = run, .random = o->seed * 1000 + i};
		writers[i].value = bench_alloc(1, o->most);
		writers[i].got = bench_alloc(1, o->most);
		memset(writers[i].value, 'v', o->most);
		memset(writers[i].got, 'g', o->most);
	}
	run->rss_before = run->rss_max = bench_rss_bytes();
	bench_progress_begin("filling", run->put_bytes_goal);
	start(&sampler, sampler_main, run);
	for (uint64_t i = 0; i < o->threads; i++)
		start(&writers[i].thread, writer_main, &writers[i]);
	near_status status = attend(run);
	for (uint64_t i = 0; i < o->threads; i++)
		(void)pthread_join(writers[i].thread, NULL);
	atomic_store(&run->done, true);
	(void)pthread_join(sampler, NULL);
	bench_progress_end();
	for (uint64_t i = 0; i < o->threads; i++) {
		free(writers[i].value);
		free(writers[i].got);
	}
	free(writers);
	return status;
}

static void report_all(bench_report *r, bound_run *run, near_status resized, double seconds)
{
	const bound_options *o = run->options;
	near_stats s;
	near_stats_get(run->cache, &s);
	uint64_t bound = o->resize ? o->memory * 2 : o->memory;
	bench_report_count(r, "limit_bytes", s.limit_bytes, "bytes");
	bench_report_count(r, "mapped_bytes_max", s.mapped_bytes_max, "bytes, by the cache's account");
	bench_report_count(r, "mapped_bytes_sampled_max", run->mapped_seen_max, "bytes, by the sampler");
	bench_report_count(r, "samples", run->samples, "");
	bench_report_count(r, "samples_above", run->above, "");
	bench_report_count(r, "rss_growth_max", run->rss_max - run->rss_before, "bytes, by the system");
	bench_report_count(r, "put_bytes", run->put_bytes, "key and value bytes");
	bench_report_real(r, "fills", (double)run->put_bytes / (double)o->memory, "times the bound");
	bench_report_count(r, "puts", run->puts, "");
	bench_report_real(r, "puts_per_s", (double)run->puts / seconds, "1/s");
	bench_report_count(r, "puts_refused", run->refused, "by an error");
	bench_report_count(r, "puts_declined", s.puts_declined, "not admitted");
	bench_report_real(r, "hit_ratio", (double)run->hits / (double)(run->gets > 0 ? run->gets : 1), "");
	bench_report_count(r, "evictions", s.evictions, "");
	bench_report_count(r, "items", s.items, "at the end");
	bench_report_count(r, "payload_bytes", s.payload_bytes, "at the end");
	bench_report_real(r, "payload_share", (double)s.payload_bytes / (double)s.limit_bytes, "of the bound");
	bench_report_count(r, "table_bytes", s.table_bytes, "");
	bench_report_count(r, "retired_bytes", s.retired_bytes, "");
	bench_report_count(r, "fragmentation_bytes", s.fragmentation_bytes, "");
	bench_report_promise(r, "bound", run->above == 0 && s.mapped_bytes_max <= bound,
	                     "%" PRIu64 " of %" PRIu64 " samples above, by %" PRIu64 " bytes at worst; most ever %" PRIu64
	                     " of %" PRIu64, run->above, run->samples, run->worst_above, s.mapped_bytes_max, bound);
	bench_report_promise(r, "right_values", run->wrong == 0, "%" PRIu64 " of %" PRIu64 " values were not what was put",
	                     run->wrong, run->hits);
	if (o->resize)
		bench_report_promise(r, "resized", resized == NEAR_OK, "near_set_memory to half, double and back: %s",
		                     near_status_name(resized));
}

static near_status open_cache(bound_run *run, near_error *error)
{
	near_options options;
	near_options_init(&options);
	options.ignore_environment = 1;
	options.memory_bytes = run->options->memory;
	options.ttl_ms = options.ttl_max_ms;
	return near_open(&options, &run->cache, error);
}

static int bound_main(const bench_command *command, int argc, char *const *argv)
{
	bound_options o = {.memory = UINT64_C(64) << 20, .threads = 2, .least = 10, .most = 100000, .seed = 1, .fills = 10};
	bench_arg table[] = {
		{"memory", BENCH_ARG_SIZE, &o.memory, 16777216, 17179869184.0, NULL, "BYTES", "the bound", false},
		{"fills", BENCH_ARG_REAL, &o.fills, 0.1, 100000, NULL, "N", "times the bound is put in all", false},
		{"least", BENCH_ARG_SIZE, &o.least, 1, 16777216, NULL, "BYTES", "smallest value", false},
		{"most", BENCH_ARG_SIZE, &o.most, 1, 16777216, NULL, "BYTES", "largest value", false},
		{"sizes", BENCH_ARG_CHOICE, &o.sizes, 0, 0, "mixed|shifting", "",
		 "log-uniform always, or small and large in turns", false},
		{"threads", BENCH_ARG_COUNT, &o.threads, 1, THREADS_MAX, NULL, "N", "that write and read", false},
		{"resize", BENCH_ARG_FLAG, &o.resize, 0, 0, NULL, NULL, "halve, double and restore the bound on the way", false},
		{"seed", BENCH_ARG_COUNT, &o.seed, 0, 1e15, NULL, "N", "of all that is drawn", false},
		BENCH_COMMON_ARGS(o.common),
	};
	int status;
	if (!bench_command_begin(command, table, argc, argv, &status))
		return status;
	if (o.least > o.most)
		return bench_usage(command, "--least is above --most");
	if (o.resize && o.memory < UINT64_C(32) << 20)
		return bench_usage(command, "--resize halves the bound, and the least is 16 MiB: --memory 32M or more");
	bench_report *report = bench_command_report(command, &o.common);
	if (report == NULL)
		return BENCH_EXIT_USAGE;
	bound_run run = {.options = &o};
	near_error error = {""};
	double mean = o.most > o.least ? (double)(o.most - o.least) / log((double)o.most / (double)o.least) : (double)o.most;
	run.keys = (uint64_t)((double)o.memory * WORKING_SETS / (mean + BENCH_KEY_SIZE)) + 1;
	run.put_bytes_goal = (uint64_t)((double)o.memory * o.fills);
	atomic_store(&run.allowed, o.memory);
	if (open_cache(&run, &error) == NEAR_OK) {
		int64_t from_ns = near__now_ns();
		near_status resized = run_threads(&run);
		report_all(report, &run, resized, (double)(near__now_ns() - from_ns) / 1e9);
		near_close(run.cache);
		status = bench_report_print(report, o.common.json);
	} else {
		(void)fprintf(stderr, "nearbench %s: the cache cannot be opened: %s\n", command->name, error.text);
		status = BENCH_EXIT_BROKEN;
	}
	bench_report_free(report);
	return status;
}

const bench_command bench_command_bound = {
	.name = "bound",
	.summary = "is the memory bound kept at every moment?",
	.about =
		"Threads put values of 10 B to 100 KB into a cache without Redis until ten times its bound has been put, and get,\n"
		"check and pin others. Another thread samples all the while.\n\n"
		"  mapped_bytes_max          the most the cache's own account ever was\n"
		"  mapped_bytes_sampled_max  the most that a sample saw; samples_above counts those over the bound of the moment\n"
		"  rss_growth_max            growth of the process's resident memory, a witness that knows nothing of the account\n\n"
		"Promises: no sample and no most above the bound; every value got or pinned is the one that was put.\n",
	.examples = "  nearbench bound\n"
		"  nearbench bound --sizes shifting --resize --fills 30 --json\n"
		"  nearbench bound --memory 16M --most 1M --threads 8\n",
	.run = bound_main,
};
