/* A run: what the orchestrator knows, as its rooms read it. One thread. */
#ifndef SHOP_RUN_H
#define SHOP_RUN_H

#include "board.h"
#include "history.h"
#include "redis_server.h"

#include <stdio.h>

#define RUN_SAMPLE_NS (250 * SHOP_MS)
#define RUN_SAMPLES_MAX 16384
#define RUN_EVENTS_MAX 64
#define RUN_ROUNDS_MAX 32768
#define RUN_PROMISES_MAX 24

enum stage_name { BARE, BARE_FULL, COLD, FULL, STEADY, EXPIRY, EXPIRY_LATE, AWAY, BACK, STAGES };

struct stage {
	const char *name, *title;
	double seconds;      /* of the usual 56; --seconds stretches all alike */
	double lead_seconds; /* at its beginning, not measured; not stretched */
	bool bare, full, front, early;
};
extern const struct stage stages[STAGES];

struct stage_figures {
	bool begun, over;
	uint64_t begin, end; /* of the measured part */
	struct sum sum;
	struct spread one, all; /* propagation: to each other process; until gone from all of them */
	uint32_t rounds_void;
};

/* A quarter of a second. Rates per second, times in ns. */
struct sample {
	uint64_t at; /* its end */
	double span;
	int stage;
	double requests, bare, l1, l2, loader, flagged, front, loads, writes;
	uint64_t p50, p99, max; /* of the reads, through the cache or straight */
	uint64_t age_max, overtaken_age_max;
	double older, beyond, overtaken;
	uint32_t connected; /* workers whose cache says that Redis answers */
	uint64_t journal, pending, mapped_max;
	bool redis_up;
};

struct event {
	uint64_t at;
	bool marked; /* a line in the pictures */
	const char *mark;
	char text[120];
};

struct round {
	uint64_t at, all; /* ns; when answered, until gone from all others */
};

struct promise {
	bool kept;
	char text[128], figure[200];
};

struct expiry {
	uint32_t loads, lives, background; /* loads of the front page; lives that they began; loads begun before expiry */
	double loads_per_life, load_ms;
};

struct run {
	struct shop_config config;
	struct board *board;
	struct history *history;
	struct redis_server redis;
	pid_t worker[SHOP_WORKERS_MAX];
	double database_seconds; /* to fill it */
	uint64_t database_bytes;

	int stage;
	uint64_t begin, end, stage_begin, stage_end;
	struct stage_figures figures[STAGES];
	struct sum last, total; /* counts at the last sample; of the whole run */
	struct sample sample[RUN_SAMPLES_MAX];
	size_t samples;
	struct event event[RUN_EVENTS_MAX];
	size_t events;
	struct round round[RUN_ROUNDS_MAX];
	size_t rounds;
	uint64_t round_begin, round_next;

	uint64_t killed_at, started_at, answered_at; /* Redis: SIGKILL, started again, first PONG */
	uint64_t works_at;                           /* everything works in every worker */
	unsigned crashed, hung;
	char crash[160];
	near_stats stats;                            /* of all workers, summed; gauges too */
	uint64_t mapped_max, memory_limit;           /* of the worker that mapped most */
	double redis_memory, redis_commands;

	struct expiry early, late;
	struct promise promise[RUN_PROMISES_MAX];
	size_t promises;
};

static inline double run_seconds(const struct run *run, uint64_t at)
{
	return at > run->begin ? (double)(at - run->begin) / (double)SHOP_SECOND : 0;
}

/* --- stage.c: the whole course. False: it could not be carried out or was broken off; `why` says it. */
bool run_course(struct run *run, char *why, size_t why_size);
void run_cleanup(struct run *run);
/* --- sample.c */
void run_sample(struct run *run);
void run_event(struct run *run, const char *mark, const char *format, ...) __attribute__((format(printf, 3, 4)));
void run_probe(struct run *run);
/* --- outcome.c: figures that take the whole run, and the promises. True: all kept. */
bool run_judge(struct run *run);
/* --- document.c: JSON. False: it cannot be written. */
bool run_document(const struct run *run, const char *path);

#endif
