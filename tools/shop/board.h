/* The board: one shared mapping between the orchestrator and its workers.
 *
 *   orders   orchestrator -> workers: what to do now
 *   worker   workers -> orchestrator: state, counts per thread, the library's own figures
 *   probe    both: one round of measuring how fast an invalidation spreads (see probe.c)
 *   front    workers -> orchestrator: loads and waits of the front page, in fine time steps
 *
 * Everything that more than one process touches is atomic. Counts are relaxed: they order nothing and are only summed. */
#ifndef SHOP_BOARD_H
#define SHOP_BOARD_H

#include "histogram.h"
#include "shop.h"

#include <nearcache/nearcache.h>

struct tally {
#define SHOP_COUNT(name, help) _Atomic uint64_t name;
#define SHOP_TIME(name, help) struct histogram name;
#include "tally.def"
#undef SHOP_COUNT
#undef SHOP_TIME
};

/* A private sum of tallies. */
struct sum {
#define SHOP_COUNT(name, help) uint64_t name;
#define SHOP_TIME(name, help) struct spread name;
#include "tally.def"
#undef SHOP_COUNT
#undef SHOP_TIME
};

#define COUNT_UP(tally, name) atomic_fetch_add_explicit(&(tally)->name, 1, memory_order_relaxed)

struct orders {
	_Atomic uint32_t stop;
	_Atomic uint32_t bare;           /* 1: past the cache, straight to the database */
	_Atomic uint32_t front_permille; /* share of the reads that want the front page */
	_Atomic uint32_t front_early;    /* 1: refresh before expiry as the cache does by default; 0: never early */
	_Atomic uint64_t rate;           /* requests per second and thread; 0: as fast as they go */
	_Atomic uint64_t revival;        /* when Redis was started again; 0: not yet */
};

/* A thread and the call it is in, so that one that hangs can be seen from outside. */
struct thread_board {
	_Atomic uint64_t busy_since; /* 0: in none */
	struct tally tally;
} __attribute__((aligned(64)));

enum worker_state { WORKER_STARTING, WORKER_READY, WORKER_ENDED, WORKER_FAILED };

/* When each part worked again after Redis's return; 0: not yet. */
struct revival {
	_Atomic uint64_t ping, lease, value, invalidation, drained;
};

/* Serving threads first, then the probe, then the cache's own threads (loads before expiry). */
#define BOARD_THREADS (SHOP_THREADS_MAX + 2)
#define BOARD_PROBE SHOP_THREADS_MAX
#define BOARD_BACKGROUND (SHOP_THREADS_MAX + 1)

struct worker_board {
	_Atomic uint32_t state;
	char why[256];            /* written before state becomes WORKER_FAILED */
	_Atomic uint32_t troubles;
	char trouble[256];        /* the first of them in words; whole once `trouble_told` */
	_Atomic uint32_t trouble_told;
	struct revival revival;
	_Atomic uint64_t pending; /* invalidations that this writer still has to see acknowledged */
	_Atomic uint32_t stats_turn; /* even: `stats` is whole */
	near_stats stats;
	struct thread_board thread[BOARD_THREADS];
};

struct probe_board {
	_Atomic uint32_t round;  /* a new number starts a round */
	_Atomic uint32_t over;   /* the round that nobody needs to go on with */
	_Atomic uint32_t writer; /* the worker that writes in it */
	_Atomic uint32_t armed[SHOP_WORKERS_MAX], gone[SHOP_WORKERS_MAX], answered; /* the round it was done for */
	_Atomic uint64_t gone_at[SHOP_WORKERS_MAX], answered_at;
	_Atomic int32_t answer;  /* of near_invalidate */
};

#define FRONT_BIN_NS (20 * SHOP_MS)
#define FRONT_BINS 262144
#define FRONT_LOADS_MAX 8192

struct front_board {
	_Atomic uint64_t serial;
	_Atomic uint64_t typical;             /* the latest load's duration */
	_Atomic uint32_t worst_us[FRONT_BINS]; /* longest read begun in this bin, from the board's beginning on */
	struct front_load {
		_Atomic uint64_t begin, end; /* 0: not yet */
		_Atomic uint32_t worker, background;
		_Atomic uint32_t superfluous; /* another one ran, or had brought a newer value than the worker had */
	} load[FRONT_LOADS_MAX];
};

struct board {
	uint64_t begin;
	unsigned workers, threads;
	struct orders orders;
	struct probe_board probe;
	struct front_board front;
	struct worker_board worker[SHOP_WORKERS_MAX];
	_Atomic uint8_t loaded_once[]; /* by article */
};

/* Shared with all children forked later. NULL: no memory. */
struct board *board_create(unsigned workers, unsigned threads, uint32_t articles);
/* The counts of all workers since the beginning; `take_max` takes the maxima out for this span. */
void board_sum(struct board *board, struct sum *sum, bool take_max);
/* Keeps the first thing that went wrong in a worker, in words. */
void board_trouble(struct worker_board *worker, const char *format, ...) __attribute__((format(printf, 2, 3)));
void board_stats_publish(struct worker_board *worker, near_cache *cache);
/* False: it was being written at each of a few attempts. */
bool board_stats_read(struct worker_board *worker, near_stats *stats);
void board_front_wait(struct board *board, uint64_t begin, uint64_t duration);
/* A load of the front page begins, in a worker that has served `served` so far; its serial. And ends. */
uint64_t board_front_begin(struct board *board, unsigned worker, bool background, uint64_t served);
void board_front_end(struct board *board, uint64_t serial);

void sum_add(struct sum *to, const struct sum *from);
void sum_between(struct sum *out, const struct sum *later, const struct sum *earlier);

#endif
