/* The journal: invalidations that Redis has not acknowledged.
 *
 * One entry per key, bounded. While a key is in it, this process asks Redis nothing about the key (Redis still has the old
 * value). When it overflows, the shard as a whole is noted instead: on return the shard is made void, which costs every
 * process its entries of that shard but loses nothing. An entry leaves only when its invalidation was acknowledged and it
 * was not noted again meanwhile.
 */
#ifndef NEAR_CORE_JOURNAL_H
#define NEAR_CORE_JOURNAL_H

#include "coherence/coherence.h"

struct near__journal;

near_status near__journal_create(unsigned shards, size_t keys_max, struct near__journal **journal);
void near__journal_free(struct near__journal *journal);

/* Notes an invalidation (NEAR__CHANGE_INVALIDATE, _REMOVE; _TAG: key is the tag's 8 bytes, shard 0). False: the journal was
 * full and the shard (for a tag: every shard) was noted instead. */
bool near__journal_add(struct near__journal *journal, unsigned shard, near__change change, const void *key,
                       size_t key_size);
/* Cheap while the journal is empty. */
bool near__journal_has(struct near__journal *journal, unsigned shard, const void *key, size_t key_size);
size_t near__journal_count(struct near__journal *journal); /* keys and void shards */

/* The sender's side; one thread. `round` distinguishes an entry noted again while it was being sent. */
typedef struct near__journal_item {
	unsigned shard;
	bool void_shard;
	near__change change;
	uint64_t round;
	size_t key_size;
	unsigned char key[NEAR_KEY_MAX];
} near__journal_item;
/* The next one to send; false: empty. Does not remove it. */
bool near__journal_next(struct near__journal *journal, near__journal_item *item);
/* It was acknowledged: removes it unless it was noted again since. */
void near__journal_done(struct near__journal *journal, const near__journal_item *item);

#endif
