/* What the files of this room share.
 *
 *   any thread    coherence.c   open, close, the read side
 *   workers       steps.c       the atomic steps    step.c   how one is asked for and answered
 *   I/O thread    shard.c       what a shard does on a change, a replay, a flush: the state machine
 *                 sync.c        greeting, subscription, resync: when to ask Redis what was missed
 *                 lease.c       the position step, the freshness lease, the ping that finds silent losses
 *   text          steps_lua.c   the steps as Redis runs them    library.c  names and loading of that text
 *                 message.c     messages    describe.c  JSON, the ACL rule, the last error
 *
 * Edges, named where both sides stand
 *   COH-POS     shard_publish -> near__coherence_pos       who sees a position sees iv, tags and floor of all it covers
 *   COH-INC     shard_adopt -> near__coherence_incarnation who sees an incarnation sees the generation it belongs to
 *   COH-FENCE   near__shard_apply / the put of a fill      Dekker: either the drop sees the entry, or the fill sees iv
 *   COH-LEASE   near__lease_store -> near__coherence_lease_until   who sees a lease sees all that was applied before it
 */
#ifndef NEAR_COHERENCE_ROOM_H
#define NEAR_COHERENCE_ROOM_H

#include "base/base.h"
#include "base/clock.h"
#include "coherence/coherence.h"
#include "coherence/message.h"
#include "sync/wake.h"

#define NEAR__PROTOCOL 1
#define NEAR__SHARDS_MAX 256
#define NEAR__KEY_STRIPES 4096 /* of iv, per shard */
#define NEAR__GENERATION_MAX (UINT64_MAX >> NEAR__SEQ_BITS)
#define NEAR__COHERENCE_PREFIX_MAX 80
#define NEAR__OWN_NAME_MAX (NEAR__COHERENCE_PREFIX_MAX + 8) /* "~m:255" and the NUL */
#define NEAR__REPLAY_COUNT 512                              /* entries per answer */
#define NEAR__RESYNC_MS 2000                                /* how long an answer to a replay is waited for */
#define NEAR__ARGS_MAX 24

/* --------------------------------------------------------------------- library */

typedef enum near__function {
	NEAR__F_INVALIDATE,
	NEAR__F_PUT,
	NEAR__F_TOKEN,
	NEAR__F_FILL,
	NEAR__F_RELEASE,
	NEAR__F_TOUCH,
	NEAR__F_TAG,
	NEAR__F_POSITION,
	NEAR__F_REPLAY,
	NEAR__F_VOID,
	NEAR__F_COUNT
} near__function;

typedef struct near__library {
	char *text;
	size_t text_size;
	char function[NEAR__F_COUNT][48];
} near__library;

extern const char *const near__steps_lua[];
near_status near__library_make(near__library *library);
void near__library_free(near__library *library);
/* Of error replies. */
bool near__library_is_missing(const near__reply *reply);
bool near__library_is_there_already(const near__reply *reply);

/* ----------------------------------------------------------------------- state */

typedef struct near__shard {
	/* --- read by any thread, written by the I/O thread */
	NEAR_ALIGNED_LINE _Atomic(uint64_t) pos;
	_Atomic(uint64_t) floor;
	_Atomic(uint64_t) incarnation; /* 0 while it changes */
	_Atomic(int64_t) lease_until;
	_Atomic(uint64_t) *iv;   /* NEAR__KEY_STRIPES; workers raise it, too */
	_Atomic(uint64_t) *tags; /* NEAR__TAG_STRIPES; likewise */
	_Atomic(bool) noticed;   /* a worker met another incarnation */

	/* --- the I/O thread's */
	NEAR_ALIGNED_LINE struct near__coherence *owner;
	unsigned index;
	uint64_t inc; /* 0: none adopted yet */
	uint64_t generation, applied;
	bool running;         /* a replay is on its way */
	bool again;           /* and another is wanted after it */
	bool start_over;      /* ... one that is answered by a flush: the log cannot be trusted */
	bool running_over;    /* the one on its way was asked so */
	bool spent;           /* no generation is left: out of use */
	bool synced;          /* a replay asked after the subscription stood has been applied whole */
	uint64_t running_conn, running_sub;
	uint64_t greeted_conn;
	int64_t retry_ns;     /* 0: no retry planned */
	int64_t doubt_ns;     /* when to flush for a message not understood; 0 none */
	int64_t doubt_last_ns;
	bool asked;           /* a position to reach is known: */
	uint64_t asked_seq;
	int64_t asked_ns;     /* when it was asked */
	uint64_t ping_seq;    /* to be reached when the PONG comes; 0 none */
	unsigned silent;      /* losses found by the ping in a row */

	char meta[NEAR__OWN_NAME_MAX], log[NEAR__OWN_NAME_MAX], channel[NEAR__OWN_NAME_MAX];
} near__shard;

/* A server process that we have been connected to. Workers read it without a lock, so it is kept until close. */
typedef struct near__identity {
	struct near__identity *next;
	char run_id[64];
	size_t size;
} near__identity;

typedef enum near__phase {
	NEAR__PHASE_DOWN,
	NEAR__PHASE_ASKING,    /* greeting: position, to enter and to see whether the library is there */
	NEAR__PHASE_REPLAYING, /* greeting: every shard is told its incarnation */
	NEAR__PHASE_READY
} near__phase;

struct near__coherence {
	near__redis *redis;
	near__coherence_config config;
	char prefix[NEAR__COHERENCE_PREFIX_MAX];
	char shards_text[8], log_max_text[24], writer_text[NEAR__HEX];
	near__library library;
	near__shard *shard;
	unsigned shards;

	_Atomic(int64_t) lease_min;
	_Atomic(uint64_t) floor_max;
	_Atomic(int64_t) clock_offset_ms; /* Redis's clock less ours */
	_Atomic(bool) clock_known;
	_Atomic(uint32_t) changes; /* futex: raised when an incarnation or a lease has changed */
	_Atomic(near__identity *) identity;
	_Atomic(bool) noticing; /* near__sync_notice is on its way to the I/O thread */
	_Atomic(bool) subscribed, ready; /* written by the I/O thread; others read them for words only */
	NEAR_ALIGNED_LINE _Atomic(uint64_t) nonces;
	_Atomic(uint32_t) error_turn; /* odd while the text below is written */
	_Atomic(uint64_t) error_text[32];

	/* --- the I/O thread's */
	near__phase phase;
	uint64_t conn;      /* number of the data connection: answers of an older one are ignored */
	uint64_t sub;       /* number of the subscription */
	bool loading;       /* FUNCTION LOAD is on its way */
	uint64_t loaded_conn; /* the connection on which it was done last */
	bool position_running;
	uint64_t position_conn;
	int64_t position_ns, position_due_ns;
	const char **position_argv;
	size_t *position_sizes;
	char position_nonce[NEAR__HEX];
	unsigned pings;     /* sent and not answered */
	int64_t ping_ns;
	uint64_t generation_max;
};

/* ------------------------------------------------------------------- shard.c */

/* A change of the present incarnation, the one after the last applied. */
void near__shard_apply(near__shard *s, uint64_t seq, char change, const char *key, size_t key_size);
/* A new beginning: nothing older than (incarnation, seq) is believed any more. */
void near__shard_adopt(near__shard *s, uint64_t incarnation, uint64_t seq, const near__reply *hash);
typedef enum near__verdict {
	NEAR__VERDICT_DONE,   /* applied, or nothing to do */
	NEAR__VERDICT_RESYNC, /* something is missing: ask for a replay */
	NEAR__VERDICT_DOUBT   /* not understood: flush */
} near__verdict;
near__verdict near__shard_message(near__shard *s, const near__message *message);
/* An answer to a replay. False: it makes no sense. *more: the log holds further entries. */
bool near__shard_replayed(near__shard *s, const near__reply *reply, bool *more);
/* Something was missed: counted and told. */
void near__shard_gap(near__shard *s);
void near__shard_raise(_Atomic(uint64_t) *stripe, uint64_t pos);
static inline unsigned near__shard_stripe(uint64_t shared_hash)
{
	return (unsigned)(shared_hash % NEAR__KEY_STRIPES);
}

/* -------------------------------------------------------------------- sync.c */

void near__sync_handlers(near__coherence *c, near__redis_handlers *on);
/* I/O thread: asks for what the shard has missed, now or after the answer that is on its way. */
void near__sync_shard(near__shard *s);
/* Any thread: the shard is of another incarnation than we know. */
void near__sync_noticed(near__coherence *c, unsigned shard);
/* I/O thread: the library is gone from Redis. */
void near__sync_load(near__coherence *c);
void near__sync_reject(near__coherence *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The greeting's position has come. */
void near__sync_entered(near__coherence *c);

/* ------------------------------------------------------------------- lease.c */

void near__lease_ask(near__coherence *c);
void near__lease_tick(near__coherence *c, int64_t now_ns);
void near__lease_pong(near__coherence *c);
/* Extends the lease of a shard that has reached the position asked for. */
void near__lease_try(near__shard *s);
void near__lease_forget(near__coherence *c);

/* -------------------------------------------------------------------- step.c */

/* An FCALL under construction. */
typedef struct near__args {
	int argc;
	const char *argv[NEAR__ARGS_MAX];
	size_t sizes[NEAR__ARGS_MAX];
	char nonce[NEAR__HEX];
	char number[4][24]; /* decimals */
	int numbers;
} near__args;

void near__args_begin(near__args *a, const near__coherence *c, near__function function);
void near__args_add(near__args *a, const void *bytes, size_t size);
void near__args_text(near__args *a, const char *text);
void near__args_number(near__args *a, uint64_t value);
/* run id, nonce, number of shards: what every step's ARGV begins with. */
void near__args_enter(near__args *a, near__coherence *c);
void near__nonce(near__coherence *c, char out[NEAR__HEX]);
void near__identity_of(near__coherence *c, const char **run_id, size_t *size);

/* Asks, loads the library when it is missing, asks once more. NEAR_OK: *reply is no error. */
near_status near__step_call(near__coherence *c, const near__args *a, int64_t deadline_ns, near__reply **reply);
/* What an error reply means; keeps its text. */
near_status near__step_error(near__coherence *c, const near__reply *reply);
/* {inc, seq} at the front of an answer. */
bool near__step_read(const near__reply *reply, size_t at, uint64_t *incarnation, uint64_t *seq);
/* {inc, seq} as a pos word; 0 and a notice when the incarnation is another one. */
near__pos near__step_pos(near__coherence *c, unsigned shard, uint64_t incarnation, uint64_t seq);
void near__error_keep(near__coherence *c, const char *bytes, size_t size);

#endif
