/* Time. Inside the library time is monotonic nanoseconds since an arbitrary start ("near clock"), int64_t, units last in
 * the names.
 *
 *   near__now_ns     CLOCK_MONOTONIC         about 18 ns a call, exact
 *   near__coarse_ns  CLOCK_MONOTONIC_COARSE  about  5 ns a call, late by up to NEAR__COARSE_NS
 *
 * A get uses the coarse clock. Never a time stamp kept by a thread of ours: that thread can stall while a lease runs out.
 * The coarse clock is late, so whoever checks a deadline that is a promise subtracts NEAR__COARSE_NS from it first.
 */
#ifndef NEAR_BASE_CLOCK_H
#define NEAR_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NEAR__MS_NS INT64_C(1000000)
/* One tick of the slowest kernel timer that is common (CONFIG_HZ=100). */
#define NEAR__COARSE_NS (10 * NEAR__MS_NS)

static inline int64_t near__clock_ns(clockid_t clock)
{
	struct timespec t;
	(void)clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
static inline int64_t near__now_ns(void)
{
	return near__clock_ns(CLOCK_MONOTONIC);
}
static inline int64_t near__coarse_ns(void)
{
	return near__clock_ns(CLOCK_MONOTONIC_COARSE);
}

#endif
