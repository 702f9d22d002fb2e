/* Several processes that start together: children of this one, a shared state, and gates that all of them pass at the
 * same moment.
 *
 *   parent                                  member (a process, or each of its threads)
 *   crowd_fork(crowd, n, run, argument)     run(crowd, index, argument), its return is the exit status
 *   crowd_open(crowd, gate)  ------------>  crowd_pass(crowd, gate): waits until all have come and the gate opens
 *   crowd_join(crowd)
 *
 * A gate opens at a moment of the monotonic clock a little ahead, and everyone sleeps until then: nobody is woken later for
 * being further back in a queue. A member that dies, or a wait longer than a minute, ends the crowd: the parent kills the
 * others and says so.
 */
#ifndef NEAR_BENCH_CROWD_H
#define NEAR_BENCH_CROWD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define BENCH_CROWD_MAX 256
#define BENCH_GATES 64

typedef struct bench_crowd {
	struct bench_crowd_shared {
		_Atomic(uint32_t) arrived[BENCH_GATES];
		_Atomic(int64_t) opens_ns[BENCH_GATES]; /* 0: closed */
		_Atomic(bool) over;                     /* given up: everyone leaves */
	} *shared;
	pid_t pids[BENCH_CROWD_MAX];
	unsigned count;
} bench_crowd;

void bench_crowd_init(bench_crowd *crowd);
/* May be called several times: members of different kinds. False: the system has no process left. */
bool bench_crowd_fork(bench_crowd *crowd, unsigned count, int (*run)(bench_crowd *crowd, unsigned index, void *argument),
                      void *argument);
/* Parent: waits until `members` have arrived at the gate. False: the crowd is over. */
bool bench_crowd_gather(bench_crowd *crowd, unsigned gate, uint32_t members);
/* The same, and opens it. */
bool bench_crowd_open(bench_crowd *crowd, unsigned gate, uint32_t members);
/* Member: arrives, and returns when the gate has opened. False: the crowd is over. */
bool bench_crowd_pass(bench_crowd *crowd, unsigned gate);
/* Parent: polls `done` until it is true; false when a member died or the wait got too long. */
bool bench_crowd_until(bench_crowd *crowd, bool (*done)(void *argument), void *argument, uint64_t patience_ms);
/* Parent: waits for all. True: every one ended with 0. */
bool bench_crowd_join(bench_crowd *crowd);

#endif
