/* What l1_insert.pml works on: words, states, the swaps of a slot, retiring, and the growth of the table (lib/l1/slot.h,
 * entry.h, table.c). Included there, after the switches. */
#define ENTRIES (PUTS * TRIES + 1)
#define PENDING 0
#define UNIQUE 1
#define VALID 2
#define ABORTED 3
#define TENT 1
#define HEAT 2
#define FROZEN 4
#define UNINIT 0
#define EMPTY TENT
#define ENTRY(w) ((w) >> 3)
#define WORD(e) ((e) << 3)
#define STANDING(w) ((w) & ~HEAT)
#define NONE 255
#define SLOTS (SET * (1 + GROW))	/* the set; with GROW also its child that the key belongs to */

byte slot[SLOTS];
byte state[ENTRIES];
bit marked[ENTRIES];	/* aborted by a drop: not to be tried again */
byte asof[ENTRIES];
byte iv, pos;
bit larger;		/* the larger table is the table */

/* ghosts */
bit retired[ENTRIES];
bit public[ENTRIES];
byte dropped;		/* the highest q whose drop has finished */
byte best;		/* the highest as-of that took effect */
bit taken;		/* an eviction, a drop or a refusing fence has taken something out */

/* A slot of the old table counts until its successor is there. */
#define COUNTS(i) (slot[i] != UNINIT && !(GROW && (i) < SET && slot[((i) + SET) % SLOTS] != UNINIT))

inline check_live(c, n)
{
	n = 0; c = 0;
	do
	:: c < SLOTS ->
		if
		:: COUNTS(c) && ENTRY(slot[c]) != 0 && (state[ENTRY(slot[c])] == UNIQUE || state[ENTRY(slot[c])] == VALID) ->
			n++;
			assert(!(state[ENTRY(slot[c])] == VALID && asof[ENTRY(slot[c])] < dropped))
		:: else
		fi;
		c++
	:: else -> break
	od;
	assert(n <= 1);
	n = 0; c = 0
}

inline retire(e, c)
{
	assert(!retired[e]);
	c = 0;
	do
	:: c < SLOTS -> assert(!COUNTS(c) || ENTRY(slot[c]) != e); c++
	:: else -> break
	od;
	c = 0;
	retired[e] = 1
}

/* slot_cas_standing: a change of the heat alone is no obstacle. `seen` becomes what is there on failure. */
inline swap(at, seen, next, ok)
{
	d_step {
		ok = 0;
		if
		:: slot[at] == seen || (!M_HEAT_STOPS && STANDING(slot[at]) == STANDING(seen)) -> slot[at] = next; ok = 1
		:: else -> seen = slot[at]
		fi
	}
}

/* The same to take an entry out: who succeeds retires it. */
inline swap_out(at, seen, ok, c)
{
	d_step {
		ok = 0;
		if
		:: slot[at] == seen || (!M_HEAT_STOPS && STANDING(slot[at]) == STANDING(seen)) ->
			slot[at] = EMPTY; ok = 1; retire(ENTRY(seen), c)
		:: else -> seen = slot[at]
		fi
	}
}

/* entry_move(PENDING, ABORTED), entry_move(UNIQUE, ABORTED) */
inline abort(e, from, mark)
{
	d_step { if :: state[e] == from -> state[e] = ABORTED; marked[e] = mark :: else fi }
}

/* l1_clear_aborted: ok says whether the slot is known to be vacant now. */
inline clear_aborted(at, seen, ok, c)
{
	swap_out(at, seen, ok, c);
	ok = ok || ENTRY(seen) == 0 || M_GO_ON
}

/* ------------------------------------------------------------------ growth */

/* move_slot, for a key that belongs to the child at SET + j. The other child gets EMPTY in any case and is left out. */
inline move_slot(j, w, s, ok, c)
{
	do
	:: w = slot[j];
		if
		:: (w & FROZEN) || M_NO_FREEZE -> break
		:: else -> d_step { if :: slot[j] == w -> slot[j] = w | FROZEN :: else fi }
		fi
	od;
	w = w & ~FROZEN;
	if
	:: ENTRY(w) == 0 -> d_step { if :: slot[SET + j] == UNINIT -> slot[SET + j] = w :: else fi }
	:: else ->
		if :: !M_MOVE_PENDING -> abort(ENTRY(w), PENDING, 0) :: else fi;
		s = state[ENTRY(w)];
		d_step {
			if
			:: slot[SET + j] == UNINIT && s == ABORTED ->
				slot[SET + j] = EMPTY;
				if :: !M_MOVE_ABORTED -> retire(ENTRY(w), c) :: else fi
			:: slot[SET + j] == UNINIT && s != ABORTED -> slot[SET + j] = w & ~TENT; check_live(c, n)
			:: else
			fi
		}
	fi;
	w = 0; s = 0
}

/* table_ready */
inline ready(t, j, w, s, ok, c)
{
	if
	:: GROW && t != 0 ->
		j = 0;
		do
		:: j < SET ->
			if :: slot[SET + j] == UNINIT -> move_slot(j, w, s, ok, c) :: else fi;
			j++
		:: else -> break
		od;
		j = 0
	:: else
	fi
}

/* near__l1_unlink: out of its slot, wherever it is by now. */
inline unlink(e, t, i, w, s, ok, c, j)
{
	do
	:: t = SET * larger;
		ready(t, j, w, s, ok, c);
		i = t; s = 0;
		do
		:: i < t + SET ->
			w = slot[i];
			if
			:: (w & FROZEN) -> s = 1; break
			:: ENTRY(w) == e && !(w & FROZEN) ->
				do
				:: swap_out(i, w, ok, c);
					if :: ok || ENTRY(w) != e || (w & FROZEN) || M_HEAT_STOPS -> break :: else fi
				od;
				if :: !ok && (w & FROZEN) -> s = 1; break :: else fi
			:: else
			fi;
			w = 0; i++
		:: else -> break
		od;
		i = 0; w = 0; ok = 0;
		if :: s != 0 -> s = 0 :: else -> break fi
	od;
	t = 0
}
