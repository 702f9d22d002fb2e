/* What load.c and refresh.c share: reading the source once, and keeping what it brought. */
#ifndef NEAR_CORE_LOAD_H
#define NEAR_CORE_LOAD_H

#include "core/flight.h"

typedef struct near__source_call {
	near_loader loader;
	void *ctx;
} near__source_call;

typedef enum near__attempt {
	NEAR__ATTEMPT_LANDED, /* the flight has its result, the leader's reference is gone */
	NEAR__ATTEMPT_WAIT    /* another process holds the token, for *wait_ms at most; the flight still flies */
} near__attempt;

/* One attempt of a flight's leader. mode 'm': anything fresh in Redis will do; 'r': only what is fresh for longer than
 * `seen_ms` (Redis's clock). Ends in a landing unless somebody else holds the token. */
near__attempt near__load_attempt(near_cache *cache, near__key *key, near__flight *flight, near__source_call source,
                                 const near__terms *terms, char mode, uint64_t seen_ms, uint64_t *wait_ms);

#endif
