/* The steward of a worker: publishes the library's figures, sees to it that queued invalidations become acknowledged ones,
 * and finds out when everything works again after Redis's return.
 *
 * NEAR_QUEUED promises that an invalidation goes out first when Redis is back, but says not when. So that the version
 * history knows, the steward repeats each of them until it is answered NEAR_OK (an invalidation may be repeated), and only
 * then is it entered as acknowledged. */
#include "worker.h"

#include <stdio.h>
#include <string.h>

#define STEP_NS (5 * SHOP_MS)
#define LOOK_NS (100 * SHOP_MS)
#define LOOK_OFTEN_NS (20 * SHOP_MS)
#define DRAIN_MAX_NS (3 * SHOP_SECOND)
#define RESEND_MAX 200 /* in one step, so that the figures stay young meanwhile */

static void resend(struct worker *worker)
{
	struct tally *tally = &worker->mine->thread[BOARD_BACKGROUND].tally;
	uint32_t article, event;
	char key[KEY_MAX];

	for (int i = 0; i < RESEND_MAX && pending_first(&worker->pending, &article, &event); i++) {
		if (near_invalidate(worker->cache, key, worker_key(article, key), NULL) != NEAR_OK)
			break;
		history_acknowledged(worker->history, event, now_ns());
		COUNT_UP(tally, resent);
		pending_done(&worker->pending, article, event);
	}
}

static void note(_Atomic uint64_t *when, bool works)
{
	if (works && atomic_load(when) == 0)
		atomic_store(when, now_ns());
}

/* Each part is asked for by the call that a user would make. */
static void revival_watch(struct worker *worker, const near_stats *stats)
{
	struct revival *revival = &worker->mine->revival;
	near_call call = NEAR_CALL_INIT;
	near_item item;
	char key[KEY_MAX], value[KEY_MAX];
	size_t key_size = (size_t)snprintf(key, sizeof(key), "beacon:%u", worker->index);

	note(&revival->ping, near_ping(worker->cache, 20) == NEAR_OK);
	if (revival->ping == 0)
		return;
	note(&revival->lease, near_wait_ready(worker->cache, 20) == NEAR_OK);
	note(&revival->invalidation, near_invalidate(worker->cache, key, key_size, NULL) == NEAR_OK);
	if (revival->value == 0 && near_put(worker->cache, key, key_size, "lit", 3, &call) == NEAR_OK) {
		call.flags = NEAR_NO_L1;
		note(&revival->value, near_get_with(worker->cache, key, key_size, &call, value, sizeof(value), &item) == NEAR_OK &&
		     item.source == NEAR_FROM_L2 && item.value_size == 3 && memcmp(value, "lit", 3) == 0);
	}
	note(&revival->drained, revival->invalidation != 0 && stats->journal_keys == 0 && pending_count(&worker->pending) == 0);
}

static bool revived(const struct revival *revival)
{
	return revival->ping && revival->lease && revival->value && revival->invalidation && revival->drained;
}

void steward_drain(struct worker *worker)
{
	uint64_t begin = now_ns();

	while (pending_count(&worker->pending) > 0 && now_ns() - begin < DRAIN_MAX_NS) {
		resend(worker);
		pause_ns(STEP_NS);
	}
	atomic_store_explicit(&worker->mine->pending, pending_count(&worker->pending), memory_order_relaxed);
}

void *steward_run(void *arg)
{
	struct worker *worker = arg;
	struct orders *orders = &worker->board->orders;
	near_stats stats = { .connected = 0 };
	uint64_t looked = 0;

	while (!atomic_load_explicit(&orders->stop, memory_order_relaxed)) {
		bool reviving = atomic_load(&orders->revival) != 0 && !revived(&worker->mine->revival);
		bool waiting = reviving || pending_count(&worker->pending) > 0;

		/* The figures are not for nothing: the allocator is asked for its own. */
		if (now_ns() - looked > (waiting ? LOOK_OFTEN_NS : LOOK_NS)) {
			board_stats_publish(worker->mine, worker->cache);
			stats = worker->mine->stats; /* this thread alone writes it */
			looked = now_ns();
		}
		if (stats.connected)
			resend(worker);
		atomic_store_explicit(&worker->mine->pending, pending_count(&worker->pending), memory_order_relaxed);
		if (reviving)
			revival_watch(worker, &stats);
		pause_ns(STEP_NS);
	}
	return NULL;
}
