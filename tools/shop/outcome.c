/* What came out: the figures that take the whole run, and the promises, each with the figure that it was judged by.
 *
 * A promise that could not be tried (too short a run) counts as broken: the demonstration has not shown it. */
#include "run.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define BACK_MAX_S 5.0
#define LOADS_PER_LIFE_MAX 1.2
#define WAITED_ONE_IN 2000
#define LOAD_MS_MIN 5 /* a load as short as the clock's steps is not begun early, and hurts nobody */
#define GRACE_MS 500 /* of a call, for the scheduler: the demonstration keeps the processors busy */

static void promise(struct run *run, bool kept, const char *text, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static void promise(struct run *run, bool kept, const char *text, const char *format, ...)
{
	struct promise *promise = &run->promise[run->promises];
	va_list list;

	if (run->promises == RUN_PROMISES_MAX)
		abort();
	promise->kept = kept;
	snprintf(promise->text, sizeof(promise->text), "%s", text);
	va_start(list, format);
	vsnprintf(promise->figure, sizeof(promise->figure), format, list);
	va_end(list);
	run->promises++;
}

#define ULL(x) ((unsigned long long)(x))

/* ------------------------------------------------------------------ the hot key */

/* Loads of the front page that began in the stage's measured part. A superfluous one begins no new life. */
static void expiry_figures(struct run *run, const struct stage_figures *figures, struct expiry *expiry)
{
	uint64_t serials = atomic_load(&run->board->front.serial), sum = 0;

	memset(expiry, 0, sizeof(*expiry));
	for (uint64_t i = 1; i <= serials && i < FRONT_LOADS_MAX; i++) {
		struct front_load *load = &run->board->front.load[i];

		if (load->begin < figures->begin || load->begin >= figures->end || load->end == 0)
			continue;
		expiry->loads++;
		expiry->background += load->background != 0;
		expiry->lives += load->superfluous == 0;
		sum += load->end - load->begin;
	}
	expiry->loads_per_life = expiry->lives > 0 ? (double)expiry->loads / expiry->lives : 0;
	expiry->load_ms = expiry->loads > 0 ? (double)sum / expiry->loads / (double)SHOP_MS : 0;
}

static void expiry_promises(struct run *run)
{
	const struct sum *early = &run->figures[EXPIRY].sum;

	bool harmless = run->early.loads > 0 && run->early.load_ms < LOAD_MS_MIN;

	/* One expiry that catches all threads at once, once in a while, is what a busy machine does to any prediction. */
	promise(run, early->front_reads > 0 && (harmless || early->front_waited * WAITED_ONE_IN <= early->front_reads),
	        "callers do not wait when the hottest key expires (1 read in 2,000 at most)",
	        "%llu of %llu reads waited, %u lives of %llu ms, load of %.0f ms",
	        ULL(early->front_waited), ULL(early->front_reads), run->early.lives, ULL(run->config.home_ttl_ms),
	        run->early.load_ms);
	promise(run, run->early.lives > 1 && run->early.loads_per_life <= LOADS_PER_LIFE_MAX,
	        "at most 1.2 loads per life of the hottest key, all processes together", "%.2f (%u loads, %u lives)",
	        run->early.loads_per_life, run->early.loads, run->early.lives);
}

/* ------------------------------------------------------------------ coherence */

static void coherence_promises(struct run *run)
{
	const struct sum *total = &run->total;
	uint64_t fresh = total->from_l1 + total->from_l2 + total->from_loader;

	promise(run, fresh > 0 && total->beyond == 0,
	        "no fresh value older than its acknowledged invalidation by more than the lease",
	        "%llu of %llu fresh reads; oldest inside the lease: %.1f ms of %llu ms", ULL(total->beyond), ULL(fresh),
	        (double)total->age.max / (double)SHOP_MS, ULL(run->config.lease_ms));
	promise(run, total->wrong == 0, "every value is what the database held in that version", "%llu wrong or damaged of %llu",
	        ULL(total->wrong), ULL(fresh + total->flagged + total->bare_reads));
	promise(run, total->own_unseen == 0, "a process reads what it has written itself", "%llu reads did not",
	        ULL(total->own_unseen));
	promise(run, total->backwards == 0, "no process goes back behind an acknowledged version it has read",
	        "%llu reads did", ULL(total->backwards));
	promise(run, run->figures[BARE].sum.age.count + run->figures[BARE_FULL].sum.age.count == 0,
	        "the judge itself: no read straight from the database is called old", "%llu of %llu",
	        ULL(run->figures[BARE].sum.age.count + run->figures[BARE_FULL].sum.age.count), ULL(total->bare_reads));
}

/* ------------------------------------------------------------------ loads */

/* While Redis is there, a page is loaded once, and once more after each invalidation at most. */
static void load_promises(struct run *run)
{
	static const int with_redis[] = { COLD, STEADY, FULL, EXPIRY, EXPIRY_LATE };
	uint64_t loads = 0, allowed = 0;

	for (int i = 0; i < 5; i++) {
		const struct sum *sum = &run->figures[with_redis[i]].sum;

		loads += sum->loads;
		allowed += sum->loads_first + sum->writes;
	}
	promise(run, loads > 0 && loads <= allowed + allowed / 50,
	        "no more loads than articles first asked for and invalidations", "%llu loads, %llu allowed, Redis up",
	        ULL(loads), ULL(allowed));
	promise(run, run->total.load_failures + run->total.write_failures == 0, "the database answered every load and write",
	        "%llu loads and %llu writes failed", ULL(run->total.load_failures), ULL(run->total.write_failures));
}

/* ------------------------------------------------------------------ Redis away */

/* The longest span without a single answered request, at the samples' resolution. */
static double silence(const struct run *run)
{
	double longest = 0, now = 0;

	for (size_t i = 0; i < run->samples; i++) {
		now = run->sample[i].requests > 0 ? 0 : now + run->sample[i].span;
		longest = now > longest ? now : longest;
	}
	return longest;
}

static void away_promises(struct run *run)
{
	const struct sum *total = &run->total, *away = &run->figures[AWAY].sum;
	uint64_t last_pending = run->samples > 0 ? run->sample[run->samples - 1].pending : 0;
	uint64_t read_ms = 2 * run->config.deadline_ms + run->config.load_deadline_ms + GRACE_MS;
	uint64_t write_ms = run->config.deadline_ms + GRACE_MS;
	double back = run->works_at != 0 ? (double)(run->works_at - run->answered_at) / (double)SHOP_SECOND : -1;

	promise(run, away->reads > 0 && total->empty == 0, "every read gets a value, Redis there or not",
	        "%llu without, of %llu; %llu while Redis was away", ULL(total->empty), ULL(total->reads), ULL(away->reads));
	promise(run, away->queued > 0 && total->refused == 0, "an invalidation is acknowledged or queued, never refused",
	        "%llu acknowledged, %llu queued, %llu refused", ULL(total->acknowledged), ULL(total->queued),
	        ULL(total->refused));
	promise(run, run->works_at != 0 && last_pending == 0, "every queued invalidation is delivered in the end",
	        "%llu left at the end", ULL(last_pending));
	promise(run, back >= 0 && back <= BACK_MAX_S, "works again within 5 s of Redis's return",
	        back >= 0 ? "%.2f s until every worker had lease, values, invalidations and an empty queue" :
	        "not within the run (%.0f)", back);
	promise(run, total->read.max <= read_ms * SHOP_MS && total->invalidate.max <= write_ms * SHOP_MS && run->hung == 0,
	        "no call hangs past its deadlines", "longest read %.0f ms (at most %llu), longest invalidation %.0f ms "
	        "(at most %llu), %u hung", (double)total->read.max / (double)SHOP_MS, ULL(read_ms),
	        (double)total->invalidate.max / (double)SHOP_MS, ULL(write_ms), run->hung);
	promise(run, silence(run) < 1, "the service never stands still for a second", "longest silence %.2f s", silence(run));
}

bool run_judge(struct run *run)
{
	bool kept = true;

	expiry_figures(run, &run->figures[EXPIRY], &run->early);
	expiry_figures(run, &run->figures[EXPIRY_LATE], &run->late);
	coherence_promises(run);
	load_promises(run);
	expiry_promises(run);
	away_promises(run);
	promise(run, run->mapped_max > 0 && run->mapped_max <= run->memory_limit,
	        "no worker's cache maps more memory than its bound", "%.1f MiB at most, bound %.1f MiB",
	        (double)run->mapped_max / 1048576, (double)run->memory_limit / 1048576);
	promise(run, run->crashed == 0, "no process crashes", "%u did%s%.120s", run->crashed, run->crashed > 0 ? ": " : "",
	        run->crash);
	for (size_t i = 0; i < run->promises; i++)
		kept = kept && run->promise[i].kept;
	return kept;
}
