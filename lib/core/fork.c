/* fork(). The child has the parent's memory and none of its threads: nobody sweeps, renews the lease or reads messages
 * there, and its sockets are the parent's. So a cache is unusable in the child as it is, and the first call on it there
 * opens it anew with the same settings: an empty L1, own threads, own connections.
 *
 *   parent   cache.generation == forks (0)
 *   child    forks + 1  ->  first call: near__cache_revive -> rooms opened anew -> cache.generation = forks
 *
 * What the parent's rooms hold is left alone: pins taken before the fork stay valid in the child (copy on write), and
 * closing the old rooms would touch the parent's sockets and join threads that are not there. It costs the child address
 * space, and memory only where parent or child write.
 *
 * Threads: the handler runs in the child's only thread. Several threads of the child may make the first call at once.
 */
#include <pthread.h>
#include "core/core.h"

_Atomic(uint32_t) near__forks;
static pthread_mutex_t reviving = PTHREAD_MUTEX_INITIALIZER;

static void in_child(void)
{
	atomic_fetch_add_explicit(&near__forks, 1, memory_order_relaxed);
	pthread_mutex_init(&reviving, NULL); /* whoever held it in the parent is not here */
}

__attribute__((constructor)) static void watch_forks(void)
{
	(void)pthread_atfork(NULL, NULL, in_child);
}

near_status near__cache_revive(near_cache *cache)
{
	near_status status = NEAR_OK;
	pthread_mutex_lock(&reviving);
	uint32_t now = atomic_load_explicit(&near__forks, memory_order_relaxed);
	if (atomic_load_explicit(&cache->generation, memory_order_relaxed) != now) {
		status = near__rooms_open(cache, NULL);
		if (status == NEAR_OK)
			/* CACHE-REVIVED, release: pairs with near__cache_here; the rooms are open before anybody uses them. */
			atomic_store_explicit(&cache->generation, now, memory_order_release);
	}
	pthread_mutex_unlock(&reviving);
	return status;
}
