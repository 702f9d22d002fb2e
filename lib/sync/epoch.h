/* Epoch-based reclamation: the only room that knows ck_epoch.
 *
 * A thread that follows references into memory which others may unlink does so inside a section. What is unlinked is
 * retired to a limbo (one per cache) and freed when every section that could still see it has ended.
 *
 *   near__limbo   four lock-free stacks, one per epoch modulo 4
 *     retire: inside a section, after the unlink, push onto the stack of the epoch read now. Lock-free; any thread.
 *     collect: inside a section, take the whole stack of epoch - 2 and try to advance; then, outside, free what was
 *     taken. Any thread at any time; nobody owns the duty, so a thread that stops holds up only the list it has taken, and everybody's
 *     reclamation as long as it stays inside a section.
 *
 * Sections nest. A section of a get contains no code of the user's.
 */
#ifndef NEAR_SYNC_EPOCH_H
#define NEAR_SYNC_EPOCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "sync/thread.h"

void near__epoch_enter(near__thread *self);
void near__epoch_exit(near__thread *self);

/* For sync/thread alone: a record for a new thread (NULL: no memory); is the thread outside of all sections; end the
 * sections of a thread that fork left behind. */
void *near__epoch_record_make(void);
bool near__epoch_idle(const near__thread *thread);
void near__epoch_forget(near__thread *thread);

/* The first 8 bytes of this overlay memory of the retired object (its owner says where). */
typedef struct near__retired {
	struct near__retired *next;
} near__retired;

typedef struct near__limbo {
	NEAR_ALIGNED_LINE _Atomic(near__retired *) stack[4];
	_Atomic(uint64_t) bytes; /* retired and not yet freed */
} near__limbo;

void near__limbo_init(near__limbo *limbo);
/* Inside a section. `bytes` is what the object occupies, for the account. */
void near__limbo_retire(near__limbo *limbo, near__retired *object, size_t bytes);
/* Frees what can be freed, by release(ctx, object) which returns the bytes given to retire for it. Enters and leaves its
 * own section; must not be called inside one. Returns the bytes freed. Bounded work: one advance per call, so while no
 * section is open that began earlier, three calls free all that was retired before the first. */
size_t near__limbo_collect(near__limbo *limbo, size_t (*release)(void *ctx, near__retired *object), void *ctx);
/* Frees everything; only when no section can see it (at close). */
void near__limbo_drain(near__limbo *limbo, size_t (*release)(void *ctx, near__retired *object), void *ctx);
static inline uint64_t near__limbo_bytes(const near__limbo *limbo)
{
	return __atomic_load_n((const uint64_t *)&limbo->bytes, __ATOMIC_RELAXED);
}

#endif
