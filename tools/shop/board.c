/* See board.h. */
#include "board.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

struct board *board_create(unsigned workers, unsigned threads, uint32_t articles)
{
	struct board *board = mmap(NULL, sizeof(*board) + articles + 1, PROT_READ | PROT_WRITE,
	                           MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (board == MAP_FAILED)
		return NULL;
	board->begin = now_ns();
	board->workers = workers;
	board->threads = threads;
	return board;
}

static void tally_collect(struct tally *tally, struct sum *sum, bool take_max)
{
#define SHOP_COUNT(name, help) sum->name += atomic_load_explicit(&tally->name, memory_order_relaxed);
#define SHOP_TIME(name, help) histogram_collect(&tally->name, &sum->name, take_max);
#include "tally.def"
#undef SHOP_COUNT
#undef SHOP_TIME
}

void board_sum(struct board *board, struct sum *sum, bool take_max)
{
	memset(sum, 0, sizeof(*sum));
	for (unsigned w = 0; w < board->workers; w++)
		for (unsigned t = 0; t < BOARD_THREADS; t++)
			if (t < board->threads || t >= SHOP_THREADS_MAX)
				tally_collect(&board->worker[w].thread[t].tally, sum, take_max);
}

void sum_add(struct sum *to, const struct sum *from)
{
#define SHOP_COUNT(name, help) to->name += from->name;
#define SHOP_TIME(name, help) spread_add(&to->name, &from->name);
#include "tally.def"
#undef SHOP_COUNT
#undef SHOP_TIME
}

void sum_between(struct sum *out, const struct sum *later, const struct sum *earlier)
{
#define SHOP_COUNT(name, help) out->name = later->name - earlier->name;
#define SHOP_TIME(name, help) spread_between(&out->name, &later->name, &earlier->name);
#include "tally.def"
#undef SHOP_COUNT
#undef SHOP_TIME
}

void board_trouble(struct worker_board *worker, const char *format, ...)
{
	va_list list;

	if (atomic_fetch_add(&worker->troubles, 1) > 0)
		return;
	va_start(list, format);
	vsnprintf(worker->trouble, sizeof(worker->trouble), format, list);
	va_end(list);
	atomic_store(&worker->trouble_told, 1);
}

/* A sequence lock with one writer (the worker's steward). */
void board_stats_publish(struct worker_board *worker, near_cache *cache)
{
	uint32_t turn = atomic_load_explicit(&worker->stats_turn, memory_order_relaxed);
	near_stats stats;

	near_stats_get(cache, &stats);
	atomic_store_explicit(&worker->stats_turn, turn + 1, memory_order_relaxed);
	/* BOARD-STATS, release: a reader that sees a byte of the new figures sees the odd turn. */
	atomic_thread_fence(memory_order_release);
	memcpy(&worker->stats, &stats, sizeof(stats));
	atomic_store_explicit(&worker->stats_turn, turn + 2, memory_order_release); /* BOARD-STATS: the figures are whole */
}

bool board_stats_read(struct worker_board *worker, near_stats *stats)
{
	for (int attempt = 0; attempt < 100; attempt++) {
		uint32_t turn = atomic_load_explicit(&worker->stats_turn, memory_order_acquire); /* BOARD-STATS */

		memcpy(stats, &worker->stats, sizeof(*stats));
		atomic_thread_fence(memory_order_acquire); /* BOARD-STATS: the figures before the second look at the turn */
		if (turn % 2 == 0 && atomic_load_explicit(&worker->stats_turn, memory_order_relaxed) == turn)
			return turn > 0;
	}
	return false;
}

void board_front_wait(struct board *board, uint64_t begin, uint64_t duration)
{
	uint64_t bin = (begin - board->begin) / FRONT_BIN_NS;
	uint32_t us = duration / 1000 < UINT32_MAX ? (uint32_t)(duration / 1000) : UINT32_MAX, worst;

	if (bin >= FRONT_BINS)
		return;
	worst = atomic_load_explicit(&board->front.worst_us[bin], memory_order_relaxed);
	while (us > worst && !atomic_compare_exchange_weak_explicit(&board->front.worst_us[bin], &worst, us,
	                                                            memory_order_relaxed, memory_order_relaxed))
		;
}

#define KNOWN_AFTER_NS (5 * SHOP_MS) /* a value that was loaded is in Redis by then, or its token still is */
#define LOOK_BACK 64

/* Was load `other` a reason not to begin another one now, for a worker that has served `served`? */
static bool suffices(struct front_load *other, uint64_t serial, uint64_t served, uint64_t now)
{
	uint64_t end = other->end;

	return end == 0 || (serial > served && end + KNOWN_AFTER_NS < now);
}

uint64_t board_front_begin(struct board *board, unsigned worker, bool background, uint64_t served)
{
	uint64_t serial = atomic_fetch_add(&board->front.serial, 1) + 1, now = now_ns();
	struct front_load *load = &board->front.load[serial % FRONT_LOADS_MAX];

	load->end = 0;
	load->worker = worker;
	load->background = background;
	load->superfluous = 0;
	load->begin = now;
	for (uint64_t i = serial > LOOK_BACK ? serial - LOOK_BACK : 1; i < serial; i++)
		if (suffices(&board->front.load[i % FRONT_LOADS_MAX], i, served, now))
			load->superfluous = 1;
	return serial;
}

void board_front_end(struct board *board, uint64_t serial)
{
	struct front_load *load = &board->front.load[serial % FRONT_LOADS_MAX];

	load->end = now_ns();
	atomic_store_explicit(&board->front.typical, load->end - load->begin, memory_order_relaxed);
}
