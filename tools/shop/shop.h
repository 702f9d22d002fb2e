/* The shop: what all of its rooms share: the settings of a run and the clock.
 *
 * The program is a shop's catalogue as a cache sees it: worker processes that answer article pages out of a SQLite
 * database through nearcache, and write to that database now and then.
 *
 *   main        arguments
 *   stage       the course of a run: which load, when Redis is killed, when it comes back
 *   worker      a worker process: serve (its load), probe (propagation), steward (its state, retries, recovery)
 *   catalogue   the database          goods    what stands in it, as a function of (seed, id, version)
 *   history     which version was committed and acknowledged when: judges every read
 *   board       the memory that all processes share: orders downward, counts upward (tally, histogram)
 *   sample      counts every quarter of a second        outcome   figures per stage and the promises
 *   screen, report (chart), document   the live display, the HTML page, the JSON
 *
 * All times are CLOCK_MONOTONIC in nanoseconds, which all processes of one machine share.
 */
#ifndef SHOP_SHOP_H
#define SHOP_SHOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define SHOP_WORKERS_MAX 32
#define SHOP_THREADS_MAX 16
#define SHOP_PATH_MAX 512
#define SHOP_MS UINT64_C(1000000)
#define SHOP_SECOND UINT64_C(1000000000)

struct shop_config {
	unsigned workers, threads;
	uint32_t rows;
	double writes_percent, zipf, seconds;
	uint64_t seed, rate, memory_bytes, lease_ms, home_ttl_ms, deadline_ms, load_deadline_ms;
	bool plain;      /* lines even on a terminal */
	bool forget;     /* the deliberate fault: every 50th invalidation is left out and yet taken as acknowledged */
	const char *out_dir, *json_path;
	char database[SHOP_PATH_MAX], log[SHOP_PATH_MAX];
	char run_dir[SHOP_PATH_MAX]; /* private and temporary: Redis lives there */
	char redis_url[SHOP_PATH_MAX];
};

static inline uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * SHOP_SECOND + (uint64_t)now.tv_nsec;
}

static inline void pause_ns(uint64_t ns)
{
	struct timespec span = { .tv_sec = (time_t)(ns / SHOP_SECOND), .tv_nsec = (long)(ns % SHOP_SECOND) };

	nanosleep(&span, NULL);
}

#endif
