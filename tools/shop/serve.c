/* A serving thread: requests one after the other, at a given rate or as fast as they go.
 *
 * At a rate it wakes every millisecond and makes the requests that have come due; what it could not make because a call
 * took long it makes up for, up to 100 ms worth. A latency is that of one call, from call to return; judging a value
 * comes after the clock was read again.
 *
 * One read in eight is of a kind that is content with an old value (a list of many articles; an order would not be): it
 * asks with near_get first, stale values welcome, and loads only when there is nothing at all. */
#include "worker.h"

#include <stdlib.h>
#include <string.h>

#define TICK_NS SHOP_MS
#define BACKLOG_NS (100 * SHOP_MS)

static void front_serve(struct worker *worker, uint64_t serial)
{
	uint64_t served = atomic_load_explicit(&worker->front_served, memory_order_relaxed);

	while (serial > served && !atomic_compare_exchange_weak_explicit(&worker->front_served, &served, serial,
	                                                                 memory_order_relaxed, memory_order_relaxed))
		; /* ends: who fails meets a higher one */
}

static void front_read(struct server *server)
{
	struct worker *worker = server->worker;
	struct tally *tally = &server->mine->tally;
	near_call call = NEAR_CALL_INIT;
	near_item item;
	uint64_t begin = now_ns(), duration, typical;
	near_status status;

	call.ttl_ms = worker->config->home_ttl_ms;
	call.beta = atomic_load_explicit(&worker->board->orders.front_early, memory_order_relaxed) ? 0 : -1;
	status = near_load(worker->cache, "front", 5, worker_load, worker, &call, server->page, sizeof(server->page), &item);
	duration = now_ns() - begin;
	COUNT_UP(tally, front_reads);
	histogram_add(&tally->front, duration);
	board_front_wait(worker->board, begin, duration);
	if (status != NEAR_OK || !goods_sealed(server->page, item.value_size)) {
		COUNT_UP(tally, wrong);
		board_trouble(worker->mine, "the front page: %s", near_status_name(status));
		return;
	}
	front_serve(worker, strtoull(server->page + strlen(PAGE_HEAD "\"serial\":"), NULL, 10));
	typical = atomic_load_explicit(&worker->board->front.typical, memory_order_relaxed);
	if (item.source == NEAR_FROM_LOADER || (item.source == NEAR_FROM_L2 && duration > typical / 4))
		COUNT_UP(tally, front_waited);
}

static void value_count(struct tally *tally, near_source source, uint64_t duration)
{
	if (source == NEAR_FROM_L1) {
		COUNT_UP(tally, from_l1);
		histogram_add(&tally->l1, duration);
	} else if (source == NEAR_FROM_L2) {
		COUNT_UP(tally, from_l2);
		histogram_add(&tally->l2, duration);
	} else {
		COUNT_UP(tally, from_loader);
		histogram_add(&tally->loaded, duration);
	}
}

/* Said to be old, so it may be; whole it must be. */
static void stale_take(struct server *server, uint32_t article, size_t size, uint64_t begin)
{
	struct worker *worker = server->worker;
	struct tally *tally = &server->mine->tally;
	uint32_t version;

	COUNT_UP(tally, flagged);
	if (!goods_check(worker->config->seed, article, server->page, size, &version)) {
		COUNT_UP(tally, wrong);
		board_trouble(worker->mine, "article %u: a stale page of %zu bytes is damaged", article, size);
		return;
	}
	histogram_add(&tally->flagged_age, history_judge(worker->history, article, version, begin, 0).overtaken_ns);
}

static near_status article_ask(struct server *server, const char *key, size_t key_size, near_item *item)
{
	struct worker *worker = server->worker;
	near_call call = NEAR_CALL_INIT;
	near_status status = NEAR_MISS;

	if (random_below(&server->random, 8) == 0) {
		call.flags = NEAR_STALE_ALLOWED;
		status = near_get_with(worker->cache, key, key_size, &call, server->page, sizeof(server->page), item);
	}
	if (status == NEAR_OK || status == NEAR_STALE)
		return status;
	return near_load(worker->cache, key, key_size, worker_load, worker, NULL, server->page, sizeof(server->page), item);
}

static void article_read(struct server *server, uint32_t article)
{
	struct worker *worker = server->worker;
	struct tally *tally = &server->mine->tally;
	near_item item;
	char key[KEY_MAX];
	size_t key_size = worker_key(article, key);
	uint64_t known = atomic_load_explicit(&worker->known[article], memory_order_acquire), begin = now_ns(), duration;
	near_status status = article_ask(server, key, key_size, &item);

	duration = now_ns() - begin;
	COUNT_UP(tally, reads);
	histogram_add(&tally->read, duration);
	if (status == NEAR_OK) {
		value_count(tally, item.source, duration);
		worker_judge(worker, tally, article, server->page, item.value_size, item.version, known, begin);
	} else if (status == NEAR_STALE) {
		stale_take(server, article, item.value_size, begin);
	} else {
		COUNT_UP(tally, empty);
		board_trouble(worker->mine, "article %u: a read was answered %s", article, near_status_name(status));
	}
}

/* The same page without the cache. The database is never older than itself: this tries the judge as well. */
static void bare_read(struct server *server, uint32_t article)
{
	struct worker *worker = server->worker;
	struct tally *tally = &server->mine->tally;
	uint64_t known = atomic_load_explicit(&worker->known[article], memory_order_acquire), begin = now_ns();
	int size = catalogue_page(server->catalogue, article, server->page);
	uint32_t version = 0;

	histogram_add(&tally->bare, now_ns() - begin);
	COUNT_UP(tally, bare_reads);
	if (size > 0)
		goods_check(worker->config->seed, article, server->page, (size_t)size, &version);
	worker_judge(worker, tally, article, server->page, size > 0 ? (size_t)size : 0, version, known, begin);
}

static void request(struct server *server)
{
	struct worker *worker = server->worker;
	struct orders *orders = &worker->board->orders;
	uint32_t article = zipf_article(&worker->zipf, zipf_rank(&worker->zipf, &server->random));
	near_status answer;
	uint64_t answered;

	atomic_store_explicit(&server->mine->busy_since, now_ns(), memory_order_relaxed);
	if (random_unit(&server->random) * 100 < worker->config->writes_percent)
		worker_write(worker, article, &answer, &answered);
	else if (atomic_load_explicit(&orders->bare, memory_order_relaxed))
		bare_read(server, article);
	else if (random_below(&server->random, 1000) < atomic_load_explicit(&orders->front_permille, memory_order_relaxed))
		front_read(server);
	else
		article_read(server, article);
	atomic_store_explicit(&server->mine->busy_since, 0, memory_order_relaxed);
}

/* Until the rate changes or the end is ordered. */
static void requests_at(struct server *server, uint64_t rate)
{
	struct orders *orders = &server->worker->board->orders;
	uint64_t interval = SHOP_SECOND / rate, due = now_ns() + random_below(&server->random, (uint32_t)TICK_NS), now;

	while (!atomic_load_explicit(&orders->stop, memory_order_relaxed) &&
	       atomic_load_explicit(&orders->rate, memory_order_relaxed) == rate) {
		now = now_ns();
		if (now > due + BACKLOG_NS)
			due = now - BACKLOG_NS;
		for (; due <= now; due += interval)
			request(server);
		pause_ns(TICK_NS);
	}
}

static void requests_unpaced(struct server *server)
{
	struct orders *orders = &server->worker->board->orders;

	while (!atomic_load_explicit(&orders->stop, memory_order_relaxed) &&
	       atomic_load_explicit(&orders->rate, memory_order_relaxed) == 0)
		request(server);
}

void *serve_run(void *arg)
{
	struct server *server = arg;
	struct orders *orders = &server->worker->board->orders;

	worker_tally_set(&server->mine->tally);
	server->catalogue = worker_catalogue(server->worker);
	if (server->catalogue == NULL) {
		board_trouble(server->worker->mine, "a thread could not open the database");
		return NULL;
	}
	while (!atomic_load_explicit(&orders->stop, memory_order_relaxed)) {
		uint64_t rate = atomic_load_explicit(&orders->rate, memory_order_relaxed);

		if (rate > 0)
			requests_at(server, rate);
		else
			requests_unpaced(server);
	}
	return NULL;
}
