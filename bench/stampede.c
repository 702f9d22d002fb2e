/* nearbench stampede: does a key that is dear to load get loaded once?
 *
 *   cold    all threads of all processes ask for a key that nobody has, at the same moment; the load sleeps --load-ms.
 *           Once per round, each with a key of its own
 *   hot     all of them ask for one key again and again, over --expiries lives of the value, with XFetch
 *   plain   the same for another key without it (beta below 0): what plain expiry does to the callers
 *
 * A generation of the value needs one load. Each load notes when it began; one that begins within a quarter of a life after
 * the first of a generation is a load too many of that generation (XFetch refreshes a value that is asked for 20,000 times a
 * second about two thirds into its life, so generations are further apart than that).
 * A caller has waited when its answer did not come out of this process's L1 and took at least a quarter of a load; latencies
 * of all calls are kept as samples and told as they are.
 */
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "command.h"
#include "crowd.h"
#include "home.h"
#include "measure.h"
#include "progress.h"

#define COLD_ROUNDS_MAX 32
#define CALLERS_MAX 1024
#define LOADS_MAX 65536
#define VALUE_SIZE 100
#define READY_MS 20000

enum { GATE_HOT = COLD_ROUNDS_MAX, GATE_PLAIN = GATE_HOT + 2 }; /* two each: loaded once, held by every process */
enum { PHASE_COLD, PHASE_HOT, PHASE_PLAIN, PHASES };

typedef struct stampede_options {
	uint64_t processes, threads, cold_rounds, load_ms, ttl_ms, expiries, think_us;
	double beta;
	const char *redis;
	bench_common common;
} stampede_options;

/* What all processes write to. */
typedef struct tally {
	_Atomic(uint64_t) cold_loads[COLD_ROUNDS_MAX], loads[PHASES], failures, waited[PHASES], calls[PHASES];
	_Atomic(uint64_t) refreshes, adopted, load_joins, load_waits, refused;
	int64_t load_ns[PHASES][LOADS_MAX]; /* when each load began */
	uint64_t kept[PHASES]; /* samples that each caller has room for */
	uint64_t count[PHASES][CALLERS_MAX];
	int64_t *samples[PHASES]; /* of callers, one after the other; shared memory */
} tally;

typedef struct stampede {
	const stampede_options *options;
	const bench_home *home;
	bench_crowd crowd;
	tally *tally;
	unsigned callers;
} stampede;

/* One process: its cache and its threads. */
typedef struct caller_process {
	stampede *all;
	near_cache *cache;
	unsigned index;
} caller_process;

typedef struct caller {
	caller_process *process;
	pthread_t thread;
	unsigned index;  /* among all */
} caller;

/* Lives until the process ends: refreshes in the background use it. */
typedef struct loader_context {
	stampede *all;
	int phase;
	unsigned round;
} loader_context;

static near_status load_slowly(void *ctx, const void *key, size_t key_size, near_loaded *loaded)
{
	const loader_context *c = ctx;
	tally *t = c->all->tally;
	char value[VALUE_SIZE];
	(void)key;
	(void)key_size;
	t->load_ns[c->phase][atomic_fetch_add(&t->loads[c->phase], 1) % LOADS_MAX] = near__now_ns();
	if (c->phase == PHASE_COLD)
		atomic_fetch_add(&t->cold_loads[c->round], 1);
	bench_sleep_us(c->all->options->load_ms * 1000);
	memset(value, 'v', sizeof(value));
	return near_loaded_set(loaded, value, sizeof(value));
}

static void note(caller *me, int phase, int64_t took_ns, near_status status, const near_item *item)
{
	stampede *all = me->process->all;
	tally *t = all->tally;
	atomic_fetch_add(&t->calls[phase], 1);
	if (status != NEAR_OK) {
		atomic_fetch_add(&t->failures, 1);
		return;
	}
	if (item->source != NEAR_FROM_L1 && took_ns >= (int64_t)all->options->load_ms * NEAR__MS_NS / 4)
		atomic_fetch_add(&t->waited[phase], 1);
	uint64_t at = t->count[phase][me->index]++;
	t->samples[phase][me->index * t->kept[phase] + at % t->kept[phase]] = took_ns;
}

static void call(caller *me, const char *key, loader_context *ctx, double beta)
{
	near_call settings = NEAR_CALL_INIT;
	char value[VALUE_SIZE];
	near_item item;
	settings.ttl_ms = me->process->all->options->ttl_ms;
	settings.beta = beta;
	settings.stale_ms = NEAR_NO_STALE;
	if (ctx->phase == PHASE_COLD)
		settings.ttl_ms = 600000;
	int64_t from_ns = near__now_ns();
	near_status status = near_load(me->process->cache, key, strlen(key), load_slowly, ctx, &settings, value, sizeof(value),
	                               &item);
	note(me, ctx->phase, near__now_ns() - from_ns, status, &item);
}

static loader_context *context_of(caller *me, int phase, unsigned round)
{
	loader_context *ctx = bench_alloc(1, sizeof(*ctx)); /* for ever, see above */
	*ctx = (loader_context){me->process->all, phase, round};
	return ctx;
}

static bool run_cold(caller *me)
{
	char key[32];
	for (unsigned round = 0; round < me->process->all->options->cold_rounds; round++) {
		loader_context *ctx = context_of(me, PHASE_COLD, round);
		(void)snprintf(key, sizeof(key), "article:cold:%u", round);
		if (!bench_crowd_pass(&me->process->all->crowd, round))
			return false;
		call(me, key, ctx, -1);
	}
	return true;
}

/* The first to ask loads before the first gate, and every process has the value before the second, so that what follows are
 * expiries alone. */
static bool run_hot(caller *me, int phase, unsigned gate, double beta)
{
	stampede *all = me->process->all;
	const char *key = phase == PHASE_HOT ? "article:hot" : "article:plain";
	loader_context *ctx = context_of(me, phase, 0);
	if (me->index == 0)
		call(me, key, ctx, beta);
	if (!bench_crowd_pass(&all->crowd, gate))
		return false;
	call(me, key, ctx, beta);
	if (!bench_crowd_pass(&all->crowd, gate + 1))
		return false;
	all->tally->count[phase][me->index] = 0;
	int64_t end_ns = near__now_ns() + (int64_t)(all->options->expiries * all->options->ttl_ms) * NEAR__MS_NS;
	while (near__now_ns() < end_ns) {
		call(me, key, ctx, beta);
		bench_sleep_us(all->options->think_us);
	}
	return true;
}

static void *caller_main(void *argument)
{
	caller *me = argument;
	if (run_cold(me) && run_hot(me, PHASE_HOT, GATE_HOT, me->process->all->options->beta))
		(void)run_hot(me, PHASE_PLAIN, GATE_PLAIN, -1);
	return NULL;
}

static int process_main(bench_crowd *crowd, unsigned index, void *argument)
{
	stampede *all = argument;
	caller_process process = {.all = all, .index = index};
	const stampede_options *o = all->options;
	caller *callers = bench_alloc(o->threads, sizeof(*callers));
	near_options options;
	near_error error = {""};
	near_stats stats;
	(void)crowd;
	bench_home_options(all->home, &options);
	options.ttl_jitter_percent = 0;
	if (near_open(&options, &process.cache, &error) != NEAR_OK || near_wait_ready(process.cache, READY_MS) != NEAR_OK) {
		(void)fprintf(stderr, "nearbench stampede: process %u is not ready: %s\n", index, error.text);
		return 1;
	}
	for (unsigned i = 0; i < o->threads; i++) {
		callers[i] = (caller){.process = &process, .index = index * (unsigned)o->threads + i};
		if (pthread_create(&callers[i].thread, NULL, caller_main, &callers[i]) != 0)
			return 1;
	}
	for (unsigned i = 0; i < o->threads; i++)
		(void)pthread_join(callers[i].thread, NULL);
	near_stats_get(process.cache, &stats);
	atomic_fetch_add(&all->tally->refreshes, stats.refreshes);
	atomic_fetch_add(&all->tally->adopted, stats.refreshes_adopted);
	atomic_fetch_add(&all->tally->load_joins, stats.load_joins);
	atomic_fetch_add(&all->tally->load_waits, stats.load_waits);
	atomic_fetch_add(&all->tally->refused, stats.fills_refused_l1 + stats.fills_refused_l2);
	near_close(process.cache);
	return 0;
}

/* ------------------------------------------------------------- parent */

static bool moment_passed(void *argument)
{
	return near__now_ns() >= *(const int64_t *)argument;
}

static bool watch(stampede *all, const char *what, uint64_t ms)
{
	int64_t from_ns = near__now_ns(), total_ns = (int64_t)ms * NEAR__MS_NS;
	bench_progress_begin(what, (uint64_t)total_ns);
	for (int64_t now_ns = from_ns; now_ns < from_ns + total_ns; now_ns = near__now_ns()) {
		int64_t next_ns = now_ns + 100 * NEAR__MS_NS;
		if (!bench_crowd_until(&all->crowd, moment_passed, &next_ns, 1000000))
			return false;
		bench_progress_at((uint64_t)(now_ns - from_ns));
	}
	return true;
}

static bool open_phase(stampede *all, int phase, unsigned gate)
{
	tally *t = all->tally;
	if (!bench_crowd_open(&all->crowd, gate, all->callers) || !bench_crowd_gather(&all->crowd, gate + 1, all->callers))
		return false;
	atomic_store(&t->waited[phase], 0);
	atomic_store(&t->calls[phase], 0);
	return bench_crowd_open(&all->crowd, gate + 1, all->callers);
}

static bool conduct(stampede *all)
{
	const stampede_options *o = all->options;
	uint64_t hot_ms = o->expiries * o->ttl_ms;
	bench_progress_begin("cold", o->cold_rounds);
	for (unsigned round = 0; round < o->cold_rounds; round++) {
		if (!bench_crowd_open(&all->crowd, round, all->callers))
			return false;
		bench_progress_at(round);
	}
	if (!open_phase(all, PHASE_HOT, GATE_HOT) || !watch(all, "hot, with XFetch", hot_ms) ||
	    !open_phase(all, PHASE_PLAIN, GATE_PLAIN) || !watch(all, "hot, plain expiry", hot_ms))
		return false;
	bench_progress_end();
	return true;
}

/* The samples of a phase of all callers, sorted; the caller frees. */
static int64_t *gather(const stampede *all, int phase, size_t *count)
{
	const tally *t = all->tally;
	int64_t *sorted = bench_alloc(all->callers * t->kept[phase] + 1, sizeof(*sorted));
	*count = 0;
	for (unsigned c = 0; c < all->callers; c++) {
		uint64_t have = t->count[phase][c] < t->kept[phase] ? t->count[phase][c] : t->kept[phase];
		memcpy(sorted + *count, t->samples[phase] + c * t->kept[phase], have * sizeof(*sorted));
		*count += have;
	}
	bench_sort(sorted, *count);
	return sorted;
}

/* Groups of loads that begin within a quarter of a life. */
static uint64_t generations_of(const stampede *all, int phase)
{
	const tally *t = all->tally;
	uint64_t loads = t->loads[phase] < LOADS_MAX ? t->loads[phase] : LOADS_MAX, generations = 0;
	int64_t apart_ns = (int64_t)all->options->ttl_ms * NEAR__MS_NS / 4, first_ns = 0;
	int64_t *begun = bench_alloc(loads + 1, sizeof(*begun));
	memcpy(begun, t->load_ns[phase], loads * sizeof(*begun));
	bench_sort(begun, loads);
	for (uint64_t i = 0; i < loads; i++) {
		if (i > 0 && begun[i] - first_ns < apart_ns)
			continue;
		first_ns = begun[i];
		generations++;
	}
	free(begun);
	return generations;
}

static void report_cold(bench_report *r, const stampede *all)
{
	const tally *t = all->tally;
	uint64_t worst = 0;
	size_t count;
	int64_t *samples = gather(all, PHASE_COLD, &count);
	for (unsigned i = 0; i < all->options->cold_rounds; i++)
		worst = t->cold_loads[i] > worst ? t->cold_loads[i] : worst;
	bench_report_count(r, "cold_keys", all->options->cold_rounds, "each asked for by all callers at once");
	bench_report_count(r, "cold_loads", t->loads[PHASE_COLD], "");
	bench_report_count(r, "cold_loads_per_key_max", worst, "");
	bench_report_real(r, "cold_p50_ms", (double)bench_quantile(samples, count, 0.5) / 1e6, "ms");
	bench_report_real(r, "cold_max_ms", count > 0 ? (double)samples[count - 1] / 1e6 : 0, "ms");
	bench_report_promise(r, "cold_one_load", worst == 1 && t->loads[PHASE_COLD] == all->options->cold_rounds,
	                     "%" PRIu64 " loads of %" PRIu64 " keys, %" PRIu64 " of one at most", t->loads[PHASE_COLD],
	                     all->options->cold_rounds, worst);
	free(samples);
}

static void report_phase(bench_report *r, const stampede *all, int phase, const char *name)
{
	const tally *t = all->tally;
	uint64_t generations = generations_of(all, phase);
	size_t count;
	int64_t *samples = gather(all, phase, &count);
	double per_generation = (double)t->loads[phase] / (double)(generations > 0 ? generations : 1);
	bench_report_row(r, "hot_key");
	bench_report_text(r, "expiry", name);
	bench_report_count(r, "calls", t->calls[phase], "");
	bench_report_count(r, "loads", t->loads[phase], "");
	bench_report_count(r, "generations", generations, "");
	bench_report_real(r, "loads_per_generation", per_generation, "");
	bench_report_count(r, "callers_waited", t->waited[phase], "");
	bench_report_real(r, "p50_us", (double)bench_quantile(samples, count, 0.5) / 1e3, "us");
	bench_report_real(r, "p999_us", (double)bench_quantile(samples, count, 0.999) / 1e3, "us");
	bench_report_real(r, "max_ms", count > 0 ? (double)samples[count - 1] / 1e6 : 0, "ms");
	bench_report_row(r, NULL);
	if (phase == PHASE_HOT) {
		bench_report_real(r, "hot_loads_per_generation", per_generation, "");
		bench_report_real(r, "hot_loads_per_expiry", (double)t->loads[phase] / (double)all->options->expiries,
		                  "a value is refreshed before its life is over");
		bench_report_count(r, "hot_callers_waited", t->waited[phase], "of all calls");
		bench_report_real(r, "hot_p999_us", (double)bench_quantile(samples, count, 0.999) / 1e3, "us");
		bench_report_real(r, "hot_max_ms", count > 0 ? (double)samples[count - 1] / 1e6 : 0, "ms");
		if (all->options->beta >= 0) {
			bench_report_promise(r, "hot_nobody_waits", t->waited[phase] == 0, "%" PRIu64 " of %" PRIu64 " calls waited",
			                     t->waited[phase], t->calls[phase]);
			bench_report_promise(r, "hot_loads", per_generation <= 1.2, "%.3f loads per generation, 1.2 at most",
			                     per_generation);
		}
	}
	free(samples);
}

static void report_all(bench_report *r, const stampede *all)
{
	const stampede_options *o = all->options;
	tally *t = all->tally;
	bench_report_count(r, "processes", o->processes, "");
	bench_report_count(r, "threads", o->threads, "each");
	bench_report_count(r, "load_ms", o->load_ms, "ms");
	bench_report_count(r, "ttl_ms", o->ttl_ms, "ms, of the hot keys");
	bench_report_count(r, "expiries", o->expiries, "lives of the value, each phase");
	report_cold(r, all);
	report_phase(r, all, PHASE_HOT, "xfetch");
	report_phase(r, all, PHASE_PLAIN, "plain");
	bench_report_count(r, "refreshes", t->refreshes, "");
	bench_report_count(r, "refreshes_adopted", t->adopted, "found in Redis");
	bench_report_count(r, "load_joins", t->load_joins, "callers on another thread's load");
	bench_report_count(r, "load_waits", t->load_waits, "callers on another process's load");
	bench_report_count(r, "fills_refused", t->refused, "overtaken");
	bench_report_promise(r, "every_call_answered", t->failures == 0, "%" PRIu64 " calls brought no fresh value", t->failures);
}

static void tally_make(stampede *all)
{
	const stampede_options *o = all->options;
	all->callers = (unsigned)(o->processes * o->threads);
	all->tally = bench_alloc_shared(sizeof(tally));
	for (int phase = 0; phase < PHASES; phase++) {
		uint64_t per_caller = o->expiries * o->ttl_ms * 1000 / (o->think_us + 50) + 16;
		all->tally->kept[phase] = phase == PHASE_COLD ? COLD_ROUNDS_MAX : per_caller < 100000 ? per_caller : 100000;
		all->tally->samples[phase] = bench_alloc_shared(all->callers * all->tally->kept[phase] * sizeof(int64_t));
	}
}

static int run_all(const bench_command *command, const stampede_options *o, bench_report *report)
{
	bench_home home;
	near_error error = {""};
	if (!bench_home_open(&home, o->redis, &error)) {
		(void)fprintf(stderr, "nearbench %s: %s\n", command->name, error.text);
		return BENCH_EXIT_BROKEN;
	}
	stampede all = {.options = o, .home = &home};
	tally_make(&all);
	bench_crowd_init(&all.crowd);
	bool good = bench_crowd_fork(&all.crowd, (unsigned)o->processes, process_main, &all) && conduct(&all);
	good = bench_crowd_join(&all.crowd) && good;
	bench_progress_end();
	bench_home_close(&home);
	if (!good) {
		(void)fprintf(stderr, "nearbench %s: the run failed\n", command->name);
		return BENCH_EXIT_BROKEN;
	}
	report_all(report, &all);
	return bench_report_print(report, o->common.json);
}

static int stampede_run(const bench_command *command, int argc, char *const *argv)
{
	stampede_options o = {.processes = 8, .threads = 8, .cold_rounds = 5, .load_ms = 50, .ttl_ms = 1000, .expiries = 20,
	                      .think_us = 2000};
	bench_arg table[] = {
		{"processes", BENCH_ARG_COUNT, &o.processes, 1, 32, NULL, "N", "with a cache each", false},
		{"threads", BENCH_ARG_COUNT, &o.threads, 1, 32, NULL, "N", "that call, in each process", false},
		{"load-ms", BENCH_ARG_COUNT, &o.load_ms, 1, 10000, NULL, "MS", "that a load takes", false},
		{"cold-keys", BENCH_ARG_COUNT, &o.cold_rounds, 1, COLD_ROUNDS_MAX, NULL, "N",
		 "asked for by everyone at once, one after the other", false},
		{"ttl-ms", BENCH_ARG_COUNT, &o.ttl_ms, 50, 600000, NULL, "MS", "life of the hot keys", false},
		{"expiries", BENCH_ARG_COUNT, &o.expiries, 1, 10000, NULL, "N", "lives that each hot phase lasts", false},
		{"think-us", BENCH_ARG_COUNT, &o.think_us, 0, 1000000, NULL, "US", "pause of a caller between calls", false},
		{"beta", BENCH_ARG_REAL, &o.beta, -1, 100, NULL, "B", "of XFetch; 0: the cache's own, below 0: never early", false},
		{"redis", BENCH_ARG_TEXT, &o.redis, 0, 0, NULL, "URL", "instead of a private server", false},
		BENCH_COMMON_ARGS(o.common),
	};
	int status;
	if (!bench_command_begin(command, table, argc, argv, &status))
		return status;
	if (o.processes * o.threads > CALLERS_MAX)
		return bench_usage(command, "at most %d callers: --processes times --threads", CALLERS_MAX);
	bench_report *report = bench_command_report(command, &o.common);
	if (report == NULL)
		return BENCH_EXIT_USAGE;
	status = run_all(command, &o, report);
	bench_report_free(report);
	return status;
}

const bench_command bench_command_stampede = {
	.name = "stampede",
	.summary = "a key that is dear to load, asked for by everyone",
	.about =
		"Processes with threads call near_load on one Redis, a private one unless --redis is given.\n\n"
		"  cold   keys that nobody has, asked for by all callers at the same moment: each is to be loaded once\n"
		"  hot    one key over many lives of its value, with XFetch: no caller is to wait, and there are to be at most 1.2\n"
		"         loads for each generation of the value (loads that begin within a quarter of a life are of one)\n"
		"  plain  the same with refreshes before expiry turned off, for comparison\n\n"
		"A caller has waited when its value did not come from this process's L1 and took a quarter of a load or more.\n",
	.examples = "  nearbench stampede\n"
		"  nearbench stampede --processes 4 --threads 2 --ttl-ms 300 --json\n",
	.run = stampede_run,
};
