/* A worker process: one cache, some serving threads, a probe and a steward. */
#ifndef SHOP_WORKER_H
#define SHOP_WORKER_H

#include "board.h"
#include "catalogue.h"
#include "goods.h"
#include "zipf.h"

#include <pthread.h>

/* Invalidations that were not acknowledged: at most one per article, the newest event of it. */
struct pending {
	pthread_mutex_t lock;
	uint32_t *event;   /* by article; 0: none */
	uint32_t *article; /* ring of the articles that have one */
	uint32_t first, count, size;
};

struct worker {
	const struct shop_config *config;
	struct board *board;
	struct worker_board *mine;
	struct history *history;
	near_cache *cache;
	unsigned index;
	int log;           /* a file; below 0: none */
	uint32_t articles; /* rows and the probes' articles behind them */
	struct zipf zipf;
	_Atomic uint64_t *known; /* by article: newest version read fresh (low half), newest written here (high half) */
	struct pending pending;
	_Atomic uint64_t front_served; /* newest serial of the front page that was read here */
};

/* The life of a worker process; returns its exit status. */
int worker_run(const struct shop_config *config, struct board *board, struct history *history, unsigned index);

/* --- shared by the worker's threads */
#define KEY_MAX 32
size_t worker_key(uint32_t article, char key[KEY_MAX]);
/* The loader of nearcache: an article's page or the front page. */
near_status worker_load(void *worker, const void *key, size_t key_size, near_loaded *loaded);
/* This thread's own connection to the database; NULL if it cannot be opened. */
struct catalogue *worker_catalogue(struct worker *worker);
/* Where this thread counts; the cache's own threads share one. */
struct tally *worker_tally(struct worker *worker);
void worker_tally_set(struct tally *tally);

/* One write and its invalidation. False: the database refused. `answer` is near_invalidate's, `answered` when it came. */
bool worker_write(struct worker *worker, uint32_t article, near_status *answer, uint64_t *answered);
/* Judges a value read; `known` is what known[article] was before the read, `asked` when it began. */
void worker_judge(struct worker *worker, struct tally *tally, uint32_t article, const char *page, size_t size,
                  uint64_t version, uint64_t known, uint64_t asked);

void pending_add(struct pending *pending, uint32_t article, uint32_t event);
/* The oldest; false: none. It stays until pending_done says that the event was acknowledged. */
bool pending_first(struct pending *pending, uint32_t *article, uint32_t *event);
uint32_t pending_count(struct pending *pending);
void pending_done(struct pending *pending, uint32_t article, uint32_t event);

/* --- the threads: `arg` is a struct server, a struct worker, a struct worker */
struct server {
	struct worker *worker;
	struct thread_board *mine;
	struct random random;
	struct catalogue *catalogue;
	char page[GOODS_PAGE_MAX];
};
void *serve_run(void *server);
void *probe_run(void *worker);
void *steward_run(void *worker);
/* After all of them have ended: what the last moments left unacknowledged. */
void steward_drain(struct worker *worker);

#endif
