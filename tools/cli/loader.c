/* See loader.h. A lock guards the table; it is not held while the loader sleeps. */
#include "loader.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PLANS 4096

static struct {
	pthread_mutex_t lock;
	plan *plans[PLANS]; /* each one block: the plan, the key, the value */
} table = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* FNV-1a, 64 bits. */
static size_t place_of(const void *key, size_t size)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < size; i++)
		hash = (hash ^ ((const unsigned char *)key)[i]) * UINT64_C(0x100000001b3);
	return (size_t)(hash % PLANS);
}

static plan *plan_copy(const plan *p)
{
	plan *copy = must_alloc(sizeof(*copy) + p->key.size + p->value.size);
	char *key = (char *)(copy + 1), *value = key + p->key.size;
	*copy = *p;
	memcpy(key, p->key.bytes, p->key.size);
	memcpy(value, p->value.bytes, p->value.size);
	copy->key.bytes = key;
	copy->value.bytes = value;
	return copy;
}

void loader_plan(const plan *p)
{
	plan *copy = plan_copy(p);
	plan **at = &table.plans[place_of(p->key.bytes, p->key.size)];
	pthread_mutex_lock(&table.lock);
	plan *old = *at;
	*at = copy;
	pthread_mutex_unlock(&table.lock);
	free(old);
}

/* The plan of this key, the caller's to free, or NULL. */
static plan *plan_take(const void *key, size_t key_size)
{
	pthread_mutex_lock(&table.lock);
	const plan *p = table.plans[place_of(key, key_size)];
	plan *copy = NULL;
	if (p != NULL && p->key.size == key_size && memcmp(p->key.bytes, key, key_size) == 0)
		copy = plan_copy(p);
	pthread_mutex_unlock(&table.lock);
	return copy;
}

near_status loader_run(void *ctx, const void *key, size_t key_size, near_loaded *loaded)
{
	(void)ctx;
	plan *p = plan_take(key, key_size);
	near_status status = NEAR_OK;
	if (p == NULL)
		return NEAR_E_LOADER;
	struct timespec left = { (time_t)(p->cost_ms / 1000), (long)(p->cost_ms % 1000) * 1000000 };
	while (nanosleep(&left, &left) != 0)
		continue; /* a signal: sleep on */
	if (p->fails)
		status = NEAR_E_LOADER;
	else if (p->misses)
		status = NEAR_MISS;
	else
		status = near_loaded_set(loaded, p->value.bytes, p->value.size);
	free(p);
	return status;
}

void loader_forget(void)
{
	for (size_t i = 0; i < PLANS; i++) {
		free(table.plans[i]);
		table.plans[i] = NULL;
	}
}
