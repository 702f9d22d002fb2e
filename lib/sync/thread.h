/* What the library keeps per thread: made on first use, given back when the thread ends.
 *
 *   near__self()  -> one TLS load on the fast path
 *     index         small and dense, unique among live threads: picks counter stripes
 *     random        state for near__random_next
 *     record        its ck_epoch record (sync/epoch knows what it is)
 *
 * A record is recycled, never freed: ck_epoch_unregister forgets pending work.
 */
#ifndef NEAR_SYNC_THREAD_H
#define NEAR_SYNC_THREAD_H

#include <pthread.h>
#include <stdint.h>
#include "base/base.h"

typedef struct near__thread {
	void *record;
	uint32_t index;
	uint64_t random;
	struct near__thread *next; /* recycling list */
} near__thread;

extern _Thread_local near__thread *near__thread_mine __attribute__((tls_model("initial-exec")));
/* Slow path of near__self. Aborts only when the system has no memory for 200 bytes. */
near__thread *near__thread_make(void);

static inline near__thread *near__self(void)
{
	near__thread *t = near__thread_mine;
	return NEAR_LIKELY(t != NULL) ? t : near__thread_make();
}

/* Starts a thread of the library's own: it takes no signals (they are the program's) and bears a name of at most 15 bytes. */
bool near__thread_start(pthread_t *thread, void *(*body)(void *ctx), void *ctx, const char *name);

#endif
