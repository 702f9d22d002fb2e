/* What the library keeps per thread.
 *
 *   all -> [slot 3 | taken] -> [slot 2 | free] -> [slot 1 | taken] -> [slot 0 | taken]
 *             ^ near__thread_mine of one thread                           ^ of another
 *
 * A slot is never freed and never leaves the list, so the list needs neither a lock nor a guard against ABA: a new slot is
 * pushed in front by one CAS, and a free one is claimed by one CAS of `taken`. Its index is its birth number; a slot is only
 * made when no free one was seen, so indices stay below the number of threads that have lived at once (give or take those
 * that raced).
 *
 * The end of a thread. A destructor of a pthread key gives the slot back. Other destructors of the same thread may still
 * call us afterwards: they get a slot again, and pthread runs our destructor again for it, up to
 * PTHREAD_DESTRUCTOR_ITERATIONS (4) rounds. Whoever calls in the last round leaks one slot.
 *
 * fork. Of the threads only the caller of fork exists in the child. The child's handler frees all other slots and ends
 * their sections, or nothing would ever be reclaimed there.
 *
 * Progress: lock-free; the list's length bounds the walk. near__self costs one TLS load after the first use.
 */
#include "sync/thread.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include "base/hash.h"
#include "sync/epoch.h"

_Thread_local near__thread *near__thread_mine __attribute__((tls_model("initial-exec")));

typedef struct slot {
	near__thread thread;
	_Atomic(uint32_t) taken;
} slot;

static _Atomic(near__thread *) all;
static _Atomic(uint32_t) count;
static pthread_key_t ended_key;
static bool has_key;

static slot *slot_of(near__thread *thread)
{
	return (slot *)((char *)thread - offsetof(slot, thread));
}

static void give_back(void *mine)
{
	near__thread *thread = mine;
	NEAR_ASSERT(near__epoch_idle(thread));
	near__thread_mine = NULL;
	NEAR_YIELD("thread:give_back");
	/* THREAD-SLOT, release: pairs with claim. The next owner continues this one's counters. */
	atomic_store_explicit(&slot_of(thread)->taken, 0, memory_order_release);
}

static near__thread *claim(void)
{
	/* THREAD-LIST, acquire: pairs with push. `next` never changes once the slot is in the list. */
	near__thread *t = atomic_load_explicit(&all, memory_order_acquire);
	near__thread *lowest = NULL;
	for (; t != NULL; t = t->next)
		if (atomic_load_explicit(&slot_of(t)->taken, memory_order_relaxed) == 0 &&
		    (lowest == NULL || t->index < lowest->index))
			lowest = t;
	uint32_t nobody = 0;
	NEAR_YIELD("thread:claim");
	/* THREAD-SLOT, acquire: pairs with give_back. */
	if (lowest != NULL && atomic_compare_exchange_strong_explicit(&slot_of(lowest)->taken, &nobody, 1,
	                                                              memory_order_acquire, memory_order_relaxed))
		return lowest;
	return NULL; /* nothing free, or another thread was quicker: a new one does no harm */
}

static near__thread *push(void)
{
	slot *s = aligned_alloc(NEAR_LINE, (sizeof(slot) + NEAR_LINE - 1) / NEAR_LINE * NEAR_LINE);
	void *record = near__epoch_record_make();
	if (s == NULL || record == NULL)
		near__assert_failed("the system has 300 bytes for a new thread", __FILE__, __LINE__);
	s->thread.record = record;
	s->thread.index = atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
	near__random_bytes(&s->thread.random, sizeof(s->thread.random));
	atomic_init(&s->taken, 1);
	s->thread.next = atomic_load_explicit(&all, memory_order_relaxed);
	/* THREAD-LIST, release: pairs with claim. Ends: a failure means that another thread's push succeeded. */
	while (!atomic_compare_exchange_weak_explicit(&all, &s->thread.next, &s->thread, memory_order_release,
	                                              memory_order_relaxed))
		continue;
	return &s->thread;
}

near__thread *near__thread_make(void)
{
	near__thread *thread = claim();
	if (thread == NULL)
		thread = push();
	NEAR_ASSERT(near__epoch_idle(thread));
	near__thread_mine = thread;
	/* Without the key (the process has used them all) slots of ended threads are not reused: a leak of 300 bytes each. */
	if (has_key)
		(void)pthread_setspecific(ended_key, thread);
	return thread;
}

/* Only async-signal-safe work: no other thread lives here. */
static void after_fork_in_child(void)
{
	near__thread *t = atomic_load_explicit(&all, memory_order_acquire);
	for (; t != NULL; t = t->next) {
		if (t == near__thread_mine)
			continue;
		near__epoch_forget(t);
		atomic_store_explicit(&slot_of(t)->taken, 0, memory_order_release);
	}
	if (near__thread_mine != NULL)
		near__random_bytes(&near__thread_mine->random, sizeof(near__thread_mine->random));
}

/* Before main, so that no first use needs a lock that a stopped thread could hold. */
__attribute__((constructor(110))) static void start(void)
{
	has_key = pthread_key_create(&ended_key, give_back) == 0;
	(void)pthread_atfork(NULL, NULL, after_fork_in_child);
}

/* dlclose must not leave the system with a destructor that is no longer mapped. */
__attribute__((destructor)) static void stop(void)
{
	if (has_key)
		(void)pthread_key_delete(ended_key);
	has_key = false;
}

bool near__thread_start(pthread_t *thread, void *(*body)(void *ctx), void *ctx, const char *name)
{
	sigset_t every, before;
	(void)sigfillset(&every);
	(void)pthread_sigmask(SIG_SETMASK, &every, &before);
	int failed = pthread_create(thread, NULL, body, ctx);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (failed == 0)
		(void)pthread_setname_np(*thread, name);
	return failed == 0;
}
