/* The journal: a chained hash table under one mutex. It is touched only while Redis is away or just back; the read path
 * looks at one atomic count. Oldest first is kept by a list through the entries. See journal.h. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "base/hash.h"
#include "core/journal.h"

typedef struct note note;
struct note {
	note *chain;
	note *older, *newer;
	uint64_t hash;
	uint64_t round;
	unsigned shard;
	near__change change;
	size_t key_size;
	unsigned char key[];
};

enum { BUCKETS = 4096 };

typedef struct near__journal {
	pthread_mutex_t lock;
	_Atomic(size_t) count; /* notes and void shards */
	size_t notes, notes_max, tags;
	uint64_t round;
	note *oldest, *newest;
	note *bucket[BUCKETS];
	unsigned shards;
	uint64_t *void_round; /* per shard: 0, or the round in which it was noted as a whole */
} near__journal;

near_status near__journal_create(unsigned shards, size_t keys_max, near__journal **journal)
{
	near__journal *j = calloc(1, sizeof *j);
	if (j == NULL)
		return NEAR_E_NOMEM;
	j->void_round = calloc(shards, sizeof *j->void_round);
	if (j->void_round == NULL || pthread_mutex_init(&j->lock, NULL) != 0) {
		free(j->void_round);
		free(j);
		return NEAR_E_NOMEM;
	}
	j->shards = shards;
	j->notes_max = keys_max;
	*journal = j;
	return NEAR_OK;
}

void near__journal_free(near__journal *j)
{
	if (j == NULL)
		return;
	for (note *n = j->oldest, *newer; n != NULL; n = newer) {
		newer = n->newer;
		free(n);
	}
	pthread_mutex_destroy(&j->lock);
	free(j->void_round);
	free(j);
}

static bool is_tag(near__change change)
{
	return change == NEAR__CHANGE_TAG;
}

static note **find(near__journal *j, bool tag, uint64_t hash, const void *key, size_t key_size)
{
	note **at = &j->bucket[hash % BUCKETS];
	while (*at != NULL && !((*at)->hash == hash && is_tag((*at)->change) == tag && (*at)->key_size == key_size &&
	                        memcmp((*at)->key, key, key_size) == 0))
		at = &(*at)->chain;
	return at;
}

static void note_void(near__journal *j, unsigned shard)
{
	if (j->void_round[shard] == 0)
		atomic_fetch_add_explicit(&j->count, 1, memory_order_seq_cst);
	j->void_round[shard] = ++j->round;
}

static note *note_make(near__journal *j, unsigned shard, near__change change, uint64_t hash, const void *key,
                       size_t key_size)
{
	note *n = j->notes < j->notes_max ? malloc(sizeof *n + key_size) : NULL;
	if (n == NULL)
		return NULL;
	*n = (note){ .hash = hash, .shard = shard, .change = change, .key_size = key_size, .older = j->newest };
	memcpy(n->key, key, key_size);
	n->chain = j->bucket[hash % BUCKETS];
	j->bucket[hash % BUCKETS] = n;
	*(j->newest != NULL ? &j->newest->newer : &j->oldest) = n;
	j->newest = n;
	j->notes++;
	j->tags += is_tag(change);
	atomic_fetch_add_explicit(&j->count, 1, memory_order_seq_cst);
	return n;
}

bool near__journal_add(near__journal *j, unsigned shard, near__change change, const void *key, size_t key_size)
{
	uint64_t hash = near__hash_local(key, key_size);
	bool noted = true;
	pthread_mutex_lock(&j->lock);
	note *n = *find(j, is_tag(change), hash, key, key_size);
	if (n == NULL)
		n = note_make(j, shard, change, hash, key, key_size);
	if (n != NULL) {
		n->round = ++j->round;
		if (change == NEAR__CHANGE_REMOVE)
			n->change = change; /* the stronger of the two */
	} else {
		noted = false;
		for (unsigned s = is_tag(change) ? 0 : shard; s < (is_tag(change) ? j->shards : shard + 1); s++)
			note_void(j, s);
	}
	pthread_mutex_unlock(&j->lock);
	return noted;
}

bool near__journal_has(near__journal *j, unsigned shard, const void *key, size_t key_size)
{
	/* relaxed: a reader concurrent with the write that is being noted may still ask Redis; a reader that comes after
	 * that write's return sees the count through whatever told it of the return. */
	if (NEAR_LIKELY(atomic_load_explicit(&j->count, memory_order_relaxed) == 0))
		return false;
	pthread_mutex_lock(&j->lock);
	/* While a tag waits any value may carry it; tags are sent first. */
	bool has = j->tags > 0 || j->void_round[shard] != 0 ||
	           *find(j, false, near__hash_local(key, key_size), key, key_size) != NULL;
	pthread_mutex_unlock(&j->lock);
	return has;
}

size_t near__journal_count(near__journal *j)
{
	return atomic_load_explicit(&j->count, memory_order_relaxed);
}

bool near__journal_next(near__journal *j, near__journal_item *item)
{
	bool found = false;
	pthread_mutex_lock(&j->lock);
	for (unsigned s = 0; s < j->shards && !found; s++) {
		if (j->void_round[s] == 0)
			continue;
		item->shard = s;
		item->void_shard = true;
		item->round = j->void_round[s];
		found = true;
	}
	const note *n = j->oldest;
	while (j->tags > 0 && n != NULL && !is_tag(n->change))
		n = n->newer;
	if (!found && n != NULL) {
		item->shard = n->shard;
		item->void_shard = false;
		item->change = n->change;
		item->round = n->round;
		item->key_size = n->key_size;
		memcpy(item->key, n->key, n->key_size);
		found = true;
	}
	pthread_mutex_unlock(&j->lock);
	return found;
}

static void unlink_note(near__journal *j, note **at)
{
	note *n = *at;
	*at = n->chain;
	*(n->older != NULL ? &n->older->newer : &j->oldest) = n->newer;
	*(n->newer != NULL ? &n->newer->older : &j->newest) = n->older;
	j->notes--;
	j->tags -= is_tag(n->change);
	free(n);
	atomic_fetch_sub_explicit(&j->count, 1, memory_order_seq_cst);
}

void near__journal_done(near__journal *j, const near__journal_item *item)
{
	pthread_mutex_lock(&j->lock);
	if (item->void_shard) {
		if (j->void_round[item->shard] == item->round) {
			j->void_round[item->shard] = 0;
			atomic_fetch_sub_explicit(&j->count, 1, memory_order_seq_cst);
		}
	} else {
		note **at = find(j, is_tag(item->change), near__hash_local(item->key, item->key_size), item->key, item->key_size);
		if (*at != NULL && (*at)->round == item->round)
			unlink_note(j, at);
	}
	pthread_mutex_unlock(&j->lock);
}
