/* What the processes of `nearbench coherence` write down, in memory that all of them share: for each message the moment
 * it was handed over, the moment its answer came, and for each reader the moment it had been applied there.
 *
 *   near reader   a coherence room and an L1 composed as a cache composes them, the keys in L1; the moment is taken on the
 *                 I/O thread when the entry has been dropped
 *   bare reader   a hiredis connection that has SUBSCRIBEd and blocks in read; the moment is taken when the message has
 *                 been parsed
 *   checker       a cache opened as a program opens it, filled with the keys; says afterwards which are still there
 *
 * Nobody spins: on a machine of few cores that would measure the scheduler.
 */
#ifndef NEAR_BENCH_BOARD_H
#define NEAR_BENCH_BOARD_H

#include <stdatomic.h>
#include <nearcache/nearcache.h>
#include "crowd.h"
#include "home.h"

#define BENCH_READERS_MAX 32
#define BENCH_SHARDS 16
#define BENCH_CHANNEL "nearbench-raw"

/* Gates, in the order they are passed. */
enum {
	BENCH_GATE_READY,   /* readers: everything subscribed and filled */
	BENCH_GATE_FILLED,  /* checkers: all keys in L1 */
	BENCH_GATE_WRITTEN, /* checkers: everything has been invalidated */
	BENCH_GATE_CHECKED
};

typedef struct bench_marks {
	uint64_t count; /* messages there will be */
	int64_t *sent_ns, *answered_ns;
	_Atomic(int64_t) *applied_ns[BENCH_READERS_MAX]; /* 0: not yet */
	_Atomic(uint64_t) applied[BENCH_READERS_MAX];    /* how many are not 0 */
} bench_marks;

typedef struct bench_board {
	const bench_home *home;
	bench_crowd crowd;
	unsigned readers;
	bench_marks *near, *bare;
	_Atomic(bool) *finished;                       /* readers leave */
	/* Keys that were served after their invalidation; messages that checkers did not apply; shards flushed; keys that
	 * checkers held before (a full set of L1 may have turned some away). */
	_Atomic(uint64_t) *survivors, *behind, *flushes, *held;
	uint64_t keys;
	uint64_t checker_keys;
} bench_board;

/* The three kinds of processes, for bench_crowd_fork with a bench_board. */
int bench_near_reader(bench_crowd *crowd, unsigned index, void *board);
int bench_bare_reader(bench_crowd *crowd, unsigned index, void *board);
int bench_checker(bench_crowd *crowd, unsigned index, void *board);

#endif
