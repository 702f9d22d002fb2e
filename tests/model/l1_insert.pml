/* One key, one set of the L1 table: unique, fenced, lock-free insertion against droppers, evictions and growth (spin).
 *
 * The code is lib/l1/put.c, drop.c, evict.c and table.c; names of steps are theirs.
 *
 *   slot word   UNINIT 0, or entry << 3 | FROZEN | HEAT | TENT; EMPTY is TENT without an entry
 *   state       PENDING -> UNIQUE -> VALID                 each arrow is one compare-and-swap of the entry's state:
 *                  |         |                             PENDING -> UNIQUE | ABORTED by anybody,
 *                  +---------+---> ABORTED                 UNIQUE -> VALID by the owner, UNIQUE -> ABORTED by a dropper,
 *                                                          or by the owner whose fence refuses
 *
 * Processes
 *   put      a fill: takes `pos` as the entry's as-of, and from then on races with everything below
 *   drop(q)  the subscriber: raises iv to q, then takes out all entries with as-of below q, then moves pos
 *   move_on  a message about another key: moves pos, leaves iv alone
 *   evict    takes a decided entry out, at any moment, without touching iv
 *   grow     publishes a table of twice the sets; whoever comes to it makes the key's set ready (GROW)
 *   touch    a reader noting an access: changes the HEAT of a word under everybody's feet
 *
 * A thread may stop for ever between any two steps: nothing here waits for a condition, so an execution in which a thread is
 * not scheduled again is an execution of the model. `run` searches for cycles as well (np): none means that from every state
 * every group of threads that still runs comes to its end.
 *
 * Checked
 *   1  at most one live (UNIQUE or VALID) entry of the key sits in the table, at any moment
 *   2  once drop(q) has finished, no VALID entry with as-of below q sits in the table, ever again
 *   3  a put ends in one of: took effect; overtaken, and then iv is above its as-of; beaten, and then an entry with a higher
 *      as-of was there; and it needs a bounded number of fresh entries
 *   4  an entry is retired by exactly one thread, after it has left its slot, and none is lost: at the end each published
 *      entry is either retired or VALID in its slot
 *   5  what took effect last is there at the end, unless a drop or an eviction took it
 *
 * Memory is sequentially consistent here. Where the algorithm needs that (publish, then rescan; publish, then ask the fence;
 * raise, then scan) the code has seq_cst accesses and full fences. Other keys are not in this model; a full set is one that
 * is full of this key's entries.
 *
 * Switches: PUTS, DROPS (the k-th has q = k), MOVES (messages of other keys), EVICTIONS, TOUCHES, SET (slots), TRIES (most
 * fresh entries per put). M_... = 1 leaves a step out; each must give a counterexample.
 */
#ifndef PUTS
#define PUTS 2
#endif
#ifndef DROPS
#define DROPS 0
#endif
#ifndef MOVES
#define MOVES 0
#endif
#ifndef EVICTIONS
#define EVICTIONS 0
#endif
#ifndef TOUCHES
#define TOUCHES 0
#endif
#ifndef SET
#define SET 2
#endif
#ifndef GROW
#define GROW 0
#endif
#ifndef TRIES
#define TRIES 4
#endif
#ifndef GIVE_UP	/* 1: a put whose entries are used up is declined, so that more writers fit; 0: that is an error */
#define GIVE_UP 0
#endif
#ifndef FIRST_ROOM	/* 1: the first empty slot; 0: any */
#define FIRST_ROOM 0
#endif
#ifndef M_NO_RESCAN	/* publish, and be unique without looking again */
#define M_NO_RESCAN 0
#endif
#ifndef M_SETTLE_AT_SIGHT	/* a foreign entry is made UNIQUE by the scan that first saw it */
#define M_SETTLE_AT_SIGHT 0
#endif
#ifndef M_RETRY_AT_ONCE	/* a put whose entry was aborted tries again without settling the one that won */
#define M_RETRY_AT_ONCE 0
#endif
#ifndef M_NO_FENCE	/* VALID without asking */
#define M_NO_FENCE 0
#endif
#ifndef M_FENCE_EARLY	/* ask before publishing */
#define M_FENCE_EARLY 0
#endif
#ifndef M_IV_LATE	/* the dropper raises iv after its scan */
#define M_IV_LATE 0
#endif
#ifndef M_SKIP_UNDECIDED	/* the dropper leaves entries alone that are not yet VALID */
#define M_SKIP_UNDECIDED 0
#endif
#ifndef M_ANY_ASOF	/* replace whatever is there */
#define M_ANY_ASOF 0
#endif
#ifndef M_HEAT_STOPS	/* a swap that failed because of the heat alone is not tried again */
#define M_HEAT_STOPS 0
#endif
#ifndef M_GO_ON	/* who could not clear an aborted entry's slot goes on with its scan */
#define M_GO_ON 0
#endif
#ifndef M_OWNER_RETIRES	/* an aborted entry is retired by its owner, too */
#define M_OWNER_RETIRES 0
#endif
#ifndef M_MOVE_PENDING	/* growth moves a pending entry as it is */
#define M_MOVE_PENDING 0
#endif
#ifndef M_NO_FREEZE	/* growth copies a slot without freezing it */
#define M_NO_FREEZE 0
#endif
#ifndef M_MOVE_ABORTED	/* growth drops an aborted entry and nobody retires it */
#define M_MOVE_ABORTED 0
#endif

#include "l1_table.pml"

/* ------------------------------------------------------------------ put */

proctype put(byte p)
{
	byte e, at, room, t, i, j, w, s, found, low, loww, seen, tries, mine, c, n;
	bool ok, kept, moved, unsteady;

	mine = pos;
fresh:
	if
	:: tries == TRIES -> assert(GIVE_UP); goto fin
	:: else
	fi;
	d_step { e = p * TRIES + tries + 1; tries++; state[e] = PENDING; asof[e] = mine }
#if M_FENCE_EARLY
	kept = (iv <= mine);
#endif

scan:
	t = SET * larger;
	ready(t, j, w, s, ok, c);
	found = NONE; room = NONE; loww = 0; i = t;
	do
	:: i < t + SET ->
		w = slot[i];
		if
		:: (w & FROZEN) -> break
		:: !(w & FROZEN) && ENTRY(w) == 0 ->
			if :: room == NONE -> room = i :: room != NONE && !FIRST_ROOM -> room = i :: room != NONE fi
		:: else ->
			s = state[ENTRY(w)];
			if
			:: s == ABORTED -> clear_aborted(i, w, ok, c); if :: !ok -> break :: else -> ok = 0 fi
			:: (s == UNIQUE || s == VALID) && (w & TENT) ->
				swap(i, w, w & ~TENT, ok); if :: !ok -> break :: else -> found = i; loww = w & ~TENT; ok = 0 fi
			:: (s == UNIQUE || s == VALID) && !(w & TENT) -> found = i; loww = w
			:: else /* PENDING: the rescan decides */
			fi;
			s = 0
		fi;
		w = 0; i++
	:: else -> break
	od;
	s = 0; w = 0;
	if
	:: i < t + SET -> i = 0; goto scan	/* moved, or changed under our hands */
	:: else -> i = 0
	fi;

	/* replace */
	if
	:: found != NONE && asof[ENTRY(loww)] > mine && !M_ANY_ASOF -> goto fin	/* beaten */
	:: found != NONE && !(asof[ENTRY(loww)] > mine && !M_ANY_ASOF) ->
		state[e] = UNIQUE;	/* private until the swap */
		d_step {
			if
			:: slot[found] == loww || (!M_HEAT_STOPS && STANDING(slot[found]) == STANDING(loww)) ->
				slot[found] = WORD(e); public[e] = 1; ok = 1; retire(ENTRY(loww), c); check_live(c, n)
			:: else -> ok = 0; state[e] = PENDING
			fi;
			loww = 0; found = 0; room = 0
		}
		if
		:: ok -> ok = 0; goto fence
		:: else -> goto scan
		fi
	:: else -> found = 0; loww = 0
	fi;

	/* publish */
	if
	:: room == NONE -> /* the set is full: evict a decided one, or wait for those to be decided by their owners */
		i = t;
		do
		:: i < t + SET ->
			w = slot[i];
			if
			:: ENTRY(w) != 0 && !(w & (TENT | FROZEN)) -> taken = 1; swap_out(i, w, ok, c); ok = 0
			:: else
			fi;
			w = 0; i++
		:: else -> break
		od;
		i = 0;
		if
		:: PUTS > SET -> goto fin	/* declined: the model's set is smaller than the number of its writers */
		:: else -> goto scan
		fi
	:: else
	fi;
	d_step {
		if
		:: STANDING(slot[room]) == EMPTY -> slot[room] = WORD(e) | TENT; public[e] = 1; ok = 1
		:: else -> ok = 0
		fi
	}
	room = 0;
	if
	:: ok -> ok = 0; seen = 0
	:: else -> goto scan
	fi;

resolve:
	found = 0; low = NONE; loww = 0; moved = 0; i = t;
	do
	:: i < t + SET && !M_NO_RESCAN ->
		w = slot[i];
		if
		:: (w & FROZEN) -> moved = 1; break
		:: !(w & FROZEN) && ENTRY(w) == 0
		:: else ->
			s = state[ENTRY(w)];
			if
			:: s == PENDING && low != NONE -> /* the lowest wins */
				abort(ENTRY(w), PENDING, 0);
				s = state[ENTRY(w)];
				if :: s != ABORTED -> break :: else fi
			:: else
			fi;
			if
			:: s == ABORTED -> clear_aborted(i, w, ok, c); if :: !ok -> break :: else -> ok = 0 fi
			:: s == PENDING -> low = i; loww = w
			:: else ->
				if :: ENTRY(w) != e -> found = 1 :: else fi;
				if :: (w & TENT) -> swap(i, w, w & ~TENT, ok); ok = 0 :: else fi
			fi;
			s = 0
		fi;
		w = 0; i++
	:: else -> break
	od;
	unsteady = (i < t + SET && !moved && !M_NO_RESCAN);
	i = 0; w = 0;
#if M_NO_RESCAN
	low = 0; loww = WORD(e) | TENT;
	do :: low < SLOTS && ENTRY(slot[low]) != e -> low++ :: else -> break od;
#endif
	s = state[e];
	if
	:: s == UNIQUE || s == VALID -> goto decided
	:: s == ABORTED && (marked[e] || M_RETRY_AT_ONCE) -> goto lost
	:: else
	fi;
	if
	:: unsteady -> s = 0; unsteady = 0; goto resolve
	:: moved && !unsteady ->
		/* the larger table's set, made ready, leaves nothing pending behind */
		t = SET * larger;
		assert(t != 0);
		ready(t, j, w, s, ok, c);
		s = state[e];
		assert(s != PENDING);
		if
		:: s == ABORTED -> goto lost
		:: else -> goto decided
		fi
	:: found && !unsteady && !moved ->
		abort(e, PENDING, 0);
		s = state[e];
		if
		:: s == ABORTED -> goto lost
		:: else -> goto decided
		fi
	:: else
	fi;
	if
	:: low == NONE && s == ABORTED -> goto lost
	:: low == NONE && s != ABORTED -> s = 0; goto resolve
	:: low != NONE && ENTRY(loww) != e && ENTRY(loww) != seen && !M_SETTLE_AT_SIGHT ->
		/* a foreign entry is settled only by a scan that began after it was first seen */
		s = 0; seen = ENTRY(loww); goto resolve
	:: else ->
		s = 0;
		d_step {
			if
			:: state[ENTRY(loww)] == PENDING -> state[ENTRY(loww)] = UNIQUE; check_live(c, n)
			:: else
			fi
		}
		if
		:: state[ENTRY(loww)] == UNIQUE || state[ENTRY(loww)] == VALID -> swap(low, loww, loww & ~TENT, ok); ok = 0
		:: else
		fi;
		goto resolve
	fi;

lost:
	atomic { s = 0; low = 0; loww = 0; found = 0; moved = 0; unsteady = 0; seen = 0 }
	unlink(e, t, i, w, s, ok, c, j);
	if
	:: marked[e] -> assert(iv > mine); goto fin
	:: else -> goto fresh
	fi;

decided:
	atomic { s = 0; low = 0; loww = 0; found = 0; moved = 0; unsteady = 0; seen = 0 }
	/* settled by another, who may have stopped before this */
	i = t;
	do
	:: i < t + SET ->
		w = slot[i];
		if :: ENTRY(w) == e && (w & TENT) && !(w & FROZEN) -> swap(i, w, w & ~TENT, ok); ok = 0 :: else fi;
		w = 0; i++
	:: else -> break
	od;
	i = 0;

fence:
#if M_NO_FENCE
	kept = 1;
#elif !M_FENCE_EARLY
	kept = (iv <= mine);
#endif
	if
	:: kept ->
		kept = 0;
		d_step {
			if
			:: state[e] == UNIQUE ->
				state[e] = VALID; ok = 1; check_live(c, n);
				if :: mine > best -> best = mine :: else fi
			:: else -> ok = 0
			fi
		}
		if
		:: ok -> ok = 0; goto fin
		:: else
		fi
	:: else -> taken = 1; abort(e, UNIQUE, 1)
	fi;
	unlink(e, t, i, w, s, ok, c, j);
#if M_OWNER_RETIRES
	d_step { retire(e, c) }
#endif
	assert(iv > mine);
fin:
	atomic { e = 0; t = 0; seen = 0; tries = 0; mine = 0; found = 0; loww = 0; low = 0; room = 0 }
}

/* ------------------------------------------------------------------ the others */

inline raise(q)
{
	d_step { if :: q > iv -> iv = q :: else fi }
}

proctype drop(byte q)
{
	byte t, i, j, w, s, c, n;
	bool ok;

	if :: !M_IV_LATE -> raise(q) :: else fi;
again:
	t = SET * larger;
	ready(t, j, w, s, ok, c);
	i = t;
	do
	:: i < t + SET ->
		w = slot[i];
		if
		:: (w & FROZEN) -> break
		:: !(w & FROZEN) && (ENTRY(w) == 0 || asof[ENTRY(w)] >= q) -> i++
		:: else ->
			if
			:: M_SKIP_UNDECIDED
			:: else -> abort(ENTRY(w), PENDING, 1); abort(ENTRY(w), UNIQUE, 1)
			fi;
			s = state[ENTRY(w)];
			if
			:: s == VALID || s == ABORTED ->
				taken = 1; swap_out(i, w, ok, c);
				if :: ok || M_HEAT_STOPS || (s == ABORTED && ENTRY(w) == 0) -> i++ :: else fi; /* else look again */
				ok = 0
			:: else -> i++
			fi;
			s = 0
		fi;
		w = 0
	:: else -> break
	od;
	w = 0;
	if
	:: i < t + SET -> i = 0; goto again
	:: else -> i = 0; t = 0
	fi;
	if :: M_IV_LATE -> raise(q) :: else fi;
	d_step { if :: q > dropped -> dropped = q :: else fi; check_live(c, n) }
	d_step { if :: q > pos -> pos = q :: else fi }
}

proctype move_on()
{
	atomic { pos < DROPS + MOVES -> pos++ }
}

proctype evict()
{
	byte t, i, w, c;
	bool ok;

	t = SET * larger;
	if :: i = t :: SET > 1 -> i = t + 1 fi;
	w = slot[i];
	if
	:: ENTRY(w) != 0 && !(w & (TENT | FROZEN)) -> taken = 1; swap_out(i, w, ok, c)
	:: else
	fi;
	t = 0; i = 0; w = 0; ok = 0
}

proctype touch()
{
	byte i;

	if :: i = 0 :: SET > 1 -> i = 1 fi;
	d_step { if :: ENTRY(slot[i]) != 0 -> slot[i] = slot[i] | HEAT :: else fi }
	i = 0
}

/* near__l1_grow_if_full, then housekeeping: sweeps the rest. */
proctype grow()
{
	byte j, w, s, c, n, t;
	bool ok;

	larger = 1;
	t = SET;
	ready(t, j, w, s, ok, c);
	t = 0
}

init {
	byte p, n, c, live;

	atomic {
		do :: p < SET -> slot[p] = EMPTY; p++ :: else -> break od; p = 0;
		do :: p < PUTS -> run put(p); p++ :: else -> break od; p = 0;
		do :: p < DROPS -> p++; run drop(p) :: else -> break od; p = 0;
		do :: p < MOVES -> run move_on(); p++ :: else -> break od; p = 0;
		do :: p < EVICTIONS -> run evict(); p++ :: else -> break od; p = 0;
		do :: p < TOUCHES -> run touch(); p++ :: else -> break od; p = 0;
		if :: GROW -> run grow() :: else fi
	}
	(_nr_pr == 1);
	d_step {
		check_live(c, n);
		p = 0;
		do
		:: p < SLOTS ->
			if
			:: COUNTS(p) && ENTRY(slot[p]) != 0 ->
				live++;
				assert(state[ENTRY(slot[p])] == VALID && (slot[p] & TENT) == 0);
				assert(!retired[ENTRY(slot[p])]);
				assert(taken || asof[ENTRY(slot[p])] >= best)
			:: else
			fi;
			p++
		:: else -> break
		od;
		p = 1;
		do
		:: p < ENTRIES ->
			n = 0; c = 0;
			do
			:: c < SLOTS -> if :: COUNTS(c) && ENTRY(slot[c]) == p -> n++ :: else fi; c++
			:: else -> break
			od;
			assert(!public[p] || n + retired[p] == 1);
			p++
		:: else -> break
		od;
		assert(taken || live == 1)
	}
}
