/* nearbench l1: what a call costs when the value is in this process.
 *
 *   sequence   per thread, drawn before the clock starts: 32 bytes a call, the key's 25 bytes as a string among them
 *   fill       every item once, by put
 *   warm-up    the same calls, not counted
 *   round      threads start together and run through their sequences until the time is over; --repeat rounds on the same
 *              filled table, each figure's median is reported with its least and most
 *
 * ns_per_op is elapsed time by calls, per thread; cpu_ns_per_op is the processor's time instead, which is the same on a quiet
 * machine and tells the truth on a busy one. One call in SAMPLE_EVERY is timed on its own for the percentiles (less the
 * cost of reading the clock); with 18 ns for a reading that adds 0.3 ns to the mean. The same samples check that the value
 * is that of its key.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/hash.h"
#include "command.h"
#include "engine.h"
#include "keys.h"
#include "measure.h"
#include "progress.h"
#include "stats/stats.h"

#define SAMPLE_EVERY 127 /* prime: in step with no pattern of the sequence */
#define BATCH_MAX 1024
#define THREADS_MAX 256
#define REPEAT_MAX 101

typedef struct step {
	char key[BENCH_KEY_SIZE];
	uint8_t op;
	uint32_t item;
} step;
_Static_assert(sizeof(step) == 32, "two steps a cache line");

typedef struct l1_options {
	uint64_t items, value_size, threads, batch, repeat, memory, sequence, seed;
	double seconds, warm_up, capacity_fraction;
	const char *keys, *mix;
	unsigned engine;
	bool pin, small_pages;
	bench_common common;
} l1_options;

typedef struct run_state run_state;

typedef struct worker {
	run_state *run;
	pthread_t thread;
	unsigned index;
	step *steps;
	unsigned char *buffers, *value;
	near_lookup *lookups;
	uint64_t at, length, laps; /* where in the sequence, over all rounds */
	/* of the last round */
	uint64_t calls, gets, hits, fills, wrong;
	int64_t begun_ns, ended_ns, cpu_ns;
} worker;

struct run_state {
	const l1_options *options;
	const bench_engine *engine;
	void *table;
	bench_mix mix;
	double exponent;
	uint64_t memory_bytes, value_room;
	bool fill_on_miss;
	int64_t clock_cost_ns;
	near__histogram *latency;
	pthread_barrier_t start;
	_Atomic(bool) stop;
	worker *workers;
	/* found by the fill */
	uint64_t resident, refused;
	double overhead_bytes, fill_ns, fill_cpu_ns;
};

/* ------------------------------------------------------------- one call */

/* A value tells its item in its first bytes. */
static void value_write(const run_state *run, unsigned char *value, uint32_t item)
{
	size_t size = run->options->value_size;
	memcpy(value, &item, size < sizeof(item) ? size : sizeof(item));
}

static bool value_is(const run_state *run, const unsigned char *value, uint32_t item)
{
	size_t size = run->options->value_size;
	return memcmp(value, &item, size < sizeof(item) ? size : sizeof(item)) == 0;
}

static void put_item(worker *w, const step *s)
{
	run_state *run = w->run;
	value_write(run, w->value, s->item);
	w->fills += run->engine->put(run->table, s->key, w->value, run->options->value_size);
}

static inline void got(worker *w, const step *s, bool hit)
{
	w->gets++;
	w->hits += hit;
	if (!hit && w->run->fill_on_miss)
		put_item(w, s);
}

static void load_item(worker *w, const step *s)
{
	run_state *run = w->run;
	if (run->engine->load == NULL) {
		bool hit = run->engine->get(run->table, s->key, w->buffers, run->value_room);
		w->gets++;
		w->hits += hit;
		if (!hit)
			put_item(w, s);
		return;
	}
	value_write(run, w->value, s->item);
	(void)run->engine->load(run->table, s->key, w->value, run->options->value_size, w->buffers, run->value_room);
}

static inline void call_one(worker *w, const step *s)
{
	run_state *run = w->run;
	if (s->op == BENCH_GET) {
		got(w, s, run->engine->get(run->table, s->key, w->buffers, run->value_room));
		return;
	}
	switch (s->op) {
	case BENCH_PUT:
		put_item(w, s);
		break;
	case BENCH_DEL:
		run->engine->del(run->table, s->key);
		break;
	default:
		load_item(w, s);
	}
}

/* `batch` steps: the gets among them as one call, the others on their own. */
static void call_batch(worker *w, const step *steps)
{
	run_state *run = w->run;
	size_t gets = 0, batch = run->options->batch;
	const step *asked[BATCH_MAX];
	for (const step *s = steps; s < steps + batch; s++) {
		if (s->op != BENCH_GET) {
			call_one(w, s);
			continue;
		}
		w->lookups[gets].key = s->key;
		asked[gets++] = s;
	}
	if (gets > 0)
		run->engine->get_many(run->table, w->lookups, gets);
	for (size_t i = 0; i < gets; i++)
		got(w, asked[i], w->lookups[i].status == NEAR_OK);
}

static void check_value(worker *w, const step *s, uint64_t hits_before)
{
	const unsigned char *value = w->run->options->batch > 1 ? w->lookups[0].buf : w->buffers;
	if (s->op == BENCH_GET && w->hits == hits_before + w->run->options->batch && !value_is(w->run, value, s->item))
		w->wrong++;
}

/* A call with the clock read before and after. */
static void call_timed(worker *w, const step *s)
{
	run_state *run = w->run;
	uint64_t hits = w->hits;
	int64_t from_ns = near__now_ns();
	if (run->options->batch > 1)
		call_batch(w, s);
	else
		call_one(w, s);
	int64_t took_ns = near__now_ns() - from_ns - run->clock_cost_ns;
	near__histogram_add(run->latency, took_ns > 0 ? (uint64_t)took_ns : 0);
	check_value(w, s, hits);
}

/* ------------------------------------------------------------- a round */

/* The next `batch` steps of the sequence. */
static inline const step *next_steps(worker *w, uint64_t batch)
{
	uint64_t at = w->at;
	w->at = at + batch;
	if (w->at + batch > w->length) {
		w->at = 0;
		w->laps++;
	}
	return &w->steps[at];
}

static void run_sequence(worker *w)
{
	uint64_t batch = w->run->options->batch, rounds = 0;
	while (!atomic_load_explicit(&w->run->stop, memory_order_relaxed)) {
		/* Two loops, so that what the harness does between two calls is little. */
		if (batch > 1)
			for (unsigned i = 1; i < SAMPLE_EVERY; i++)
				call_batch(w, next_steps(w, batch));
		else
			for (unsigned i = 1; i < SAMPLE_EVERY; i++)
				call_one(w, next_steps(w, 1));
		call_timed(w, next_steps(w, batch));
		rounds++;
	}
	w->calls = rounds * SAMPLE_EVERY * batch;
}

static void *worker_main(void *argument)
{
	worker *w = argument;
	if (w->run->options->pin && !bench_pin(w->index))
		(void)fprintf(stderr, "nearbench l1: thread %u could not be pinned\n", w->index);
	w->calls = w->gets = w->hits = w->fills = 0;
	(void)pthread_barrier_wait(&w->run->start);
	w->cpu_ns = -near__clock_ns(CLOCK_THREAD_CPUTIME_ID);
	w->begun_ns = near__now_ns();
	run_sequence(w);
	w->ended_ns = near__now_ns();
	w->cpu_ns += near__clock_ns(CLOCK_THREAD_CPUTIME_ID);
	return NULL;
}

static bool round_run(run_state *run, double seconds)
{
	uint64_t threads = run->options->threads;
	(void)pthread_barrier_init(&run->start, NULL, (unsigned)threads + 1);
	atomic_store(&run->stop, false);
	for (uint64_t i = 0; i < threads; i++) {
		if (pthread_create(&run->workers[i].thread, NULL, worker_main, &run->workers[i]) != 0) {
			(void)fprintf(stderr, "nearbench l1: thread %u cannot be made\n", (unsigned)i);
			exit(BENCH_EXIT_BROKEN); /* the others wait at the barrier */
		}
	}
	(void)pthread_barrier_wait(&run->start);
	int64_t end_ns = near__now_ns() + (int64_t)(seconds * 1e9);
	for (int64_t now_ns = near__now_ns(); now_ns < end_ns; now_ns = near__now_ns()) {
		bench_sleep_us(end_ns - now_ns > 50 * NEAR__MS_NS ? 50000 : (uint64_t)(end_ns - now_ns) / 1000 + 1);
		bench_progress_at((uint64_t)(seconds * 1e9) - (uint64_t)(end_ns > now_ns ? end_ns - now_ns : 0));
	}
	atomic_store(&run->stop, true);
	for (uint64_t i = 0; i < threads; i++)
		(void)pthread_join(run->workers[i].thread, NULL);
	(void)pthread_barrier_destroy(&run->start);
	return true;
}

typedef struct round_figures {
	double ns_per_op[REPEAT_MAX], cpu_ns_per_op[REPEAT_MAX], ops_per_s[REPEAT_MAX], hit_ratio[REPEAT_MAX];
	double p50[REPEAT_MAX], p99[REPEAT_MAX], p999[REPEAT_MAX];
	uint64_t calls, fills, samples, wrong;
} round_figures;

static void round_read(run_state *run, round_figures *f, size_t at)
{
	uint64_t calls = 0, gets = 0, hits = 0;
	int64_t busy_ns = 0, cpu_ns = 0, first_ns = INT64_MAX, last_ns = INT64_MIN;
	for (uint64_t i = 0; i < run->options->threads; i++) {
		const worker *w = &run->workers[i];
		calls += w->calls;
		gets += w->gets;
		hits += w->hits;
		f->fills += w->fills;
		busy_ns += w->ended_ns - w->begun_ns;
		cpu_ns += w->cpu_ns;
		first_ns = w->begun_ns < first_ns ? w->begun_ns : first_ns;
		last_ns = w->ended_ns > last_ns ? w->ended_ns : last_ns;
	}
	f->calls += calls;
	f->samples += near__histogram_count(run->latency);
	f->ns_per_op[at] = (double)busy_ns / (double)calls;
	f->cpu_ns_per_op[at] = (double)cpu_ns / (double)calls;
	f->ops_per_s[at] = (double)calls * 1e9 / (double)(last_ns - first_ns);
	f->hit_ratio[at] = gets > 0 ? (double)hits / (double)gets : 0;
	f->p50[at] = (double)near__histogram_quantile(run->latency, 0.5);
	f->p99[at] = (double)near__histogram_quantile(run->latency, 0.99);
	f->p999[at] = (double)near__histogram_quantile(run->latency, 0.999);
}

/* ------------------------------------------------------------- before the clock starts */

static void worker_make(run_state *run, worker *w, unsigned index)
{
	const l1_options *o = run->options;
	bench_draw draw;
	uint64_t random = o->seed * 1000003 + index + 1;
	bench_draw_init(&draw, run->exponent, o->items, near__random_next(&random));
	w->run = run;
	w->index = index;
	w->steps = bench_alloc(o->sequence, sizeof(step));
	w->length = o->sequence;
	w->value = bench_alloc(1, o->value_size);
	memset(w->value, 'v', o->value_size);
	w->buffers = bench_alloc(o->batch, run->value_room);
	w->lookups = bench_alloc(o->batch, sizeof(near_lookup));
	for (uint64_t i = 0; i < o->batch; i++) {
		w->lookups[i].key_size = BENCH_KEY_SIZE;
		w->lookups[i].buf = w->buffers + i * run->value_room;
		w->lookups[i].buf_size = run->value_room;
	}
	for (uint64_t i = 0; i < o->sequence; i++) {
		step *s = &w->steps[i];
		s->item = (uint32_t)bench_draw_item(&draw);
		s->op = (uint8_t)bench_mix_pick(&run->mix, near__random_next(&random));
		bench_key_write(s->item, s->key);
		if (i % 65536 == 0)
			bench_progress_at(index * o->sequence + i);
	}
}

static void worker_free(worker *w)
{
	free(w->steps);
	free(w->value);
	free(w->buffers);
	free(w->lookups);
}

/* Every item once; then what is resident, and what it takes beyond its bytes. */
static void fill(run_state *run, uint64_t rss_before)
{
	const l1_options *o = run->options;
	unsigned char *value = run->workers[0].value;
	char key[BENCH_KEY_SIZE];
	int64_t from_ns = near__now_ns(), from_cpu_ns = near__clock_ns(CLOCK_THREAD_CPUTIME_ID);
	for (uint64_t i = 0; i < o->items; i++) {
		bench_key_write(i, key);
		value_write(run, value, (uint32_t)i);
		run->refused += !run->engine->put(run->table, key, value, o->value_size);
		if (i % 8192 == 0)
			bench_progress_at(i);
	}
	run->fill_ns = (double)(near__now_ns() - from_ns) / (double)o->items;
	run->fill_cpu_ns = (double)(near__clock_ns(CLOCK_THREAD_CPUTIME_ID) - from_cpu_ns) / (double)o->items;
	run->resident = run->engine->count(run->table);
	double growth = (double)bench_rss_bytes() - (double)rss_before;
	if (run->resident > 0)
		run->overhead_bytes = growth / (double)run->resident - (double)(BENCH_KEY_SIZE + o->value_size);
}

static void choose_memory(run_state *run)
{
	const l1_options *o = run->options;
	double items = (double)o->items;
	if (o->memory > 0)
		run->memory_bytes = o->memory;
	else if (o->capacity_fraction < 1)
		run->memory_bytes = (uint64_t)(items * o->capacity_fraction * (double)bench_item_bytes(o->value_size));
	else /* all of it, while the table doubles, with room to spare */
		run->memory_bytes = (uint64_t)(items * ((double)bench_item_bytes(o->value_size) * 1.25 + 32)) + (32u << 20);
	if (run->memory_bytes < 16u << 20) {
		run->memory_bytes = 16u << 20;
		if (o->capacity_fraction < 1)
			(void)fprintf(stderr, "nearbench l1: the least bound is 16 MiB, so more than that fraction may fit\n");
	}
	run->fill_on_miss = o->capacity_fraction < 1 || o->memory > 0;
}

/* ------------------------------------------------------------- the report */

static void report_setting(bench_report *r, const run_state *run)
{
	const l1_options *o = run->options;
	bench_report_text(r, "engine", run->engine->name);
	bench_report_count(r, "items", o->items, "");
	bench_report_count(r, "value_size", o->value_size, "bytes");
	bench_report_text(r, "keys", o->keys);
	bench_report_text(r, "mix", o->mix);
	bench_report_count(r, "threads", o->threads, "");
	bench_report_count(r, "batch", o->batch, "");
	bench_report_real(r, "capacity_fraction", o->capacity_fraction, "");
	bench_report_count(r, "memory_bytes", run->memory_bytes, "bytes");
	bench_report_count(r, "seed", o->seed, "");
	bench_report_count(r, "repeat", o->repeat, "rounds");
}

static void report_figures(bench_report *r, const run_state *run, round_figures *f)
{
	size_t n = run->options->repeat;
	bench_report_median(r, "ns_per_op", f->ns_per_op, n, "ns, per thread");
	bench_report_median(r, "cpu_ns_per_op", f->cpu_ns_per_op, n, "ns of processor time");
	bench_report_median(r, "ops_per_s", f->ops_per_s, n, "1/s, all threads");
	bench_report_median(r, "hit_ratio", f->hit_ratio, n, "");
	bench_report_median(r, "p50_ns", f->p50, n, "ns, of a call");
	bench_report_median(r, "p99_ns", f->p99, n, "ns, of a call");
	bench_report_median(r, "p999_ns", f->p999, n, "ns, of a call");
	bench_report_count(r, "samples", f->samples, "calls timed");
	bench_report_count(r, "calls", f->calls, "");
	bench_report_count(r, "sequence_laps", run->workers[0].laps, "times the first thread began its sequence again");
	bench_report_count(r, "fills", f->fills, "puts");
	bench_report_real(r, "fill_ns_per_put", run->fill_ns, "ns");
	bench_report_real(r, "fill_cpu_ns_per_put", run->fill_cpu_ns, "ns of processor time");
	bench_report_count(r, "resident_items", run->resident, "after the fill");
	bench_report_real(r, "resident_share", (double)run->resident / (double)run->options->items, "of the items");
	bench_report_count(r, "refused", run->refused, "puts of the fill");
	bench_report_real(r, "overhead_bytes_per_item", run->overhead_bytes, "bytes of RSS beyond key and value");
	bench_report_count(r, "mapped_bytes", run->engine->mapped(run->table), "bytes");
}

static int measure(run_state *run, bench_report *report)
{
	const l1_options *o = run->options;
	round_figures *f = bench_alloc(1, sizeof(*f));
	if (o->warm_up > 0) {
		bench_progress_begin("warming up", (uint64_t)(o->warm_up * 1e9));
		(void)round_run(run, o->warm_up);
	}
	for (size_t i = 0; i < o->repeat; i++) {
		near__histogram_free(run->latency);
		run->latency = near__histogram_create();
		bench_progress_begin("measuring", (uint64_t)(o->seconds * 1e9));
		(void)round_run(run, o->seconds);
		round_read(run, f, i);
	}
	bench_progress_end();
	for (uint64_t i = 0; i < o->threads; i++)
		f->wrong += run->workers[i].wrong;
	report_setting(report, run);
	report_figures(report, run, f);
	bench_report_promise(report, "right_values", f->wrong == 0, "%llu of the timed calls brought another key's value",
	                     (unsigned long long)f->wrong);
	free(f);
	return bench_report_print(report, o->common.json);
}

static int run_all(const bench_command *command, run_state *run, bench_report *report)
{
	const l1_options *o = run->options;
	near_error error = {""};
	run->workers = bench_alloc(o->threads, sizeof(worker));
	run->latency = near__histogram_create();
	run->clock_cost_ns = bench_clock_cost_ns();
	bench_progress_begin("drawing sequences", o->threads * o->sequence);
	for (unsigned i = 0; i < o->threads; i++)
		worker_make(run, &run->workers[i], i);
	uint64_t rss_before = bench_rss_bytes();
	bench_engine_config config = {o->items, o->value_size, run->memory_bytes, !o->small_pages};
	run->table = run->engine->open(&config, &error);
	if (run->table == NULL) {
		bench_progress_end();
		(void)fprintf(stderr, "nearbench %s: %s cannot be opened: %s\n", command->name, run->engine->name, error.text);
		return BENCH_EXIT_BROKEN;
	}
	bench_progress_begin("filling", o->items);
	fill(run, rss_before);
	int status = measure(run, report);
	run->engine->close(run->table);
	for (uint64_t i = 0; i < o->threads; i++)
		worker_free(&run->workers[i]);
	free(run->workers);
	near__histogram_free(run->latency);
	return status;
}

/* What one option alone cannot tell. Returns 0 or the exit status. */
static int check(const bench_command *command, run_state *run)
{
	const l1_options *o = run->options;
	if (!bench_draw_parse(o->keys, &run->exponent))
		return bench_usage(command, "--keys: '%s' is neither uniform nor zipf:S with S above 0, at most 10", o->keys);
	if (!bench_mix_parse(o->mix, &run->mix))
		return bench_usage(command, "--mix: '%s' is not like get:95,put:5 (get, put, del, load)", o->mix);
	if (o->sequence < o->batch)
		return bench_usage(command, "--sequence must be at least --batch");
	bool writes = run->mix.weight[BENCH_GET] != run->mix.sum || o->capacity_fraction < 1;
	if (writes && o->threads > 1 && !run->engine->concurrent_writes)
		return bench_usage(command, "--engine %s cannot be written by several threads", run->engine->name);
	if ((o->capacity_fraction < 1 || o->memory > 0) && !run->engine->bounded)
		return bench_usage(command, "--engine %s keeps no bound", run->engine->name);
	return 0;
}

static int l1_run(const bench_command *command, int argc, char *const *argv)
{
	l1_options o = {.items = 1000000, .value_size = 100, .threads = 1, .batch = 1, .repeat = 1, .sequence = 0,
	                .seed = 1, .seconds = 3, .warm_up = 0.5, .capacity_fraction = 1, .keys = "uniform",
	                .mix = "get:100"};
	bench_arg table[] = {
		{"items", BENCH_ARG_COUNT, &o.items, 1, (double)BENCH_ITEMS_MAX, NULL, "N", "different keys", false},
		{"value-size", BENCH_ARG_SIZE, &o.value_size, 1, 16777216, NULL, "BYTES", "of every value", false},
		{"keys", BENCH_ARG_TEXT, &o.keys, 0, 0, NULL, "uniform|zipf:S", "how calls choose among the keys", false},
		{"mix", BENCH_ARG_TEXT, &o.mix, 0, 0, NULL, "OP:N,...", "weights of get, put, del, load", false},
		{"threads", BENCH_ARG_COUNT, &o.threads, 1, THREADS_MAX, NULL, "N", "that call at once", false},
		{"seconds", BENCH_ARG_REAL, &o.seconds, 0.01, 3600, NULL, "S", "of each round", false},
		{"warm-up", BENCH_ARG_REAL, &o.warm_up, 0, 3600, NULL, "S", "of calls before the first round", false},
		{"batch", BENCH_ARG_COUNT, &o.batch, 1, BATCH_MAX, NULL, "K", "gets per near_get_many; 1: near_get", false},
		{"repeat", BENCH_ARG_COUNT, &o.repeat, 1, REPEAT_MAX, NULL, "N", "rounds; medians are reported", false},
		{"capacity-fraction", BENCH_ARG_REAL, &o.capacity_fraction, 0.0001, 1, NULL, "F",
		 "memory for about this share of the items; below 1 a miss is filled by a put", false},
		{"memory", BENCH_ARG_SIZE, &o.memory, 16777216, 68719476736, NULL, "BYTES",
		 "the bound itself, instead of a fraction; a miss is filled by a put", false},
		{"engine", BENCH_ARG_CHOICE, &o.engine, 0, 0, BENCH_ENGINE_CHOICES, "", "what is measured", false},
		{"pin", BENCH_ARG_FLAG, &o.pin, 0, 0, NULL, NULL, "each thread to a CPU of its own", false},
		{"small-pages", BENCH_ARG_FLAG, &o.small_pages, 0, 0, NULL, NULL, "do not ask for huge pages", false},
		{"sequence", BENCH_ARG_COUNT, &o.sequence, 0, 100000000, NULL, "N",
		 "calls drawn per thread, then repeated (a loop); 0: 2M, or 8M where not all fits", false},
		{"seed", BENCH_ARG_COUNT, &o.seed, 0, 1e15, NULL, "N", "of all that is drawn", false},
		BENCH_COMMON_ARGS(o.common),
	};
	int status;
	if (!bench_command_begin(command, table, argc, argv, &status))
		return status;
	if (bench_args_given(table, "memory") && bench_args_given(table, "capacity-fraction"))
		return bench_usage(command, "--memory and --capacity-fraction say the same thing twice; give one");
	if (o.sequence == 0)
		o.sequence = o.capacity_fraction < 1 || o.memory > 0 ? 8000000 : 2000000;
	o.sequence -= o.sequence % o.batch;
	run_state run = {.options = &o, .engine = bench_engine_at(o.engine)};
	/* Room for a value, a multiple of a line so that buffers of a batch share none. */
	run.value_room = (o.value_size + 63) / 64 * 64;
	status = check(command, &run);
	if (status != 0)
		return status;
	bench_report *report = bench_command_report(command, &o.common);
	if (report == NULL)
		return BENCH_EXIT_USAGE;
	choose_memory(&run);
	status = run_all(command, &run, report);
	bench_report_free(report);
	return status;
}

const bench_command bench_command_l1 = {
	.name = "l1",
	.summary = "cost of a call when the value is in this process",
	.about =
		"Fills a cache without Redis with --items values under keys like user:profile:000000000042, then lets --threads\n"
		"threads call it for --seconds. What is called is drawn before the clock starts, keys as strings of 25 bytes; each\n"
		"get copies the value's bytes into a buffer.\n\n"
		"  ns_per_op                elapsed time by calls, per thread; a batch of K counts as K calls\n"
		"  cpu_ns_per_op            the same in processor time: on a busy machine the truer figure\n"
		"  p50_ns p99_ns p999_ns    one call in 127, timed on its own, less the clock's cost; a batch is one call\n"
		"  hit_ratio                of the gets; with a bound for a part of the items, a miss is filled by a put\n"
		"  overhead_bytes_per_item  growth of resident memory by the fill, by items, beyond key and value bytes\n\n"
		"Engines: near, the library; bare, one line of slots and one entry (two dependent cache misses, no bound, nothing\n"
		"else: the floor); mutex, one lock, chains and an LRU list.\n",
	.examples =
		"  nearbench l1 --items 5M --seconds 5 --repeat 5 --expect 'ns_per_op<=260'\n"
		"  nearbench l1 --items 5M --batch 16 --repeat 5 --json\n"
		"  nearbench l1 --items 5M --engine bare\n"
		"  nearbench l1 --keys zipf:0.99 --mix get:95,put:5 --threads 2 --pin --capacity-fraction 0.1\n",
	.run = l1_run,
};
