/* Histories: several processes read through and write at once, while messages are lost, connections killed and Redis's
 * data taken away; every read is held against what had been acknowledged.
 *
 *   source    one version per key in memory shared by all processes; a write raises it, then invalidates until
 *             acknowledged, then notes when
 *   L1        one slot per key and process, lock-free, by the rules of coherence.h: p0, publish, fence, look; dropped
 *             by news
 *   promise 1 a hit under a lease that was asked for at time u is not older than what was acknowledged before u - lease
 *   promise 2 a value of the present incarnation in Redis, asked for at time g, is not older than what was acknowledged
 *             before g: no fill survives an invalidation that overtook it
 *   at rest   when all writers are done, no process serves anything but the last version
 *
 * The slot here stands for L1's table, of which it has the one property that matters to the fence: a fill publishes its
 * entry before it looks, and a drop sees what is published. */
#include "coherence_peer.h"

#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define PROCESSES 3
#define KEYS 10
#define VERSIONS 200000
#define RUN_MS 4000
#define LEASE_MS 60

typedef struct history {
	_Atomic(uint64_t) source[KEYS];
	_Atomic(int64_t) acknowledged[KEYS][VERSIONS]; /* when; 0 not yet */
	_Atomic(uint64_t) hits, fills, l2_reads, writes, stale_l1, stale_l2, stale_at_rest, lost, flushes, gaps;
	_Atomic(int) writing, failed;
	_Atomic(bool) stop;
} history;

static history *h;

/* ----------------------------------------------------------------------- the toy L1 */

enum { PENDING, VALID, ABORTED };
typedef struct toy_entry {
	uint64_t version;
	near__pos asof;
	_Atomic(int) state;
} toy_entry;

typedef struct process {
	peer *p;
	uint64_t random;
	_Atomic(toy_entry *) slot[KEYS];
	toy_entry *arena; /* entries are never freed: nobody needs to ask when */
	size_t used, room;
	char prefix[NEAR__PREFIX_MAX];
} process;

static process self; /* of this process */

static void key_name(int k, char out[8])
{
	(void)snprintf(out, 8, "key%d", k);
}

static void toy_drop(void *ctx, unsigned shard, near__change change, const void *key, size_t key_size, near__pos pos)
{
	(void)ctx;
	(void)shard;
	(void)change;
	int k = ((const char *)key)[key_size - 1] - '0';
	NEAR_ASSERT(k >= 0 && k < KEYS);
	toy_entry *e = atomic_load(&self.slot[k]);
	while (e != NULL && e->asof < pos) {
		int pending = PENDING;
		(void)atomic_compare_exchange_strong(&e->state, &pending, ABORTED);
		if (atomic_compare_exchange_strong(&self.slot[k], &e, NULL))
			return;
	}
}

static void toy_fill(int k, unsigned shard, uint64_t version, near__pos p0)
{
	char key[8];
	key_name(k, key);
	if (self.used == self.room)
		return;
	toy_entry *e = &self.arena[self.used++];
	e->version = version;
	e->asof = p0;
	atomic_store(&e->state, PENDING);
	toy_entry *old = atomic_load(&self.slot[k]);
	do {
		if (old != NULL && old->asof > p0)
			return;
	} while (!atomic_compare_exchange_strong(&self.slot[k], &old, e));
	near__fence();
	int pending = PENDING;
	if (near__coherence_current(self.p->c, shard, near__hash_shared(key, strlen(key)), p0))
		(void)atomic_compare_exchange_strong(&e->state, &pending, VALID);
	else
		(void)atomic_compare_exchange_strong(&e->state, &pending, ABORTED);
}

/* --------------------------------------------------------------------------- reading */

/* Was a later version acknowledged before `limit_ns`? */
static bool is_older_than(int k, uint64_t version, int64_t limit_ns)
{
	for (uint64_t v = version + 1; v <= version + 64 && v < VERSIONS; v++) {
		int64_t at = atomic_load(&h->acknowledged[k][v]);
		if (at != 0 && at < limit_ns)
			return true;
	}
	return false;
}

static bool hit(int k, unsigned shard)
{
	int64_t u_ns = near__now_ns();
	if (near__coarse_ns() >= near__coherence_lease_until(self.p->c))
		return false;
	toy_entry *e = atomic_load(&self.slot[k]);
	if (e == NULL || atomic_load(&e->state) != VALID || e->asof < near__coherence_floor(self.p->c, shard))
		return false;
	atomic_fetch_add(&h->hits, 1);
	if (is_older_than(k, e->version, u_ns - LEASE_MS * NEAR__MS_NS))
		atomic_fetch_add(&h->stale_l1, 1);
	return true;
}

static uint64_t version_of(const char *text)
{
	return strtoull(text, NULL, 10);
}

static bool from_redis(int k, const char *key, unsigned shard, near__pos p0)
{
	near__envelope e;
	near__reply *reply = NULL;
	size_t size;
	peer_key names;
	char text[32];
	(void)peer_key_of(self.p, key, &names);
	const char *argv[] = { "GET", names.data };
	const size_t sizes[] = { 3, names.step.data_name_size };
	near__command command = { 2, argv, sizes };
	uint64_t inc = near__coherence_incarnation(self.p->c, shard);
	int64_t g_ns = near__now_ns();
	if (near__redis_call(near__coherence_redis(self.p->c), &command, g_ns + 100 * NEAR__MS_NS, &reply) != NEAR_OK)
		return false;
	const char *bytes = near__reply_bytes(reply, &size);
	bool there = near__envelope_read(bytes, size, key, strlen(key), &e) && e.incarnation == inc && inc != 0 &&
	             !e.marked_stale && near__coherence_incarnation(self.p->c, shard) == inc;
	if (there) {
		(void)snprintf(text, sizeof(text), "%.*s", (int)e.payload_size, (const char *)e.payload);
		atomic_fetch_add(&h->l2_reads, 1);
		if (is_older_than(k, version_of(text), g_ns))
			atomic_fetch_add(&h->stale_l2, 1);
		toy_fill(k, shard, version_of(text), p0);
	}
	near__reply_free(reply);
	return there;
}

static void load(int k, const char *key, unsigned shard, near__pos p0)
{
	peer_token t;
	char text[32];
	peer_key names;
	near__reply *value = NULL;
	size_t size;
	if (near__coherence_token(self.p->c, peer_key_of(self.p, key, &names), 'm', 0, 1000, &t.answer, &t.token, &value,
	                          &t.wait_ms) != NEAR_OK)
		return;
	near__reply_free(value);
	if (t.answer != NEAR__TOKEN_GRANTED)
		return;
	uint64_t version = atomic_load(&h->source[k]);
	if (near__random_next(&self.random) % 8 == 0)
		usleep(2000); /* a slow source: time to be overtaken */
	(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)version);
	peer_value v = { .text = text, .incarnation = t.token.incarnation };
	void *bytes = peer_envelope(self.p, key, &v, &size);
	if (near__coherence_fill(self.p->c, &names.step, &t.token, bytes, size, 60000) == NEAR_OK) {
		atomic_fetch_add(&h->fills, 1);
		toy_fill(k, shard, version, p0);
	}
	free(bytes);
}

static void *reader(void *arg)
{
	char key[8];
	(void)arg;
	while (!atomic_load(&h->stop)) {
		int k = (int)(near__random_next(&self.random) % KEYS);
		key_name(k, key);
		unsigned shard = peer_shard(self.p, key);
		if (hit(k, shard)) {
			if (near__random_next(&self.random) % 64 == 0)
				usleep(100);
			continue;
		}
		near__pos p0 = near__coherence_pos(self.p->c, shard); /* before the incarnation, before the question */
		if (!from_redis(k, key, shard, p0))
			load(k, key, shard, p0);
		if (near__coherence_incarnation(self.p->c, shard) == 0)
			usleep(1000);
	}
	return NULL;
}

/* --------------------------------------------------------------------------- writing */

static void *writer(void *arg)
{
	uint64_t random = *(uint64_t *)arg;
	char key[8];
	while (!atomic_load(&h->stop)) {
		int k = (int)(near__random_next(&random) % KEYS);
		key_name(k, key);
		unsigned shard = peer_shard(self.p, key);
		uint64_t version = atomic_fetch_add(&h->source[k], 1) + 1;
		if (version >= VERSIONS)
			break;
		bool keep = near__random_next(&random) % 2 != 0;
		near__pos pos = 0;
		while (peer_invalidate_with(self.p, key, NEAR__CHANGE_INVALIDATE, keep, &pos) != NEAR_OK)
			usleep(1000);
		if (pos != 0) {
			near__coherence_raise(self.p->c, shard, near__hash_shared(key, strlen(key)), pos);
			toy_drop(NULL, shard, NEAR__CHANGE_INVALIDATE, key, strlen(key), pos);
		}
		atomic_store(&h->acknowledged[k][version], near__now_ns());
		atomic_fetch_add(&h->writes, 1);
		/* In bursts: what a burst leaves wrong must show in the silence after it. */
		bool pause = near__random_next(&random) % 40 == 0;
		usleep((useconds_t)(near__random_next(&random) % (pause ? 400000 : 2000)));
	}
	atomic_fetch_sub(&h->writing, 1);
	return NULL;
}

/* ------------------------------------------------------------------------ a process */

static uint64_t lossy_random;
static bool lossy(near__coherence *c, const char *channel, size_t channel_size, const char *bytes, size_t size)
{
	(void)c;
	(void)channel;
	(void)channel_size;
	(void)bytes;
	(void)size;
	bool lost = near__random_next(&lossy_random) % 50 == 0;
	atomic_fetch_add(&h->lost, lost);
	return !lost;
}

/* A lease asked for after all writers were done shows what remains; nothing may be behind. */
static void look_at_rest(void)
{
	char key[8];
	while (atomic_load(&h->writing) > 0)
		usleep(1000);
	int64_t rest_ns = near__now_ns();
	int64_t until_ns = peer_deadline();
	while (near__coherence_lease_until(self.p->c) < rest_ns + LEASE_MS * NEAR__MS_NS) {
		if (near__now_ns() > until_ns) {
			atomic_fetch_add(&h->failed, 1);
			return;
		}
		usleep(1000);
	}
	for (int k = 0; k < KEYS; k++) {
		key_name(k, key);
		toy_entry *e = atomic_load(&self.slot[k]);
		unsigned shard = peer_shard(self.p, key);
		if (e != NULL && atomic_load(&e->state) == VALID && e->asof >= near__coherence_floor(self.p->c, shard) &&
		    e->version != atomic_load(&h->source[k]))
			atomic_fetch_add(&h->stale_at_rest, 1);
	}
}

static void process_run(uint64_t seed)
{
	pthread_t threads[2];
	self.room = 1000000;
	self.arena = mmap(NULL, self.room * sizeof(*self.arena), PROT_READ | PROT_WRITE,
	                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	self.random = seed;
	lossy_random = seed + 1;
	uint64_t writer_random = seed + 2;
	near__coherence_message_hook = lossy;
	self.p = peer_open_with(server, &(peer_options){ .lease_ms = LEASE_MS, .shards = 2, .log_max = 200,
	                                                 .drop = toy_drop });
	pthread_create(&threads[0], NULL, reader, NULL);
	pthread_create(&threads[1], NULL, writer, &writer_random);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	look_at_rest();
	atomic_fetch_add(&h->flushes, peer_stat(self.p, NEAR__STAT_flushes));
	atomic_fetch_add(&h->gaps, peer_stat(self.p, NEAR__STAT_gaps));
	peer_close(self.p);
	_exit(0);
}

/* ---------------------------------------------------------------------------- chaos */

static void break_something(uint64_t dice)
{
	switch (dice % 12) {
	case 0:
		server_run("FLUSHALL%s", "");
		break;
	case 1:
		server_run("DEL test:v1~m:%s", dice / 10 % 2 != 0 ? "0" : "1");
		break;
	case 2:
		server_run("DEL test:v1~l:%s", dice / 10 % 2 != 0 ? "0" : "1");
		break;
	case 3:
		server_run("FUNCTION FLUSH%s", "");
		break;
	case 4:
		server_run("CLIENT KILL TYPE %s", "normal");
		break;
	case 5:
		redis_server_kill(server);
		redis_server_restart(server, false);
		break;
	case 7: /* a failover that loses what came after the snapshot */
		server_run("SAVE%s", "");
		usleep((useconds_t)(dice / 10 % 100000));
		redis_server_kill(server);
		redis_server_restart(server, true);
		break;
	case 6:
		redis_server_pause(server);
		usleep((useconds_t)(dice / 10 % 300000));
		redis_server_resume(server);
		break;
	default:
		server_run("CLIENT KILL TYPE %s", "pubsub");
		break;
	}
}

static void print_history(void)
{
	print_message("hits %llu, from Redis %llu, fills %llu, writes %llu, messages lost %llu, gaps %llu, flushes %llu\n",
	              (unsigned long long)h->hits, (unsigned long long)h->l2_reads, (unsigned long long)h->fills,
	              (unsigned long long)h->writes, (unsigned long long)h->lost, (unsigned long long)h->gaps,
	              (unsigned long long)h->flushes);
}

static void run_history(bool broken)
{
	pid_t children[PROCESSES];
	uint64_t seed = (uint64_t)near__now_ns();
	const char *given = getenv("NEAR_TEST_SEED");
	if (given != NULL)
		seed = strtoull(given, NULL, 10);
	print_message("seed %llu\n", (unsigned long long)seed);
	h = mmap(NULL, sizeof(*h), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_true(h != MAP_FAILED);
	atomic_store(&h->writing, PROCESSES);
	for (int i = 0; i < PROCESSES; i++) {
		children[i] = fork();
		assert_true(children[i] >= 0);
		if (children[i] == 0)
			process_run(seed + (uint64_t)i * 1000);
	}
	uint64_t random = seed + 999999;
	int64_t end_ns = near__now_ns() + RUN_MS * NEAR__MS_NS;
	while (near__now_ns() < end_ns) {
		usleep((useconds_t)(100000 + near__random_next(&random) % 200000));
		if (broken)
			break_something(near__random_next(&random));
	}
	atomic_store(&h->stop, true);
	for (int i = 0; i < PROCESSES; i++) {
		int status;
		assert_int_equal(waitpid(children[i], &status, 0), children[i]);
		assert_int_equal(status, 0);
	}
	print_history();
	assert_int_equal(atomic_load(&h->stale_l1), 0);
	assert_int_equal(atomic_load(&h->stale_l2), 0);
	assert_int_equal(atomic_load(&h->stale_at_rest), 0);
	assert_int_equal(atomic_load(&h->failed), 0);
	/* It was a history and not a silence. */
	assert_true(atomic_load(&h->hits) > 1000 && atomic_load(&h->writes) > 100);
	assert_true(atomic_load(&h->fills) > 10 && atomic_load(&h->lost) > 0);
	assert_int_equal(munmap(h, sizeof(*h)), 0);
}

static void history__with_messages_lost__keeps_both_promises(void **state)
{
	(void)state;
	run_history(false);
}

static void history__with_redis_failing_in_every_way__keeps_both_promises(void **state)
{
	(void)state;
	run_history(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(history__with_messages_lost__keeps_both_promises),
		SERVER_TEST(history__with_redis_failing_in_every_way__keeps_both_promises),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
