/* Single flight: one load per key in this process. The first caller leads, those who come while it flies join and get the
 * same result, if that result can be new enough for them: a caller that comes after an acknowledged invalidation must not
 * get what was read before it, so it joins only while nothing has overtaken the flight's beginning: no invalidation
 * of the key, none of a tag that the leader gives to what it loads.
 *
 * A table of buckets, each with a short mutex of its own; nobody waits under it. Flights are counted: the table (while the
 * flight can be joined), its leader and each waiter hold one reference.
 */
#ifndef NEAR_CORE_FLIGHT_H
#define NEAR_CORE_FLIGHT_H

#include "core/core.h"

typedef struct near__flight {
	struct near__flight *next;
	_Atomic(uint32_t) references;
	_Atomic(uint32_t) landed; /* futex: 0 flying, 1 the result below is final */
	_Atomic(uint32_t) news;   /* futex: somebody's fill of this key was heard of; what a leader waits on */
	bool listed;
	bool forced;              /* the source is asked although Redis has a value */
	near__before before;      /* under the bucket's mutex */
	uint32_t tag_count;       /* the leader's tags: a value that it loads has them */
	near__tag tags[NEAR_TAGS_MAX];
	near_status status;       /* NEAR_OK, NEAR_MISS, NEAR_E_LOADER, NEAR_E_TIMEOUT, NEAR_E_BUSY (abandoned: try again) */
	void *value;
	size_t value_size;
	uint64_t version;
	int64_t fresh_until_ns;
	near_source source;
	uint64_t local;
	size_t key_size;
	unsigned char key[];
} near__flight;

near_status near__flights_create(near__flights **flights);
void near__flights_free(near__flights *flights);

/* Joins the flight of the key, or begins one (*leads). NULL: no memory. */
near__flight *near__flight_board(near_cache *cache, near__key *key, const near__terms *terms, bool *leads);
/* The leader reads (again) from now on: takes `before` anew and shows it to those who would join. */
void near__flight_begin(near_cache *cache, near__flight *flight, near__key *key, near__before *before);
/* The leader's result; `value` is copied. Wakes all and gives the leader's reference back. */
void near__flight_land(near_cache *cache, near__flight *flight, near_status status, const near__found *found,
                       near_source source);
/* A waiter: true when it has landed, false at the deadline. */
bool near__flight_wait(near__flight *flight, int64_t deadline_ns);
void near__flight_leave(near__flight *flight);
/* Somebody filled the key, or gave its token back: whoever waits for that looks again. */
void near__flight_news(near_cache *cache, const void *key, size_t key_size);

#endif
