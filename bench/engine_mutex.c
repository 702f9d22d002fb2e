/* What a program writes first: one mutex, chains, an LRU list through all entries, malloc. It keeps the bound by the sum of
 * what malloc gives and evicts the least recently used.
 *
 *   heads[hash] -> entry -> entry          newest <-> entry <-> entry <-> oldest
 *
 * Threads: any; every call holds the one lock.
 */
#include "engine.h"

#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/hash.h"
#include "keys.h"

typedef struct locked_entry {
	struct locked_entry *chain, *newer, *older;
	uint64_t hash;
	uint32_t value_size;
	char key[BENCH_KEY_SIZE];
	unsigned char value[];
} locked_entry;

typedef struct locked {
	pthread_mutex_t lock;
	locked_entry **heads;
	uint64_t head_mask, count, bytes, bytes_max;
	locked_entry *newest, *oldest;
} locked;

static void *locked_open(const bench_engine_config *config, near_error *error)
{
	locked *m = calloc(1, sizeof(*m));
	uint64_t heads = 1;
	while (heads < config->items)
		heads *= 2;
	if (m != NULL)
		m->heads = calloc(heads, sizeof(*m->heads));
	if (m == NULL || m->heads == NULL) {
		(void)snprintf(error->text, sizeof(error->text), "no memory");
		free(m);
		return NULL;
	}
	(void)pthread_mutex_init(&m->lock, NULL);
	m->head_mask = heads - 1;
	m->bytes = heads * sizeof(*m->heads);
	m->bytes_max = config->memory_bytes;
	return m;
}

static void list_remove(locked *m, locked_entry *e)
{
	*(e->newer != NULL ? &e->newer->older : &m->newest) = e->older;
	*(e->older != NULL ? &e->older->newer : &m->oldest) = e->newer;
}

static void list_add(locked *m, locked_entry *e)
{
	e->newer = NULL;
	e->older = m->newest;
	*(e->older != NULL ? &e->older->newer : &m->oldest) = e;
	m->newest = e;
}

/* The link that points to the key's entry, or to the NULL at the chain's end. */
static locked_entry **find(locked *m, uint64_t hash, const char *key)
{
	locked_entry **link = &m->heads[hash & m->head_mask];
	while (*link != NULL && ((*link)->hash != hash || memcmp((*link)->key, key, BENCH_KEY_SIZE) != 0))
		link = &(*link)->chain;
	return link;
}

static void drop(locked *m, locked_entry **link)
{
	locked_entry *e = *link;
	*link = e->chain;
	list_remove(m, e);
	m->bytes -= malloc_usable_size(e) + sizeof(size_t);
	m->count--;
	free(e);
}

static void locked_close(void *engine)
{
	locked *m = engine;
	while (m->newest != NULL)
		drop(m, find(m, m->newest->hash, m->newest->key));
	(void)pthread_mutex_destroy(&m->lock);
	free(m->heads);
	free(m);
}

static bool get_inside(locked *m, const char *key, void *buf, size_t buf_size, size_t *value_size)
{
	locked_entry *e = *find(m, near__hash_local(key, BENCH_KEY_SIZE), key);
	if (e == NULL || e->value_size > buf_size)
		return false;
	*value_size = e->value_size;
	memcpy(buf, e->value, e->value_size);
	if (m->newest != e) {
		list_remove(m, e);
		list_add(m, e);
	}
	return true;
}

static bool locked_get(void *engine, const char *key, void *buf, size_t buf_size)
{
	locked *m = engine;
	size_t value_size;
	(void)pthread_mutex_lock(&m->lock);
	bool found = get_inside(m, key, buf, buf_size, &value_size);
	(void)pthread_mutex_unlock(&m->lock);
	return found;
}

static void locked_get_many(void *engine, near_lookup *lookups, size_t count)
{
	locked *m = engine;
	(void)pthread_mutex_lock(&m->lock);
	for (near_lookup *l = lookups; l < lookups + count; l++)
		l->status = get_inside(m, l->key, l->buf, l->buf_size, &l->item.value_size) ? NEAR_OK : NEAR_MISS;
	(void)pthread_mutex_unlock(&m->lock);
}

static bool locked_put(void *engine, const char *key, const void *value, size_t value_size)
{
	locked *m = engine;
	locked_entry *e = malloc(sizeof(*e) + value_size);
	if (e == NULL)
		return false;
	e->hash = near__hash_local(key, BENCH_KEY_SIZE);
	e->value_size = (uint32_t)value_size;
	memcpy(e->key, key, BENCH_KEY_SIZE);
	memcpy(e->value, value, value_size);
	(void)pthread_mutex_lock(&m->lock);
	locked_entry **link = find(m, e->hash, key);
	if (*link != NULL)
		drop(m, link);
	e->chain = NULL;
	*find(m, e->hash, key) = e;
	list_add(m, e);
	m->count++;
	m->bytes += malloc_usable_size(e) + sizeof(size_t);
	while (m->bytes > m->bytes_max && m->oldest != e)
		drop(m, find(m, m->oldest->hash, m->oldest->key));
	(void)pthread_mutex_unlock(&m->lock);
	return true;
}

static void locked_del(void *engine, const char *key)
{
	locked *m = engine;
	(void)pthread_mutex_lock(&m->lock);
	locked_entry **link = find(m, near__hash_local(key, BENCH_KEY_SIZE), key);
	if (*link != NULL)
		drop(m, link);
	(void)pthread_mutex_unlock(&m->lock);
}

static uint64_t locked_count(void *engine)
{
	return ((locked *)engine)->count;
}

static uint64_t locked_mapped(void *engine)
{
	return ((locked *)engine)->bytes;
}

const bench_engine bench_engine_mutex = {
	.name = "mutex",
	.concurrent_writes = true,
	.bounded = true,
	.open = locked_open,
	.close = locked_close,
	.get = locked_get,
	.get_many = locked_get_many,
	.put = locked_put,
	.del = locked_del,
	.count = locked_count,
	.mapped = locked_mapped,
};
