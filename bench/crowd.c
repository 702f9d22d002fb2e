/* See crowd.h. */
#include "crowd.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "measure.h"

#define POLL_US 2000
#define AHEAD_NS (20 * NEAR__MS_NS)
#define GATE_PATIENCE_MS 60000

void bench_crowd_init(bench_crowd *crowd)
{
	*crowd = (bench_crowd){.count = 0};
	crowd->shared = bench_alloc_shared(sizeof(*crowd->shared));
}

bool bench_crowd_fork(bench_crowd *crowd, unsigned count, int (*run)(bench_crowd *crowd, unsigned index, void *argument),
                      void *argument)
{
	pid_t parent = getpid();
	(void)fflush(NULL);
	for (unsigned i = 0; i < count && crowd->count < BENCH_CROWD_MAX; i++) {
		pid_t pid = fork();
		if (pid < 0)
			return false;
		if (pid == 0) {
			(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (getppid() != parent)
				_exit(1);
			_exit(run(crowd, i, argument));
		}
		crowd->pids[crowd->count++] = pid;
	}
	return true;
}

/* Notes who has ended. False: somebody ended badly. */
static bool members_are_well(bench_crowd *crowd)
{
	for (unsigned i = 0; i < crowd->count; i++) {
		int status;
		if (crowd->pids[i] <= 0 || waitpid(crowd->pids[i], &status, WNOHANG) != crowd->pids[i])
			continue;
		crowd->pids[i] = 0;
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
			(void)fprintf(stderr, "nearbench: process %u ended with %s %d\n", i, WIFEXITED(status) ? "status" : "signal",
			              WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
			return false;
		}
	}
	return true;
}

static bool give_up(bench_crowd *crowd, const char *why)
{
	if (why != NULL)
		(void)fprintf(stderr, "nearbench: %s\n", why);
	atomic_store(&crowd->shared->over, true);
	for (unsigned i = 0; i < crowd->count; i++)
		if (crowd->pids[i] > 0)
			(void)kill(crowd->pids[i], SIGKILL);
	return false;
}

bool bench_crowd_until(bench_crowd *crowd, bool (*done)(void *argument), void *argument, uint64_t patience_ms)
{
	int64_t end_ns = near__now_ns() + (int64_t)patience_ms * NEAR__MS_NS;
	while (!done(argument)) {
		if (!members_are_well(crowd))
			return give_up(crowd, NULL);
		if (near__now_ns() > end_ns)
			return give_up(crowd, "the processes did not get on in time");
		bench_sleep_us(POLL_US);
	}
	return true;
}

typedef struct arrivals {
	bench_crowd *crowd;
	unsigned gate;
	uint32_t members;
} arrivals;

static bool all_arrived(void *argument)
{
	const arrivals *a = argument;
	return atomic_load(&a->crowd->shared->arrived[a->gate]) >= a->members;
}

bool bench_crowd_gather(bench_crowd *crowd, unsigned gate, uint32_t members)
{
	arrivals a = {crowd, gate, members};
	return bench_crowd_until(crowd, all_arrived, &a, GATE_PATIENCE_MS);
}

bool bench_crowd_open(bench_crowd *crowd, unsigned gate, uint32_t members)
{
	if (!bench_crowd_gather(crowd, gate, members))
		return false;
	atomic_store(&crowd->shared->opens_ns[gate], near__now_ns() + AHEAD_NS);
	return true;
}

bool bench_crowd_pass(bench_crowd *crowd, unsigned gate)
{
	int64_t opens_ns;
	atomic_fetch_add(&crowd->shared->arrived[gate], 1);
	while ((opens_ns = atomic_load(&crowd->shared->opens_ns[gate])) == 0) { /* ends: the parent opens, or is over */
		if (atomic_load(&crowd->shared->over))
			return false;
		bench_sleep_us(POLL_US);
	}
	struct timespec at = {.tv_sec = opens_ns / 1000000000, .tv_nsec = opens_ns % 1000000000};
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
		;
	return true;
}

bool bench_crowd_join(bench_crowd *crowd)
{
	bool good = !atomic_load(&crowd->shared->over);
	for (unsigned i = 0; i < crowd->count; i++) {
		int status;
		if (crowd->pids[i] <= 0)
			continue;
		if (waitpid(crowd->pids[i], &status, 0) != crowd->pids[i] || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
			good = false;
		crowd->pids[i] = 0;
	}
	(void)munmap(crowd->shared, sizeof(*crowd->shared));
	crowd->shared = NULL;
	crowd->count = 0;
	return good;
}
