/* The coherence protocol: a database, Redis, NC client processes and NW writers, with faults (spin).
 *
 * One shard. Key 0 is the one that is looked at: its value in the database is the number of commits so far, so "older"
 * is "<". Key 1 only uses up sequence numbers and room in the log.
 *
 *   database  db
 *   Redis     l2, l2inc      value and the incarnation in its envelope
 *             tok, tokinc    load token and the incarnation it was granted in
 *             seq, inc       sequence and incarnation of the shard; `renew`: the server is another one than inc was made by
 *             logk           the log, LOGCAP entries of it kept
 *   client i  pos            generation << 4 | applied sequence, one word; cinc: the incarnation it knows
 *             iv             position of the last invalidation of key 0
 *             floor          entries with an as-of below it are void
 *             l1, l1st, l1asof   one entry: NOTHING, UNIQUE (published, not vouched for), VALID
 *             lok            the freshness lease is held
 *             count, stripe  (LOCAL) the local fence: writes of this process, and the count at the last one of key 0
 *             noted          (LOCAL) key 0 waits in the journal: L2 is not asked for it
 *
 * Processes: Writer (commit, then invalidate or put), Reader (miss: L2, token, load, fill, insert), Hitter (hits, at any
 * moment), Sub (the I/O thread: messages, resync, lease, reconnection), Failover (a replica that lacks a suffix takes over,
 * or a server restarts with nothing).
 *
 * Faults: E_SILENT messages lost without a sign, E_DISC subscriptions lost per client, E_FAIL failovers, E_RETRY one answer
 * lost per write, E_AWAY writes that find Redis away.
 *
 * Checked
 *   hit    a hit under the lease is at least as new as all that had been invalidated or put in Redis when the question
 *          that the lease rests on was asked. The lease is granted for T from just before that question, so no hit is
 *          older than T, counted from the acknowledgement
 *   read   a value taken from L2 is at least as new as all that was acknowledged before the call began
 *   own    (LOCAL) once a write has returned, answered or queued, no hit in its process is older than it
 *   end    when all is quiet L2 is not older than the database; without leases (F_LEASE = 0) L1 neither
 *
 * Not here: weak memory (l1_insert.pml and the litmus tests of the code), the insertion itself (l1_insert.pml: here it is
 * one step), tags, versions, split brain, slot migration.
 *
 * Switches: 1 is the protocol, 0 (or another number) leaves a step out and must give a counterexample. run has the list.
 */
#ifndef F_L2FENCE	/* a fill of L2 needs its load token, which every invalidation deletes */
#define F_L2FENCE 1
#endif
#ifndef F_L1FENCE	/* an entry is VALID only after iv and generation were looked at, once it is published */
#define F_L1FENCE 1
#endif
#ifndef F_IVFIRST	/* iv is raised before the entry is dropped, pos moves after */
#define F_IVFIRST 1
#endif
#ifndef F_SEQ		/* a gap in the sequence is noticed */
#define F_SEQ 1
#endif
#ifndef F_REPLAY	/* after a gap or a reconnection: 1 replay the log, 2 flush always, 0 nothing */
#define F_REPLAY 1
#endif
#ifndef F_SUBFIRST	/* the subscription is confirmed before the log is read */
#define F_SUBFIRST 1
#endif
#ifndef F_TRIM		/* a log that does not reach back means a flush */
#define F_TRIM 1
#endif
#ifndef F_FLOOR		/* an entry below the floor is no hit */
#define F_FLOOR 1
#endif
#ifndef F_INC		/* another server process means a new incarnation */
#define F_INC 1
#endif
#ifndef F_ENTER		/* a connection is trusted only after its first step has settled the incarnation */
#define F_ENTER 1
#endif
#ifndef F_L2INC		/* a value of another incarnation is a miss */
#define F_L2INC 1
#endif
#ifndef F_TOKINC	/* a token of another incarnation is nobody's */
#define F_TOKINC 1
#endif
#ifndef F_RECHECK	/* a value from L2 counts only if the incarnation is still the one it was asked under */
#define F_RECHECK 1
#endif
#ifndef F_LEASE		/* 2 the lease rests on a position asked for and reached, 1 on a PING, 0 none */
#define F_LEASE 2
#endif
#ifndef F_LEASEFIRST	/* the lease is looked at before the entry is loaded */
#define F_LEASEFIRST 1
#endif
#ifndef F_POS1		/* generation and applied sequence are read as one word */
#define F_POS1 1
#endif
#ifndef F_OWNDROP	/* the writer raises iv and drops, or replaces, when the answer is there */
#define F_OWNDROP 1
#endif
#ifndef F_TICKET	/* the local fence: a fill begun before a write of its own process is refused */
#define F_TICKET 1
#endif
#ifndef F_REDROP	/* a write that goes to the journal drops once more when it is noted */
#define F_REDROP 1
#endif
#ifndef F_BYPASS	/* a key in the journal bypasses L2 */
#define F_BYPASS 1
#endif
#ifndef F_RETRYINV	/* a put whose answer was lost is repeated as an invalidation, not as a put */
#define F_RETRYINV 1
#endif
#ifndef E_SILENT	/* the faults, see above */
#define E_SILENT 0
#endif
#ifndef E_DISC
#define E_DISC 0
#endif
#ifndef E_FAIL
#define E_FAIL 0
#endif
#ifndef E_RETRY
#define E_RETRY 0
#endif
#ifndef E_AWAY
#define E_AWAY 0
#endif
#ifndef NC
#define NC 1
#endif
#ifndef NW
#define NW 1
#endif
#ifndef WRITES		/* per writer */
#define WRITES 2
#endif
#ifndef READS		/* ways through the miss path, per client */
#define READS 1
#endif
#ifndef LOCAL		/* writers are threads of client 0 */
#define LOCAL 0
#endif
#ifndef PUTS		/* they put, rather than invalidate; puts reach Redis in the order of their commits (or have versions) */
#define PUTS 0
#endif
#ifndef WARM		/* L2 holds the first value at the start */
#define WARM 0
#endif
#ifndef NOISE		/* writes may be of the other key */
#define NOISE 1
#endif
#ifndef LOGCAP
#define LOGCAP 1
#endif
#ifndef HITTERS		/* clients that are asked for hits, from 0 on */
#define HITTERS NC
#endif

#define NONE 255
#define NOTHING 0
#define UNIQUE 1
#define VALID 2
#define QUEUE 3
#define SEQS 9
#define GEN(p) ((p) >> 4)
#define SEQ(p) ((p) & 15)
#define POS(g, s) (((g) << 4) | (s))

byte db, committed;	/* committed: the newest value that Redis has been told of; ghost */
byte l2 = NONE, l2inc;
byte tok, tokinc, toks;
byte seq, inc = 1, incs = 1;
bit renew;
bit logk[SEQS];
byte r_l2 = NONE, r_l2inc, r_tok, r_tokinc, r_seq;
bit r_logk[SEQS];
byte silent;
byte quiet;		/* writers and readers that have ended */

chan ch[NC] = [QUEUE] of { byte /* inc */, byte /* seq, 0: PONG */, bit /* key */ };
bit subscribed[NC];	/* as Redis sees it */
byte lost[NC];

byte pos[NC], cinc[NC], iv[NC], floor[NC];
byte l1[NC], l1st[NC], l1asof[NC], l1by[NC];
bit conn[NC];		/* the data connection is greeted */
bit up[NC];		/* the client believes in its subscription */
bit lok[NC];
byte count[NC], stripe[NC];
bit noted[NC];
byte own[NC];		/* ghost: the newest value whose write has returned in this process */
byte lghost[NC];	/* ghost: what was committed when the lease's question was asked */

/* ------------------------------------------------------------------ Redis; inside atomic */

inline enter()
{
	if
	:: F_INC && renew -> incs++; inc = incs; seq = 0; renew = 0
	:: else
	fi
}

inline publish(kk, n)
{
	n = 0;
	do
	:: n < NC ->
		if
		:: subscribed[n] && nfull(ch[n]) -> ch[n]!inc, seq, kk
		:: subscribed[n] && silent < E_SILENT -> silent++
		:: !subscribed[n]
		fi;
		n++
	:: else -> break
	od;
	n = 0
}

inline commit(kk, n)
{
	seq++;
	assert(seq < SEQS);
	logk[seq] = kk;
	publish(kk, n)
}

inline first_kept(f)
{
	if :: seq > LOGCAP -> f = seq - LOGCAP + 1 :: else -> f = 1 fi
}

#define L2_GOOD(i) (l2 != NONE && (!F_L2INC || l2inc == (i)))

/* ------------------------------------------------------------------ L1: what l1_insert.pml shows a set to do */

inline wipe(i)
{
	if :: l1st[i] == NOTHING -> l1[i] = NONE; l1asof[i] = 0; l1by[i] = 0 :: else fi
}

#define CURRENT(i, a, t) (iv[i] <= (a) && floor[i] <= (a) && (!F_TICKET || stripe[i] <= (t)))

/* near__install: publishes v, as of a with ticket t, for the writer or reader `by`. Ends VALID or not there. */
inline install(i, v, a, t, by)
{
	if
	:: F_L1FENCE && !CURRENT(i, a, t)
	:: F_L1FENCE && CURRENT(i, a, t) ->
		d_step {
			if
			:: l1st[i] == NOTHING || l1asof[i] <= a -> l1[i] = v; l1asof[i] = a; l1by[i] = by; l1st[i] = UNIQUE
			:: else
			fi
		}
		if
		:: CURRENT(i, a, t) -> d_step { if :: l1st[i] == UNIQUE && l1by[i] == by -> l1st[i] = VALID :: else fi }
		:: else
		fi;
		d_step { if :: l1st[i] == UNIQUE && l1by[i] == by -> l1st[i] = NOTHING :: else fi; wipe(i) }
	:: else ->
		d_step { l1[i] = v; l1asof[i] = a; l1by[i] = by; l1st[i] = VALID }
	fi
}

inline drop(i, below)
{
	d_step { if :: l1st[i] != NOTHING && l1asof[i] < below -> l1st[i] = NOTHING; wipe(i) :: else fi }
}

inline raise(i, p)
{
	d_step { if :: iv[i] < p -> iv[i] = p :: else fi }
}

/* ------------------------------------------------------------------ processes */

#define ALL 255

/* near__fence_raise, then the drop of everything */
inline forget(i)
{
	if :: LOCAL -> d_step { count[i]++; stripe[i] = count[i] }; drop(i, ALL) :: else fi
}

proctype Writer(byte who)
{
	byte n, v, k, a, ai, as, t;
	bit key, put, again;

	do
	:: n < WRITES ->
		put = PUTS;
		if
		:: PUTS -> t = count[0]; (conn[0])
		:: !PUTS -> d_step { db++; v = db; key = 0 }; forget(0)
		:: !PUTS && NOISE -> key = 1
		fi;
		if
		:: E_AWAY && LOCAL && !PUTS && key == 0 ->
			/* Redis is away for this writer: into the journal at once, told later. */
			noted[0] = 1;
			if :: F_REDROP -> forget(0) :: else fi;
			if :: v > own[0] -> own[0] = v :: else fi
		:: true
		fi;
tell:		atomic {
			if :: put -> if :: v == 0 -> db++; v = db :: else fi :: else fi;
			enter();
			if
			:: key == 0 ->
				l2 = (put -> v : NONE); l2inc = (put -> inc : 0);
				if :: F_L2FENCE -> tok = 0 :: else fi
			:: else
			fi;
			commit(key, k);
			if :: key == 0 && v > committed -> committed = v :: else fi;
			ai = inc; as = seq
		}
		if
		:: E_RETRY && !again ->
			/* The answer is lost: into the journal; later told again, as an invalidation. */
			again = 1;
			if :: F_RETRYINV -> put = 0 :: else fi;
			if
			:: LOCAL && key == 0 ->
				noted[0] = 1;
				if :: F_REDROP -> forget(0) :: else fi;
				if :: v > own[0] -> own[0] = v :: else fi
			:: else
			fi;
			goto tell
		:: else
		fi;
		if
		:: LOCAL && key == 0 ->
			d_step { a = (cinc[0] == ai -> POS(GEN(pos[0]), as) : 0); ai = 0; as = 0 }
			if
			:: !F_OWNDROP
			:: F_OWNDROP && a == 0 -> drop(0, ALL)
			:: F_OWNDROP && a != 0 && !put -> raise(0, a); drop(0, a)
			:: F_OWNDROP && a != 0 && put -> raise(0, a); install(0, v, a, t, 1 + who)
			fi;
			noted[0] = 0;
			if :: v > own[0] -> own[0] = v :: else fi
		:: else
		fi;
		d_step { again = 0; put = 0; v = 0; key = 0; a = 0; ai = 0; as = 0; t = 0; n++ }
	:: else -> break
	od;
	atomic { n = 0; quiet++ }
}

proctype Reader(byte i)
{
	byte n, v, a, ki, t, ti, g0, ticket;
	bit got;

	do
	:: n < READS ->
		v = NONE;
		g0 = committed;
		/* near__before_take: position, then incarnation */
		ticket = count[i];
		if
		:: F_POS1 -> a = pos[i]
		:: else -> a = SEQ(pos[i]); a = POS(GEN(pos[i]), a)
		fi;
		ki = cinc[i];
		if
		:: noted[i] && F_BYPASS -> v = db; goto have	/* the loader, without Redis */
		:: else
		fi;
		/* GET; the answer may be looked at much later */
		atomic { conn[i] -> if :: l2 != NONE && (!F_L2INC || l2inc == ki) -> v = l2 :: else fi }
		if :: v != NONE && F_RECHECK && cinc[i] != ki -> v = NONE :: else fi;
		if
		:: v != NONE -> assert(v >= g0)
		:: else ->
			/* the token's step */
			atomic { conn[i] ->
				enter();
				if
				:: L2_GOOD(inc) -> if :: ki == inc || !F_L2INC -> v = l2; assert(v >= g0) :: else fi
				:: else ->
					if
					:: !F_L2FENCE || tok == 0 || (F_TOKINC && tokinc != inc) ->
						toks++; tok = toks; tokinc = inc; t = toks; ti = inc; got = 1
					:: else /* somebody else's: wait */
					fi
				fi
			}
			if
			:: got ->
				v = db;	/* the loader */
				atomic { conn[i] ->
					enter();
					if
					:: F_L2FENCE && (tok != t || (F_TOKINC && ti != inc)) -> v = NONE /* overtaken: not kept */
					:: else -> l2 = v; l2inc = inc; tok = 0
					fi
				}
			:: else
			fi
		fi;
have:		g0 = 0; ki = 0; t = 0; ti = 0; got = 0;
		if :: v != NONE -> install(i, v, a, ticket, 0) :: else fi;
		atomic { v = 0; a = 0; ticket = 0; n++ }
	:: else -> break
	od;
	atomic { n = 0; quiet++ }
}

#define IS_HIT(i) (l1st[i] == VALID && (!F_FLOOR || l1asof[i] >= floor[i]))

proctype Hitter(byte i)
{
	byte g;
end:	do
	:: F_LEASE && F_LEASEFIRST && lok[i] ->
		d_step { g = (LOCAL && own[i] > lghost[i] -> own[i] : lghost[i]) }
		d_step { if :: IS_HIT(i) -> assert(l1[i] >= g) :: else fi; g = 0 }
	:: F_LEASE && !F_LEASEFIRST && IS_HIT(i) ->
		g = l1[i];
		d_step { if :: lok[i] -> assert(g >= lghost[i]) :: else fi; g = 0 }
	od
}

inline apply(i, q, kk)
{
	if
	:: kk == 0 ->
		if :: F_IVFIRST -> raise(i, POS(GEN(pos[i]), q)) :: else fi;
		drop(i, POS(GEN(pos[i]), q));
		if :: !F_IVFIRST -> pos[i] = POS(GEN(pos[i]), q); raise(i, POS(GEN(pos[i]), q)) :: else fi
	:: else
	fi;
	pos[i] = POS(GEN(pos[i]), q)
}

/* Another incarnation, or a hole that the log does not fill: generation + 1, everything older below the floor. */
inline adopt(i, ni, q)
{
	cinc[i] = 0;
	floor[i] = POS(GEN(pos[i]) + 1, 0);
	d_step { pos[i] = POS(GEN(pos[i]) + 1, q); assert(GEN(pos[i]) < 15) }
	cinc[i] = ni
}

/* Asks for what was missed and applies it. Without a connection, or when it broke before the answer: `up` is taken back,
 * and all is done again when it is there. `greeting`: the connection is the new one, not yet greeted. */
inline resync(i, greeting)
{
	atomic {
		if
		:: conn[i] || greeting ->
			enter();
			ps = seq; pi = inc; first_kept(f);
			x = f;
			do :: F_REPLAY == 1 && x <= ps -> lk[x] = logk[x]; x++ :: else -> break od;
			x = 0
		:: else -> up[i] = 0
		fi
	}
	if
	:: f == 0 || F_REPLAY == 0
	:: f != 0 && (F_REPLAY == 2 || (F_REPLAY == 1 && ((F_INC && pi != cinc[i]) ||
		(F_TRIM && ps > SEQ(pos[i]) && f > SEQ(pos[i]) + 1)))) -> adopt(i, pi, ps)
	:: else ->
		x = SEQ(pos[i]) + 1;
		if :: x < f -> x = f :: else fi;
		do
		:: x <= ps -> apply(i, x, lk[x]); x++
		:: else -> break
		od
	fi;
	atomic { x = 0; do :: x < SEQS -> lk[x] = 0; x++ :: else -> break od; x = 0; f = 0; ps = 0; pi = 0 }
}

proctype Sub(byte i)
{
	byte mi, q, pi, ps, pg, as, ai, x, f;
	bit key, asked, bad;
	bit lk[SEQS];

end:	do
	/* a message */
	:: atomic { up[i] && nempty(ch[i]) ->
			ch[i]?mi, q, key;
			if
			:: q == 0 ->	/* PONG, in the variant with a lease by PING */
				if :: asked -> lghost[i] = pg; lok[i] = 1; asked = 0 :: else fi;
				q = 0
			:: q != 0 && F_INC && mi != cinc[i] -> bad = 1
			:: q != 0 && !(F_INC && mi != cinc[i]) && F_SEQ && q <= SEQ(pos[i]) -> q = 0
			:: q != 0 && !(F_INC && mi != cinc[i]) && F_SEQ && q > SEQ(pos[i]) + 1 -> bad = 1
			:: else
			fi;
			mi = 0
		}
		if
		:: bad -> bad = 0; q = 0; key = 0; goto resync_now
		:: !bad && q != 0 -> apply(i, q, key); q = 0; key = 0
		:: else -> key = 0
		fi

	/* the subscription is lost: by itself, or because the server is another one */
	:: d_step { up[i] && (lost[i] < E_DISC || !subscribed[i]) ->
			if :: subscribed[i] -> lost[i]++ :: else fi;
			subscribed[i] = 0; up[i] = 0; asked = (F_LEASE == 2 && asked);
			do :: nempty(ch[i]) -> ch[i]?_, _, _ :: empty(ch[i]) -> break od }

	/* time passes */
	:: lok[i] -> lok[i] = 0

	/* the lease by position: asked on the data connection, granted when what it says has been applied */
	:: atomic { F_LEASE == 2 && conn[i] && up[i] && !asked ->
			enter(); pg = committed; as = seq; ai = inc; asked = 1 }
	:: F_LEASE == 2 && asked && (ai == cinc[i] || !F_INC) && SEQ(pos[i]) >= as ->
		d_step { lghost[i] = pg; lok[i] = 1; asked = 0; pg = 0; as = 0; ai = 0 }
	:: F_LEASE == 2 && asked && up[i] && ((ai != cinc[i] && F_INC) || (SEQ(pos[i]) < as && empty(ch[i]))) ->
		/* another incarnation; or still behind although a PONG says that nothing is on its way */
		goto resync_now
	/* the lease by PING on the subscription */
	:: d_step { F_LEASE == 1 && up[i] && subscribed[i] && !asked && nfull(ch[i]) ->
			pg = committed; asked = 1; ch[i]!0, 0, 0 }

	/* the data connection comes back: the first step settles the incarnation */
	:: !conn[i] ->
		if :: F_ENTER -> resync(i, 1) :: else fi;
		conn[i] = 1

	/* the subscription comes back */
	:: conn[i] && !up[i] ->
		if :: F_SUBFIRST -> subscribed[i] = 1 :: else fi;
		up[i] = 1;
resync_now:
		atomic { asked = 0; pg = 0; as = 0; ai = 0 }
		resync(i, 0);
		if :: !F_SUBFIRST -> subscribed[i] = 1 :: else fi
	od
}

/* The replica is what the server was at some earlier moment; or the server comes back with nothing (the moment before all). */
proctype Failover()
{
	byte k;
	d_step {
		r_l2 = l2; r_l2inc = l2inc; r_tok = tok; r_tokinc = tokinc; r_seq = seq;
		k = 0; do :: k < SEQS -> r_logk[k] = logk[k]; k++ :: else -> break od; k = 0
	}
	d_step {
		l2 = r_l2; l2inc = r_l2inc; tok = r_tok; tokinc = r_tokinc; seq = r_seq;
		k = 0; do :: k < SEQS -> logk[k] = r_logk[k]; r_logk[k] = 0; k++ :: else -> break od;
		r_l2 = NONE; r_l2inc = 0; r_tok = 0; r_tokinc = 0; r_seq = 0;
		renew = 1;
		k = 0;
		do
		:: k < NC ->
			subscribed[k] = 0; conn[k] = !F_ENTER;
			do :: nempty(ch[k]) -> ch[k]?_, _, _ :: empty(ch[k]) -> break od;
			k++
		:: else -> break
		od;
		k = 0
	}
}

proctype End()
{
	byte i;
	(quiet == NW + NC);
#if F_LEASE == 0
	timeout;
	d_step {
		i = 0;
		do
		:: i < NC -> assert(!(IS_HIT(i) && l1[i] < db)); i++
		:: else -> break
		od;
		i = 0
	}
#endif
	assert(!(l2 != NONE && l2 < db && (!F_L2INC || (l2inc == inc && !renew))))
}

init {
	byte i;
	atomic {
		do
		:: i < NC ->
			l1[i] = NONE; cinc[i] = 1; up[i] = 1; subscribed[i] = 1; conn[i] = 1;
			run Reader(i);
			run Sub(i);
			if :: i < HITTERS && F_LEASE -> run Hitter(i) :: else fi;
			i++
		:: else -> break
		od;
		i = 0;
		if :: WARM -> l2 = 0; l2inc = 1 :: else fi;
		do :: i < NW -> run Writer(i); i++ :: else -> break od;
		run End();
		i = 0;
		do :: i < E_FAIL -> run Failover(); i++ :: else -> break od;
		i = 0
	}
}
