/* The refresh pool: see refresh.h.
 *
 * Near its expiry a hot key is offered thousands of times a second. `recent` turns most offers away with two loads: per
 * slot the key last taken in and until when it is not to be taken again (while it runs: a long time; afterwards a pause
 * that depends on how it went). Two keys of one slot overwrite each other; that costs an offer, and a flight of the same
 * key that already flies makes the second one a no-op.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/load.h"
#include "core/refresh.h"

enum { RECENT = 1024, PAUSE_WAIT_MS = 10, PAUSE_FAILED_MS = 100, SEEN_SLACK_MS = 20, RUNNING_MS = 60000 };

typedef struct task {
	struct task *next;
	near__source_call source;
	near__terms terms;
	int64_t fresh_until_ns;
	size_t key_size;
	unsigned char key[];
} task;

typedef struct recent {
	_Atomic(uint64_t) local;
	_Atomic(int64_t) not_before_ns;
} recent;

struct near__refresh {
	near_cache *cache;
	pthread_mutex_t lock;
	pthread_cond_t some;
	task *first, *last;
	size_t waiting, waiting_max;
	bool stopping;
	size_t thread_count;
	pthread_t *threads;
	recent recent[RECENT];
};

bool near__refresh_due(int64_t now_ns, int64_t fresh_until_ns, uint32_t delta_us, double beta, uint64_t *random)
{
	if (delta_us == 0 || beta <= 0)
		return false;
	double reach_ns = (double)delta_us * 1000.0 * beta;
	double left_ns = (double)(fresh_until_ns - now_ns);
	double least_ns = reach_ns + NEAR__REFRESH_LEAST_MS * (double)NEAR__MS_NS;
	double most_ns = reach_ns * NEAR__REFRESH_REACH;
	if (left_ns > (most_ns > least_ns ? most_ns : least_ns))
		return false; /* nor is ln for every hit */
	double uniform = ((double)(near__random_next(random) >> 11) + 1.0) * 0x1p-53; /* (0, 1] */
	return -reach_ns * log(uniform) >= left_ns;
}

static void pause_key(near__refresh *refresh, uint64_t local, int64_t pause_ms)
{
	recent *r = &refresh->recent[local % RECENT];
	/* relaxed, here and in taken(): a hint; a wrong one costs an offer. */
	atomic_store_explicit(&r->local, local, memory_order_relaxed);
	atomic_store_explicit(&r->not_before_ns, near__coarse_ns() + pause_ms * NEAR__MS_NS, memory_order_relaxed);
}

static bool taken(near__refresh *refresh, uint64_t local)
{
	recent *r = &refresh->recent[local % RECENT];
	return atomic_load_explicit(&r->local, memory_order_relaxed) == local &&
	       near__coarse_ns() < atomic_load_explicit(&r->not_before_ns, memory_order_relaxed);
}

/* Until when a value in Redis must live to be another than ours. Both ends of life went through our idea of Redis's clock,
 * which is off by up to half a round trip, each time anew: what seems to live a little longer is the one we have, and
 * adopting it instead of loading would let it run out under a busy key. A newer one lives longer by most of a life. */
static uint64_t seen_ms(near_cache *cache, const task *t)
{
	uint64_t redis_ms = cache->coherence != NULL ? near__coherence_redis_ms(cache->coherence) : 0;
	int64_t left_ms = (t->fresh_until_ns - near__now_ns()) / NEAR__MS_NS;
	left_ms += left_ms / 2 > SEEN_SLACK_MS ? left_ms / 2 : SEEN_SLACK_MS;
	return redis_ms == 0 || (left_ms < 0 && redis_ms < (uint64_t)-left_ms) ? 0 : redis_ms + (uint64_t)left_ms;
}

static void run(near__refresh *refresh, task *t)
{
	near_cache *cache = refresh->cache;
	near__key key = near__key_make(t->key, t->key_size);
	bool leads;
	uint64_t wait_ms;
	int64_t pause_ms = 0;
	near__flight *flight = near__flight_board(cache, &key, &t->terms, &leads);
	if (flight == NULL) {
		pause_key(refresh, key.local, PAUSE_FAILED_MS);
		return;
	}
	if (leads) {
		atomic_fetch_add_explicit(&flight->references, 1, memory_order_relaxed);
		near__count(cache->stats, NEAR__STAT_refreshes);
		if (near__load_attempt(cache, &key, flight, t->source, &t->terms, 'r', seen_ms(cache, t), &wait_ms) ==
		    NEAR__ATTEMPT_WAIT) {
			near__flight_land(cache, flight, NEAR_E_BUSY, NULL, NEAR_FROM_NONE);
			pause_ms = PAUSE_WAIT_MS;
		} else if (flight->status == NEAR_E_LOADER) {
			pause_ms = PAUSE_FAILED_MS;
		} else if (flight->source == NEAR_FROM_L2) {
			near__count(cache->stats, NEAR__STAT_refreshes_adopted);
		}
	}
	near__flight_leave(flight);
	pause_key(refresh, key.local, pause_ms);
}

static void *work(void *ctx)
{
	near__refresh *refresh = ctx;
	pthread_mutex_lock(&refresh->lock);
	for (;;) {
		while (refresh->first == NULL && !refresh->stopping)
			pthread_cond_wait(&refresh->some, &refresh->lock);
		if (refresh->stopping)
			break;
		task *t = refresh->first;
		refresh->first = t->next;
		if (refresh->first == NULL)
			refresh->last = NULL;
		refresh->waiting--;
		pthread_mutex_unlock(&refresh->lock);
		run(refresh, t);
		free(t);
		pthread_mutex_lock(&refresh->lock);
	}
	pthread_mutex_unlock(&refresh->lock);
	return NULL;
}

near_status near__refresh_create(near_cache *cache, near__refresh **out)
{
	const near_options *o = &cache->settings.o;
	near__refresh *r = calloc(1, sizeof *r);
	if (r == NULL)
		return NEAR_E_NOMEM;
	r->cache = cache;
	r->waiting_max = o->refresh_queue;
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->some, NULL);
	r->threads = calloc(o->refresh_threads + 1, sizeof *r->threads);
	near_status status = r->threads != NULL ? NEAR_OK : NEAR_E_NOMEM;
	for (; status == NEAR_OK && r->thread_count < o->refresh_threads; r->thread_count++) {
		char name[16];
		snprintf(name, sizeof name, "%.8s-rf%u", o->thread_name, (unsigned)r->thread_count % 100);
		if (!near__thread_start(&r->threads[r->thread_count], work, r, name)) {
			status = NEAR_E_SYSTEM;
			break;
		}
	}
	if (status != NEAR_OK) {
		near__refresh_free(r);
		return status;
	}
	*out = r;
	return NEAR_OK;
}

void near__refresh_free(near__refresh *r)
{
	if (r == NULL)
		return;
	pthread_mutex_lock(&r->lock);
	r->stopping = true;
	pthread_cond_broadcast(&r->some);
	pthread_mutex_unlock(&r->lock);
	for (size_t i = 0; i < r->thread_count; i++)
		pthread_join(r->threads[i], NULL);
	for (task *t = r->first, *next; t != NULL; t = next) {
		next = t->next;
		free(t);
	}
	free(r->threads);
	pthread_cond_destroy(&r->some);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

void near__refresh_offer(near_cache *cache, const near__key *key, near_loader loader, void *ctx,
                         const near__terms *terms, int64_t fresh_until_ns)
{
	near__refresh *r = cache->refresh;
	if (r->thread_count == 0 || taken(r, key->local))
		return;
	task *t = malloc(sizeof *t + key->size);
	if (t == NULL)
		return;
	*t = (task){ .source = { loader, ctx }, .terms = *terms, .fresh_until_ns = fresh_until_ns, .key_size = key->size };
	t->terms.flags &= ~(uint32_t)(NEAR_REFRESH | NEAR_NO_L1);
	memcpy(t->key, key->bytes, key->size);
	pthread_mutex_lock(&r->lock);
	bool full = r->waiting >= r->waiting_max || r->stopping;
	if (!full && !taken(r, key->local)) {
		pause_key(r, key->local, RUNNING_MS);
		*(r->last != NULL ? &r->last->next : &r->first) = t;
		r->last = t;
		r->waiting++;
		t = NULL;
		pthread_cond_signal(&r->some);
	}
	pthread_mutex_unlock(&r->lock);
	free(t);
	if (full)
		near__count(cache->stats, NEAR__STAT_refreshes_skipped);
}
