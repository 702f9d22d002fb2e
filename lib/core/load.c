/* Loads: L1, then Redis, then the source; one run per key in this process (flight), one in all (load token).
 *
 *   near_load -> L1 fresh ------------------------------> value        (perhaps due for a refresh: refresh.c)
 *             -> L1 stale, and the flag allows it -------> stale value  (and a refresh)
 *             -> board the flight of the key
 *                  joins: waits ------------------------> the leader's value or error
 *                  leads: before -> token step in Redis
 *                           VALUE   -> install ---------> value
 *                           GRANTED -> loader -> fill (refused when overtaken) -> install -> value
 *                           WAIT    -> until news of the fill, polling as the fallback -> token step again
 *                         Redis away -> loader -> install alone (fresh for one lease from the read's beginning)
 *
 * A loader that fails gives its token back; everybody who waited falls back on a stale value if one is left.
 */
#include <stdlib.h>
#include <string.h>
#include "core/load.h"
#include "core/refresh.h"
#include "sync/wake.h"

enum { POLL_MS = 20, GIVE_BACK_MS = 20 };

/* --- the source */

near_status near_loaded_set(near_loaded *loaded, const void *value, size_t value_size)
{
	if (loaded == NULL || loaded->internal == NULL || (value == NULL && value_size > 0))
		return NEAR_E_USAGE;
	near__loaded_value *v = loaded->internal;
	if (value_size > v->size_max)
		return NEAR_E_TOO_LARGE;
	void *bytes = realloc(v->bytes, value_size > 0 ? value_size : 1);
	if (bytes == NULL)
		return NEAR_E_NOMEM;
	if (value_size > 0)
		memcpy(bytes, value, value_size);
	v->bytes = bytes;
	v->size = value_size;
	return NEAR_OK;
}

/* Runs the loader. NEAR_OK or NEAR_MISS (worth remembering): `found` and *fresh_ms are set, `value` holds the bytes. */
static near_status read_source(near_cache *cache, const near__key *key, near__source_call source,
                               const near__terms *terms, near__loaded_value *value, near__found *found,
                               uint64_t *fresh_ms)
{
	const near_options *o = &cache->settings.o;
	*value = (near__loaded_value){ .size_max = o->value_max_bytes };
	near_loaded loaded = { .struct_size = sizeof loaded, .version = terms->version, .internal = value };
	int64_t begun_ns = near__now_ns();
	near__count(cache->stats, NEAR__STAT_loads);
	near_status status = source.loader(source.ctx, key->bytes, key->size, &loaded);
	int64_t cost_ns = near__now_ns() - begun_ns;
	near__histogram_add(cache->stats->latency[NEAR_LATENCY_LOAD], (uint64_t)cost_ns);
	if (status == NEAR_OK && value->bytes == NULL)
		status = NEAR_E_LOADER; /* it said it had a value and handed none over */
	if (status != NEAR_OK && status != NEAR_MISS) {
		near__count(cache->stats, NEAR__STAT_load_failures);
		return NEAR_E_LOADER;
	}
	bool negative = status == NEAR_MISS;
	uint64_t ttl_ms = negative ? o->negative_ttl_ms : loaded.ttl_ms != 0 ? loaded.ttl_ms : terms->ttl_ms;
	*fresh_ms = ttl_ms == 0 ? 0 : near__terms_jitter(cache, ttl_ms < o->ttl_max_ms ? ttl_ms : o->ttl_max_ms);
	*found = (near__found){
		.value = negative ? "" : value->bytes,
		.value_size = negative ? 0 : value->size,
		.version = loaded.version,
		.delta_us = cost_ns / 1000 < UINT32_MAX ? (uint32_t)(cost_ns / 1000) : UINT32_MAX,
		.flags = negative ? NEAR__ENTRY_NEGATIVE : 0,
		.fresh_until_ns = near__now_ns() + (int64_t)*fresh_ms * NEAR__MS_NS,
		.tag_count = terms->tag_count,
	};
	if (found->delta_us == 0)
		found->delta_us = 1;
	found->stale_until_ns = found->fresh_until_ns + (negative ? 0 : (int64_t)terms->stale_ms * NEAR__MS_NS);
	memcpy(found->tags, terms->tags, terms->tag_count * sizeof *found->tags);
	return status;
}

/* --- keeping what it brought */

/* With no word from Redis: fresh for one lease from when the read began, stale for a while after. */
static void live_alone(near_cache *cache, const near__before *before, near__found *found)
{
	const near_options *o = &cache->settings.o;
	int64_t until_ns = before->read_ns + (int64_t)o->lease_ms * NEAR__MS_NS - NEAR__COARSE_NS;
	found->flags |= NEAR__ENTRY_ALONE;
	if (found->fresh_until_ns > until_ns)
		found->fresh_until_ns = until_ns;
	if (!(found->flags & NEAR__ENTRY_NEGATIVE))
		found->stale_until_ns = until_ns + (int64_t)o->degraded_ttl_ms * NEAR__MS_NS;
}

static near__attempt load_alone(near_cache *cache, near__key *key, near__flight *flight, near__source_call source,
                                const near__terms *terms)
{
	near__before before;
	near__loaded_value value;
	near__found found;
	uint64_t fresh_ms;
	near__flight_begin(cache, flight, key, &before);
	near_status status = read_source(cache, key, source, terms, &value, &found, &fresh_ms);
	if (status != NEAR_E_LOADER && fresh_ms > 0 && !(terms->flags & NEAR_NO_L1)) {
		if (cache->coherence != NULL && !near__redis_is_up(cache->redis))
			live_alone(cache, &before, &found);
		(void)near__install(cache, key, &before, &found);
	}
	near__flight_land(cache, flight, status, &found, NEAR_FROM_LOADER);
	free(value.bytes);
	return NEAR__ATTEMPT_LANDED;
}

/* What Redis is told of a load that ended. True: L1 may keep the value, too. */
static bool fill_l2(near_cache *cache, near__key *key, near__step *step, const near__token *token,
                    const near__before *before, near__found *found, uint64_t fresh_ms, const near__terms *terms)
{
	near__before now = *before;
	void *bytes = NULL;
	size_t size;
	now.incarnation = token->incarnation;
	step->deadline_ns = near__now_ns() + (terms->deadline_ns - terms->begun_ns);
	if (fresh_ms == 0 || !near__before_holds(cache, key, before) ||
	    near__encode(cache, key, &now, found, fresh_ms, &bytes, &size) != NEAR_OK) {
		near__coherence_token_release(cache->coherence, step, token);
		return false;
	}
	uint64_t stale_ms = found->flags & NEAR__ENTRY_NEGATIVE ? 0 : terms->stale_ms;
	near_status status = near__coherence_fill(cache->coherence, step, token, bytes, size, fresh_ms + stale_ms);
	free(bytes);
	if (status == NEAR_OK)
		return true;
	if (status == NEAR_CONFLICT) {
		near__count(cache->stats, NEAR__STAT_fills_refused_l2);
		return false;
	}
	near__count(cache->stats, NEAR__STAT_l2_errors);
	live_alone(cache, before, found);
	return true;
}

/* The source failed and Redis still had something stale: where L1 has nothing, it goes there, past its life, for those who
 * fall back on it. */
static void keep_stale(near_cache *cache, near__key *key, const near__before *before, const near__reply *reply)
{
	near__found found;
	uint64_t sum;
	size_t size;
	const char *bytes = near__reply_bytes(reply, &size);
	if (bytes == NULL || near__stale_in_l1(cache, key) ||
	    near__decode(cache, key, before, bytes, size, &found, &sum) == NEAR__NONE)
		return;
	int64_t now_ns = near__coarse_ns();
	if (found.fresh_until_ns >= now_ns)
		found.fresh_until_ns = now_ns - 1;
	(void)near__install(cache, key, before, &found);
}

static near__attempt load_granted(near_cache *cache, near__key *key, near__flight *flight, near__source_call source,
                                  const near__terms *terms, near__step *step, const near__token *token,
                                  const near__before *before, const near__reply *stale)
{
	near__loaded_value value;
	near__found found;
	uint64_t fresh_ms;
	near_status status = read_source(cache, key, source, terms, &value, &found, &fresh_ms);
	if (status == NEAR_E_LOADER) {
		step->deadline_ns = near__now_ns() + (terms->deadline_ns - terms->begun_ns);
		near__coherence_token_release(cache->coherence, step, token);
		if (!(terms->flags & NEAR_NO_L1))
			keep_stale(cache, key, before, stale);
	} else if (fill_l2(cache, key, step, token, before, &found, fresh_ms, terms) && !(terms->flags & NEAR_NO_L1)) {
		(void)near__install(cache, key, before, &found);
	}
	near__flight_land(cache, flight, status, &found, NEAR_FROM_LOADER);
	free(value.bytes);
	return NEAR__ATTEMPT_LANDED;
}

/* What Redis had. False: not usable after all; *sum names it. */
static bool adopt(near_cache *cache, near__key *key, near__flight *flight, const near__terms *terms,
                  const near__before *before, const near__reply *reply, uint64_t *sum)
{
	near__found found;
	near__before judged = *before;
	size_t size;
	const char *bytes = near__reply_bytes(reply, &size);
	*sum = 0;
	judged.tags_known = true; /* by the token step */
	if (bytes == NULL || near__decode(cache, key, &judged, bytes, size, &found, sum) != NEAR__FRESH)
		return false;
	if (!(terms->flags & NEAR_NO_L1))
		(void)near__install(cache, key, before, &found);
	near__count(cache->stats, NEAR__STAT_l2_hits);
	near__flight_land(cache, flight, found.flags & NEAR__ENTRY_NEGATIVE ? NEAR_MISS : NEAR_OK, &found, NEAR_FROM_L2);
	return true;
}

near__attempt near__load_attempt(near_cache *cache, near__key *key, near__flight *flight, near__source_call source,
                                 const near__terms *terms, char mode, uint64_t seen_ms, uint64_t *wait_ms)
{
	near__names names;
	near__before before;
	near__token token;
	near__step step;
	bool lost = false; /* a token that may be granted without our hearing of it */
	/* Twice at most: an envelope that the step finds fresh and we cannot use is named and asked for no more. */
	for (int i = 0; i < 2; i++) {
		if ((terms->flags & NEAR_NO_L2) || !near__l2_usable(cache, key))
			break;
		near__token_answer answer;
		near__reply *reply = NULL;
		int64_t deadline_ns = near__now_ns() + (terms->deadline_ns - terms->begun_ns);
		step = near__step_make(cache, key, deadline_ns, &names);
		near__flight_begin(cache, flight, key, &before);
		near_status status = near__coherence_token(cache->coherence, &step, mode, seen_ms, cache->settings.o.token_ms,
		                                           &answer, &token, &reply, wait_ms);
		if (status != NEAR_OK) {
			near__count(cache->stats, NEAR__STAT_l2_errors);
			lost = status == NEAR_E_TIMEOUT;
			break;
		}
		if (answer == NEAR__TOKEN_WAIT)
			return NEAR__ATTEMPT_WAIT;
		near__attempt attempt = NEAR__ATTEMPT_WAIT;
		if (answer == NEAR__TOKEN_GRANTED)
			attempt = load_granted(cache, key, flight, source, terms, &step, &token, &before, reply);
		else if (adopt(cache, key, flight, terms, &before, reply, &seen_ms))
			attempt = NEAR__ATTEMPT_LANDED;
		near__reply_free(reply);
		if (attempt == NEAR__ATTEMPT_LANDED)
			return attempt;
		mode = 'x';
	}
	near__attempt attempt = load_alone(cache, key, flight, source, terms);
	if (lost) { /* behind the step that asked for it, or every other process would wait out its life */
		step.deadline_ns = near__now_ns() + GIVE_BACK_MS * NEAR__MS_NS;
		near__coherence_token_release(cache->coherence, &step, &token);
	}
	return attempt;
}

/* --- the callers */

/* The leader's way: attempts until landed or out of time. */
static void lead(near_cache *cache, near__key *key, near__flight *flight, near__source_call source,
                 const near__terms *terms)
{
	char mode = terms->flags & NEAR_REFRESH ? 'r' : 'm';
	uint64_t seen_ms = terms->flags & NEAR_REFRESH ? UINT64_C(1) << 52 : 0;
	bool counted = false;
	for (;;) {
		uint64_t wait_ms = 0;
		/* relaxed: news that come after this load change the word, so the wait below returns at once. */
		uint32_t news = atomic_load_explicit(&flight->news, memory_order_relaxed);
		if (near__load_attempt(cache, key, flight, source, terms, mode, seen_ms, &wait_ms) == NEAR__ATTEMPT_LANDED)
			return;
		if (!counted)
			near__count(cache->stats, NEAR__STAT_load_waits);
		counted = true;
		int64_t now_ns = near__now_ns();
		if (now_ns >= terms->wait_deadline_ns) {
			near__flight_land(cache, flight, NEAR_E_TIMEOUT, NULL, NEAR_FROM_NONE);
			return;
		}
		int64_t until_ns = now_ns + (int64_t)(wait_ms < POLL_MS ? wait_ms + 1 : POLL_MS) * NEAR__MS_NS;
		(void)near__wait(&flight->news, news, until_ns < terms->wait_deadline_ns ? until_ns : terms->wait_deadline_ns);
	}
}

static near_status deliver(const near__flight *flight, const near__sink *sink, near_source source)
{
	if (flight->status != NEAR_OK)
		return flight->status;
	int64_t ttl_ms = (flight->fresh_until_ns - near__coarse_ns()) / NEAR__MS_NS;
	if (ttl_ms < 1)
		ttl_ms = 1; /* just read from the source, however short it is kept */
	return near__sink_bytes(sink, flight->value, flight->value_size, flight->version, ttl_ms, source, NEAR_OK);
}

/* Boards, leads or waits. NEAR_E_BUSY: the flight was abandoned. */
static near_status fly(near_cache *cache, near__key *key, near__source_call source, const near__terms *terms,
                       const near__sink *sink)
{
	bool leads;
	near__flight *flight = near__flight_board(cache, key, terms, &leads);
	if (flight == NULL)
		return NEAR_E_NOMEM;
	if (leads) {
		/* The flight is ours to read after it has landed, too. */
		atomic_fetch_add_explicit(&flight->references, 1, memory_order_relaxed);
		lead(cache, key, flight, source, terms);
	} else {
		near__count(cache->stats, NEAR__STAT_load_joins);
		if (!near__flight_wait(flight, terms->wait_deadline_ns)) {
			near__flight_leave(flight);
			return NEAR_E_TIMEOUT;
		}
	}
	near_status status = deliver(flight, sink, flight->source);
	near__flight_leave(flight);
	/* The leader's time was up, not ours. */
	return !leads && status == NEAR_E_TIMEOUT ? NEAR_E_BUSY : status;
}

/* Who welcomes a stale value gets the one that is there, and the load goes on behind him. NEAR_E_UNAVAILABLE: he does not,
 * there is none, or nobody would load. */
static near_status stale_while_loading(near_cache *cache, near__key *key, near__source_call source,
                                       const near__terms *terms, const near__sink *sink)
{
	if (!(terms->flags & NEAR_STALE_ALLOWED) || cache->settings.o.refresh_threads == 0)
		return NEAR_E_UNAVAILABLE;
	near_status status = near__stale_from_l1(cache, key, sink);
	if (status != NEAR_E_UNAVAILABLE)
		near__refresh_offer(cache, key, source.loader, source.ctx, terms, near__coarse_ns());
	return status;
}

near_status near__load(near_cache *cache, near__key *key, near_loader loader, void *ctx, const near__terms *terms,
                       const near__sink *sink)
{
	near__source_call source = { loader, ctx };
	near_status status = NEAR_E_UNAVAILABLE;
	if (!(terms->flags & (NEAR_NO_L1 | NEAR_REFRESH))) {
		status = near__load_hit(cache, key, loader, ctx, terms, sink);
		if (status != NEAR_E_UNAVAILABLE)
			return status;
		near__count(cache->stats, NEAR__STAT_l1_misses);
		status = stale_while_loading(cache, key, source, terms, sink);
		if (status != NEAR_E_UNAVAILABLE)
			return status;
	}
	do
		status = fly(cache, key, source, terms, sink);
	while (status == NEAR_E_BUSY && near__now_ns() < terms->wait_deadline_ns);
	if (status == NEAR_E_BUSY)
		status = NEAR_E_TIMEOUT;
	if ((status == NEAR_E_LOADER || status == NEAR_E_TIMEOUT) && !(terms->flags & NEAR_NO_L1)) {
		near_status stale = near__stale_from_l1(cache, key, sink);
		if (stale != NEAR_E_UNAVAILABLE)
			return stale;
	}
	return status;
}
