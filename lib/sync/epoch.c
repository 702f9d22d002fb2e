/* Epoch-based reclamation on ck_epoch.
 *
 *   G       the global epoch, one per process, only grows
 *   record  one per thread: `active` (how deep in sections), `epoch` (G as read when the outermost section began)
 *   limbo   one per cache: what was unlinked, in four stacks by stamp modulo 4
 *
 *       stamps in stack:   0,4,8..   1,5,9..   2,6,10..   3,7,11..
 *       at G = 6:          (frozen)  pushed    pushed     (frozen)      <- pushes carry stamp G or G - 1
 *                          taken now
 *
 * ck's own deferral (ck_epoch_call) keeps what is pending in the record of the thread that retired it, and only that thread
 * frees it: a thread that stops keeps all it has retired, and ck_epoch_unregister forgets the rest. So of ck we use the
 * sections, the scan and the advance (ck_epoch_begin, _end, _poll), and keep the pending objects in stacks that anybody
 * may empty. Nothing is ever pending in ck's records, hence ck_epoch_poll dispatches nothing; it only scans, and advances G
 * when every active record has observed it. With no active record it does not advance at all, so it is always called inside
 * a section of the collector's own, which is active by definition.
 *
 * Why it is safe. Each step names what it needs of the one before.
 *
 *  1. A section pins G to at most its own epoch + 1. Let a section have read G = e after it set `active` and a full
 *     barrier (ck_epoch_begin: xchg). G goes from e+1 to e+2 only by a scan that began, after a full fence, with G = e+1
 *     (ck_epoch_poll). The section read e, so it read G before the write of e+1, and its `active` was written before that
 *     read; the scan read e+1 before it read `active`: both with a full fence between, so the scan sees `active` (store
 *     buffering). It then sees in the record's `epoch` either e or, when the section's thread was interrupted in `begin`
 *     between reading G and storing it, the epoch of an earlier section, which is lower still. Neither is e+1: no advance.
 *     An older value that happens to equal G lets G go from e to e+1 while `begin` is interrupted, no further.
 *     (`epoch` has 32 bits. A thread that stays out of sections for 2^32 - 1 advances exactly, and is then interrupted in
 *     those few instructions of `begin`, would show e+1 there. At an advance every microsecond that is once in 71 minutes
 *     of one thread's rest times the chance of the interrupt at that advance: accepted.)
 *  2. A stamp s is G as read by the retirer inside its section, after the unlink and a full fence. A section that begins
 *     by reading G > s finds the object unlinked: its read of G comes after the write of s+1, that after the retirer's read
 *     of s, and that, through the fence, after the unlink. So only sections of epoch <= s can reach the object.
 *  3. By 1 no section of epoch <= s exists when G = s+2, and what it did came before: it ended with a release store that
 *     the scan's load saw, the scan came before the advance to s+2, and that before anybody's read of s+2.
 *  4. A collector inside a section reads G = g and takes the stack of g-2 modulo 4. By 1, applied to itself, G stays at
 *     most g+1 while it is in its section (its epoch is g or g-1). By 1, applied to each retirer, a push of stamp s happens
 *     while G is s or s+1. So while the collector is inside, pushes carry stamps g-1, g or g+1, and the stack of g-2
 *     modulo 4, which is also the one of g+2, gets none. It holds stamps g-2, g-6, ..., all at most g-2: by 3 free to go.
 *  5. The collector owns what it has taken (an exchange with NULL), so it frees it after its section has ended, and a long
 *     list holds up nobody's epoch. Taking all at once leaves no room for ABA.
 *
 * A stack that nobody took at its time waits until its turn comes round, four advances later. That is rare: G advances in
 * collectors only, and each takes the stack of g-2 before it moves G on from g.
 *
 * Progress: enter and exit are wait-free, retire is lock-free, collect is lock-free and bounded by what it takes. A thread
 * that stops inside a section stops G one step later, and with it all freeing; retiring goes on, and its bytes count
 * against the bound until the caller declines. A thread that stops while it releases a list keeps that list.
 *
 * Processors: the argument needs that loads are not reordered with loads, nor stores with stores, where ck 0.7.1 leaves
 * fences out of ck_epoch_poll. So: x86 only.
 *
 * Costs: enter and exit together are one locked instruction and a few plain ones, 11 ns; a retire 20 to 30 ns. The test
 * epoch__cost__is_printed shows them.
 *
 * Sources: Fraser, Practical Lock-Freedom, PhD thesis, Cambridge 2004, 5.2.3; ck 0.7.1, src/ck_epoch.c.
 */
#include "sync/epoch.h"

#include <ck_epoch.h>
#include <stdlib.h>

#ifndef CK_MD_TSO
#error "ck 0.7.1's ck_epoch_poll is sound on processors with total store order only (x86)"
#endif
static_assert((UINT64_C(1) << 32) % 4 == 0, "epoch modulo 4 survives the wrap of a 32-bit epoch");
static_assert(sizeof(unsigned) == 4, "ck's epoch has 32 bits");

static ck_epoch_t epoch = { .epoch = 1, .n_free = 0, .records = CK_STACK_INITIALIZER };

/* Two lines are fetched together by the adjacent-line prefetcher, so records keep two lines apart. */
#define RECORD_ALIGN (2 * NEAR_LINE)

/* ck's orders are inline assembly, which TSan does not see: tell it that the end of any section comes before whatever a
 * later collector frees (steps 3 and 4; an order between more than needed, but a use after free shows in the poison). */
#ifdef NEAR__TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define SECTION_ENDS() __tsan_release(&epoch)
#define COLLECTOR_TAKES() __tsan_acquire(&epoch)
#else
#define SECTION_ENDS() ((void)0)
#define COLLECTOR_TAKES() ((void)0)
#endif

void *near__epoch_record_make(void)
{
	size_t size = (sizeof(ck_epoch_record_t) + RECORD_ALIGN - 1) / RECORD_ALIGN * RECORD_ALIGN;
	ck_epoch_record_t *record = aligned_alloc(RECORD_ALIGN, size);
	if (record != NULL)
		ck_epoch_register(&epoch, record, NULL);
	return record;
}

bool near__epoch_idle(const near__thread *thread)
{
	const ck_epoch_record_t *record = thread->record;
	return record->active == 0;
}

void near__epoch_forget(near__thread *thread)
{
	ck_epoch_record_t *record = thread->record;
	record->active = 0;
}

void near__epoch_enter(near__thread *self)
{
	NEAR_DEBUG_ASSERT(self == near__thread_mine);
	NEAR_YIELD("epoch:enter");
	ck_epoch_begin(self->record, NULL);
	NEAR_YIELD("epoch:entered");
}

void near__epoch_exit(near__thread *self)
{
	NEAR_DEBUG_ASSERT(self == near__thread_mine && !near__epoch_idle(self));
	NEAR_YIELD("epoch:exit");
	SECTION_ENDS();
	(void)ck_epoch_end(self->record, NULL);
	NEAR_YIELD("epoch:exited");
}

void near__limbo_init(near__limbo *limbo)
{
	for (unsigned i = 0; i < 4; i++)
		atomic_init(&limbo->stack[i], NULL);
	atomic_init(&limbo->bytes, 0);
}

void near__limbo_retire(near__limbo *limbo, near__retired *object, size_t bytes)
{
	NEAR_DEBUG_ASSERT(!near__epoch_idle(near__self()));
	/* relaxed: an account. Added before the push, so that nobody subtracts it first. */
	atomic_fetch_add_explicit(&limbo->bytes, bytes, memory_order_relaxed);
	NEAR_YIELD("limbo:unlinked");
	/* Step 2: the unlink, which was the caller's, before the read of G. The unlink is a CAS and the fence is free of its
	 * effects on x86 already; it is written down because the caller might unlink by a plain store one day. */
	near__fence();
	unsigned stamp = ck_pr_load_uint(&epoch.epoch);
	_Atomic(near__retired *) *stack = &limbo->stack[stamp % 4];
	near__retired *head = atomic_load_explicit(stack, memory_order_relaxed);
	do {
		/* relaxed, but atomic: the link lies over bytes that a reader of the object may still load (l1 loads its as-of there, and
		 * then sees by the unlink that it must not trust it; the fence above orders the two). */
		__atomic_store_n(&object->next, head, __ATOMIC_RELAXED);
		NEAR_YIELD("limbo:push");
		/* LIMBO-STACK, release: pairs with take. Ends: a failure means that another thread's push or take succeeded. */
	} while (!atomic_compare_exchange_weak_explicit(stack, &head, object, memory_order_release, memory_order_relaxed));
}

static near__retired *take(near__limbo *limbo, unsigned stamp)
{
	_Atomic(near__retired *) *stack = &limbo->stack[stamp % 4];
	/* A look first: an empty stack stays a shared line. relaxed: a push that is missed is found by a later collector. */
	if (atomic_load_explicit(stack, memory_order_relaxed) == NULL)
		return NULL;
	/* LIMBO-STACK, acquire: pairs with retire; every push since the last take is a read-modify-write, so the head's
	 * release sequence reaches back to all of them. */
	return atomic_exchange_explicit(stack, NULL, memory_order_acquire);
}

static void settle(near__limbo *limbo, size_t bytes)
{
	/* relaxed: an account */
	uint64_t before = atomic_fetch_sub_explicit(&limbo->bytes, bytes, memory_order_relaxed);
	NEAR_ASSERT(before >= bytes);
}

/* The account follows in steps, so that it is about right even if this thread stops halfway. */
#define SETTLE_BYTES (64 << 10)

static size_t release_all(near__limbo *limbo, near__retired *object, size_t (*release)(void *ctx, near__retired *object),
                          void *ctx)
{
	size_t bytes = 0, settled = 0;
	while (object != NULL) {
		near__retired *next = object->next;
		bytes += release(ctx, object);
		NEAR_YIELD("limbo:release");
		if (bytes - settled >= SETTLE_BYTES) {
			settle(limbo, bytes - settled);
			settled = bytes;
		}
		object = next;
	}
	if (bytes > settled)
		settle(limbo, bytes - settled);
	return bytes;
}

size_t near__limbo_collect(near__limbo *limbo, size_t (*release)(void *ctx, near__retired *object), void *ctx)
{
	near__thread *self = near__self();
	NEAR_DEBUG_ASSERT(near__epoch_idle(self));
	near__epoch_enter(self);
	/* Step 4. ck_epoch_value loads with acquire (a load on x86). */
	unsigned g = ck_epoch_value(&epoch);
	NEAR_YIELD("limbo:take");
	near__retired *taken = take(limbo, g - 2);
	COLLECTOR_TAKES();
	NEAR_YIELD("limbo:advance");
	(void)ck_epoch_poll(self->record);
	near__epoch_exit(self);
	return release_all(limbo, taken, release, ctx);
}

void near__limbo_drain(near__limbo *limbo, size_t (*release)(void *ctx, near__retired *object), void *ctx)
{
	COLLECTOR_TAKES();
	for (unsigned i = 0; i < 4; i++)
		(void)release_all(limbo, take(limbo, i), release, ctx);
	NEAR_ASSERT(near__limbo_bytes(limbo) == 0);
}
