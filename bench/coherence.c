/* nearbench coherence: how soon an acknowledged invalidation has been applied in every process, and is any ever lost?
 *
 *   writer (this process)        Redis        --readers near readers, --readers bare readers
 *     near_invalidate  --------->  step  ------->  drop in L1, mark
 *     PUBLISH by hiredis  ------>        ------->  mark
 *
 *   paced    blocks of invalidations and of raw messages in turns, a pause after each call: latencies without queues
 *   burst    the same without the pause: throughput, and latencies with queues
 *   check    caches opened as a program opens them, filled with all keys, then every key invalidated: none may be served
 *
 * The latency of a message is from the writer's answer to the last of the readers having applied it (it may be below zero
 * where all of them were faster than the answer), and, beside it, from the call. The writer's own cache is one subscriber
 * more on the near side.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include "base/clock.h"
#include "board.h"
#include "command.h"
#include "keys.h"
#include "measure.h"
#include "progress.h"

#define READY_MS 20000
#define APPLY_MS 20000
#define RAW_SIZE 80 /* about what an invalidation's message has */

typedef struct coherence_options {
	uint64_t readers, keys, block, gap_us;
	const char *redis;
	bool no_burst, no_check;
	bench_common common;
} coherence_options;

typedef struct writer {
	const coherence_options *options;
	bench_home home;
	bench_board board;
	near_cache *cache;
	redisContext *redis;
	uint64_t failed, raw_failed;
	int64_t near_busy_ns[2], bare_busy_ns[2]; /* paced, burst */
	bool complete[2];
} writer;

static int64_t *marks_array(uint64_t count)
{
	return bench_alloc_shared((count + 1) * sizeof(int64_t));
}

static bench_marks *marks_make(uint64_t count, unsigned readers)
{
	bench_marks *m = bench_alloc_shared(sizeof(*m));
	m->count = count;
	m->sent_ns = marks_array(count);
	m->answered_ns = marks_array(count);
	for (unsigned i = 0; i < readers; i++)
		m->applied_ns[i] = bench_alloc_shared((count + 1) * sizeof(*m->applied_ns[i]));
	return m;
}

static void board_make(writer *w)
{
	const coherence_options *o = w->options;
	bench_board *b = &w->board;
	uint64_t messages = o->no_burst ? o->keys : o->keys * 2;
	*b = (bench_board){.home = &w->home, .readers = (unsigned)o->readers, .keys = messages, .checker_keys = o->keys};
	b->near = marks_make(messages, b->readers);
	b->bare = marks_make(messages, b->readers);
	b->finished = bench_alloc_shared(sizeof(*b->finished));
	b->survivors = bench_alloc_shared(sizeof(*b->survivors));
	b->behind = bench_alloc_shared(sizeof(*b->behind));
	b->flushes = bench_alloc_shared(sizeof(*b->flushes));
	b->held = bench_alloc_shared(sizeof(*b->held));
	bench_crowd_init(&b->crowd);
}

/* ------------------------------------------------------------- writing */

static void invalidate_one(writer *w, uint64_t item)
{
	bench_marks *m = w->board.near;
	char key[BENCH_KEY_SIZE];
	bench_key_write(item, key);
	m->sent_ns[item] = near__now_ns();
	w->failed += near_invalidate(w->cache, key, sizeof(key), NULL) != NEAR_OK;
	m->answered_ns[item] = near__now_ns();
}

static void publish_one(writer *w, uint64_t item)
{
	bench_marks *m = w->board.bare;
	char text[RAW_SIZE];
	memset(text, '.', sizeof(text));
	bench_key_write(item, text);
	m->sent_ns[item] = near__now_ns();
	redisReply *reply = redisCommand(w->redis, "PUBLISH %s %b", BENCH_CHANNEL, text, sizeof(text));
	m->answered_ns[item] = near__now_ns();
	w->raw_failed += reply == NULL || reply->type != REDIS_REPLY_INTEGER ||
	                 reply->integer != (long long)w->board.readers;
	if (reply != NULL)
		freeReplyObject(reply);
}

typedef struct goal {
	const bench_marks *marks;
	unsigned readers;
	uint64_t count;
} goal;

static bool reached(void *argument)
{
	const goal *g = argument;
	for (unsigned i = 0; i < g->readers; i++)
		/* acquire: the moments counted are there. */
		if (atomic_load_explicit(&g->marks->applied[i], memory_order_acquire) < g->count)
			return false;
	return true;
}

/* Items [from, to) one after the other, then until all readers have applied them. */
static bool write_block(writer *w, bool near, uint64_t from, uint64_t to, uint64_t gap_us, int64_t *busy_ns)
{
	int64_t begun_ns = near__now_ns();
	for (uint64_t item = from; item < to; item++) {
		if (near)
			invalidate_one(w, item);
		else
			publish_one(w, item);
		if (gap_us > 0)
			bench_sleep_us(gap_us);
	}
	goal g = {near ? w->board.near : w->board.bare, w->board.readers, to};
	bool all = bench_crowd_until(&w->board.crowd, reached, &g, APPLY_MS);
	*busy_ns += near__now_ns() - begun_ns;
	return all;
}

/* Blocks of both kinds in turns over items [from, from + keys). */
static bool write_phase(writer *w, unsigned phase, uint64_t gap_us)
{
	const coherence_options *o = w->options;
	uint64_t from = phase * o->keys, end = from + o->keys;
	bench_progress_begin(phase == 0 ? "invalidating, paced" : "invalidating, burst", o->keys);
	for (uint64_t at = from; at < end; at += o->block) {
		uint64_t to = at + o->block < end ? at + o->block : end;
		if (!write_block(w, true, at, to, gap_us, &w->near_busy_ns[phase]) ||
		    !write_block(w, false, at, to, gap_us, &w->bare_busy_ns[phase]))
			return false;
		bench_progress_at(to - from);
	}
	bench_progress_end();
	return true;
}

static bool open_writer(writer *w, near_error *error)
{
	near_options options;
	bench_home_options(&w->home, &options);
	options.shards = BENCH_SHARDS;
	w->redis = bench_home_connect(&w->home, error);
	if (w->redis == NULL || near_open(&options, &w->cache, error) != NEAR_OK)
		return false;
	if (near_wait_ready(w->cache, READY_MS) == NEAR_OK)
		return true;
	(void)snprintf(error->text, sizeof(error->text), "the writer's cache does not get ready");
	return false;
}

/* Measures with the readers of both kinds; ends them. */
static bool run_readers(writer *w, near_error *error)
{
	bench_board *b = &w->board;
	(void)prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL); /* pauses of some hundred us are to be that */
	bool good = bench_crowd_fork(&b->crowd, b->readers, bench_near_reader, b) &&
	            bench_crowd_fork(&b->crowd, b->readers, bench_bare_reader, b) && open_writer(w, error) &&
	            bench_crowd_open(&b->crowd, BENCH_GATE_READY, b->readers * 2);
	if (good) {
		bench_sleep_us(50000);
		w->complete[0] = write_phase(w, 0, w->options->gap_us);
		w->complete[1] = w->complete[0] && (w->options->no_burst || write_phase(w, 1, 0));
		good = w->complete[1];
	}
	atomic_store(b->finished, true);
	if (w->redis != NULL) {
		redisReply *reply = redisCommand(w->redis, "PUBLISH %s leave", BENCH_CHANNEL);
		if (reply != NULL)
			freeReplyObject(reply);
	}
	return bench_crowd_join(&b->crowd) && good;
}

/* Caches as programs have them: every key put, fetched everywhere, invalidated, and looked for. */
static bool run_check(writer *w)
{
	bench_board *b = &w->board;
	char key[BENCH_KEY_SIZE], value[100] = {'v'};
	near_call settings = NEAR_CALL_INIT;
	settings.ttl_ms = 3600000;
	bench_progress_begin("filling the checkers", b->checker_keys);
	for (uint64_t i = 0; i < b->checker_keys; i++) {
		bench_key_write(i, key);
		w->failed += near_put(w->cache, key, sizeof(key), value, sizeof(value), &settings) != NEAR_OK;
		bench_progress_at(i);
	}
	bench_crowd_init(&b->crowd);
	bool good = bench_crowd_fork(&b->crowd, b->readers, bench_checker, b) &&
	            bench_crowd_open(&b->crowd, BENCH_GATE_FILLED, b->readers);
	bench_progress_begin("checking", b->checker_keys);
	for (uint64_t i = 0; good && i < b->checker_keys; i++) {
		bench_key_write(i, key);
		w->failed += near_invalidate(w->cache, key, sizeof(key), NULL) != NEAR_OK;
		bench_progress_at(i);
	}
	good = good && bench_crowd_open(&b->crowd, BENCH_GATE_WRITTEN, b->readers);
	good = bench_crowd_join(&b->crowd) && good;
	bench_progress_end();
	return good;
}

/* ------------------------------------------------------------- reading the board */

typedef struct spread {
	int64_t p50, p99, max;
} spread;

static spread spread_of(int64_t *samples, size_t count)
{
	bench_sort(samples, count);
	return (spread){bench_quantile(samples, count, 0.5), bench_quantile(samples, count, 0.99),
	                count > 0 ? samples[count - 1] : 0};
}

/* Items [from, to): from answer (or call) to the last reader. *lost: item and reader pairs never applied. */
static spread to_everywhere(const writer *w, const bench_marks *m, uint64_t from, uint64_t to, bool since_call, uint64_t *lost)
{
	int64_t *samples = bench_alloc(to - from + 1, sizeof(*samples));
	size_t count = 0;
	for (uint64_t item = from; item < to; item++) {
		int64_t last = 0;
		bool all = true;
		for (unsigned i = 0; i < w->board.readers; i++) {
			int64_t at = atomic_load(&m->applied_ns[i][item]);
			all = all && at != 0;
			*lost += at == 0;
			last = at > last ? at : last;
		}
		if (all)
			samples[count++] = last - (since_call ? m->sent_ns[item] : m->answered_ns[item]);
	}
	spread s = spread_of(samples, count);
	free(samples);
	return s;
}

static spread of_calls(const bench_marks *m, uint64_t from, uint64_t to)
{
	int64_t *samples = bench_alloc(to - from + 1, sizeof(*samples));
	for (uint64_t item = from; item < to; item++)
		samples[item - from] = m->answered_ns[item] - m->sent_ns[item];
	spread s = spread_of(samples, to - from);
	free(samples);
	return s;
}

static void report_row(bench_report *r, const char *phase, const char *what, spread s)
{
	bench_report_row(r, "latency");
	bench_report_text(r, "phase", phase);
	bench_report_text(r, "what", what);
	bench_report_real(r, "p50_us", (double)s.p50 / 1e3, "us");
	bench_report_real(r, "p99_us", (double)s.p99 / 1e3, "us");
	bench_report_real(r, "max_us", (double)s.max / 1e3, "us");
	bench_report_row(r, NULL);
}

static double ratio(int64_t ours, int64_t bare)
{
	return (double)ours / (double)(bare > 1000 ? bare : 1000);
}

static void report_phase(bench_report *r, const writer *w, unsigned phase, uint64_t *lost)
{
	static const char *const names[2][10] = {
		{"near_p50_us", "near_p99_us", "publish_p50_us", "publish_p99_us", "ratio_p50", "ratio_p99", "ratio_from_call_p50",
		 "near_per_s", "publish_per_s", "paced"},
		{"burst_near_p50_us", "burst_near_p99_us", "burst_publish_p50_us", "burst_publish_p99_us", "burst_ratio_p50",
		 "burst_ratio_p99", "burst_ratio_from_call_p50", "burst_near_per_s", "burst_publish_per_s", "burst"},
	};
	const char *const *n = names[phase];
	uint64_t from = phase * w->options->keys, to = from + w->options->keys, again = 0;
	spread near = to_everywhere(w, w->board.near, from, to, false, lost);
	spread bare = to_everywhere(w, w->board.bare, from, to, false, &again);
	spread since_near = to_everywhere(w, w->board.near, from, to, true, &again);
	spread since_bare = to_everywhere(w, w->board.bare, from, to, true, &again);
	bench_report_real(r, n[0], (double)near.p50 / 1e3, "us, answer to applied everywhere");
	bench_report_real(r, n[1], (double)near.p99 / 1e3, "us");
	bench_report_real(r, n[2], (double)bare.p50 / 1e3, "us, answer to seen everywhere");
	bench_report_real(r, n[3], (double)bare.p99 / 1e3, "us");
	bench_report_real(r, n[4], ratio(near.p50, bare.p50), "");
	bench_report_real(r, n[5], ratio(near.p99, bare.p99), "");
	bench_report_real(r, n[6], ratio(since_near.p50, since_bare.p50), "from the call instead");
	bench_report_real(r, n[7], (double)w->options->keys * 1e9 / (double)w->near_busy_ns[phase], "1/s, one writer");
	bench_report_real(r, n[8], (double)w->options->keys * 1e9 / (double)w->bare_busy_ns[phase], "1/s, one writer");
	report_row(r, n[9], "near, answer to applied everywhere", near);
	report_row(r, n[9], "bare, answer to seen everywhere", bare);
	report_row(r, n[9], "near, call to applied everywhere", since_near);
	report_row(r, n[9], "bare, call to seen everywhere", since_bare);
	report_row(r, n[9], "near_invalidate", of_calls(w->board.near, from, to));
	report_row(r, n[9], "PUBLISH", of_calls(w->board.bare, from, to));
}

static void report_all(bench_report *r, const writer *w, bool checked)
{
	const coherence_options *o = w->options;
	uint64_t lost = 0, messages = w->board.near->count;
	bench_report_count(r, "readers", o->readers, "processes of each kind");
	bench_report_count(r, "invalidations", messages, "in the measured phases");
	report_phase(r, w, 0, &lost);
	if (!o->no_burst)
		report_phase(r, w, 1, &lost);
	bench_report_count(r, "lost", lost, "not applied by a reader");
	bench_report_count(r, "flushes", atomic_load(w->board.flushes), "");
	bench_report_promise(r, "none_lost", w->complete[0] && w->complete[1] && lost == 0,
	                     "%" PRIu64 " of %" PRIu64 " applications missing", lost, messages * o->readers);
	bench_report_promise(r, "all_acknowledged", w->failed == 0, "%" PRIu64 " calls were not answered OK", w->failed);
	bench_report_promise(r, "none_survives", atomic_load(w->board.survivors) == 0,
	                     "%" PRIu64 " invalidated keys were still served%s", (uint64_t)atomic_load(w->board.survivors),
	                     checked ? "" : " by the readers");
	if (!checked)
		return;
	uint64_t held = atomic_load(w->board.held), all = o->readers * w->board.checker_keys;
	bench_report_promise(r, "checkers_held", held * 10 >= all * 9, "%" PRIu64 " of %" PRIu64 " keys were in their L1 before",
	                     held, all);
	bench_report_promise(r, "checkers_applied_all", atomic_load(w->board.behind) == 0,
	                     "%" PRIu64 " messages not applied by %" PRIu64 " caches of %" PRIu64 " keys",
	                     (uint64_t)atomic_load(w->board.behind), o->readers, w->board.checker_keys);
}

static int run_all(const bench_command *command, writer *w, bench_report *report)
{
	near_error error = {""};
	if (!bench_home_open(&w->home, w->options->redis, &error)) {
		(void)fprintf(stderr, "nearbench %s: %s\n", command->name, error.text);
		return BENCH_EXIT_BROKEN;
	}
	board_make(w);
	bool ran = run_readers(w, &error);
	bool checked = ran && !w->options->no_check;
	if (checked)
		ran = run_check(w);
	bench_progress_end();
	near_close(w->cache);
	if (w->redis != NULL)
		redisFree(w->redis);
	bench_home_close(&w->home);
	if (!ran)
		(void)fprintf(stderr, "nearbench %s: the run failed %s\n", command->name, error.text);
	report_all(report, w, checked);
	int status = bench_report_print(report, w->options->common.json);
	return ran ? status : BENCH_EXIT_BROKEN;
}

static int coherence_run(const bench_command *command, int argc, char *const *argv)
{
	coherence_options o = {.readers = 4, .keys = 20000, .block = 500, .gap_us = 300};
	bench_arg table[] = {
		{"processes", BENCH_ARG_COUNT, &o.readers, 1, BENCH_READERS_MAX, NULL, "N", "that apply, of each kind", false},
		{"keys", BENCH_ARG_COUNT, &o.keys, 1, 1000000, NULL, "N", "invalidations in each phase", false},
		{"gap-us", BENCH_ARG_COUNT, &o.gap_us, 0, 1000000, NULL, "US", "pause after each call of the paced phase", false},
		{"block", BENCH_ARG_COUNT, &o.block, 1, 1000000, NULL, "N", "calls before the other kind has its turn", false},
		{"no-burst", BENCH_ARG_FLAG, &o.no_burst, 0, 0, NULL, NULL, "leave out the phase without pauses", false},
		{"no-check", BENCH_ARG_FLAG, &o.no_check, 0, 0, NULL, NULL, "leave out the check of whole caches", false},
		{"redis", BENCH_ARG_TEXT, &o.redis, 0, 0, NULL, "URL", "instead of a private server", false},
		BENCH_COMMON_ARGS(o.common),
	};
	int status;
	if (!bench_command_begin(command, table, argc, argv, &status))
		return status;
	bench_report *report = bench_command_report(command, &o.common);
	if (report == NULL)
		return BENCH_EXIT_USAGE;
	writer w = {.options = &o};
	status = run_all(command, &w, report);
	bench_report_free(report);
	return status;
}

const bench_command bench_command_coherence = {
	.name = "coherence",
	.summary = "from an acknowledged invalidation to applied in every process",
	.about =
		"This process invalidates keys through the library; --processes others hold them in L1 and note the moment at which\n"
		"each has been dropped. In turns with that it PUBLISHes messages of the same size to as many bare hiredis subscribers.\n\n"
		"  near_p50_us     from the writer's answer until the last process has applied it\n"
		"  publish_p50_us  from the publisher's answer until the last subscriber has seen it\n"
		"  ratio_p50       one by the other; paced calls, no queues. burst_*: the same without pauses\n\n"
		"Promises: every invalidation is applied by every process, and afterwards no key is served, neither by those nor by\n"
		"whole caches that are filled with all keys, invalidated and asked.\n",
	.examples = "  nearbench coherence --expect 'ratio_p50<=3'\n"
		"  nearbench coherence --processes 8 --keys 5000 --json\n",
	.run = coherence_run,
};
