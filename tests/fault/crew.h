/* A crew: several real processes that share one Redis and one "database", for tests that break things under them.
 *
 *   parent   starts Redis, breaks it, gives orders; opens no cache
 *   child    one near_cache; CREW_THREADS workers that read and write while `running`; its main thread takes orders
 *            (a function of the test, which the child knows too, since it was forked)
 *   shared   the database (one version per key), when each version's invalidation was acknowledged, all counts
 *
 * The rules of a history, checked at every read
 *   promise    a fresh value of version v, asked for at time u: no later version was acknowledged before u - lease
 *   own        nor is one older than what this process itself has invalidated, acknowledged or queued
 *   at rest    all writers silent, journals empty, one lease gone by: every process reads each key's newest version
 *   in time    every call is back within its deadline and SLACK, with a status that its contract names
 *
 * Every fourth key carries a tag, and some writes raise all of those and invalidate the tag. A child that dies fails
 * the test; none outlives the parent (PR_SET_PDEATHSIG).
 */
#ifndef NEAR_TESTS_CREW_H
#define NEAR_TESTS_CREW_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <nearcache/nearcache.h>
#include "base/clock.h"
#include "base/hash.h"
#include "support/redis_server.h"

enum {
	CREW_SIZE = 4,
	CREW_THREADS = 2,
	CREW_KEYS_MAX = 512,
	CREW_VERSIONS = 32768,
	LEASE_MS = 300,
	DEADLINE_MS = 200,
	LOAD_DEADLINE_MS = 1500,
	SLACK_MS = 1500, /* the machine may be busy with other things */
	SOON_MS = 5000
};

typedef struct crew_options {
	int keys;              /* 0: 16 */
	int write_percent;     /* 0: 10; below 0: none */
	uint64_t log_max;      /* 0, journal_max 0, shards 0: the library's own */
	uint64_t journal_max;
	uint64_t shards;
} crew_options;

typedef struct crew_child {
	pid_t pid;
	_Atomic(int) done;   /* the last order carried out */
	_Atomic(int) well;   /* the last question after its health that it could answer with yes */
	_Atomic(int) parked; /* workers that rest */
	_Atomic(uint64_t) own[CREW_KEYS_MAX]; /* what this process has invalidated, acknowledged or queued */
	near_stats stats;    /* of the last crew_report */
	char trouble[512];
	int status[32];      /* what an order of the test answers, as it likes */
	int64_t took_ms[32];
} crew_child;

typedef struct crew {
	crew_options o;
	char url[256];
	_Atomic(uint64_t) source[CREW_KEYS_MAX];
	_Atomic(int64_t) acknowledged[CREW_KEYS_MAX][CREW_VERSIONS]; /* when; 0 not yet */
	_Atomic(bool) running, over;
	_Atomic(int) asked, excused;
	_Atomic(int) order[CREW_SIZE];
	void (*_Atomic task)(void);
	_Atomic(uint64_t) fresh, from_l1, from_l2, loads, writes, queued, timeouts, missed;
	_Atomic(uint64_t) stale, stale_own, stale_at_rest, late, odd;
	_Atomic(int) told; /* complaints printed */
	crew_child child[CREW_SIZE];
} crew;

static crew *all;         /* shared by parent and children */
static crew_child *me;    /* in a child */
static near_cache *cache; /* in a child */
static redis_server *redis;

static inline void nap_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

static inline int64_t ms_since(int64_t begun_ns)
{
	return (near__now_ns() - begun_ns) / NEAR__MS_NS;
}

static inline void complain(const char *format, ...)
{
	va_list args;
	if (atomic_fetch_add(&all->told, 1) >= 20)
		return;
	char text[256];
	va_start(args, format);
	(void)vsnprintf(text, sizeof text, format, args);
	va_end(args);
	fprintf(stderr, "process %d: %s\n", me != NULL ? (int)(me - all->child) : -1, text);
}

/* ------------------------------------------------------------------------------- a child's calls, judged */

static inline size_t key_name(int k, char out[16])
{
	return (size_t)snprintf(out, 16, "key:%d", k);
}

static inline bool has_tag(int k)
{
	return k % 4 == 0;
}

static inline near_call call_for(int k)
{
	static const char *const tags[] = { "fourth" };
	near_call call = NEAR_CALL_INIT;
	if (has_tag(k)) {
		call.tags = tags;
		call.tag_count = 1;
	}
	return call;
}

/* Begun when the clock said begun_ns; a call during which this process was stopped by the test is excused. */
static inline void judge_time(const char *what, int64_t begun_ns, int64_t bound_ms, int excused)
{
	int64_t took_ms = ms_since(begun_ns);
	if (took_ms <= bound_ms + SLACK_MS || excused != atomic_load(&all->excused))
		return;
	atomic_fetch_add(&all->late, 1);
	complain("%s took %lld ms", what, (long long)took_ms);
}

static inline void judge_version(int k, uint64_t version, int64_t begun_ns, uint64_t own, near_source source)
{
	int64_t limit_ns = begun_ns - LEASE_MS * NEAR__MS_NS;
	uint64_t last = atomic_load(&all->source[k]);
	if (version < own) {
		atomic_fetch_add(&all->stale_own, 1);
		complain("key %d: version %llu from %d after %llu was invalidated here", k, (unsigned long long)version,
		         (int)source, (unsigned long long)own);
	}
	for (uint64_t v = version + 1; v <= last && v <= version + 256; v++) {
		int64_t at_ns = atomic_load(&all->acknowledged[k][v]);
		if (at_ns == 0 || at_ns >= limit_ns)
			continue;
		atomic_fetch_add(&all->stale, 1);
		complain("key %d: version %llu from %d, %llu was acknowledged %lld ms before (now %llu)", k,
		         (unsigned long long)version, (int)source, (unsigned long long)v,
		         (long long)((begun_ns - at_ns) / NEAR__MS_NS), (unsigned long long)last);
		return;
	}
}

static inline near_status read_source(void *ctx, const void *key, size_t key_size, near_loaded *loaded)
{
	char text[32];
	(void)ctx;
	int k = atoi((const char *)key + 4);
	(void)key_size;
	uint64_t version = atomic_load(&all->source[k]);
	atomic_fetch_add(&all->loads, 1);
	if ((version + (uint64_t)k) % 8 == 0)
		nap_ms(3); /* a slow source: time to be overtaken */
	int n = snprintf(text, sizeof text, "%d:%llu", k, (unsigned long long)version);
	return near_loaded_set(loaded, text, (size_t)n);
}

/* One read, judged; *version when fresh. kind: 0 load, 1 get, 2 get past L1. */
static inline near_status judged_read(int k, int kind, uint64_t *version)
{
	char key[16], got[33] = "";
	near_item item = { .source = NEAR_FROM_NONE };
	near_call call = call_for(k);
	size_t key_size = key_name(k, key);
	if (kind == 2)
		call.flags |= NEAR_NO_L1;
	int excused = atomic_load(&all->excused);
	uint64_t own = atomic_load(&me->own[k]);
	int64_t begun_ns = near__now_ns();
	near_status status;
	if (kind == 0)
		status = near_load(cache, key, key_size, read_source, NULL, &call, got, 32, &item);
	else
		status = near_get_with(cache, key, key_size, &call, got, 32, &item);
	judge_time(kind == 0 ? "a load" : "a get", begun_ns, kind == 0 ? LOAD_DEADLINE_MS + 2 * DEADLINE_MS : DEADLINE_MS,
	           excused);
	if (status == NEAR_OK) {
		char *colon;
		bool ours = strtol(got, &colon, 10) == k && *colon == ':' && item.value_size == strlen(got);
		*version = ours ? strtoull(colon + 1, NULL, 10) : 0;
		atomic_fetch_add(&all->fresh, 1);
		atomic_fetch_add(&all->from_l1, item.source == NEAR_FROM_L1);
		atomic_fetch_add(&all->from_l2, item.source == NEAR_FROM_L2);
		judge_version(k, *version, begun_ns, own, item.source);
		if (ours)
			return status;
	} else if (kind == 0 && (status == NEAR_E_TIMEOUT || status == NEAR_STALE)) {
		atomic_fetch_add(&all->timeouts, 1); /* somebody else's load did not end in time */
		return status;
	} else if (kind != 0 && status == NEAR_MISS) {
		atomic_fetch_add(&all->missed, 1);
		return status;
	}
	atomic_fetch_add(&all->odd, 1);
	complain("a read of %s answered %s \"%s\"", key, near_status_name(status), got);
	return status;
}

static inline void raise_own(int k, uint64_t version)
{
	uint64_t seen = atomic_load(&me->own[k]);
	while (seen < version && !atomic_compare_exchange_weak(&me->own[k], &seen, version))
		;
}

/* Commits a new version of the key, then invalidates; notes when it was acknowledged. */
static inline near_status judged_write(int k, bool removes)
{
	char key[16];
	size_t key_size = key_name(k, key);
	if (atomic_load(&all->source[k]) >= CREW_VERSIONS - 100)
		return NEAR_OK;
	uint64_t version = atomic_fetch_add(&all->source[k], 1) + 1;
	int excused = atomic_load(&all->excused);
	int64_t begun_ns = near__now_ns();
	near_status status =
		removes ? near_remove(cache, key, key_size, NULL) : near_invalidate(cache, key, key_size, NULL);
	judge_time("an invalidation", begun_ns, DEADLINE_MS, excused);
	if (status == NEAR_OK)
		atomic_store(&all->acknowledged[k][version], near__now_ns());
	if (status == NEAR_OK || status == NEAR_QUEUED)
		raise_own(k, version);
	atomic_fetch_add(status == NEAR_OK ? &all->writes : status == NEAR_QUEUED ? &all->queued : &all->odd, 1);
	if (status != NEAR_OK && status != NEAR_QUEUED)
		complain("an invalidation answered %s", near_status_name(status));
	return status;
}

static inline near_status judged_tag_write(void)
{
	uint64_t version[CREW_KEYS_MAX];
	for (int k = 0; k < all->o.keys; k += 4) {
		if (atomic_load(&all->source[k]) >= CREW_VERSIONS - 100)
			return NEAR_OK;
		version[k] = atomic_fetch_add(&all->source[k], 1) + 1;
	}
	int excused = atomic_load(&all->excused);
	int64_t begun_ns = near__now_ns();
	near_status status = near_invalidate_tag(cache, "fourth", NULL);
	judge_time("a tag's invalidation", begun_ns, DEADLINE_MS, excused);
	int64_t now_ns = near__now_ns();
	for (int k = 0; k < all->o.keys; k += 4) {
		if (status == NEAR_OK)
			atomic_store(&all->acknowledged[k][version[k]], now_ns);
		raise_own(k, version[k]);
	}
	atomic_fetch_add(status == NEAR_OK ? &all->writes : status == NEAR_QUEUED ? &all->queued : &all->odd, 1);
	return status;
}

/* ------------------------------------------------------------------------------------------- a child */

static inline void look_well(void)
{
	int asked = atomic_load(&all->asked);
	if (atomic_load(&me->well) < asked && near_invalidate(cache, "health", 6, NULL) == NEAR_OK &&
	    near_wait_ready(cache, 1) == NEAR_OK)
		atomic_store(&me->well, asked);
}

static inline void *worker(void *arg)
{
	uint64_t random = (uint64_t)(uintptr_t)arg;
	uint64_t version;
	while (!atomic_load(&all->over)) {
		if (!atomic_load(&all->running)) {
			atomic_fetch_add(&me->parked, 1);
			while (!atomic_load(&all->running) && !atomic_load(&all->over))
				nap_ms(1);
			atomic_fetch_sub(&me->parked, 1);
			continue;
		}
		uint64_t dice = near__random_next(&random);
		int k = (int)(dice / 1000 % (uint64_t)all->o.keys);
		if ((int)(dice % 100) < all->o.write_percent) {
			if (dice / 100 % 16 == 0)
				(void)judged_tag_write();
			else
				(void)judged_write(k, dice / 100 % 16 == 1);
		} else {
			int kind = (int)(dice / 100 % 8);
			(void)judged_read(k, kind == 1 || kind == 2 ? kind : 0, &version);
		}
		look_well();
		if (dice / 7 % 16 == 0)
			nap_ms(1);
	}
	return NULL;
}

static inline void child_run(uint64_t seed)
{
	pthread_t threads[CREW_THREADS];
	near_options o;
	near_error error;
	near_options_init(&o);
	o.ignore_environment = 1;
	o.memory_bytes = 16 << 20;
	o.redis_url = all->url;
	o.lease_ms = LEASE_MS;
	o.deadline_ms = DEADLINE_MS;
	o.load_deadline_ms = LOAD_DEADLINE_MS;
	o.token_ms = 1000;
	o.log_max = all->o.log_max != 0 ? all->o.log_max : o.log_max;
	o.journal_max = all->o.journal_max != 0 ? all->o.journal_max : o.journal_max;
	o.shards = all->o.shards != 0 ? all->o.shards : o.shards;
	if (near_open(&o, &cache, &error) != NEAR_OK) {
		fprintf(stderr, "open: %s\n", error.text);
		_exit(3);
	}
	if (near_wait_ready(cache, SOON_MS) != NEAR_OK)
		_exit(4);
	for (int i = 0; i < CREW_THREADS; i++)
		if (pthread_create(&threads[i], NULL, worker, (void *)(uintptr_t)(seed + (uint64_t)i)) != 0)
			_exit(5);
	int number = 0;
	while (!atomic_load(&all->over)) {
		int given = atomic_load(&all->order[me - all->child]);
		if (given == number) {
			nap_ms(1);
			continue;
		}
		number = given;
		atomic_load(&all->task)();
		atomic_store(&me->done, number);
	}
	for (int i = 0; i < CREW_THREADS; i++)
		pthread_join(threads[i], NULL);
	near_close(cache);
	_exit(0);
}

/* ------------------------------------------------------------------------------------------- the parent */

static inline void expect_alive(void)
{
	for (int i = 0; i < CREW_SIZE; i++) {
		int status = 0;
		if (all->child[i].pid != 0 && waitpid(all->child[i].pid, &status, WNOHANG) != 0) {
			all->child[i].pid = 0;
			fail_msg("process %d ended: status %x", i, (unsigned)status);
		}
	}
}

/* Parent: waits until the condition holds, for at most `ms`; fails when a child dies. */
#define WITHIN(ms, condition) ({ int64_t end_ = near__now_ns() + (ms) * NEAR__MS_NS; \
	while (!(condition) && near__now_ns() < end_) { expect_alive(); nap_ms(2); } (condition); })

static inline bool is_done(int i)
{
	return atomic_load(&all->child[i].done) == atomic_load(&all->order[i]);
}

/* Has one child carry out `task` on its main thread, and waits for it. */
static inline void order_one(int i, void (*task)(void))
{
	atomic_store(&all->task, task);
	atomic_fetch_add(&all->order[i], 1);
	assert_true(WITHIN(30000, is_done(i)));
}

/* Has all do it, at once. */
static inline void order_all(void (*task)(void))
{
	atomic_store(&all->task, task);
	for (int i = 0; i < CREW_SIZE; i++)
		atomic_fetch_add(&all->order[i], 1);
	for (int i = 0; i < CREW_SIZE; i++)
		assert_true(WITHIN(30000, is_done(i)));
}

static inline void task_nothing(void)
{
}

static inline void task_report(void)
{
	near_stats_get(cache, &me->stats);
	(void)near_last_error(cache, me->trouble, sizeof me->trouble);
}

static inline void task_look(void)
{
	for (int k = 0; k < all->o.keys; k++)
		for (int kind = 0; kind < 3; kind++) {
			uint64_t version = 0, newest = atomic_load(&all->source[k]);
			near_status status = judged_read(k, kind, &version);
			if (kind != 0 && status == NEAR_MISS)
				continue;
			if (status == NEAR_OK && version == newest)
				continue;
			atomic_fetch_add(&all->stale_at_rest, 1);
			complain("at rest key %d (%d) is %s, version %llu of %llu", k, kind, near_status_name(status),
			         (unsigned long long)version, (unsigned long long)newest);
		}
}

#define SUM(field) ({ uint64_t sum_ = 0; \
	for (int i_ = 0; i_ < CREW_SIZE; i_++) sum_ += all->child[i_].stats.field; \
	sum_; })

static inline int parked(void)
{
	int sum = 0;
	for (int i = 0; i < CREW_SIZE; i++)
		sum += atomic_load(&all->child[i].parked);
	return sum;
}

static inline bool are_all_well(void)
{
	for (int i = 0; i < CREW_SIZE; i++)
		if (atomic_load(&all->child[i].well) < atomic_load(&all->asked))
			return false;
	return true;
}

/* Redis is back (or was never away): every process invalidates with NEAR_OK and holds its lease within SOON_MS. */
static inline void expect_well(void)
{
	int64_t begun_ns = near__now_ns();
	assert_true(atomic_load(&all->running));
	atomic_fetch_add(&all->asked, 1);
	bool well = WITHIN(SOON_MS, are_all_well());
	print_message("well after %lld ms\n", (long long)ms_since(begun_ns));
	assert_true(well);
}

static inline void crew_pause(void)
{
	atomic_store(&all->running, false);
	assert_true(WITHIN(2 * SOON_MS, parked() == CREW_SIZE * CREW_THREADS));
}

static inline bool are_journals_empty(void)
{
	order_all(task_report);
	return SUM(journal_keys) == 0;
}

/* Silence, empty journals, a lease and a bit: then nothing may be behind. */
static inline void expect_rest(void)
{
	crew_pause();
	assert_true(WITHIN(SOON_MS, are_journals_empty()));
	nap_ms(LEASE_MS + 100); /* the promise's own time, not a synchronisation */
	order_all(task_look);
	order_all(task_report);
	assert_int_equal(atomic_load(&all->stale_at_rest), 0);
}

static inline void expect_history(void)
{
	print_message("fresh %llu (L1 %llu, L2 %llu), misses %llu, loads %llu, writes %llu, queued %llu, timeouts %llu\n",
	              (unsigned long long)all->fresh, (unsigned long long)all->from_l1, (unsigned long long)all->from_l2,
	              (unsigned long long)all->missed, (unsigned long long)all->loads, (unsigned long long)all->writes,
	              (unsigned long long)all->queued, (unsigned long long)all->timeouts);
	print_message("replays %llu, gaps %llu, flushes %llu, incarnations %llu, reconnects %llu\n",
	              (unsigned long long)SUM(replays), (unsigned long long)SUM(gaps), (unsigned long long)SUM(flushes),
	              (unsigned long long)SUM(incarnations), (unsigned long long)SUM(reconnects));
	assert_int_equal(atomic_load(&all->stale), 0);
	assert_int_equal(atomic_load(&all->stale_own), 0);
	assert_int_equal(atomic_load(&all->late), 0);
	assert_int_equal(atomic_load(&all->odd), 0);
	/* It was a history and not a silence. */
	assert_true(all->o.write_percent < 0 || (atomic_load(&all->writes) > 100 && atomic_load(&all->from_l1) > 500));
}

static inline void crew_start(const crew_options *o, const redis_server_options *server)
{
	redis = redis_server_start(server);
	all = mmap(NULL, sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_true(all != MAP_FAILED);
	if (o != NULL)
		all->o = *o;
	all->o.keys = all->o.keys != 0 ? all->o.keys : 16;
	all->o.write_percent = all->o.write_percent != 0 ? all->o.write_percent : 10;
	(void)snprintf(all->url, sizeof all->url, "%s", redis_server_url(redis));
	uint64_t seed = (uint64_t)near__now_ns();
	const char *given = getenv("NEAR_TEST_SEED");
	if (given != NULL)
		seed = strtoull(given, NULL, 10);
	print_message("seed %llu\n", (unsigned long long)seed);
	fflush(NULL);
	for (int i = 0; i < CREW_SIZE; i++) {
		pid_t parent = getpid();
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (getppid() != parent)
				_exit(2);
			me = &all->child[i];
			child_run(seed + (uint64_t)i * 1000);
		}
		all->child[i].pid = pid;
	}
	order_all(task_nothing); /* all are open and hold their lease */
}

/* All end in order. */
static inline void crew_end(void)
{
	atomic_store(&all->over, true);
	for (int i = 0; i < CREW_SIZE; i++) {
		int status = -1;
		int64_t end_ns = near__now_ns() + 2 * SOON_MS * NEAR__MS_NS;
		while (waitpid(all->child[i].pid, &status, WNOHANG) == 0 && near__now_ns() < end_ns)
			nap_ms(2);
		assert_int_equal(status, 0);
		all->child[i].pid = 0;
	}
}

/* A cmocka teardown: whatever has happened, nothing is left. */
static inline int crew_drop(void **state)
{
	(void)state;
	if (all != NULL) {
		for (int i = 0; i < CREW_SIZE; i++)
			if (all->child[i].pid != 0) {
				kill(all->child[i].pid, SIGKILL);
				(void)waitpid(all->child[i].pid, NULL, 0);
			}
		(void)munmap(all, sizeof *all);
		all = NULL;
	}
	redis_server_free(redis);
	redis = NULL;
	return 0;
}

/* One command to Redis whose answer is not looked at. */
#define TELL_REDIS(...) free(redis_server_command(redis, __VA_ARGS__))
#define CREW_TEST(name) cmocka_unit_test_teardown(name, crew_drop)

#endif
