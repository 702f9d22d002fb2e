/* Single flight: see flight.h. */
#include <stdlib.h>
#include <string.h>
#include "core/flight.h"
#include "sync/wake.h"

enum { BUCKETS = 256 };

typedef struct bucket {
	NEAR_ALIGNED_LINE pthread_mutex_t lock;
	near__flight *first;
} bucket;

struct near__flights {
	bucket bucket[BUCKETS];
};

near_status near__flights_create(near__flights **flights)
{
	near__flights *f = aligned_alloc(NEAR_LINE, sizeof *f);
	if (f == NULL)
		return NEAR_E_NOMEM;
	for (int i = 0; i < BUCKETS; i++) {
		f->bucket[i].first = NULL;
		pthread_mutex_init(&f->bucket[i].lock, NULL);
	}
	*flights = f;
	return NEAR_OK;
}

void near__flights_free(near__flights *flights)
{
	if (flights == NULL)
		return;
	for (int i = 0; i < BUCKETS; i++) {
		NEAR_ASSERT(flights->bucket[i].first == NULL);
		pthread_mutex_destroy(&flights->bucket[i].lock);
	}
	free(flights);
}

static bucket *bucket_of(near_cache *cache, uint64_t local)
{
	return &cache->flights->bucket[(local >> 8) % BUCKETS];
}

static near__flight **find(bucket *b, uint64_t local, const void *key, size_t key_size)
{
	near__flight **at = &b->first;
	while (*at != NULL &&
	       !((*at)->local == local && (*at)->key_size == key_size && memcmp((*at)->key, key, key_size) == 0))
		at = &(*at)->next;
	return at;
}

static void hold(near__flight *flight)
{
	atomic_fetch_add_explicit(&flight->references, 1, memory_order_relaxed);
}

void near__flight_leave(near__flight *flight)
{
	/* FLIGHT-LAST, acq_rel: pairs with itself; the last one to leave sees everybody's use before it frees. */
	if (atomic_fetch_sub_explicit(&flight->references, 1, memory_order_acq_rel) != 1)
		return;
	free(flight->value);
	free(flight);
}

/* Under the bucket's lock. The table's reference goes with it. */
static void unlist(near__flight **at)
{
	near__flight *flight = *at;
	*at = flight->next;
	flight->listed = false;
	near__flight_leave(flight);
}

static near__flight *make(near__key *key, const near__terms *terms)
{
	near__flight *f = calloc(1, sizeof *f + key->size);
	if (f == NULL)
		return NULL;
	f->local = key->local;
	f->key_size = key->size;
	memcpy(f->key, key->bytes, key->size);
	f->forced = (terms->flags & NEAR_REFRESH) != 0;
	f->tag_count = terms->tag_count;
	memcpy(f->tags, terms->tags, terms->tag_count * sizeof *f->tags);
	atomic_store_explicit(&f->references, 2, memory_order_relaxed); /* leader and table */
	return f;
}

/* Whoever comes now may have the flight's result: nothing that this process knows of has overtaken its beginning, and what
 * it may not know of was acknowledged less than a lease ago, because the lease is held (asked first) or the flight is
 * younger than that. So with Redis away a load that takes longer than a lease is begun again once per lease. */
static bool is_current(near_cache *cache, near__key *key, const near__flight *f)
{
	if (cache->coherence != NULL) {
		int64_t now_ns = near__coarse_ns();
		int64_t lease_ns = (int64_t)cache->settings.o.lease_ms * NEAR__MS_NS;
		if (now_ns >= f->before.read_ns + lease_ns - NEAR__COARSE_NS &&
		    now_ns >= near__coherence_shard_lease_until(cache->coherence, key->shard))
			return false;
	}
	if (!near__before_holds(cache, key, &f->before))
		return false;
	for (uint32_t i = 0; i < f->tag_count; i++)
		if (near__fence_tag(&cache->fence, f->tags[i]) > f->before.ticket ||
		    (cache->coherence != NULL &&
		     near__coherence_tag_pos(cache->coherence, key->shard, f->tags[i]) > f->before.asof))
			return false;
	return true;
}

near__flight *near__flight_board(near_cache *cache, near__key *key, const near__terms *terms, bool *leads)
{
	bucket *b = bucket_of(cache, key->local);
	near__key_share(cache, key);
	pthread_mutex_lock(&b->lock);
	near__flight **at = find(b, key->local, key->bytes, key->size);
	near__flight *f = *at;
	bool forces = (terms->flags & NEAR_REFRESH) != 0; /* wants the source asked, so only a flight that asks it will do */
	if (f != NULL && (!forces || f->forced) && is_current(cache, key, f)) {
		hold(f);
		*leads = false;
		pthread_mutex_unlock(&b->lock);
		return f;
	}
	if (f != NULL)
		unlist(at); /* it flies on for those who are aboard */
	f = make(key, terms);
	if (f != NULL) {
		near__before_take(cache, key, &f->before);
		f->listed = true;
		f->next = b->first;
		b->first = f;
		*leads = true;
	}
	pthread_mutex_unlock(&b->lock);
	return f;
}

void near__flight_begin(near_cache *cache, near__flight *flight, near__key *key, near__before *before)
{
	bucket *b = bucket_of(cache, flight->local);
	near__before_take(cache, key, before);
	pthread_mutex_lock(&b->lock);
	flight->before = *before;
	pthread_mutex_unlock(&b->lock);
}

void near__flight_land(near_cache *cache, near__flight *flight, near_status status, const near__found *found,
                       near_source source)
{
	bucket *b = bucket_of(cache, flight->local);
	if (status == NEAR_OK) {
		flight->value = malloc(found->value_size > 0 ? found->value_size : 1);
		if (flight->value == NULL) {
			status = NEAR_E_NOMEM;
		} else {
			if (found->value_size > 0)
				memcpy(flight->value, found->value, found->value_size);
			flight->value_size = found->value_size;
			flight->version = found->version;
			flight->fresh_until_ns = found->fresh_until_ns;
		}
	}
	flight->status = status;
	flight->source = source;
	/* FLIGHT-LANDED, release: pairs with near__flight_wait; the result is whole before anybody sees it landed. */
	atomic_store_explicit(&flight->landed, 1, memory_order_release);
	near__wake_all(&flight->landed);
	pthread_mutex_lock(&b->lock);
	if (flight->listed) {
		near__flight **at = &b->first;
		while (*at != flight)
			at = &(*at)->next;
		unlist(at);
	}
	pthread_mutex_unlock(&b->lock);
	near__flight_leave(flight);
}

bool near__flight_wait(near__flight *flight, int64_t deadline_ns)
{
	/* FLIGHT-LANDED, acquire: pairs with near__flight_land. */
	while (atomic_load_explicit(&flight->landed, memory_order_acquire) == 0)
		if (!near__wait(&flight->landed, 0, deadline_ns))
			return atomic_load_explicit(&flight->landed, memory_order_acquire) != 0;
	return true;
}

void near__flight_news(near_cache *cache, const void *key, size_t key_size)
{
	uint64_t local = near__hash_local(key, key_size);
	bucket *b = bucket_of(cache, local);
	pthread_mutex_lock(&b->lock);
	near__flight *f = *find(b, local, key, key_size);
	if (f != NULL) {
		/* relaxed: the waiter looks at Redis again, not at anything of ours. */
		atomic_fetch_add_explicit(&f->news, 1, memory_order_relaxed);
		near__wake_all(&f->news);
	}
	pthread_mutex_unlock(&b->lock);
}
