/* The source that `load` stands for: it sleeps, then gives a value, fails, or has none.
 *
 * A refresh before expiry calls the loader again later, on a thread of the cache's. So what a key's last `load` said is
 * kept in a table, and the loader looks its key up there: a refresh brings what the newest `load` of the key would bring.
 *
 *   table[hash of the key mod PLANS]  one plan each, the newest wins; so the memory is bounded however many keys there are
 *
 * A refresh that finds its plan displaced by another key's fails, as a source that is away would.
 */
#ifndef NEAR_CLI_LOADER_H
#define NEAR_CLI_LOADER_H

#include <nearcache/nearcache.h>
#include "words.h"

typedef struct plan {
	word key, value;
	uint64_t cost_ms;
	bool fails, misses;
} plan;

/* Copies the plan. */
void loader_plan(const plan *p);
/* A near_loader; its ctx is not used. */
near_status loader_run(void *ctx, const void *key, size_t key_size, near_loaded *loaded);
/* After near_close. */
void loader_forget(void);

#endif
