/* A worker process: opens its cache as any program would, starts its threads, ends when told to.
 *
 * It dies with the orchestrator (PR_SET_PDEATHSIG), and whatever it cannot do it writes on the board as a sentence. */
#include "worker.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

static _Thread_local struct catalogue *thread_catalogue;
static _Thread_local struct tally *thread_tally;
static pthread_key_t catalogue_key; /* closes a thread's connection at its end */

size_t worker_key(uint32_t article, char key[KEY_MAX])
{
	return (size_t)snprintf(key, KEY_MAX, "article:%u", article);
}

static void catalogue_destroy(void *catalogue)
{
	catalogue_close(catalogue);
}

struct catalogue *worker_catalogue(struct worker *worker)
{
	if (thread_catalogue == NULL) {
		thread_catalogue = catalogue_open(worker->config->database, worker->config->seed, worker->articles);
		pthread_setspecific(catalogue_key, thread_catalogue);
	}
	return thread_catalogue;
}

struct tally *worker_tally(struct worker *worker)
{
	return thread_tally != NULL ? thread_tally : &worker->mine->thread[BOARD_BACKGROUND].tally;
}

void worker_tally_set(struct tally *tally)
{
	thread_tally = tally;
}

/* ------------------------------------------------------------------ loading */

static near_status front_load(struct worker *worker, struct catalogue *catalogue, near_loaded *loaded)
{
	uint64_t serial = board_front_begin(worker->board, worker->index, thread_tally == NULL, worker->front_served);
	char page[GOODS_PAGE_MAX];
	int size = catalogue_front(catalogue, serial, page);

	board_front_end(worker->board, serial);
	if (size <= 0)
		return NEAR_E_LOADER;
	return near_loaded_set(loaded, page, (size_t)size);
}

static near_status article_load(struct worker *worker, struct catalogue *catalogue, uint32_t article,
                                near_loaded *loaded)
{
	struct tally *tally = worker_tally(worker);
	char page[GOODS_PAGE_MAX];
	uint64_t begin = now_ns();
	int size = catalogue_page(catalogue, article, page);
	uint32_t version;

	if (size == 0)
		return NEAR_MISS;
	if (size < 0 || !goods_check(worker->config->seed, article, page, (size_t)size, &version)) {
		COUNT_UP(tally, load_failures);
		board_trouble(worker->mine, "article %u could not be loaded: %s", article, catalogue_trouble(catalogue));
		return NEAR_E_LOADER;
	}
	histogram_add(&tally->load, now_ns() - begin);
	COUNT_UP(tally, loads);
	if (atomic_exchange_explicit(&worker->board->loaded_once[article], 1, memory_order_relaxed) == 0)
		COUNT_UP(tally, loads_first);
	loaded->version = version;
	return near_loaded_set(loaded, page, (size_t)size);
}

near_status worker_load(void *ctx, const void *key, size_t key_size, near_loaded *loaded)
{
	struct worker *worker = ctx;
	struct catalogue *catalogue = worker_catalogue(worker);
	char text[KEY_MAX];

	if (catalogue == NULL || key_size >= sizeof(text))
		return NEAR_E_LOADER;
	memcpy(text, key, key_size);
	text[key_size] = '\0';
	if (strcmp(text, "front") == 0)
		return front_load(worker, catalogue, loaded);
	return article_load(worker, catalogue, (uint32_t)strtoul(text + strlen("article:"), NULL, 10), loaded);
}

/* ------------------------------------------------------------------ judging */

static void known_raise(_Atomic uint64_t *known, uint32_t read, uint32_t written)
{
	uint64_t old = atomic_load_explicit(known, memory_order_relaxed), new;

	do { /* ends: a failed exchange means that another thread of this process has raised it */
		uint32_t old_read = (uint32_t)old, old_written = (uint32_t)(old >> 32);

		new = (uint64_t)(written > old_written ? written : old_written) << 32 | (read > old_read ? read : old_read);
	} while (new != old && !atomic_compare_exchange_weak_explicit(known, &old, new, memory_order_acq_rel,
	                                                              memory_order_relaxed));
}

void worker_judge(struct worker *worker, struct tally *tally, uint32_t article, const char *page, size_t size,
                  uint64_t version_told, uint64_t known, uint64_t asked)
{
	uint32_t version = 0;
	struct judgement judgement;

	if (!goods_check(worker->config->seed, article, page, size, &version) || version_told != version) {
		COUNT_UP(tally, wrong);
		board_trouble(worker->mine, "article %u: a page of %zu bytes, said to be version %llu, is not what the database held",
		              article, size, (unsigned long long)version_told);
		return;
	}
	judgement = history_judge(worker->history, article, version, asked, worker->config->lease_ms * SHOP_MS);
	if (judgement.unknown) {
		COUNT_UP(tally, wrong);
		board_trouble(worker->mine, "article %u: version %u was never in the database", article, version);
	}
	if (judgement.beyond) {
		COUNT_UP(tally, beyond);
		board_trouble(worker->mine, "article %u: version %u served as fresh %.1f ms after an invalidation was acknowledged",
		              article, version, (double)judgement.age_ns / (double)SHOP_MS);
	} if (judgement.age_ns > 0) {
		COUNT_UP(tally, older);
	} else if (judgement.overtaken_ns > 0) {
		COUNT_UP(tally, overtaken);
	}
	if (judgement.age_ns > 0) {
		histogram_add(&tally->age, judgement.age_ns);
		if (version < (uint32_t)known)
			COUNT_UP(tally, backwards);
	}
	if (judgement.overtaken_ns > 0)
		histogram_add(&tally->overtaken_age, judgement.overtaken_ns);
	if (version < (uint32_t)(known >> 32)) {
		COUNT_UP(tally, own_unseen);
		board_trouble(worker->mine, "article %u: version %u read after this process itself had written version %u", article,
		              version, (uint32_t)(known >> 32));
	}
	if (version > (uint32_t)known)
		known_raise(&worker->known[article], version, 0);
}

/* ------------------------------------------------------------------ writing */

bool worker_write(struct worker *worker, uint32_t article, near_status *answer, uint64_t *answered)
{
	struct tally *tally = worker_tally(worker);
	struct catalogue *catalogue = worker_catalogue(worker);
	char key[KEY_MAX];
	size_t key_size = worker_key(article, key);
	uint64_t begin = now_ns();
	uint32_t version, event;

	if (catalogue == NULL || !catalogue_write(catalogue, worker->history, article, &version, &event)) {
		COUNT_UP(tally, write_failures);
		board_trouble(worker->mine, "article %u could not be written: %s", article,
		              catalogue != NULL ? catalogue_trouble(catalogue) : "no connection to the database");
		return false;
	}
	COUNT_UP(tally, writes);
	histogram_add(&tally->commit, now_ns() - begin);
	begin = now_ns();
	*answer = worker->config->forget && event % 50 == 0 ? NEAR_OK :
	          near_invalidate(worker->cache, key, key_size, NULL);
	*answered = now_ns();
	histogram_add(&tally->invalidate, *answered - begin);
	known_raise(&worker->known[article], 0, version);
	if (*answer == NEAR_OK) {
		history_acknowledged(worker->history, event, *answered);
		COUNT_UP(tally, acknowledged);
		return true;
	}
	if (*answer == NEAR_QUEUED) {
		COUNT_UP(tally, queued);
	} else {
		COUNT_UP(tally, refused);
		board_trouble(worker->mine, "article %u: the invalidation was answered %s", article, near_status_name(*answer));
	}
	pending_add(&worker->pending, article, event);
	return true;
}

void pending_add(struct pending *pending, uint32_t article, uint32_t event)
{
	pthread_mutex_lock(&pending->lock);
	if (pending->event[article] == 0)
		pending->article[(pending->first + pending->count++) % pending->size] = article;
	if (event > pending->event[article])
		pending->event[article] = event;
	pthread_mutex_unlock(&pending->lock);
}

bool pending_first(struct pending *pending, uint32_t *article, uint32_t *event)
{
	bool found;

	pthread_mutex_lock(&pending->lock);
	found = pending->count > 0;
	if (found) {
		*article = pending->article[pending->first];
		*event = pending->event[*article];
	}
	pthread_mutex_unlock(&pending->lock);
	return found;
}

uint32_t pending_count(struct pending *pending)
{
	pthread_mutex_lock(&pending->lock);
	uint32_t count = pending->count;

	pthread_mutex_unlock(&pending->lock);
	return count;
}

/* Only the steward takes from the ring, so the first is still the article that it asked for. */
void pending_done(struct pending *pending, uint32_t article, uint32_t event)
{
	pthread_mutex_lock(&pending->lock);
	if (pending->event[article] == event) {
		pending->event[article] = 0;
		pending->first = (pending->first + 1) % pending->size;
		pending->count--;
	}
	pthread_mutex_unlock(&pending->lock);
}

/* ------------------------------------------------------------------ the process */

static int fail(struct worker *worker, const char *what, const char *why)
{
	snprintf(worker->mine->why, sizeof(worker->mine->why), "%s: %.200s", what, why);
	atomic_store(&worker->mine->state, WORKER_FAILED);
	return 1;
}

static bool prepare(struct worker *worker)
{
	size_t count = worker->articles + (size_t)1;

	zipf_init(&worker->zipf, worker->config->rows, worker->config->zipf, worker->config->seed);
	worker->known = calloc(count, sizeof(worker->known[0]));
	worker->pending.event = calloc(count, sizeof(uint32_t));
	worker->pending.article = calloc(count, sizeof(uint32_t));
	worker->pending.size = (uint32_t)count;
	pthread_mutex_init(&worker->pending.lock, NULL);
	return worker->known != NULL && worker->pending.event != NULL && worker->pending.article != NULL &&
	       pthread_key_create(&catalogue_key, catalogue_destroy) == 0;
}

/* What the library has to say goes to a file: the screen is the orchestrator's. Lines of several processes do not mix,
 * as each is one write to a file opened for appending. */
static void log_write(void *ctx, near_log_level level, const char *text)
{
	static const char *const name[] = { "error", "warning", "info", "debug" };
	struct worker *worker = ctx;

	if (level <= NEAR_LOG_INFO && worker->log >= 0)
		dprintf(worker->log, "%.3f s  worker %u  %s: %s\n", (double)(now_ns() - worker->board->begin) / (double)SHOP_SECOND,
		        worker->index, name[level], text);
}

static near_status cache_open(struct worker *worker, near_error *error)
{
	const struct shop_config *config = worker->config;
	near_options options;

	near_options_init(&options);
	options.ignore_environment = 1; /* the figures are of what the page says, whatever the shell has set */
	options.on_log = log_write;
	options.hook_ctx = worker;
	options.redis_url = config->redis_url;
	options.name_space = "shop";
	options.memory_bytes = config->memory_bytes;
	options.lease_ms = config->lease_ms;
	options.ttl_ms = 300000 + (uint64_t)(2000 * config->seconds); /* no article expires in a run: loads can be accounted for */
	options.deadline_ms = config->deadline_ms;
	options.load_deadline_ms = config->load_deadline_ms;
	return near_open(&options, &worker->cache, error);
}

/* Runs all threads until the order to stop. False: one could not be started. */
static bool threads_run(struct worker *worker)
{
	static struct server server[SHOP_THREADS_MAX];
	pthread_t thread[SHOP_THREADS_MAX + 2];
	unsigned count = 0;
	bool started = true;

	for (unsigned i = 0; i < worker->config->threads && started; i++) {
		server[i].worker = worker;
		server[i].mine = &worker->mine->thread[i];
		server[i].random.state = mix64(worker->config->seed * 1000003 + worker->index * SHOP_THREADS_MAX + i);
		started = pthread_create(&thread[count], NULL, serve_run, &server[i]) == 0;
		count += started;
	}
	started = started && pthread_create(&thread[count], NULL, probe_run, worker) == 0;
	count += started;
	started = started && pthread_create(&thread[count], NULL, steward_run, worker) == 0;
	count += started;
	if (started)
		atomic_store(&worker->mine->state, WORKER_READY);
	else
		atomic_store(&worker->board->orders.stop, 1);
	for (unsigned i = 0; i < count; i++)
		pthread_join(thread[i], NULL);
	return started;
}

int worker_run(const struct shop_config *config, struct board *board, struct history *history, unsigned index)
{
	static struct worker worker;
	near_error error = { "" };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_TIMERSLACK, 1000UL); /* the probe and the pace sleep in microseconds */
	signal(SIGINT, SIG_IGN); /* the orchestrator says when to end */
	worker.config = config;
	worker.board = board;
	worker.mine = &board->worker[index];
	worker.history = history;
	worker.index = index;
	worker.articles = config->rows + config->workers;
	worker.log = open(config->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (!prepare(&worker))
		return fail(&worker, "worker", "no memory");
	if (worker_catalogue(&worker) == NULL)
		return fail(&worker, "cannot open the database", config->database);
	if (cache_open(&worker, &error) != NEAR_OK)
		return fail(&worker, "near_open", error.text);
	if (!threads_run(&worker))
		return fail(&worker, "worker", "a thread could not be started");
	steward_drain(&worker);
	board_stats_publish(worker.mine, worker.cache);
	near_close(worker.cache);
	catalogue_close(thread_catalogue);
	atomic_store(&worker.mine->state, WORKER_ENDED);
	return 0;
}
