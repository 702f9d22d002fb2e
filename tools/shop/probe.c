/* The probe: how long after a writer's acknowledgement is the old value gone from the other processes?
 *
 * The orchestrator opens a round and names the writer. Every other worker loads the writer's probe article, so that it
 * lies in its L1, says "armed", and from then on looks at its own L1 alone (NEAR_NO_L2), some tens of microseconds apart,
 * until the old version is no longer given back as fresh. The writer waits for all to be armed, commits a new version,
 * invalidates, and notes when the answer came. The orchestrator takes the differences.
 *
 * Each worker has an article of its own for this, behind the catalogue's rows; the reads are judged like all others. */
#include "worker.h"

#define ARM_WAIT_NS (500 * SHOP_MS)
#define LOOK_PAUSE_NS 20000
#define LOOK_MAX_NS (3 * SHOP_SECOND)

static bool round_open(struct worker *worker, uint32_t round)
{
	return !atomic_load_explicit(&worker->board->orders.stop, memory_order_relaxed) &&
	       atomic_load(&worker->board->probe.round) == round && atomic_load(&worker->board->probe.over) != round;
}

static void write_round(struct worker *worker, uint32_t round)
{
	struct probe_board *probe = &worker->board->probe;
	uint64_t begin = now_ns(), answered;
	unsigned armed = 0;
	near_status answer;

	while (armed + 1 < worker->config->workers) {
		if (!round_open(worker, round) || now_ns() - begin > ARM_WAIT_NS)
			return;
		pause_ns(LOOK_PAUSE_NS);
		armed = 0;
		for (unsigned w = 0; w < worker->config->workers; w++)
			armed += w != worker->index && atomic_load(&probe->armed[w]) == round;
	}
	if (!worker_write(worker, worker->config->rows + 1 + worker->index, &answer, &answered))
		return;
	probe->answer = answer;
	probe->answered_at = answered;
	atomic_store(&probe->answered, round);
}

static void look_round(struct worker *worker, struct tally *tally, uint32_t round, uint32_t article)
{
	struct probe_board *probe = &worker->board->probe;
	near_call call = NEAR_CALL_INIT;
	near_item item;
	char key[KEY_MAX], page[GOODS_PAGE_MAX];
	size_t key_size = worker_key(article, key);
	uint64_t begin = now_ns(), asked = begin, known, version;

	if (near_load(worker->cache, key, key_size, worker_load, worker, &call, page, sizeof(page), &item) != NEAR_OK)
		return;
	version = item.version;
	call.flags = NEAR_NO_L2;
	if (near_get_with(worker->cache, key, key_size, &call, page, sizeof(page), &item) != NEAR_OK)
		return; /* not admitted to L1, or the lease has run out: there is nothing to see go */
	atomic_store(&probe->armed[worker->index], round);
	for (;;) {
		known = atomic_load_explicit(&worker->known[article], memory_order_acquire);
		asked = now_ns();
		if (near_get_with(worker->cache, key, key_size, &call, page, sizeof(page), &item) != NEAR_OK ||
		    item.version != version)
			break;
		worker_judge(worker, tally, article, page, item.value_size, item.version, known, asked);
		if (!round_open(worker, round) || asked - begin > LOOK_MAX_NS)
			return;
		pause_ns(LOOK_PAUSE_NS);
	}
	atomic_store(&probe->gone_at[worker->index], now_ns());
	atomic_store(&probe->gone[worker->index], round);
}

void *probe_run(void *arg)
{
	struct worker *worker = arg;
	struct probe_board *probe = &worker->board->probe;
	struct tally *tally = &worker->mine->thread[BOARD_PROBE].tally;
	uint32_t done = 0;

	worker_tally_set(tally);
	while (!atomic_load_explicit(&worker->board->orders.stop, memory_order_relaxed)) {
		uint32_t round = atomic_load(&probe->round), writer = atomic_load(&probe->writer);

		if (round == done) {
			pause_ns(SHOP_MS);
			continue;
		}
		done = round;
		if (writer == worker->index)
			write_round(worker, round);
		else
			look_round(worker, tally, round, worker->config->rows + 1 + writer);
	}
	return NULL;
}
