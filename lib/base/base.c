/* The end of a broken invariant, and the hook through which tests stop a thread inside a lock-free algorithm.
 *
 * A cache that goes on after a broken invariant serves wrong values, so an assertion aborts in every build. It writes with
 * write(2) alone: the heap or the streams may be what is broken.
 */
#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef NEAR__TSAN
_Atomic(unsigned) near__fence_object;
/* On fork jemalloc takes all its locks at once, more than TSan's detector of deadlocks can count. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "detect_deadlocks=0";
}
#endif

#ifdef NEARCACHE_TEST_HOOKS
void (*near__yield_hook)(const char *point);
#endif

_Noreturn void near__assert_failed(const char *what, const char *file, int line)
{
	char text[512];
	int n = snprintf(text, sizeof(text), "nearcache: broken invariant: %s (%s:%d)\n", what, file, line);
	if (n > 0) {
		size_t size = (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1;
		ssize_t written = write(STDERR_FILENO, text, size);
		(void)written; /* nobody is left to be told */
	}
	abort();
}
