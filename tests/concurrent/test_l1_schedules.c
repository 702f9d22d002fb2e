/* L1 under chosen schedules. A few threads run a short script each on one key; only one of them runs at any time, and at
 * each NEAR_YIELD of the algorithms a generator decides who goes on. So a schedule is its seed, and at every step the whole
 * state can be looked at while it stands still:
 *
 *   - at most one entry of the key is live: settled, and in the slot that counts (the parent's, while the child is UNINIT);
 *   - nothing VALID is older than a drop that has ended (scripts with fences);
 *   - a thread that is halted for ever at any step keeps none of the others from ending.
 *
 * At the end each script's own promise is checked, and the table at rest. Seeds are printed on failure; NEARCACHE_TEST_SEED
 * repeats one, NEARCACHE_TEST_SCHEDULES sets how many are tried, NEARCACHE_TEST_TRACE prints the steps. (The hash's secret
 * is the process's own: a seed repeats all but the order of the sets.) */
#include "unit/l1/l1_fixture.h"

#include <pthread.h>
#include <semaphore.h>

#define ACTORS_MAX 4
#define STEPS_MAX 100000
#define SCHEDULES 400

struct stage;
typedef void (*script)(struct stage *s, unsigned me);

typedef struct stage {
	box b;
	char key[32];
	size_t key_size;
	uint64_t hash;
	script actor[ACTORS_MAX];
	unsigned actors;
	unsigned outcome[ACTORS_MAX];
	_Atomic(uint64_t) asof, iv, ended;
	bool fenced; /* check `ended` */
	/* the scheduler */
	sem_t go[ACTORS_MAX], over;
	unsigned done, halted; /* bits */
	unsigned switch_mask;
	unsigned halt_at, halt_who;
	unsigned steps;
	bool traces;
	uint64_t seed, random;
} stage;

static stage *on_stage;
static _Thread_local int myself = -1;

#define CHECK(x) (NEAR_LIKELY(x) ? (void)0 : failed(#x, __LINE__))
static void failed(const char *what, int line)
{
	fprintf(stderr, "seed %lu, step %u: line %d: %s\n", (unsigned long)on_stage->seed, on_stage->steps, line, what);
	abort();
}

/* ---------------------------------------------------------------- what must hold at each step */

static uint64_t word_that_counts(near__table *t, uint64_t hash, unsigned j)
{
	uint64_t word = slot_peek(table_set(t, hash) + j);
	near__table *parent = atomic_load(&t->parent);
	return word == SLOT_UNINIT ? slot_peek(table_set(parent, hash) + j) & ~SLOT_FROZEN : word;
}

static void check_step(stage *s)
{
	near__l1 *l1 = s->b.l1;
	near__table *t = l1_table(l1);
	unsigned live = 0;
	for (unsigned j = 0; j < SET_SLOTS; j++) {
		uint64_t word = word_that_counts(t, s->hash, j);
		if (!slot_has_key(l1, word, s->hash, s->key, s->key_size))
			continue;
		near__entry *e = slot_entry(l1, word);
		unsigned state = life_state(entry_life(e));
		live += state_is_settled(state);
		if (s->fenced && state == VALID)
			CHECK(atomic_load(&e->asof) >= atomic_load(&s->ended));
	}
	CHECK(live <= 1);
}

/* ---------------------------------------------------------------- the scheduler */

static unsigned runnable(const stage *s)
{
	return ((1u << s->actors) - 1) & ~s->done & ~s->halted;
}

static void pass_on(stage *s, int me)
{
	unsigned can = runnable(s);
	if (can == 0) {
		(void)sem_post(&s->over);
		return;
	}
	unsigned n = (unsigned)(near__random_next(&s->random) % (unsigned)__builtin_popcount(can));
	while (n-- > 0)
		can &= can - 1;
	int next = __builtin_ctz(can);
	if (next != me)
		(void)sem_post(&s->go[next]);
	else if (me >= 0)
		(void)sem_post(&s->go[me]);
}

static void wait_for(sem_t *sem)
{
	while (sem_wait(sem) != 0)
		continue;
}

static void step(const char *point)
{
	stage *s = on_stage;
	if (myself < 0 || strncmp(point, "mem:", 4) == 0) /* under the allocator's lock nobody else could go on */
		return;
	int me = myself;
	if (s->traces)
		fprintf(stderr, "%u: %d at %s\n", s->steps, me, point);
	myself = -1; /* the checks below come here, too */
	CHECK(++s->steps < STEPS_MAX);
	check_step(s);
	bool halt = s->steps >= s->halt_at && (unsigned)me == s->halt_who;
	if (halt) {
		s->halted |= 1u << me;
		s->halt_at = UINT32_MAX;
	}
	if (halt || (near__random_next(&s->random) & s->switch_mask) == 0) {
		pass_on(s, me);
		wait_for(&s->go[me]);
	}
	myself = me;
}

typedef struct role {
	stage *s;
	unsigned me;
} role;

static void *act(void *arg)
{
	role *r = arg;
	stage *s = r->s;
	(void)near__self();
	wait_for(&s->go[r->me]);
	myself = (int)r->me;
	s->actor[r->me](s, r->me);
	myself = -1;
	s->done |= 1u << r->me;
	pass_on(s, -1);
	return NULL;
}

static void play(stage *s, bool halting)
{
	pthread_t thread[ACTORS_MAX];
	role r[ACTORS_MAX];
	s->switch_mask = (1u << near__random_next(&s->random) % 5) - 1;
	s->halt_who = halting ? (unsigned)(near__random_next(&s->random) % s->actors) : ACTORS_MAX;
	s->halt_at = 1 + (unsigned)(near__random_next(&s->random) % 64);
	(void)sem_init(&s->over, 0, 0);
	on_stage = s;
	near__yield_hook = step;
	for (unsigned i = 0; i < s->actors; i++) {
		(void)sem_init(&s->go[i], 0, 0);
		r[i] = (role){ s, i };
		CHECK(pthread_create(&thread[i], NULL, act, &r[i]) == 0);
	}
	pass_on(s, -1);
	wait_for(&s->over);
	if (s->halted != 0) { /* all others have ended without it */
		CHECK((s->done | s->halted) == (1u << s->actors) - 1);
		s->halted = 0;
		pass_on(s, -1);
		wait_for(&s->over);
	}
	for (unsigned i = 0; i < s->actors; i++)
		(void)pthread_join(thread[i], NULL);
	near__yield_hook = NULL;
	check_step(s);
}

/* ---------------------------------------------------------------- scripts */

static bool is_current(void *ctx, const near__l1_write *write)
{
	stage *s = ctx;
	return atomic_load(&s->iv) <= write->asof;
}

static near__l1_outcome put_value(stage *s, near__l1_mode mode, bool fenced, uint64_t asof, uint64_t version,
                                  uint64_t expected)
{
	near__l1_write w = write_of(&s->b, s->key, s->key_size, &asof, sizeof(asof));
	w.mode = mode;
	w.asof = asof;
	w.version = version;
	w.expected = expected;
	w.current = fenced ? is_current : NULL;
	w.ctx = s;
	return near__l1_put(s->b.l1, &w);
}

static void put_plain(stage *s, unsigned me)
{
	s->outcome[me] = put_value(s, NEAR__L1_SET, false, 0, 0, 0);
}

static void put_later(stage *s, unsigned me)
{
	s->outcome[me] = put_value(s, NEAR__L1_SET, false, atomic_fetch_add(&s->asof, 1), 0, 0);
}

static void put_fenced(stage *s, unsigned me)
{
	uint64_t asof = atomic_load(&s->iv); /* read before the value was made */
	NEAR_YIELD("test-load");
	s->outcome[me] = put_value(s, NEAR__L1_SET, true, asof, 0, 0);
}

static void put_add(stage *s, unsigned me)
{
	s->outcome[me] = put_value(s, NEAR__L1_ADD, false, 0, 0, 0);
}

static void put_replace(stage *s, unsigned me)
{
	s->outcome[me] = put_value(s, NEAR__L1_REPLACE, false, 0, 0, 0);
}

static void put_if_version(stage *s, unsigned me)
{
	s->outcome[me] = put_value(s, NEAR__L1_IF_VERSION, false, 0, 2 + me, 1);
}

static void drop_raised(stage *s, bool keep_stale)
{
	uint64_t q = atomic_fetch_add(&s->iv, 1) + 1;
	NEAR_YIELD("test-raised");
	(void)near__l1_drop(s->b.l1, s->hash, s->key, s->key_size, q, keep_stale, s->b.now);
	uint64_t ended = atomic_load(&s->ended);
	while (ended < q && !atomic_compare_exchange_weak(&s->ended, &ended, q))
		continue;
}

static void drop_all(stage *s, unsigned me)
{
	drop_raised(s, false);
	s->outcome[me] = NEAR__L1_INSTALLED;
}

static void drop_marking(stage *s, unsigned me)
{
	s->outcome[me] = near__l1_drop(s->b.l1, s->hash, s->key, s->key_size, 1, true, s->b.now);
}

static void evict_set(stage *s, unsigned me)
{
	near__thread *self = near__self();
	for (unsigned i = 0; i < 3; i++)
		(void)near__l1_evict(s->b.l1, self, s->hash, 0);
	s->outcome[me] = NEAR__L1_INSTALLED;
}

static void grow(stage *s, unsigned me)
{
	near__l1 *l1 = s->b.l1;
	near__thread *self = near__self();
	near__epoch_enter(self);
	near__table *t = l1_table(l1);
	if (atomic_load(&t->parent) == NULL) {
		near__table *larger = near__l1_table_make(l1, (t->set_mask + 1) * 2);
		CHECK(larger != NULL);
		atomic_store(&larger->parent, t);
		NEAR_YIELD("l1-grow");
		if (!atomic_compare_exchange_strong(&l1->table, &t, larger))
			near__l1_table_unmap(l1, larger);
	}
	while (near__l1_help(l1, self, 1))
		continue;
	near__epoch_exit(self);
	for (unsigned i = 0; i < 4; i++)
		(void)near__l1_collect(l1);
	s->outcome[me] = NEAR__L1_INSTALLED;
}

static void get_twice(stage *s, unsigned me)
{
	near__l1_view v;
	near__thread *self = near__self();
	uint64_t last = 0;
	for (unsigned i = 0; i < 2; i++) {
		uint64_t floor = atomic_load(&s->ended);
		near__epoch_enter(self);
		if (near__l1_find(s->b.l1, s->hash, s->key, s->key_size, s->b.now, &v)) {
			uint64_t asof;
			CHECK(v.value_size == sizeof(asof));
			memcpy(&asof, v.value, sizeof(asof));
			CHECK(asof == v.asof);
			if (s->fenced)
				CHECK(asof >= floor);
			else
				CHECK(asof >= last);
			last = asof;
			near__pin *pin = near__l1_pin(s->b.l1, &v);
			near__epoch_exit(self);
			NEAR_YIELD("test-pinned");
			CHECK(memcmp(v.value, &asof, sizeof(asof)) == 0);
			near__l1_unpin(pin);
			near__epoch_enter(self);
		}
		near__epoch_exit(self);
		(void)near__l1_collect(s->b.l1);
	}
	s->outcome[me] = NEAR__L1_INSTALLED;
}

static void touch(stage *s, unsigned me)
{
	(void)near__l1_touch(s->b.l1, s->hash, s->key, s->key_size, 0, s->b.now + SECOND_NS, s->b.now + SECOND_NS);
	s->outcome[me] = NEAR__L1_INSTALLED;
}

/* ---------------------------------------------------------------- schedules */

/* Other keys of the same set, so that the empty slots lie here and there; some leave ghosts. */
static void crowd(stage *s)
{
	near__thread *self = near__self();
	unsigned want = (unsigned)(near__random_next(&s->random) % 20);
	for (uint64_t i = 0, n = 0; n < want; i++) {
		char key[32];
		(void)snprintf(key, sizeof(key), "other %lu", (unsigned long)i);
		if (((near__hash_local(key, strlen(key)) ^ s->hash) & 15) != 0)
			continue;
		n++;
		CHECK(put_text(&s->b, key, "x") == NEAR__L1_INSTALLED);
		if (near__random_next(&s->random) % 3 == 0)
			(void)drop_text(&s->b, key, 1, false);
		else if (near__random_next(&s->random) % 3 == 0)
			(void)near__l1_evict(s->b.l1, self, s->hash, 0);
	}
}

typedef struct plot {
	script actor[ACTORS_MAX];
	bool fenced, present;
	/* Called at the end, with all outcomes. */
	void (*judge)(stage *s);
} plot;

static unsigned count_of(const stage *s, near__l1_outcome outcome)
{
	unsigned n = 0;
	for (unsigned i = 0; i < s->actors; i++)
		n += s->outcome[i] == outcome;
	return n;
}

static uint64_t schedules(void)
{
	const char *given = getenv("NEARCACHE_TEST_SCHEDULES");
	return given != NULL ? strtoull(given, NULL, 0) : SCHEDULES;
}

static void run_one(const plot *p, uint64_t seed)
{
	stage s = { .seed = seed, .random = seed, .fenced = p->fenced, .traces = getenv("NEARCACHE_TEST_TRACE") != NULL };
	s.b = box_of(16 * MIB);
	s.key_size = (size_t)snprintf(s.key, sizeof(s.key), "key %lu", (unsigned long)(seed % 1000));
	s.hash = near__hash_local(s.key, s.key_size);
	on_stage = &s;
	atomic_store(&s.asof, 1);
	while (s.actors < ACTORS_MAX && p->actor[s.actors] != NULL) {
		s.actor[s.actors] = p->actor[s.actors];
		s.actors++;
	}
	crowd(&s);
	if (p->present)
		CHECK(put_value(&s, NEAR__L1_SET, false, 0, 1, 0) == NEAR__L1_INSTALLED);
	play(&s, seed % 3 == 0);
	if (p->judge != NULL)
		p->judge(&s);
	check_at_rest(&s.b);
	box_close(&s.b);
}

static void run_plot(const plot *p)
{
	const char *given = getenv("NEARCACHE_TEST_SEED");
	uint64_t base = 0;
	near__random_bytes(&base, 4);
	if (given != NULL) {
		run_one(p, strtoull(given, NULL, 0));
		return;
	}
	print_message("seeds %lu to %lu\n", (unsigned long)base, (unsigned long)(base + schedules() - 1));
	for (uint64_t i = 0; i < schedules(); i++)
		run_one(p, base + i);
}

static bool is_found(stage *s)
{
	return is_there(&s->b, s->key);
}

static void judge_all_installed(stage *s)
{
	CHECK(count_of(s, NEAR__L1_INSTALLED) == s->actors);
	CHECK(is_found(s));
}

static void three_puts__one_lives_and_all_took_effect(void **state)
{
	(void)state;
	run_plot(&(plot){ .actor = { put_plain, put_plain, put_plain }, .judge = judge_all_installed });
}

static void judge_highest_stays(stage *s)
{
	seen v = see(&s->b, s->key, s->key_size);
	CHECK(v.found && v.view.asof == atomic_load(&s->asof) - 1);
	free(v.value);
}

static void puts_of_rising_asof__the_highest_stays(void **state)
{
	(void)state;
	run_plot(&(plot){ .actor = { put_later, put_later, put_later, get_twice }, .judge = judge_highest_stays });
}

static void puts_while_growing__all_take_effect(void **state)
{
	(void)state;
	run_plot(&(plot){ .actor = { put_plain, put_plain, grow, put_plain }, .judge = judge_all_installed });
}

static void puts_while_growing_twice__the_highest_stays(void **state)
{
	(void)state;
	run_plot(&(plot){ .actor = { put_later, grow, grow, put_later }, .judge = judge_highest_stays });
}

static void puts_drops_evictions_and_growth__one_lives(void **state)
{
	(void)state;
	run_plot(&(plot){ .actor = { put_plain, drop_all, grow, put_plain } });
	run_plot(&(plot){ .actor = { put_plain, evict_set, put_plain, drop_all } });
}

static void fenced_puts_and_drops__leave_nothing_older(void **state)
{
	(void)state;
	run_plot(&(plot){ .actor = { put_fenced, drop_all, get_twice }, .fenced = true });
	run_plot(&(plot){ .actor = { put_fenced, drop_all, put_fenced, drop_all }, .fenced = true });
}

static void fenced_puts_and_drops_while_growing__leave_nothing_older(void **state)
{
	(void)state;
	run_plot(&(plot){ .actor = { put_fenced, drop_all, grow, put_fenced }, .fenced = true });
	run_plot(&(plot){ .actor = { put_fenced, drop_all, grow, get_twice }, .fenced = true, .present = true });
}

static void judge_one_added(stage *s)
{
	CHECK(count_of(s, NEAR__L1_INSTALLED) == 1 && count_of(s, NEAR__L1_PRESENT) == s->actors - 1);
	CHECK(is_found(s));
}

static void adds__exactly_one_succeeds(void **state)
{
	(void)state;
	run_plot(&(plot){ .actor = { put_add, put_add, put_add }, .judge = judge_one_added });
}

static void judge_one_compared(stage *s)
{
	CHECK(count_of(s, NEAR__L1_INSTALLED) == 1 && count_of(s, NEAR__L1_MISMATCH) == s->actors - 1);
	CHECK(is_found(s));
}

static void puts_by_version__exactly_one_succeeds(void **state)
{
	(void)state;
	run_plot(&(plot){ .actor = { put_if_version, put_if_version, put_if_version }, .present = true,
	                  .judge = judge_one_compared });
}

/* A REPLACE that succeeded beside a mark came before it, and then it is marked; or it found nothing fresh. */
static void judge_replace_or_mark(stage *s)
{
	seen v = see(&s->b, s->key, s->key_size);
	CHECK(s->outcome[0] == NEAR__L1_INSTALLED || s->outcome[0] == NEAR__L1_ABSENT);
	CHECK(!v.found || v.view.marked_stale);
	free(v.value);
}

static void replace_beside_a_mark__is_before_or_after_it(void **state)
{
	(void)state;
	run_plot(&(plot){ .actor = { put_replace, drop_marking, touch }, .present = true, .judge = judge_replace_or_mark });
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(three_puts__one_lives_and_all_took_effect),
		cmocka_unit_test(puts_of_rising_asof__the_highest_stays),
		cmocka_unit_test(puts_while_growing__all_take_effect),
		cmocka_unit_test(puts_while_growing_twice__the_highest_stays),
		cmocka_unit_test(puts_drops_evictions_and_growth__one_lives),
		cmocka_unit_test(fenced_puts_and_drops__leave_nothing_older),
		cmocka_unit_test(fenced_puts_and_drops_while_growing__leave_nothing_older),
		cmocka_unit_test(adds__exactly_one_succeeds),
		cmocka_unit_test(puts_by_version__exactly_one_succeeds),
		cmocka_unit_test(replace_beside_a_mark__is_before_or_after_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
