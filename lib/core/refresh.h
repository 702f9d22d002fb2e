/* Refreshes before expiry: a bounded queue and a few threads. A full queue counts and skips: the value is still good, and
 * the next get offers it again. */
#ifndef NEAR_CORE_REFRESH_H
#define NEAR_CORE_REFRESH_H

#include "core/core.h"

near_status near__refresh_create(near_cache *cache, near__refresh **refresh);
/* Drops what waits, waits for what runs. */
void near__refresh_free(near__refresh *refresh);

/* Offers a key whose value is good until `fresh_until_ns`. Cheap when it is already on its way or was tried just now. */
void near__refresh_offer(near_cache *cache, const near__key *key, near_loader loader, void *ctx,
                         const near__terms *terms, int64_t fresh_until_ns);

/* XFetch (Vattani, Chierichetti, Lowenstein, PVLDB 8(8), 2015): whether to refresh now a value that expires at
 * `fresh_until_ns` and took `delta_us` to load: now - delta * beta * ln(random) >= expiry, random uniform in (0, 1].
 *
 * The paper's draw is made at each access, so the first one that comes out "now" lies delta * ln(rate * delta) before the
 * expiry: at 100,000 reads a second of a value that takes 133 ms to load, 1.3 s. A value that lives 1 s would be loaded
 * all the time. What the draw is for, that not all processes refresh at once, the load token sees to. So nothing is
 * refreshed earlier than NEAR__REFRESH_REACH loads before its expiry (or a load and NEAR__REFRESH_LEAST_MS, for loads so
 * short that a round trip to Redis counts): time for one load and as much again for a slow one. */
#define NEAR__REFRESH_REACH 2
#define NEAR__REFRESH_LEAST_MS 20
bool near__refresh_due(int64_t now_ns, int64_t fresh_until_ns, uint32_t delta_us, double beta, uint64_t *random);

#endif
