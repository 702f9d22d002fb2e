/* The cache's own threads but for Redis's and the refreshers: housekeeping of L1, and the courier of the journal. */
#ifndef NEAR_CORE_HOUSE_H
#define NEAR_CORE_HOUSE_H

#include "core/core.h"

near_status near__house_create(near_cache *cache, near__house **house);
void near__house_free(near__house *house);
/* Redis is back: the courier sets out at once. Any thread. */
void near__house_nudge(near_cache *cache);
/* Sends what the journal holds until it is empty, Redis fails, or the deadline passes. */
void near__house_deliver(near_cache *cache, int64_t deadline_ns);

#endif
