/* What every room starts from: assertions, branch hints, alignment.
 *
 * NEAR_ASSERT catches our own bugs and stays on in every build (a cache that serves on after a broken invariant serves
 * wrong values); NEAR_DEBUG_ASSERT is for the hot path and is on in the sanitizer builds only. Neither is ever put on
 * bytes from outside: Redis, the environment, a caller's argument are reported by a status.
 */
#ifndef NEAR_BASE_BASE_H
#define NEAR_BASE_BASE_H

#include <assert.h> /* static_assert */
#include <stdatomic.h>
#include <nearcache/nearcache.h>

#define NEAR_LIKELY(x) __builtin_expect(!!(x), 1)
#define NEAR_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define NEAR_LINE 64
#define NEAR_ALIGNED_LINE __attribute__((aligned(NEAR_LINE)))

/* Which sanitizer watches, if any. The memory of our arenas and the orders of ck's inline assembly are invisible to both,
 * so the rooms that hide them tell the sanitizer in words of its own (base/mem.c, sync/epoch.c). */
#if defined(__SANITIZE_THREAD__)
#define NEAR__TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define NEAR__TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define NEAR__ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define NEAR__ASAN 1
#endif
#endif

/* A full fence: no load or store passes it in either direction. TSan knows no fences, only operations on objects, so
 * there it is a read-modify-write of one object that all fences share, which orders at least as much. */
#ifdef NEAR__TSAN
extern _Atomic(unsigned) near__fence_object;
#define near__fence() ((void)atomic_fetch_add_explicit(&near__fence_object, 1u, memory_order_seq_cst))
#else
#define near__fence() atomic_thread_fence(memory_order_seq_cst)
#endif

/* Prints the broken invariant and aborts. */
_Noreturn void near__assert_failed(const char *what, const char *file, int line);

#define NEAR_ASSERT(x) (NEAR_LIKELY(x) ? (void)0 : near__assert_failed(#x, __FILE__, __LINE__))
#ifdef NEARCACHE_DEBUG
#define NEAR_DEBUG_ASSERT(x) NEAR_ASSERT(x)
#else
#define NEAR_DEBUG_ASSERT(x) ((void)sizeof(x))
#endif

/* A point of a lock-free algorithm at which tests may stop a thread or switch to another one. Nothing in a normal
 * build; in the test build (NEARCACHE_TEST_HOOKS) it calls near__yield_hook when a test has set it. */
#ifdef NEARCACHE_TEST_HOOKS
extern void (*near__yield_hook)(const char *point);
#define NEAR_YIELD(point) \
	do { \
		if (near__yield_hook != NULL) \
			near__yield_hook(point); \
	} while (0)
#else
#define NEAR_YIELD(point) ((void)0)
#endif

#endif
