/* What every room starts from: assertions, branch hints, alignment.
 *
 * NEAR_ASSERT catches our own bugs and stays on in every build (a cache that serves on after a broken invariant serves
 * wrong values); NEAR_DEBUG_ASSERT is for the hot path and is on in the sanitizer builds only. Neither is ever put on
 * bytes from outside: Redis, the environment, a caller's argument are reported by a status.
 */
#ifndef NEAR_BASE_BASE_H
#define NEAR_BASE_BASE_H

#include <nearcache/nearcache.h>

#define NEAR_LIKELY(x) __builtin_expect(!!(x), 1)
#define NEAR_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define NEAR_LINE 64
#define NEAR_ALIGNED_LINE __attribute__((aligned(NEAR_LINE)))

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
