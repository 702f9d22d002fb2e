/* The slot word: one 64-bit word is all that the table knows of an entry without reading it.
 *
 *    63      52 51 50 49                            16 15  11 10   8 7      0
 *   |   tag    | F| T|   reference, 16-byte units     | class | freq |  clock |
 *                                                     '-------- heat ---------'
 *   tag    top 12 bits of the key's hash (the set's number comes from the bottom bits)
 *   F      FROZEN: the slot has moved, or is moving, to a larger table; nobody changes it any more (but for its heat)
 *   T      TENT: published, not yet decided (put.c)
 *   class  size of the entry in half-octaves from 32 bytes on; freq: 1..7; clock: tick of the last access, modulo 256
 *
 *   UNINIT  0                       a fresh mapping: look at the parent table (table.c)
 *   EMPTY   T without a reference   never 0, whatever its heat; with freq > 0 it is a ghost: the tag and the clock of
 *                                   the entry that was evicted from here
 *   entry   reference, no T         decided: state UNIQUE, VALID, or ABORTED and about to be cleared
 *   entry|T reference and T         any state
 *
 * All changes are a CAS of the whole word, but one: a reader that found its key notes the access by a plain store of the
 * heat, 16 bits, without lock or retry. Between its load and its store the slot may have changed hands; then the new
 * entry's heat (or a ghost's) is off by one access, and its class may be another's until its own next put: errors in a
 * score, nothing else rests on the heat. It can neither bring an entry back nor hide one, because reference, tag, T and F
 * lie outside of the 16 bits, and UNINIT is never met by it: a slot in which somebody saw an entry is never UNINIT again.
 * (Loads and CASes of the word beside 16-bit stores into it: C11 says nothing of sizes that mix; x86 does: naturally
 * aligned accesses are single, and a locked operation takes the line. The 16 bits are accessed through a may_alias type.)
 * A CAS may therefore fail because of the heat alone; slot_same tells.
 *
 * Edges, named at both ends:
 *   L1-PUBLISH  slot_cas (seq_cst, so release) -> slot_peek, slot_look (acquire): an entry is whole before it is reachable.
 *   L1-FENCE    slot_cas and slot_look are seq_cst: a putter's publication and its rescan, and a dropper's raising of the
 *               position and its scan, cannot both miss each other (put.c, drop.c).
 *   L1-UNLINK   slot_cas -> near__limbo_retire's fence -> link over as-of -> entry_asof (acquire) -> slot_peek: who read
 *               the link instead of the as-of finds the slot changed (entry.h).
 */
#ifndef NEAR_L1_SLOT_H
#define NEAR_L1_SLOT_H

#include "base/base.h"
#include "base/mem.h"

typedef struct near__slot {
	_Atomic(uint64_t) word;
} near__slot;
static_assert(sizeof(near__slot) == 8, "a slot is one word");

#define SLOT_HEAT_BITS 16
#define SLOT_REF_MASK ((UINT64_C(1) << NEAR__REF_BITS) - 1)
#define SLOT_TENT (UINT64_C(1) << 50)
#define SLOT_FROZEN (UINT64_C(1) << 51)
#define SLOT_TAG_SHIFT 52
#define SLOT_TAG_MASK (~UINT64_C(0) << SLOT_TAG_SHIFT)
#define SLOT_UNINIT UINT64_C(0)
#define SLOT_EMPTY SLOT_TENT
/* What makes a word the same entry in the same standing, whatever its heat. */
#define SLOT_STANDING (SLOT_TENT | SLOT_FROZEN | SLOT_REF_MASK << SLOT_HEAT_BITS)
static_assert(SLOT_HEAT_BITS + NEAR__REF_BITS == 50, "heat and reference reach up to T");
static_assert(NEAR__REF_UNIT == 16, "slot_entry shifts by 4");

/* ------------------------------------------------------------------ heat */
#define HEAT_FREQ_MAX 7u
#define HEAT_CLASS_MAX 31u

static inline uint16_t heat_make(unsigned freq, unsigned clock, unsigned class)
{
	return (uint16_t)(class << 11 | freq << 8 | (clock & 0xff));
}
static inline unsigned heat_clock(uint64_t word)
{
	return word & 0xff;
}
static inline unsigned heat_freq(uint64_t word)
{
	return word >> 8 & 7;
}
static inline unsigned heat_class(uint64_t word)
{
	return word >> 11 & 31;
}
/* Half-octaves: 0 up to 45 bytes, 1 up to 63, 2 up to 90, ...; everything from 1.4 MB on is 31. */
static inline unsigned heat_class_of(uint64_t bytes)
{
	if (bytes < 32)
		return 0;
	unsigned octave = 63u - (unsigned)__builtin_clzll(bytes);
	/* sqrt(2) = 181/128 nearly */
	unsigned class = (octave - 5) * 2 + (bytes * 128 >= (UINT64_C(181) << octave));
	return class < HEAT_CLASS_MAX ? class : HEAT_CLASS_MAX;
}

/* About the size that a class stands for: its least. */
static inline float heat_class_bytes(uint64_t word)
{
	unsigned class = heat_class(word);
	return (class % 2 ? 45.25f : 32.0f) * (float)(1u << class / 2);
}

/* ------------------------------------------------------------------ word */
static inline uint64_t slot_ref(uint64_t word)
{
	return word >> SLOT_HEAT_BITS & SLOT_REF_MASK;
}
/* EMPTY or UNINIT */
static inline bool slot_is_vacant(uint64_t word)
{
	return (word & SLOT_REF_MASK << SLOT_HEAT_BITS) == 0;
}
static inline bool slot_is_ghost(uint64_t word)
{
	return slot_is_vacant(word) && heat_freq(word) != 0;
}
static inline bool slot_same(uint64_t a, uint64_t b)
{
	return ((a ^ b) & SLOT_STANDING) == 0;
}
static inline bool slot_has_tag(uint64_t word, uint64_t hash)
{
	return ((word ^ hash) & SLOT_TAG_MASK) == 0;
}
static inline uint64_t slot_make(uint64_t hash, uint64_t ref, uint16_t heat)
{
	return (hash & SLOT_TAG_MASK) | ref << SLOT_HEAT_BITS | heat;
}
/* What an evicted entry leaves behind. */
static inline uint64_t slot_ghost(uint64_t word, unsigned clock)
{
	return (word & SLOT_TAG_MASK) | SLOT_EMPTY | heat_make(1, clock, 0);
}
static inline void *slot_block(char *base, uint64_t word)
{
	return base + (word >> (SLOT_HEAT_BITS - 4) & SLOT_REF_MASK << 4);
}

/* ------------------------------------------------------------------ access */
static inline uint64_t slot_peek(const near__slot *slot)
{
	/* L1-PUBLISH, acquire: pairs with slot_cas. */
	return atomic_load_explicit(&slot->word, memory_order_acquire);
}
static inline uint64_t slot_look(const near__slot *slot)
{
	/* L1-FENCE, seq_cst: pairs with slot_cas. Costs no more than an acquire on x86. */
	return atomic_load_explicit(&slot->word, memory_order_seq_cst);
}
/* True: `next` took the place of *seen. False: *seen is what is there now. */
static inline bool slot_cas(near__slot *slot, uint64_t *seen, uint64_t next)
{
	/* L1-PUBLISH, L1-FENCE, L1-UNLINK; seq_cst, see the head of this file. */
	return atomic_compare_exchange_strong_explicit(&slot->word, seen, next, memory_order_seq_cst, memory_order_seq_cst);
}
/* The same, but a change of the heat alone is no obstacle. Ends: each round more means that a reader has noted an access
 * in between, which it does at most once per tick and step of the frequency. */
static inline bool slot_cas_standing(near__slot *slot, uint64_t *seen, uint64_t next)
{
	uint64_t before = *seen;
	while (!slot_cas(slot, seen, next))
		if (!slot_same(before, *seen))
			return false;
	return true;
}

typedef uint16_t __attribute__((may_alias)) near__heat;
static inline void slot_note(near__slot *slot, uint16_t heat)
{
	static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the heat is the first two bytes of the word");
	/* relaxed: orders nothing; see the head of this file. */
	__atomic_store_n((near__heat *)&slot->word, heat, __ATOMIC_RELAXED);
}

#endif
