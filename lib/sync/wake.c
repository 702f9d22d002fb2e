/* Waiting and waking, on futex(2).
 *
 * FUTEX_WAIT_BITSET takes an absolute deadline on CLOCK_MONOTONIC, which is the near clock, so a wait that is interrupted
 * and begun again does not grow. The kernel compares the word with `expected` and goes to sleep in one step: a wake that
 * comes after the waiter last looked at the word, and changed it first, is never lost.
 *
 * The word itself orders the data: who changes it does so with release before the wake, who returns from a wait looks at
 * it again with acquire. Nothing here orders anything.
 */
#include "sync/wake.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "base/base.h"
#include "base/clock.h"

static long futex(_Atomic(uint32_t) *word, int operation, uint32_t value, const struct timespec *deadline, uint32_t bits)
{
	static_assert(sizeof(*word) == 4, "the kernel reads four bytes");
	return syscall(SYS_futex, (uint32_t *)word, operation, value, deadline, NULL, bits);
}

bool near__wait(_Atomic(uint32_t) *word, uint32_t expected, int64_t deadline_ns)
{
	if (deadline_ns <= 0)
		return false; /* the near clock has long been past it */
	struct timespec deadline = { .tv_sec = (time_t)(deadline_ns / 1000000000), .tv_nsec = (long)(deadline_ns % 1000000000) };
	bool forever = deadline_ns == INT64_MAX;
	long r = futex(word, FUTEX_WAIT_BITSET_PRIVATE, expected, forever ? NULL : &deadline, FUTEX_BITSET_MATCH_ANY);
	NEAR_ASSERT(r == 0 || errno == EAGAIN || errno == EINTR || errno == ETIMEDOUT);
	return r == 0 || errno != ETIMEDOUT;
}

void near__wake_all(_Atomic(uint32_t) *word)
{
	(void)futex(word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, 0);
}

void near__wake_one(_Atomic(uint32_t) *word)
{
	(void)futex(word, FUTEX_WAKE_PRIVATE, 1, NULL, 0);
}
