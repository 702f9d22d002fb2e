/* Insertion: unique, fenced, lock-free.
 *
 * A key has 16 slots to be in and any number of threads that put it. At no moment may two entries of a key be live (UNIQUE
 * or VALID, and in a slot), or a reader would flip between them and a removal would miss one. The steps:
 *
 *  1. SCAN     the set. A settled entry of the key is there: REPLACE it by a CAS on its slot, with ours, which is made
 *              UNIQUE (VALID without a fence) while it is still private. Never one with a higher as-of. Failed: 1 again.
 *  2. PUBLISH  else: CAS an EMPTY slot to entry|T, state PENDING. Failed: 1 again.
 *  3. RESOLVE  scan all 16 again. A settled one of the key that is not ours: abort ours, clear its slot, go to 1 with a
 *              fresh entry. Else, of all pending ones the lowest slot wins: abort the higher and clear their slots, then
 *              settle the lowest, whoever owns it, and clear its T. A foreign one is settled only by a scan that began
 *              after it was first seen. Until our own state is decided and nothing is pending before us: 3 again.
 *  4. FENCE    our state is UNIQUE: ask `current`. Yes: CAS the state to VALID. No: abort, and take it out.
 *
 * T is cleared from a settled entry only, and what is settled leaves that standing only towards ABORTED and out.
 *
 * Why there are never two. The core, steps 1 to 3 with removers, is model-checked (tests/model/l1_insert.pml, where
 * COMMITTED stands for settled). The thread of the argument:
 *  a. Say a and b are the pending ones. Each is published before its owner's rescan begins, and publication (slot_cas) and
 *     looks (slot_look) are seq_cst: of two owners at least one sees the other [L1-FENCE]. So two entries cannot both be
 *     settled by scans that saw nothing else.
 *  b. A scan that sees both aborts the higher before it settles the lower, and an abort is final.
 *  c. A foreign entry f, seen in the middle of a scan, may have been published behind the scan's back: slots that it passed
 *     may have been filled since by one that f's own owner would see. A scan begun after f was seen has f's owner's view
 *     or a later one. Without this rule three writers get two live entries (C reads slot 0 empty, B takes 0 and reads 1
 *     empty, A takes 1, C sees A lowest; B aborts C and wins; C crowns A). Foreign is another *entry*, not another slot:
 *     a slot may have changed hands between two looks. Within one section a reference names one entry, because nothing seen
 *     in it is freed before it ends; so `seen` lives no longer than the section.
 *  d. REPLACE takes the one live entry out and puts ours in by the same CAS.
 *  e. An entry that was UNIQUE and then ABORTED (by the fence or by a drop) counts as there until the CAS that clears its
 *     slot. Whoever finds one clears it first, and looks again when that fails: otherwise a REPLACE of it, made by one who
 *     read it while it was UNIQUE, would come on top of what was settled beside it.
 *  f. Growth: a pending entry met by a move is aborted by its state, like a removal; a settled one moves (table.c, d). Who
 *     reads F makes the set ready in the newest table; after that no entry of the old one is pending.
 *
 * Why no late fill. The publication comes before the question, a drop's raise of the position before its look. If the look
 * misses our entry, the question sees the position (drop.c). If it sees it, it aborts it, or finds it VALID and takes it
 * out. `current` must read the position with at least acquire; the fence is ours.
 *
 * A put that was aborted by a rival or by a move tries again. One that was aborted by a drop does not (MARK): what it
 * carries may be older than the drop.
 *
 * Modes are decided by the CAS that makes them true: REPLACE and IF_VERSION by the one that takes out the very entry they
 * judged; ADD by being settled, or by taking out one that is no longer fresh. One thing can slip in between judgement and
 * CAS without touching the slot: the mark of a drop. So the entry taken out is judged once more for that.
 *
 * Progress: lock-free outside of the allocator. Anyone can finish anyone's steps up to UNIQUE. A thread that stops before
 * VALID leaves a miss, which the next put of the key replaces. Rounds of SCAN and RESOLVE end because each further one means
 * that another thread changed a slot or a state; fresh entries are bounded by PUT_TRIES, then the put is declined.
 */
#include "l1/inside.h"

#define PUT_TRIES 32
/* An entry may take this share of the bound. */
#define SHARE_MAX 16
/* Retired bytes that a put leaves to others to collect. */
#define LIMBO_BYTES (256u << 10)
/* A set this full makes its putter look at the load of the table. */
#define TAKEN_MANY 12
#define FREQ_FIRST 1
#define FREQ_GHOST 3
#define GHOST_AGE_MAX 16 /* in ticks: one turnover of evictions */

typedef struct op {
	near__l1 *l1;
	near__thread *self;
	const near__l1_write *write;
	near__entry *e;   /* ours; private until `slot` */
	near__table *table;
	near__slot *slot; /* where it was published */
	unsigned freq;    /* 0: not known yet */
	near__l1_outcome outcome;
} op;

typedef enum turn {
	TURN_DONE,  /* outcome is set */
	TURN_AGAIN, /* the set has changed: scan again */
	TURN_FRESH, /* our entry is lost: again with a fresh one */
	TURN_FULL   /* no slot is empty */
} turn;

static turn done(op *o, near__l1_outcome outcome)
{
	o->outcome = outcome;
	return TURN_DONE;
}

/* ------------------------------------------------------------------ making the entry */

static unsigned flags_of(const near__l1_write *w)
{
	return (w->flags & NEAR__ENTRY_FLAGS) | (w->version != 0 ? ENTRY_VERSION : 0u) |
	       (w->delta_us != 0 ? ENTRY_DELTA : 0u) | (w->stale_until_ns > w->fresh_until_ns ? ENTRY_STALE : 0u) |
	       (w->current != NULL ? ENTRY_FENCED : 0u);
}

static near__layout layout_for(const near__l1_write *w)
{
	return layout_of(w->key_size, w->value_size, flags_of(w), w->tag_count);
}

/* The entry is private: relaxed everywhere, L1-PUBLISH follows. */
static void fill(near__entry *e, const near__l1_write *w)
{
	near__layout l = layout_for(w);
	char *at = (char *)e;
	atomic_store_explicit(&e->life, PENDING, memory_order_relaxed);
	atomic_store_explicit(&e->fresh, tick_of(w->now_ns, w->fresh_until_ns), memory_order_relaxed);
	atomic_store_explicit(&e->asof, w->asof, memory_order_relaxed);
	e->value_size = (uint32_t)w->value_size;
	e->key_size = (uint16_t)w->key_size;
	e->flags = (uint8_t)flags_of(w);
	e->tag_count = (uint8_t)w->tag_count;
	memcpy(e->bytes, w->key, w->key_size);
	if (w->value_size > 0)
		memcpy(e->bytes + w->key_size, w->value, w->value_size);
	if (w->tag_count > 0)
		memcpy(at + l.tags, w->tags, w->tag_count * sizeof(near__tag));
	if (e->flags & ENTRY_VERSION)
		memcpy(at + l.version, &w->version, sizeof(w->version));
	if (e->flags & ENTRY_STALE)
		atomic_store_explicit(entry_stale(e), tick_of(w->now_ns, w->stale_until_ns), memory_order_relaxed);
	if (e->flags & ENTRY_DELTA)
		memcpy(at + l.delta, &w->delta_us, sizeof(w->delta_us));
}

static bool is_too_large(near__l1 *l1, const near__l1_write *w)
{
	uint64_t payload_limit = atomic_load_explicit(&l1->payload_limit, memory_order_relaxed);
	uint64_t size = layout_for(w).size;
	return size > near__mem_limit(l1->mem) / SHARE_MAX || w->value_size > UINT32_MAX ||
	       (payload_limit != 0 && w->key_size + w->value_size > payload_limit);
}

/* False: no room. */
static bool make_entry(op *o)
{
	const near__l1_write *w = o->write;
	const near__l1_query q = { .hash = w->hash, .key = w->key, .key_size = w->key_size };
	if (!near__l1_fit_payload(o->l1, o->self, &q, w->key_size + w->value_size))
		return false;
	o->e = near__l1_alloc(o->l1, o->self, w->hash, layout_for(w).size);
	o->slot = NULL;
	if (o->e != NULL)
		fill(o->e, w);
	return o->e != NULL;
}

static uint64_t word_for(const op *o, unsigned freq)
{
	uint64_t bytes = atomic_load_explicit(&o->l1->payload_limit, memory_order_relaxed) != 0 ? entry_payload(o->e)
	                                                                                       : entry_footprint(o->e);
	return slot_make(o->write->hash, near__mem_ref(o->l1->base, o->e),
	                 heat_make(freq, l1_tick(o->l1), heat_class_of(bytes)));
}

/* ------------------------------------------------------------------ 1. scan */

typedef struct sight {
	near__slot *slot; /* of a settled entry of the key, or NULL */
	uint64_t word;
	near__slot *room; /* the EMPTY slot that suits best, or NULL */
	uint64_t room_word;
	unsigned room_rank;
	unsigned taken;
} sight;

/* The key's own ghost first, then a slot without one, then the oldest ghost. */
static unsigned rank_of_room(const op *o, uint64_t word)
{
	if (!slot_is_ghost(word))
		return 512;
	unsigned age = (l1_ghost_tick(o->l1) - heat_clock(word)) & 0xff;
	if (age <= GHOST_AGE_MAX && slot_has_tag(word, o->write->hash))
		return 1024;
	return 1 + age;
}

static void offer_room(const op *o, sight *s, near__slot *slot, uint64_t word)
{
	unsigned rank = rank_of_room(o, word);
	if (rank <= s->room_rank)
		return;
	s->room = slot;
	s->room_word = word;
	s->room_rank = rank;
}

/* Clears T of a settled entry. False: the slot has changed hands; *word is what is there now. */
static bool clear_tent(near__slot *slot, uint64_t *word)
{
	NEAR_YIELD("l1-clear-tent");
	uint64_t decided = *word & ~SLOT_TENT;
	if (!slot_cas_standing(slot, word, decided))
		return false;
	*word = decided;
	return true;
}

/* False: the slot has changed, or has moved. */
static bool scan_slot(op *o, sight *s, near__slot *slot)
{
	uint64_t word = slot_look(slot);
	if (word & SLOT_FROZEN)
		return false;
	if (slot_is_vacant(word)) {
		offer_room(o, s, slot, word);
		return true;
	}
	s->taken++;
	if (!slot_has_key(o->l1, word, o->write->hash, o->write->key, o->write->key_size))
		return true;
	unsigned state = life_state(entry_life(slot_entry(o->l1, word)));
	if (state == ABORTED) {
		s->taken--;
		if (!l1_clear_aborted(o->l1, o->self, slot, &word))
			return false; /* e. */
		offer_room(o, s, slot, word);
		return true;
	}
	if (state == PENDING)
		return true;
	if ((word & SLOT_TENT) && !clear_tent(slot, &word))
		return false;
	s->slot = slot;
	s->word = word;
	return true;
}

static bool scan(op *o, sight *s)
{
	*s = (sight){ 0 };
	o->table = l1_table(o->l1);
	table_ready(o->l1, o->self, o->table, o->write->hash);
	near__slot *set = table_set(o->table, o->write->hash);
	for (unsigned j = 0; j < SET_SLOTS; j++)
		if (!scan_slot(o, s, &set[j]))
			return false;
	return true;
}

/* ------------------------------------------------------------------ 4. fence */

/* Our entry is settled and in its slot. */
static turn ask_fence(op *o)
{
	const near__l1_write *w = o->write;
	if (w->current == NULL)
		return done(o, NEAR__L1_INSTALLED);
	NEAR_YIELD("l1-fence");
	/* L1-FENCE: the publication comes before the question. Pairs with the fence in near__l1_drop_older. */
	near__fence();
	if (w->current(w->ctx, w)) {
		NEAR_YIELD("l1-validate");
		if (entry_move(o->e, UNIQUE, VALID, 0) == VALID)
			return done(o, NEAR__L1_INSTALLED);
	}
	(void)entry_move(o->e, UNIQUE, ABORTED, LIFE_MARK);
	near__l1_unlink(o->l1, o->self, w->hash, o->e);
	return done(o, NEAR__L1_OVERTAKEN);
}

/* ------------------------------------------------------------------ 1. replace */

/* What the write says to the settled entry of its key. True: take its place. */
static bool judge(op *o, const sight *s)
{
	const near__l1_write *w = o->write;
	near__entry *e = slot_entry(o->l1, s->word);
	bool is_unique = life_state(entry_life(e)) == UNIQUE;
	bool is_fresh = entry_is_fresh(e, w->now_ns);
	o->outcome = NEAR__L1_INSTALLED;
	if (entry_asof(e) > w->asof && slot_same(slot_look(s->slot), s->word)) /* L1-UNLINK; changed: the CAS will fail */
		o->outcome = NEAR__L1_NEWER;
	else if (w->mode == NEAR__L1_ADD && (is_fresh || is_unique))
		o->outcome = NEAR__L1_PRESENT; /* a UNIQUE one is about to be there */
	else if ((w->mode == NEAR__L1_REPLACE || w->mode == NEAR__L1_IF_VERSION) && !is_fresh)
		o->outcome = NEAR__L1_ABSENT;
	else if (w->mode == NEAR__L1_IF_VERSION && entry_version(e) != w->expected)
		o->outcome = NEAR__L1_MISMATCH;
	else if (w->mode == NEAR__L1_SET && w->version != 0 && is_fresh && entry_version(e) >= w->version)
		o->outcome = NEAR__L1_NEWER;
	return o->outcome == NEAR__L1_INSTALLED;
}

static void set_private_state(op *o, unsigned state)
{
	/* relaxed: private; L1-PUBLISH follows. */
	atomic_store_explicit(&o->e->life, state, memory_order_relaxed);
}

static turn replace(op *o, sight *s)
{
	if (!judge(o, s))
		return TURN_DONE;
	near__entry *old = slot_entry(o->l1, s->word);
	unsigned freq = heat_freq(s->word) + (heat_freq(s->word) < HEAT_FREQ_MAX);
	set_private_state(o, o->write->current != NULL ? UNIQUE : VALID);
	NEAR_YIELD("l1-replace");
	if (!slot_cas_standing(s->slot, &s->word, word_for(o, freq))) {
		set_private_state(o, PENDING);
		return TURN_AGAIN;
	}
	o->slot = s->slot;
	near__l1_linked(o->l1, o->self, o->e);
	near__l1_retire(o->l1, o->self, old);
	bool needs_old = o->write->mode == NEAR__L1_REPLACE || o->write->mode == NEAR__L1_IF_VERSION;
	if (needs_old && (entry_life(old) & LIFE_MARK)) {
		/* A drop came between judgement and CAS. As if it had come before both: nothing fresh was there. */
		near__l1_unlink(o->l1, o->self, o->write->hash, o->e);
		return done(o, NEAR__L1_ABSENT);
	}
	return ask_fence(o);
}

/* ------------------------------------------------------------------ 3. resolve */

typedef struct rivals {
	bool settled;     /* another entry of the key lives */
	bool moved;       /* F was met */
	near__slot *slot; /* of the lowest pending one, or NULL */
	uint64_t word;
} rivals;

/* False: something changed under our hands: scan again. */
static bool rescan_slot(op *o, rivals *r, near__slot *slot)
{
	uint64_t word = slot_look(slot);
	NEAR_YIELD("l1-rescan");
	if (word & SLOT_FROZEN) {
		r->moved = true;
		return true;
	}
	if (!slot_has_key(o->l1, word, o->write->hash, o->write->key, o->write->key_size))
		return true;
	near__entry *e = slot_entry(o->l1, word);
	unsigned state = life_state(entry_life(e));
	if (state == PENDING && r->slot != NULL) {
		NEAR_YIELD("l1-abort-rival");
		state = entry_abort_pending(e);
		if (state != ABORTED)
			return false;
	}
	if (state == ABORTED)
		return l1_clear_aborted(o->l1, o->self, slot, &word); /* e. */
	if (state == PENDING) {
		r->slot = slot;
		r->word = word;
		return true;
	}
	if (word & SLOT_TENT)
		(void)clear_tent(slot, &word);
	r->settled |= e != o->e;
	return true;
}

static bool rescan(op *o, rivals *r)
{
	*r = (rivals){ 0 };
	near__slot *set = table_set(o->table, o->write->hash);
	for (unsigned j = 0; j < SET_SLOTS && !r->moved; j++)
		if (!rescan_slot(o, r, &set[j]))
			return false;
	return true;
}

/* Until our published entry is decided: UNIQUE or VALID, or ABORTED. One that was aborted goes on until the rival that was
 * ahead of it is settled, too: its owner may have stopped, and then nobody else would do it. Ends: a round more means that
 * another thread changed a state or a slot, or that `seen` was set. */
static unsigned resolve(op *o)
{
	const near__entry *seen = NULL; /* the foreign one that a finished scan saw lowest (c.) */
	for (;;) {
		rivals r;
		bool steady = rescan(o, &r);
		uint32_t life = entry_life(o->e);
		if (state_is_settled(life_state(life)) || (life & LIFE_MARK))
			return life_state(life);
		if (!steady)
			continue;
		if (r.moved) {
			/* f. The newest table's set, made ready, leaves nothing pending behind. */
			table_ready(o->l1, o->self, l1_table(o->l1), o->write->hash);
			NEAR_ASSERT(life_state(entry_life(o->e)) != PENDING);
			return life_state(entry_life(o->e));
		}
		if (r.settled) {
			NEAR_YIELD("l1-withdraw");
			return entry_abort_pending(o->e);
		}
		if (r.slot == NULL) {
			if (life_state(life) == ABORTED)
				return ABORTED;
			continue;
		}
		near__entry *lowest = slot_entry(o->l1, r.word);
		if (lowest != o->e && lowest != seen) {
			seen = lowest;
			continue;
		}
		NEAR_YIELD("l1-settle");
		if (state_is_settled(entry_settle(lowest)))
			(void)clear_tent(r.slot, &r.word);
	}
}

/* ------------------------------------------------------------------ 2. publish */

static turn publish(op *o, sight *s)
{
	if (o->write->mode == NEAR__L1_REPLACE || o->write->mode == NEAR__L1_IF_VERSION)
		return done(o, NEAR__L1_ABSENT);
	if (s->room == NULL)
		return TURN_FULL;
	bool is_ghost = s->room_rank == 1024;
	if (o->freq == 0)
		o->freq = is_ghost ? FREQ_GHOST : FREQ_FIRST;
	uint64_t word = word_for(o, o->freq) | SLOT_TENT;
	NEAR_YIELD("l1-publish");
	if (!slot_cas_standing(s->room, &s->room_word, word))
		return TURN_AGAIN;
	o->slot = s->room;
	near__l1_linked(o->l1, o->self, o->e);
	if (is_ghost)
		near__count_by(o->l1->stats, o->self, NEAR__STAT_ghost_hits, 1);
	unsigned state = resolve(o);
	if (state_is_settled(state)) {
		/* Settled by another, who may have stopped before this. */
		uint64_t now = slot_look(o->slot);
		if (slot_same(now, word))
			(void)clear_tent(o->slot, &now);
		if (s->taken >= TAKEN_MANY)
			(void)near__l1_grow_if_full(o->l1, false);
		return ask_fence(o);
	}
	near__l1_unlink(o->l1, o->self, o->write->hash, o->e);
	return entry_life(o->e) & LIFE_MARK ? done(o, NEAR__L1_OVERTAKEN) : TURN_FRESH;
}

/* ------------------------------------------------------------------ all of it */

/* Inside a section. */
static turn put_in_section(op *o)
{
	for (;;) {
		sight s;
		if (!scan(o, &s))
			continue;
		turn t = s.slot != NULL ? replace(o, &s) : publish(o, &s);
		if (t == TURN_FULL && near__l1_grow_if_full(o->l1, true))
			t = TURN_AGAIN; /* the set has become two */
		if (t != TURN_AGAIN)
			return t;
	}
}

static turn put_once(op *o)
{
	near__epoch_enter(o->self);
	turn t = put_in_section(o);
	(void)near__l1_help(o->l1, o->self, 1);
	near__epoch_exit(o->self);
	if (t == TURN_FULL)
		(void)near__l1_evict_from_set(o->l1, o->self, o->write->hash);
	if (t == TURN_FRESH)
		o->e = NULL; /* the limbo has it */
	return t;
}

static near__l1_outcome decline(op *o)
{
	const near__l1_write *w = o->write;
	near__count_by(o->l1->stats, o->self, NEAR__STAT_puts_declined, 1);
	if (w->mode == NEAR__L1_SET || w->mode == NEAR__L1_FILL) /* what was to be replaced must not stay as if it were fresh */
		(void)near__l1_drop_older(o->l1, w->hash, w->key, w->key_size, w->asof + (w->asof < UINT64_MAX), false, w->now_ns,
		                          w->mode == NEAR__L1_SET ? w->version : 0);
	return NEAR__L1_DECLINED;
}

near__l1_outcome near__l1_put(near__l1 *l1, const near__l1_write *write)
{
	op o = { .l1 = l1, .self = near__self(), .write = write };
	NEAR_DEBUG_ASSERT(write->hash == near__hash_local(write->key, write->key_size));
	NEAR_DEBUG_ASSERT(write->key_size >= 1 && write->key_size <= NEAR_KEY_MAX && write->tag_count <= NEAR_TAGS_MAX);
	turn t = TURN_FRESH;
	l1_pulse(l1, o.self, 1);
	for (unsigned i = 0; i < PUT_TRIES && t != TURN_DONE; i++) {
		if (o.e == NULL && (is_too_large(l1, write) || !make_entry(&o)))
			break;
		t = put_once(&o);
	}
	if (o.e != NULL && o.slot == NULL)
		near__mem_free(l1->mem, o.e); /* never published */
	if (near__limbo_bytes(&l1->limbo) >= LIMBO_BYTES)
		(void)near__l1_collect(l1);
	return t == TURN_DONE ? o.outcome : decline(&o);
}
