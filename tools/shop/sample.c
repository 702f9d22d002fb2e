/* Samples: every quarter of a second the counts of all workers are summed; the difference to the last time is one point of
 * the pictures, and belongs to the stage that runs. Here also the rounds of the probe are opened and read. */
#include "run.h"

#include <stdarg.h>
#include <string.h>

#define ROUND_PAUSE_NS (50 * SHOP_MS)
#define ROUND_ARM_NS (800 * SHOP_MS) /* without an answer by then somebody could not be armed */
#define ROUND_MAX_NS (3500 * SHOP_MS)

/* ------------------------------------------------------------------ counts */

static bool redis_is_up(const struct run *run)
{
	return run->redis.pid != 0 && (run->started_at == 0 || run->answered_at != 0);
}

static void stats_add(near_stats *sum, const near_stats *stats)
{
#define NEAR_STAT(kind, field, help) sum->field += stats->field;
#include <nearcache/stats.def>
#undef NEAR_STAT
}

static void state_sample(struct run *run, struct sample *sample)
{
	near_stats stats, sum;

	memset(&sum, 0, sizeof(sum));
	for (unsigned w = 0; w < run->config.workers; w++) {
		struct worker_board *worker = &run->board->worker[w];

		sample->pending += atomic_load_explicit(&worker->pending, memory_order_relaxed);
		if (!board_stats_read(worker, &stats))
			continue;
		stats_add(&sum, &stats);
		sample->connected += stats.connected == 1;
		sample->journal += stats.journal_keys;
		if (stats.mapped_bytes_max > run->mapped_max)
			run->mapped_max = stats.mapped_bytes_max;
		if (stats.limit_bytes > run->memory_limit)
			run->memory_limit = stats.limit_bytes;
	}
	sample->mapped_max = run->mapped_max;
	run->stats = sum;
}

static void rates_sample(struct sample *sample, const struct sum *counts)
{
	const struct spread *reads = counts->read.count >= counts->bare.count ? &counts->read : &counts->bare;
	double per = sample->span > 0 ? 1 / sample->span : 0;

	sample->bare = (double)counts->bare_reads * per;
	sample->l1 = (double)counts->from_l1 * per;
	sample->l2 = (double)counts->from_l2 * per;
	sample->loader = (double)counts->from_loader * per;
	sample->flagged = (double)counts->flagged * per;
	sample->front = (double)counts->front_reads * per;
	sample->loads = (double)counts->loads * per;
	sample->writes = (double)counts->writes * per;
	sample->requests = (double)(counts->reads + counts->bare_reads + counts->front_reads + counts->writes) * per;
	sample->p50 = spread_quantile(reads, 0.5);
	sample->p99 = spread_quantile(reads, 0.99);
	sample->max = reads->max;
	sample->age_max = counts->age.max;
	sample->overtaken_age_max = counts->overtaken_age.max;
	sample->older = (double)counts->older * per;
	sample->beyond = (double)counts->beyond * per;
	sample->overtaken = (double)counts->overtaken * per;
}

/* Large: kept out of the stack. */
static struct sum now_sum, difference;

void run_sample(struct run *run)
{
	struct sample sample = { .at = now_ns(), .stage = run->stage };
	uint64_t before = run->samples > 0 ? run->sample[run->samples - 1].at : run->begin;
	struct stage_figures *figures = &run->figures[run->stage];

	board_sum(run->board, &now_sum, true);
	sum_between(&difference, &now_sum, &run->last);
	run->last = now_sum;
	sum_add(&run->total, &difference);
	sample.span = sample.at > before ? (double)(sample.at - before) / (double)SHOP_SECOND : 0;
	sample.redis_up = redis_is_up(run);
	rates_sample(&sample, &difference);
	state_sample(run, &sample);
	if (figures->begun && !figures->over)
		sum_add(&figures->sum, &difference);
	if (run->samples < RUN_SAMPLES_MAX)
		run->sample[run->samples++] = sample;
}

void run_event(struct run *run, const char *mark, const char *format, ...)
{
	struct event *event = &run->event[run->events];
	va_list list;

	if (run->events == RUN_EVENTS_MAX)
		return;
	event->at = now_ns();
	event->mark = mark;
	event->marked = mark != NULL;
	va_start(list, format);
	vsnprintf(event->text, sizeof(event->text), format, list);
	va_end(list);
	run->events++;
}

/* ------------------------------------------------------------------ the probe's rounds */

static uint64_t since(uint64_t later, uint64_t earlier)
{
	return later > earlier ? later - earlier : 0; /* gone before the writer had its answer: no delay at all */
}

static void spread_put(struct spread *spread, uint64_t ns)
{
	static struct histogram one;

	memset(&one, 0, sizeof(one));
	histogram_add(&one, ns);
	histogram_collect(&one, spread, 1);
}

/* True: every other worker has seen it go. */
static bool round_complete(struct run *run, uint32_t round)
{
	struct probe_board *probe = &run->board->probe;

	if (atomic_load(&probe->answered) != round)
		return false;
	for (unsigned w = 0; w < run->config.workers; w++)
		if (w != probe->writer && atomic_load(&probe->gone[w]) != round)
			return false;
	return true;
}

static void round_count(struct run *run, struct stage_figures *figures)
{
	struct probe_board *probe = &run->board->probe;
	uint64_t all = 0;

	for (unsigned w = 0; w < run->config.workers; w++) {
		uint64_t delay = since(probe->gone_at[w], probe->answered_at);

		if (w == probe->writer)
			continue;
		spread_put(&figures->one, delay);
		all = delay > all ? delay : all;
	}
	spread_put(&figures->all, all);
	if (run->rounds < RUN_ROUNDS_MAX)
		run->round[run->rounds++] = (struct round){ .at = probe->answered_at, .all = all };
}

static void round_close(struct run *run, uint32_t round)
{
	atomic_store(&run->board->probe.over, round);
	run->round_begin = 0;
}

static void round_open(struct run *run, uint32_t round, uint64_t now)
{
	run->round_begin = now;
	run->round_next = now + ROUND_PAUSE_NS;
	atomic_store(&run->board->probe.writer, round % run->config.workers);
	atomic_store(&run->board->probe.round, round);
}

/* A round whose invalidation was queued, or that does not come to an end, measures nothing: void. With Redis away there is
 * nothing to measure, and looking would cost the load its processor. */
void run_probe(struct run *run)
{
	struct probe_board *probe = &run->board->probe;
	struct stage_figures *figures = &run->figures[run->stage];
	uint32_t round = atomic_load(&probe->round);
	uint64_t now = now_ns(), lasts = run->round_begin != 0 ? now - run->round_begin : 0;
	bool answered = atomic_load(&probe->answered) == round;

	if (run->round_begin != 0 && round_complete(run, round) && probe->answer == NEAR_OK) {
		if (figures->begun && !figures->over && run->round_begin >= figures->begin)
			round_count(run, figures);
		round_close(run, round);
	} else if (run->round_begin != 0 && (!redis_is_up(run) || lasts > (answered ? ROUND_MAX_NS : ROUND_ARM_NS) ||
	                                     (answered && probe->answer != NEAR_OK))) {
		figures->rounds_void++;
		round_close(run, round);
	}
	if (run->round_begin == 0 && now >= run->round_next && run->config.workers > 1 && !stages[run->stage].bare &&
	    redis_is_up(run))
		round_open(run, round + 1, now);
}
